"""What must be true of cancels: one answer of the breaker each, at most one of IB, and none that is forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any


def complaints(
    order_id: str, cancels: dict[str, str], events: list[dict[str, Any]], *, lives: bool, breaker_lost: bool
) -> list[str]:
    """Everything that is not as it must be with the cancels of this order.

    Args:
        order_id: which order.
        cancels: of which order each cancel is.
        events: what was told of this order.
        lives: it works at IB, and nobody has been told that this is unknown.
        breaker_lost: the breaker's journal was lost. It may have answered a cancel before, and do so anew, and an end
            that it has forgotten may be told again.
    """
    kinds = [event["kind"] for event in events]
    asked = [request_id for request_id, of in cancels.items() if of == order_id]
    by_breaker = Counter(event["request_id"] for event in events if event["kind"] in _BY_BREAKER)
    by_ib = Counter(request_id for event in events for request_id in _answered_by_ib(event))
    found = [
        f"{order_id}: cancel {at} was answered {by_breaker[at]} times by the breaker: {kinds}"
        for at in asked
        if by_breaker[at] != 1 and not (breaker_lost and by_breaker[at])
    ]
    found += [
        f"{order_id}: cancel {at} was answered {times} times by IB: {kinds}"
        for at, times in by_ib.items()
        if times > 1 and not breaker_lost
    ]
    found += [
        f"{order_id}: a cancel was told to have failed because another one works: {event['reason']}"
        for event in events
        if event["kind"] == "cancel_failed" and any(state in event["reason"] for state in _CANCELLING)
    ]
    if not breaker_lost and lost_of(order_id, cancels, events, lives=lives):
        found.append(f"{order_id} works although its cancel was passed on, and nobody was told that it failed: {kinds}")
    return found


def lost_of(order_id: str, cancels: dict[str, str], events: list[dict[str, Any]], *, lives: bool) -> bool:
    """Whether a cancel of this order was passed on and has neither ended it nor failed, so far."""
    if not lives or any(event["kind"] == "cancel_failed" for event in events):
        return False
    return any(event["kind"] == "request_passed" and cancels.get(event["request_id"]) == order_id for event in events)


def _answered_by_ib(event: dict[str, Any]) -> Iterator[str]:
    """The cancels that this event is an answer to; of several it names the first one twice."""
    if event["kind"] in ("cancelled", "cancel_failed"):
        yield from {event.get("request_id"), *event.get("request_ids", ())} - {None}


# The states in a 10148 that say no more than that an earlier cancel works, or has worked.
_CANCELLING = ("state: PendingCancel", "state: Cancelled", "state: ApiCancelled")
_BY_BREAKER = ("request_passed", "request_refused")
