"""A second living order at IB under our reference. Pure.

IB keeps one order under one permanent id, and a change keeps that id. A change that a gateway took while it had lost
its servers has become a second order beside the first one: the same order id, the same `orderRef`, another permanent
id (nautilus_trader issue 4564: the other one was filled six hours later). Both trade with our money. So the order is
`unknown` while more than one lives, what either fills is told, and a cancel goes on until none of them lives.

What a person copies in TWS has the same `orderRef` too, but no client id of ours; and an order id that IB gives out a
second time comes with another reference. Neither is a twin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderfuse.messages import Unknown, Working
from services.executor.ends import CANCELLED_STATUSES, Ending
from services.executor.records import Effects, OrderRecord, Twin
from services.gateway.reports import CompletedOrderReport, ExecutionReport, OpenOrderReport, StatusReport

if TYPE_CHECKING:
    from services.executor.story import Story

# One for each change that went wrong; more are not followed.
MAX_TWINS = 10
OVER = CANCELLED_STATUSES | {"Filled"}

AboutOrder = StatusReport | OpenOrderReport | ExecutionReport | CompletedOrderReport


def living(record: OrderRecord) -> list[Twin]:
    """The others under its reference that IB has not called over, or whose fills are not known."""
    return [twin for twin in record.twins if not twin.over]


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


def is_unsettled(record: OrderRecord) -> bool:
    """Whether IB has called another one over, and not all of its fills are known."""
    return any(twin.ends_with is not None and not twin.over for twin in record.twins)


def on_report(story: Story, twin: Twin, report: AboutOrder, now: float, effects: Effects) -> None:
    """IB said something about another order under the reference of this one."""
    was_over = twin.over
    match report:
        case ExecutionReport():
            story.on_execution(report, now, effects, twin)
        case CompletedOrderReport():
            twin.ends_with = report.filled
        case StatusReport():
            inactive = report.status == "Inactive" and not report.locating
            twin.ends_with = report.filled if report.status in OVER or inactive else None
        case OpenOrderReport():
            # It says no numbers: the status that comes with it ends it.
            twin.ends_with = twin.ends_with if report.status in OVER else None
    effects.keep(story.record)
    effects.look_up = effects.look_up or is_unsettled(story.record)
    if twin.over and not was_over:
        chase(story, effects)
    see(story, now, effects)


def chase(story: Story, effects: Effects) -> None:
    """One of them is over, and our cancel with it: it goes once more for what lives on, be that the order itself."""
    record = story.record
    if not record.cancel_sent or (story.ending is not None and not living(record)):
        return
    if story.cancels.tries > MAX_TWINS:
        story.fail_cancel(0, why(record), effects)
    else:
        record.cancel_sent = False
        effects.keep(record)


def see(story: Story, now: float, effects: Effects) -> None:
    """Say that the order is unknown while another one lives under its reference, and what it is once none does."""
    record = story.record
    others = living(record)
    if others and (not story.doubtful or record.ended):
        if story.is_over:
            # It was over, and will be again when the other one is.
            text = "another order under its reference outlived it"
            story.ending = Ending("cancelled", now, text, explained=True, numbered=True)
        record.ended = ""
        story.doubtful = True
        effects.alarms.append(f"{record.order_id}: {why(record)}")
        effects.tell(record, Unknown(**story.ids, reason=why(record), twin=others[0].perm_id))
    elif record.twins and not others and story.doubtful and not record.ended:
        story.doubtful = False
        if story.ending is None:
            effects.tell(record, Working(**story.ids, status=record.status))
        else:
            story.try_end(now, effects)


def why(record: OrderRecord) -> str:
    """What is wrong, for a person who has to look."""
    others = ", ".join(str(twin.perm_id) for twin in living(record))
    return (
        f"another order lives at IB under its reference (permanent id {others}, its own is {record.perm_id}): "
        "cancel the one that is not wanted in TWS"
    )
