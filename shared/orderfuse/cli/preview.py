"""What a trip has done to how many orders, and what a reset will do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from orderfuse.cli.asking import hint, quick_status, scopes_in
from orderfuse.cli.orders import REPLY
from orderfuse.cli.show import clean, counted, names, some
from orderfuse.cli.status import SYSTEM, circuit_todo, passes
from orderfuse.client.control import ControlClient
from orderfuse.client.replies import a_list, maps
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.settings import Settings
from orderfuse.stopfile import FILE, Stop
from orderfuse.text import did_you_mean

CANCELS = {
    "none": "kept",
    "ours": "cancelled, except those that protect a position",
    "ours_with_protective": "cancelled, those that protect a position too",
    "all": "cancelled, and with them every other order of the account, manual ones too",
}
# What the setting breaker.on_trip means. No strategy's own trip takes the orders of its neighbours along.
ON_TRIP = {"keep": "none", "cancel": "ours", "cancel_all": "all"}


def after_trip(reply: dict[str, Any]) -> Iterator[str]:
    """What has become of the orders on their way, as the reply to a trip says."""
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
    if reply.get("note"):
        yield clean(reply["note"])


def after_trip_at_ib(control: ControlClient, scope: str, cancel: str | None, settings: Settings) -> Iterator[str]:
    """What becomes of working orders, and whether anybody ever heard of this strategy. It waits only for a moment."""
    of = "" if scope == SYSTEM else f" of {scope}"
    policy = cancel or _policy(scope, settings)
    # How many there are changes from moment to moment while they are being cancelled.
    count = (_count(control, scope, "working") or "not known how many") if policy == "none" else "orders"
    by = "" if cancel else " (breaker.on_trip in this home)"
    yield f"{count} working at IB{of}: {CANCELS[policy]}{by}; cancels still pass"
    if scope != SYSTEM and _count(control, scope, None) == "0":
        others = set(scopes_in(quick_status(control))) - {SYSTEM, scope}
        yield f"NO ORDER OF {scope} HAS EVER COME{did_you_mean(scope, others)}"


def before_reset(
    status: dict[str, Any], circuit: dict[str, Any], now: datetime, stop: Stop | None = None
) -> Iterator[Any]:
    """The circuit as it is, and what resetting it will bring; `stop` is the file that stops everything."""
    scope = clean(circuit.get("scope"))
    state = "CLOSED already" if circuit.get("state") == "CLOSED" else clean(circuit.get("state"))
    reason = next(iter(circuit_todo(circuit, now)), f"{scope} is {state}")
    failures = circuit.get("failures")
    told = f"{counted(failures, 'failure')}, " if isinstance(failures, int) else ""
    yield reason
    yield f"  {told}generation {clean(circuit.get('generation'))}"
    yield f"resetting {scope}"
    yield "  failures count from nought, and orders that come from now on may pass"
    if stop and scope == SYSTEM:
        owner = f" of {clean(stop.owner)}" if stop.owner else ""
        yield f"  the file {FILE}{owner} is removed first: {clean(stop.reason)}"
    waiting = status.get("queued")
    if waiting and circuit.get("state") != "CLOSED":
        yield f"  {clean(waiting)} queued: those that wait for {scope} are blocked, not sent"
    held = a_list(circuit.get("conditions"))
    if held:
        one, many = "still holds, and blocks until it is over", "still hold, and block until they are over"
        yield f"  but {some(held, one, many)}"
    if scope == SYSTEM:
        others = [each.get("scope") for each in maps(status.get("circuits")) if each.get("state") != "CLOSED"]
        others = [other for other in others if other != SYSTEM]
        if others:
            yield f"  but {some(others, 'stays as it is', 'stay as they are')}: each is reset by itself"
    elif any(each.get("scope") == SYSTEM and not passes(each) for each in maps(status.get("circuits"))):
        yield "  but the system lets no order pass: see orderfuse status"


def after_reset(reply: dict[str, Any], scope: str, now: datetime) -> Iterator[Any]:
    """What a reset has done, and what it has left as it was."""
    yield f"{scope} is {clean(reply.get('state'))}, generation {clean(reply.get('generation'))}"
    if reply.get("note"):
        yield clean(reply["note"])
    still_open = maps(reply.get("still_open"))
    if still_open:
        yield Text("not reset with it, each is reset by itself:", "yellow")
    for circuit in still_open:
        yield from circuit_todo(circuit, now)


def _policy(scope: str, settings: Settings) -> str:
    policy = ON_TRIP[settings.breaker.on_trip]
    return "ours" if policy == "all" and scope != SYSTEM else policy


def _count(control: ControlClient, scope: str, state: str | None) -> str | None:
    """How many orders of `scope` are in `state`, or in any, as text: a reply may be cut."""
    strategy_id = None if scope == SYSTEM else scope.removeprefix("strategy:")
    try:
        reply = hint(control, "orders", state=state, strategy_id=strategy_id, limit=REPLY)
    except (BreakerUnavailable, ControlRefused):
        return None
    found = len(a_list(reply.get("orders")))
    return f"{found} or more" if reply.get("more") else str(found)
