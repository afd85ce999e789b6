"""Orders that outlived a journal: it is new, lost, or an old copy, and IB has them all the same. Pure.

The executor that comes with another journal is told of every order that was handed over before, and looks each up at
IB. What IB lists under our reference and nobody knows is told as well; and what the executor knows and this breaker
does not, is known from then on. What was told before is not told again.
"""

from __future__ import annotations

from typing import Any

from orderfuse.bus.events import (
    Accepted,
    CancelFailed,
    Cancelled,
    Commission,
    Filled,
    OrderEvent,
    Rejected,
    Replaced,
    ReplaceFailed,
    Unknown,
)
from orderfuse.ibfields.checks import TERMS
from services.breaker.core import Core
from services.breaker.orders import Change, OrderRecord, new_change
from services.wire.dispatch import Expect, ExpectedChange
from services.wire.feedback import Adopted, Written


def have_looked_up(core: Core) -> None:
    """Tell the executor that has just joined of the orders that were handed over under another journal."""
    journal_id = core.executor.journal_id
    for record in core.orders.values():
        if record.state in ("out", "working", "unknown") and record.executor_journal != journal_id:
            core.send(_expected(record))


def adopt(core: Core, fact: OrderEvent, journal_id: str) -> OrderRecord | None:
    """An order that the executor knows and this breaker does not: it is known from now on, whatever it becomes.

    It is told, can be cancelled, and its id is never placed again; None for the answer to a request about no order.
    """
    if isinstance(fact, CancelFailed | Replaced | ReplaceFailed):
        return None
    core.batch.notes.append(f"{fact.order_id} of {fact.strategy_id} is known to the executor, and was not known here")
    core.keep_place(fact.strategy_id)
    record = core.orders[fact.order_id] = OrderRecord(
        order_id=fact.order_id,
        strategy_id=fact.strategy_id,
        # A submit under this id is not known to be the same order.
        digest=b"",
        account="",
        contract=fact.contract if isinstance(fact, Adopted) else {},
        order=fact.order if isinstance(fact, Adopted) else _seen_order(fact),
        protect=False,
        ttl_ms=0,
        arrived_ns=core.now,
        age_at_arrival_ns=0,
        arrived_wall_ns=core.wall_ns,
        # That its bytes have left is no word of IB's.
        state="unknown" if isinstance(fact, Written) else "working",
        passed_ns=core.now,
        passed_wall_ns=core.wall_ns,
        # No circuit of this breaker has admitted it, so none counts what becomes of it.
        settled="neutral",
        executor_journal=journal_id,
    )
    return record


def identify(record: OrderRecord, fact: Adopted) -> None:
    """What the order is at IB, and the change of it that is under way there, if this breaker knows of none."""
    record.ib_order_id, record.perm_id = fact.ib_order_id, fact.perm_id
    change = fact.change
    if change is None or record.change is not None or change.revision <= record.revision:
        return
    record.revision = change.revision
    # It counts in no circuit: those that it went through were of a breaker that is gone.
    terms = {**record.order, **change.terms}
    record.change = new_change(record, change.request_id, change.revision, terms, counts=False)


def _seen_order(fact: OrderEvent) -> dict[str, Any]:
    """What a fact shows of the order."""
    match fact:
        case Filled():
            return {"totalQuantity": fact.cum_qty + fact.remaining}
        case Cancelled():
            return {"totalQuantity": fact.filled + fact.remaining}
        case _:
            return {}


def standing(fact: Adopted) -> OrderEvent | None:
    """The state of an order that was not known here, as an event; None if its own facts follow."""
    ids: dict[str, Any] = {"order_id": fact.order_id, "strategy_id": fact.strategy_id, "again": fact.again}
    if fact.doubtful:
        return Unknown(**ids, reason="it was in doubt when this breaker's journal was lost")
    if not fact.status:
        return None
    ids |= {"ib_order_id": fact.ib_order_id, "perm_id": fact.perm_id}
    return Accepted(**ids, status=fact.status, filled_before=fact.filled or None)


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
        quantity=record.quantity,
        tif=record.order.get("tif", ""),
        combo=record.contract.get("secType") == "BAG",
        protect=record.protect,
        placed_ns=record.passed_wall_ns,
        accepted=record.accepted,
        parent=record.parent,
        legs=len(record.attached),
        change=_expected_change(record.change) if record.change else None,
        oca_group=record.order.get("ocaGroup", ""),
    )


def _expected_change(change: Change) -> ExpectedChange:
    terms = {name: change.order[name] for name in TERMS if name in change.order}
    return ExpectedChange(request_id=change.request_id, revision=change.revision, terms=terms)
