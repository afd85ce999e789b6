"""Cancels: of whole scopes, and which ones of an order wait for what becomes of them. Pure.

The executor is asked once for several cancels that come within a second, and its answer is the answer to all of them.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from orderfuse.bus.events import CancelFailed, Cancelled
from services.breaker import brackets
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, strategy_scope
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.orders import OrderRecord

# A strategy may cancel at each event. Each is answered when it is passed on; of so many the end is told as well.
MAX_WAITING = 20
# The executor waits 5 s for IB's own word before it answers for it.
ANSWER_NS = 7 * SECOND_NS


def cancel_automatically(core: Core, scope: str, *, protective_too: bool) -> list[str]:
    """Cancel the orders of a scope that are beyond the breaker; returns their ids.

    A protective order stays unless a person says otherwise: a crash must not remove a stop.
    """
    chosen = [
        record
        for record in core.orders.values()
        if record.state in ("out", "working", "unknown")
        and scope in (SYSTEM, strategy_scope(record.strategy_id))
        and (protective_too or not (record.protect or brackets.stays_at_an_automatic_cancel(core, record)))
    ]
    for record in chosen:
        core.ask_to_cancel(record, None)
    return [record.order_id for record in chosen]


def waits(core: Core, record: OrderRecord, request_id: str) -> None:
    """This cancel was passed on: it waits for the order's end, or for IB's no."""
    if request_id not in record.cancels and len(record.cancels) < MAX_WAITING:
        record.cancels = (*record.cancels, request_id)
        core.save(record)


def answered(record: OrderRecord, fact: Cancelled) -> Cancelled:
    """The order was cancelled: that is the answer to all who have asked."""
    told = [fact.request_id, *fact.request_ids] if fact.request_id else []
    asked = list(dict.fromkeys([*record.cancels, *told]))
    record.cancels = ()
    record.cancel_wanted = False
    if not asked:
        return fact
    return structs.replace(fact, request_id=asked[0], request_ids=tuple(asked) if len(asked) > 1 else ())


def see_end(core: Core, record: OrderRecord) -> None:
    """The order has ended otherwise. IB's own no may follow; the executor may not have been there to ask for it."""
    if record.cancels:
        core.deadlines.set(Deadline(Due.CANCEL_ANSWER, record.order_id), core.now + ANSWER_NS)


def give_up(core: Core, order_id: str) -> None:
    """No answer to its cancels came in time. An order that waits for one stays in memory."""
    record = core.orders.get(order_id)
    if record is None or record.state != "done":
        return
    # Saved in any case: so it leaves memory, also where its end has answered them meanwhile.
    core.save(record)
    if record.cancels:
        how = (record.end or {}).get("kind", "done")
        ids: dict[str, Any] = {"order_id": record.order_id, "strategy_id": record.strategy_id}
        fail(core, record, CancelFailed(**ids, request_id=None, ib_code=0, reason=f"the order was {how} first"))


def fail(core: Core, record: OrderRecord, fact: CancelFailed) -> None:
    """IB did not cancel: that is the answer to all who have asked, once for each."""
    record.cancel_wanted, record.cancel_request_id = False, None
    # With the answer the order may leave memory.
    core.deadlines.drop(Deadline(Due.CANCEL_ANSWER, record.order_id))
    if fact.request_id is not None and fact.request_id in record.refused_cancels:
        core.save(record)
        return
    asked: list[str | None] = [*record.cancels]
    if fact.request_id not in asked and (fact.request_id is not None or not asked):
        asked.append(fact.request_id)
    record.cancels = ()
    record.refused_cancels = (*record.refused_cancels, *(each for each in asked if each))[-MAX_WAITING:]
    for request_id in asked:
        core.tell(record, structs.replace(fact, request_id=request_id))
