"""The final check of an order, right before its bytes leave: write it, let it wait, or refuse it.

Pure. What cannot get better by waiting is refused at once: an order that sat through a stall is stale,
so a lease that has run out refuses it even if the next lease comes a moment later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orderfuse.bus.events import Expired, NotPlaced
from orderfuse.text import cut
from services.wire.dispatch import Place, ReplaceOrder


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything that the final check depends on beside the order, read at the same moment.

    Attributes:
        now: monotonic seconds.
        stopped: the file STOP is there, or cannot be looked for.
        fence: the fence of the order's scope that is current.
        lease_until: when the lease runs out, monotonic seconds.
        known: an order with this id was on its way to IB before.
        usable: the gateway is connected, reconciled, and IB is behind it.
        detail: why it is not usable.
        window_free: an order more may be written and unanswered.
        buffer_empty: all bytes written before have left this process.
        token_free: the pacing allows one more message.
    """

    now: float
    stopped: bool
    fence: int
    lease_until: float
    known: bool
    usable: bool
    detail: str
    window_free: bool
    buffer_empty: bool
    token_free: bool


@dataclass(frozen=True, slots=True)
class WriteNow:
    """Write it."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Check again later; nothing behind it may go first."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """It will never be written."""

    fact: NotPlaced | Expired


@dataclass(frozen=True, slots=True)
class AlreadyPlaced:
    """An order with this id has been on its way to IB: not again, and no word that IB never had it."""


Finding = WriteNow | Wait | Refuse | AlreadyPlaced


def final_check(place: Place | ReplaceOrder, received_at: float, around: Surroundings) -> Finding:
    """Judge `place`, which came at `received_at` (monotonic seconds)."""
    if around.known:
        return AlreadyPlaced()
    refusal = _refusal(place, received_at, around)
    if refusal:
        return Refuse(refusal)
    if not around.window_free:
        return Wait("the window is full")
    if not around.buffer_empty:
        return Wait("the gateway takes no bytes")
    if not around.token_free:
        return Wait("pacing")
    return WriteNow()


def _refusal(place: Place | ReplaceOrder, received_at: float, around: Surroundings) -> NotPlaced | Expired | None:
    ids: dict[str, Any] = {"order_id": place.order_id, "strategy_id": place.strategy_id}
    if around.stopped:
        return stopped(place)
    if place.fence != around.fence:
        return NotPlaced(**ids, code="fenced", reason=f"fence {place.fence}, current is {around.fence}")
    if around.now >= around.lease_until:
        late_ms = min(round((around.now - around.lease_until) * 1000), 10**9)
        return NotPlaced(**ids, code="lease", reason=f"the breaker's lease ran out {late_ms} ms ago")
    waited_ms = (around.now - received_at) * 1000
    if waited_ms >= place.ttl_left_ms:
        return Expired(**ids, age_ms=round(waited_ms))
    if not around.usable:
        return NotPlaced(**ids, code="undelivered", reason=cut(f"the gateway cannot take orders: {around.detail}"))
    return None


def stopped(order: Place | ReplaceOrder) -> NotPlaced:
    """Our no while the file STOP is there: a trip that no breaker need have taken."""
    return NotPlaced(order_id=order.order_id, strategy_id=order.strategy_id, code="fenced", reason="STOP")
