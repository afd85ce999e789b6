"""Orders that outlived an executor's journal: it is new, lost, or an old copy, and IB has them all the same. Pure.

The executor that comes with another journal is told of every order that was handed over before, and looks each up at
IB. What IB lists under our reference and nobody knows is told as well. What was told before is not told again.
"""

from __future__ import annotations

from orderfuse.ibfields import TERMS
from orderfuse.messages import (
    ADOPTED,
    Adopted,
    Cancelled,
    Commission,
    Expect,
    ExpectedChange,
    Filled,
    OrderEvent,
    Rejected,
)
from services.breaker.core import Core
from services.breaker.orders import Change, OrderRecord


def have_looked_up(core: Core) -> None:
    """Tell the executor that has just joined of the orders that were handed over under another journal."""
    journal_id = core.executor.journal_id
    for record in core.orders.values():
        if record.state in ("out", "working", "unknown") and record.executor_journal != journal_id:
            core.send(_expected(record))


def adopt(core: Core, fact: Adopted, journal_id: str) -> OrderRecord:
    """An order of ours at IB that no journal knows: it is told, named in `status`, and can be cancelled."""
    core.batch.notes.append(f"{fact.order_id} is at IB with our client id, and no journal knows it: it is adopted")
    record = core.orders[fact.order_id] = OrderRecord(
        order_id=fact.order_id,
        strategy_id=ADOPTED,
        # A submit under this id is not known to be the same order.
        digest=b"",
        account="",
        contract=fact.contract,
        order=fact.order,
        protect=False,
        ttl_ms=0,
        arrived_ns=core.now(),
        age_at_arrival_ns=0,
        state="working",
        passed_ns=core.now(),
        passed_wall_ns=core.wall_ns(),
        # No circuit of this breaker has admitted it, so none counts what becomes of it.
        settled="neutral",
        executor_journal=journal_id,
    )
    return record


def was_told(core: Core, record: OrderRecord, fact: OrderEvent, journal_id: str) -> bool:
    """Whether this was told when another journal of an executor had the order; IB lists it once more now."""
    if record.executor_journal == journal_id:
        return False
    if isinstance(fact, Filled | Commission):
        key = (record.order_id, fact.kind, fact.exec_id)
        return key in core.batch.executions or core.history.knows_execution(*key)
    if isinstance(fact, Cancelled | Rejected) and record.end is not None:
        same_filled = not isinstance(fact, Cancelled) or record.end.get("filled") == fact.filled
        return bool(record.end["kind"] == fact.kind and same_filled)
    return False


def _expected(record: OrderRecord) -> Expect:
    return Expect(
        order_id=record.order_id,
        strategy_id=record.strategy_id,
        ib_order_id=record.ib_order_id,
        perm_id=record.perm_id,
        quantity=float(record.order["totalQuantity"]),
        tif=record.order.get("tif", ""),
        combo=record.contract.get("secType") == "BAG",
        protect=record.protect,
        placed_ns=record.passed_wall_ns,
        accepted=record.accepted,
        parent=record.parent,
        legs=len(record.attached),
        change=_expected_change(record.change) if record.change else None,
    )


def _expected_change(change: Change) -> ExpectedChange:
    terms = {name: change.order[name] for name in TERMS if name in change.order}
    return ExpectedChange(request_id=change.request_id, revision=change.revision, terms=terms)
