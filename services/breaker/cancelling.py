"""Which cancels of an order wait for what becomes of them. Pure.

The executor is asked once for several cancels that come within a second, and its answer is the answer to all of them.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from orderfuse.messages import CancelFailed, Cancelled
from services.breaker.core import Core
from services.breaker.orders import OrderRecord
from services.breaker.scopes import SECOND_NS

# A strategy may cancel at each event. Each is answered when it is passed on; of so many the end is told as well.
MAX_WAITING = 20
# The executor waits 5 s for IB's own word before it answers for it.
ANSWER_NS = 7 * SECOND_NS


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


def see_end(core: Core, record: OrderRecord, how: str) -> None:
    """The order has ended otherwise. IB's own no may follow; the executor may not have been there to ask for it."""
    if record.cancels:
        core.at(core.now() + ANSWER_NS, lambda: _give_up(core, record, how))


def _give_up(core: Core, record: OrderRecord, how: str) -> None:
    if record.cancels and record.state == "done":
        ids: dict[str, Any] = {"order_id": record.order_id, "strategy_id": record.strategy_id}
        fail(core, record, CancelFailed(**ids, request_id=None, ib_code=0, reason=f"the order was {how} first"))


def fail(core: Core, record: OrderRecord, fact: CancelFailed) -> None:
    """IB did not cancel: that is the answer to all who have asked, once for each."""
    record.cancel_wanted, record.cancel_request_id = False, None
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
