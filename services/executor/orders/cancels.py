"""Who wants an order cancelled, and what they are told of it. Pure."""

from __future__ import annotations

from orderfuse.bus.events import CancelFailed
from services.executor.orders.order_at_ib import OrderAtIb, short
from services.executor.orders.records import Effects, OrderRecord

# A strategy may ask again at each event. All were answered when they were passed on; the first and these are named
# again with what became of them.
MAX_LATER = 20


def ask(record: OrderRecord, request_id: str | None, why: str) -> None:
    """Somebody wants the order cancelled; without a `request_id` it is orderfuse itself, and `why` says why."""
    record.cancel_asked, record.cancel_sent, record.cancel_why = True, False, why
    if record.cancel_request_id is None:
        record.cancel_request_id = request_id
    elif request_id is not None and request_id not in (record.cancel_request_id, *record.later_cancels):
        record.later_cancels = (*record.later_cancels, request_id)[-MAX_LATER:]


def end_requests(record: OrderRecord) -> list[str]:
    """The requests that an answer is for, the first one first; none where only orderfuse itself has asked."""
    requests = [each for each in (record.cancel_request_id, *record.later_cancels) if each is not None]
    record.cancel_request_id, record.later_cancels = None, ()
    record.answered_cancel = requests[-1] if requests else None
    return requests


def fail(order: OrderAtIb, code: int, text: str, effects: Effects) -> None:
    """The cancel that is under way has no effect: answer all who asked for it."""
    record = order.record
    requests: list[str | None] = [*end_requests(record)]
    record.cancel_asked = record.cancel_sent = False
    order.cancels.on_answered()
    effects.keep(record)
    for request_id in requests or [None]:
        fact = CancelFailed(**order.ids, request_id=request_id, ib_code=code, reason=short(text))
        effects.tell(record, fact)
    # Often it has just been filled; IB's own lists tell.
    effects.look_up = True


def go_again(order: OrderAtIb, effects: Effects) -> None:
    """It lives: a cancel that was refused when IB did not know it goes again, or has failed."""
    refusal = order.cancels.refusal
    if refusal is None:
        return
    order.cancels.refusal = None
    if order.cancels.resends:
        order.record.cancel_sent = False
        effects.keep(order.record)
    else:
        fail(order, refusal.code, refusal.text, effects)
