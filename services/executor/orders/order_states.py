"""What a status of IB's makes of an order: it works, it has come to an end, or it lives after all. Pure."""

from __future__ import annotations

from orderfuse.bus.events import Accepted
from services.executor.orders import cancels, twins
from services.executor.orders.ends import CANCELLED_STATUSES, Ending
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.order_ends import try_end
from services.executor.orders.records import Effects
from services.wire.feedback import Working

SUCCESS_STATUSES = frozenset({"Submitted", "Filled"})
# These prove that an order lives which was believed to be over; PendingCancel and the like prove nothing.
PROOFS_OF_LIFE = frozenset({"PreSubmitted", "Submitted", "Filled"})


def see_status(
    order: OrderAtIb, status: str, now: float, effects: Effects, *, held: bool, numbered: bool = False
) -> None:
    """IB says in which status it is.

    `held`: an Inactive that is no rejection. `numbered`: what is filled was said with it.
    """
    record = order.record
    if status in CANCELLED_STATUSES:
        see_end(order, Ending("cancelled", now, numbered=numbered), now, effects)
    elif status == "Inactive" and not held:
        see_end(order, Ending("inactive", now, numbered=numbered), now, effects)
    elif not record.ended:
        on_working(order, status, now, effects)
    elif status in PROOFS_OF_LIFE and order.remaining and (status != "Filled" or record.ended != "filled"):
        _live_on(order, status, now, effects)


def see_end(order: OrderAtIb, end: Ending, now: float, effects: Effects) -> None:
    """IB has told of an end; it is told on when nothing more is to be heard that belongs to it."""
    if order.is_over:
        return
    order.resting_since = None
    before = order.ending
    if before is None:
        end.accepted_for = now - order.accepted_at if order.record.accepted else 0.0
        order.ending = end
    else:
        order.ending = before.with_word(end)
        for each in (before, end):
            if each.text not in ("", order.ending.text):
                effects.notes.append(f"{order.record.order_id}: IB says of its end, too: {each.text}")
    if before is None and order.record.twins:
        twins.chase(order, effects)
    try_end(order, now, effects)
    twins.see(order, now, effects)


def on_working(order: OrderAtIb, status: str, now: float, effects: Effects) -> None:
    """IB has it, in this status."""
    record = order.record
    if order.doubtful and (order.numbers.sought or record.living_twins):
        # That it works is not what is open about it.
        record.status = status
        effects.keep(record)
        if status == "Filled" and not order.numbers.sought:
            text = "it and the other order under its reference are over"
            see_end(order, Ending("cancelled", now, text, explained=True, numbered=True), now, effects)
        return
    changed = status != record.status or order.doubtful
    first = not record.accepted
    if order.ending is not None and order.ending.text:
        effects.notes.append(f"{record.order_id}: IB had said that it was over: {order.ending.text}")
    record.status, order.doubtful, order.ending = status, False, None
    accept(order, status, now, effects)
    outcome = order.count_success() if status in SUCCESS_STATUSES else None
    if outcome or (changed and not first):
        effects.tell(record, Working(**order.ids, status=status), outcome)
    rests = status in {"PreSubmitted", "Inactive"} and not record.counted
    order.resting_since = (now if order.resting_since is None else order.resting_since) if rests else None
    nothing_left = order.numbers.remaining == 0 and order.numbers.fits(order.filled_of_its_own)
    if status == "Filled" and (not order.remaining or nothing_left):
        # A replace took off what was left, or IB did, so that no further fill can end it.
        if nothing_left:
            record.quantity = order.filled
        see_end(order, Ending("cancelled", now, explained=True, numbered=True), now, effects)
    elif status in PROOFS_OF_LIFE or status == "Inactive":
        cancels.go_again(order, effects)


def accept(order: OrderAtIb, status: str, now: float, effects: Effects) -> None:
    """IB shows it, which is told the first time."""
    record = order.record
    if record.accepted:
        return
    record.accepted = True
    order.accepted_at = now
    fact = Accepted(
        **order.ids,
        ib_order_id=record.ib_order_id,
        perm_id=record.perm_id,
        status=status,
        filled_before=record.filled_before or None,
    )
    effects.tell(record, fact)


def _live_on(order: OrderAtIb, status: str, now: float, effects: Effects) -> None:
    """It was over, and IB shows that it lives; or it is larger there than it was when it was filled."""
    record = order.record
    effects.notes.append(f"{record.order_id}: IB says {status} after it was {record.ended}: it lives")
    record.end("")
    effects.look_up = True
    if record.accepted:
        record.status = status
        effects.tell(record, Working(**order.ids, status=status, lives=True))
    on_working(order, status, now, effects)
