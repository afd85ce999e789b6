"""Telling the end of an order: once nothing more is to be heard that belongs to it, and then once. Pure."""

from __future__ import annotations

from orderfuse.bus.events import Cancelled, Rejected
from services.executor.orders import cancels
from services.executor.orders.ends import Ending, ordinary_because, reason_for
from services.executor.orders.order_at_ib import OrderAtIb, short
from services.executor.orders.records import Effects, Ended

# A rejection's text and its status come milliseconds apart; a second later none will come.
TEXT_WAIT_SECS = 1.0
# The fill that ends an order's kin may be told after the end that it brings.
KIN_WAIT_SECS = 2.0


def try_end(order: OrderAtIb, now: float, effects: Effects) -> None:
    """Tell the end that IB has told of, if nothing is to be heard any more that it has to wait for."""
    ending, record = order.ending, order.record
    if ending is None or record.living_twins or not order.numbers.fits(order.filled_of_its_own):
        return
    waited = now - ending.since
    asked = record.cancel_asked or record.cancel_left
    if not ending.is_whole(asked=asked) and waited < TEXT_WAIT_SECS:
        return
    if ending.how != "cancelled":
        _reject(order, ending, effects)
        return
    ordinary = ordinary_because(ending, record, order.filled, order.left)
    has_kin = bool(record.oca_group or record.parent)
    if ordinary or not has_kin or waited >= KIN_WAIT_SECS:
        _cancel(order, ending, ordinary, effects)
    else:
        # What has become of its kin may have been lost on the way.
        effects.look_up = effects.look_up or not waited


def end(order: OrderAtIb, how: Ended, effects: Effects) -> None:
    """The order is over, which is being told."""
    record = order.record
    # Whether a change came before the end, only IB's list of what is over tells: the fill may be its doing.
    effects.look_up = effects.look_up or record.change is not None
    record.end(how)
    if record.cancel_asked and not record.cancel_sent and how != "cancelled":
        order.cancels.on_too_late()
    order.resting_since = order.ending = None


def _reject(order: OrderAtIb, ending: Ending, effects: Effects) -> None:
    record = order.record
    silent = ending.how == "inactive"
    ordinary = silent and (record.cancel_left or record.kin_over)
    outcome = order.count_neutral() if ordinary else order.count_failure(ending.outcome)
    text = "Inactive, and IB gave no reason" if silent else ending.text
    end(order, "rejected", effects)
    effects.tell(record, Rejected(**order.ids, ib_code=ending.code, reason=short(text)), outcome)


def _cancel(order: OrderAtIb, ending: Ending, ordinary: str, effects: Effects) -> None:
    record = order.record
    outcome = order.count_neutral() if ordinary else order.count_failure("failure")
    order.cancels.on_answered()
    requests = cancels.end_requests(record)
    fact = Cancelled(
        **order.ids,
        filled=order.filled,
        remaining=order.left,
        reason=short(reason_for(ending.text, ordinary)),
        request_id=requests[0] if requests else None,
        request_ids=tuple(requests) if len(requests) > 1 else (),
    )
    end(order, "cancelled", effects)
    effects.tell(record, fact, outcome)
