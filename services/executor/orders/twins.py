"""A second living order at IB under our reference. Pure.

IB keeps one order under one permanent id, and a change keeps that id. A change that a gateway took while it had lost
its servers has become a second order beside the first one: the same order id, the same `orderRef`, another permanent
id (nautilus_trader issue 4564: the other one was filled six hours later). Both trade with our money. So the order is
`unknown` while more than one lives, what either fills is told, and a cancel goes on until none of them lives.

What a person copies in TWS has the same `orderRef` too, but no client id of ours; and an order id that IB gives out a
second time comes with another reference. Neither is a twin.
"""

from __future__ import annotations

from orderfuse.bus.events import Unknown
from services.executor.orders import cancels
from services.executor.orders.ends import CANCELLED_STATUSES, Ending
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.order_ends import try_end
from services.executor.orders.records import Effects, OrderRecord, Twin
from services.gateway.reports import AboutOrder, CompletedOrderReport, ExecutionReport, OpenOrderReport, StatusReport
from services.wire.feedback import Working

# One for each change that went wrong; more are not followed.
MAX_TWINS = 10
OVER = CANCELLED_STATUSES | {"Filled"}


def find(record: OrderRecord, report: AboutOrder, client_id: int) -> Twin | None:
    """The twin of this order that a report with another permanent id is about; a new one if it shows one.

    `client_id`: ours.
    """
    for twin in record.twins:
        if twin.perm_id == report.perm_id:
            return twin
    if not isinstance(report, OpenOrderReport | ExecutionReport) or len(record.twins) >= MAX_TWINS:
        return None
    ours = report.client_id == client_id and report.ib_order_id > 0 and report.order_ref == record.order_id
    if not ours or (isinstance(report, OpenOrderReport) and report.status in OVER):
        return None
    twin = Twin(report.perm_id, report.ib_order_id)
    record.twins = (*record.twins, twin)
    return twin


def note(twin: Twin, report: StatusReport | OpenOrderReport | CompletedOrderReport) -> None:
    """Take what IB says of a twin itself; its fills are executions of the order."""
    match report:
        case CompletedOrderReport():
            twin.ends_with = report.filled
        case StatusReport():
            inactive = report.status == "Inactive" and not report.locating
            twin.ends_with = report.filled if report.status in OVER or inactive else None
        case OpenOrderReport():
            # It says no numbers: the status that comes with it ends it.
            twin.ends_with = twin.ends_with if report.status in OVER else None


def chase(order: OrderAtIb, effects: Effects) -> None:
    """One has ended, and our cancel with it: send it again for the one that lives on, be it the order itself."""
    record = order.record
    if not record.cancel_sent or (order.ending is not None and not record.living_twins):
        return
    if order.cancels.tries > MAX_TWINS:
        cancels.fail(order, 0, why(record), effects)
    else:
        record.cancel_sent = False
        effects.keep(record)


def see(order: OrderAtIb, now: float, effects: Effects) -> None:
    """Say that the order is unknown while another one lives under its reference, and what it is once none does."""
    record = order.record
    others = record.living_twins
    if others and (not order.doubtful or record.ended):
        if order.is_over:
            # It was over, and will be again when the other one is.
            text = "another order under its reference outlived it"
            order.ending = Ending("cancelled", now, text, explained=True, numbered=True)
        if record.ended:
            record.end("")
        order.doubtful = True
        effects.tell(record, Unknown(**order.ids, reason=why(record), twin=others[0].perm_id))
    elif record.twins and not others and order.doubtful and not record.ended:
        order.doubtful = False
        if order.ending is None:
            effects.tell(record, Working(**order.ids, status=record.status))
        else:
            try_end(order, now, effects)


def why(record: OrderRecord) -> str:
    """What is wrong, for a person who has to look."""
    others = ", ".join(str(twin.perm_id) for twin in record.living_twins)
    return (
        f"another order lives at IB under its reference (permanent id {others}, its own is {record.perm_id}): "
        "cancel the one that is not wanted in TWS"
    )
