"""What the passing of time makes of an order, and what it means that IB's lists do not have it. Pure."""

from __future__ import annotations

from orderfuse.bus.events import Unknown
from services.executor.orders import cancels, changes
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.order_ends import try_end
from services.executor.orders.records import Effects
from services.wire.feedback import Working

# Stops, and orders outside hours, rest in PreSubmitted: standing there this long is a success.
RESTING_SECS = 2.0


def on_time(order: OrderAtIb, now: float, effects: Effects) -> None:
    """Let due time pass."""
    record = order.record
    if order.numbers.look_up_due(order.filled_of_its_own, now):
        effects.look_up = True
        effects.notes.append(f"{record.order_id}: {order.why_unfit}")
    try_end(order, now, effects)
    if order.resting_since is not None and now - order.resting_since >= RESTING_SECS:
        order.resting_since = None
        outcome = order.count_success()
        if outcome:
            effects.tell(record, Working(**order.ids, status=record.status), outcome)
    if record.ended and order.cancels.overdue(now):
        cancels.fail(order, 0, f"the order was {record.ended} first", effects)
    elif not record.ended and order.cancels.look_up_due(now):
        effects.look_up = True
        order.ask(now)
        effects.notes.append(f"{record.order_id}: its cancel has no answer; IB's lists are asked")


def on_lost(order: OrderAtIb, effects: Effects) -> None:
    """IB's lists no longer have this order, neither as open nor as over, or not its fills: how it ended is open."""
    record = order.record
    if order.doubtful:
        return
    order.doubtful = True
    if order.numbers.sought:
        why = order.why_unfit
    else:
        asked = order.asked_after > order.heard_at and (record.cancel_left or record.revision)
        why = "IB lists it no longer; it may have ended on an earlier day"
        if asked:
            why = "IB does not list it, neither as open nor as over, since it was asked to cancel or to change it"
        changes.fail(order, 0, "IB lists the order no longer", "neutral", effects)
    effects.tell(record, Unknown(**order.ids, reason=why))
