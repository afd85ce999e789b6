"""What a trip or a reset will do to how many orders, and what it has done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orderfuse.asking import did_you_mean, hint, quick_status, scopes_in
from orderfuse.control import ControlClient
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.replies import a_list, maps
from orderfuse.settings import Settings
from orderfuse.show import clean, counted, names
from orderfuse.statusview import SYSTEM, circuit_todo, passes

CANCELS = {
    "none": "kept",
    "ours": "cancelled, except those that protect a position",
    "ours_with_protective": "cancelled, those that protect a position too",
    "all": "cancelled, and with them every other order of the account, manual ones too",
}
# What the setting breaker.on_trip means. No strategy's own trip takes the orders of its neighbours along.
ON_TRIP = {"keep": "none", "cancel": "ours", "cancel_all": "all"}


@dataclass(frozen=True, slots=True)
class TripPreview:
    """How many orders a trip will meet. `status` is empty, and a count None, where the breaker did not say at once."""

    status: dict[str, Any]
    queued: str | None
    working: str | None


def trip_preview(control: ControlClient, scope: str) -> TripPreview:
    """Ask how many orders a trip of `scope` will meet, without waiting for the answer longer than a moment."""
    status = quick_status(control)
    if not status:
        return TripPreview({}, None, None)
    queued = clean(status.get("queued")) if scope == SYSTEM else _count(control, scope, "queued")
    return TripPreview(status, queued, _count(control, scope, "working"))


def before_trip(preview: TripPreview, scope: str, cancel: str | None, settings: Settings) -> Iterator[str]:
    """What will happen to how many orders."""
    if not preview.status:
        yield "how many orders this meets is not known: the breaker did not say so at once"
        return
    known = scopes_in(preview.status)
    if scope not in known:
        yield f"{scope} HAS NO CIRCUIT YET: no order of it has come{did_you_mean(scope, set(known) - {SYSTEM})}"
    of = "" if scope == SYSTEM else f" of {scope}"
    whose = CANCELS[cancel] if cancel else f"{CANCELS[_policy(scope, settings)]} (breaker.on_trip in this home)"
    nobody_says = "not known how many"
    out = clean(preview.status.get("orders_out")) or nobody_says
    state = next((each.get("state") for each in maps(preview.status.get("circuits")) if each.get("scope") == scope), "")
    yield f"tripping {scope}{f', now {clean(state)}' if state else ''}: it latches until somebody resets it"
    yield f"  {preview.queued or nobody_says} queued{of}: blocked, never sent"
    yield f"  {out} handed over: refused, unless they are written to IB already"
    yield f"  {preview.working or nobody_says} working at IB{of}: {whose}; cancels still pass"


def after_trip(reply: dict[str, Any], scope: str) -> Iterator[str]:
    """What has happened."""
    yield f"{scope} is OPEN and latched, generation {clean(reply.get('generation'))}"
    written, cancelling = a_list(reply.get("written")), a_list(reply.get("cancelling"))
    if reply.get("fenced"):
        yield "the stop of what was on its way is confirmed by the executor"
    else:
        yield "the stop of what was on its way is NOT confirmed by the executor"
    if written:
        sure = "" if reply.get("fenced") else "perhaps "
        yield f"{sure}written to IB and not answered: {names(written)}"
    if cancelling:
        yield f"being cancelled: {names(cancelling)}"
    option = "" if scope == SYSTEM else f" --scope {scope}"
    yield f"-> find the cause, then: orderfuse reset{option}"


def before_reset(status: dict[str, Any], circuit: dict[str, Any], now: datetime) -> Iterator[Any]:
    """The circuit as it is, and what resetting it will bring."""
    scope = clean(circuit.get("scope"))
    state = "CLOSED already" if circuit.get("state") == "CLOSED" else clean(circuit.get("state"))
    reason = next(iter(circuit_todo(circuit, now)), f"{scope} is {state}")
    failures = circuit.get("failures")
    told = f"{counted(failures, 'failure')}, " if isinstance(failures, int) else ""
    yield reason
    yield f"  {told}generation {clean(circuit.get('generation'))}"
    yield f"resetting {scope}"
    yield "  failures count from nought, and orders that come from now on may pass"
    waiting = status.get("queued")
    if waiting and circuit.get("state") != "CLOSED":
        yield f"  {clean(waiting)} queued: those that wait for {scope} are blocked, not sent"
    held = a_list(circuit.get("conditions"))
    if held:
        yield f"  but {names(held)} still holds, and blocks until it is over"
    if scope == SYSTEM:
        others = [each.get("scope") for each in maps(status.get("circuits")) if each.get("state") != "CLOSED"]
        others = [other for other in others if other != SYSTEM]
        if others:
            yield f"  but {names(others)} stays as it is: each is reset by itself"
    elif any(each.get("scope") == SYSTEM and not passes(each) for each in maps(status.get("circuits"))):
        yield "  but the system lets no order pass: see orderfuse status"


def _policy(scope: str, settings: Settings) -> str:
    policy = ON_TRIP[settings.breaker.on_trip]
    return "ours" if policy == "all" and scope != SYSTEM else policy


def _count(control: ControlClient, scope: str, state: str) -> str | None:
    """How many orders of `scope` are in `state`, as text: a reply may be cut."""
    strategy_id = None if scope == SYSTEM else scope.removeprefix("strategy:")
    try:
        reply = hint(control, "orders", state=state, strategy_id=strategy_id)
    except (BreakerUnavailable, ControlRefused):
        return None
    found = len(a_list(reply.get("orders")))
    return f"{found} or more" if reply.get("more") else str(found)
