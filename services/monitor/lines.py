"""What the monitor says of each event: pure, so that every line can be tested without a bus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from orderfuse.bounded import Bounded
from orderfuse.messages import (
    Accepted,
    AnyOrderEvent,
    Blocked,
    CancelFailed,
    Cancelled,
    Commission,
    Duplicate,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    OrderEvent,
    Passed,
    Rejected,
    Replaced,
    ReplaceFailed,
    RequestPassed,
    RequestRefused,
    State,
    Unknown,
)
from orderfuse.replies import a_list, a_map
from orderfuse.watch import Gap, Heard, Silent, Unreadable

Line = tuple[str, str]


@dataclass(slots=True)
class Lines:
    """Turns what was followed into lines of (level, text). Remembers the last state of each circuit."""

    # Ten times as many as may have a circuit; of more, the one goes that was quiet longest.
    _states: Bounded[str, State] = field(default_factory=Bounded)

    def about(self, topic: str, item: Any) -> Iterator[Line]:
        """The lines for one message or notice; none for what is no news."""
        match item:
            case State():
                yield from self._state(item)
            case OrderEvent():
                if not item.again:
                    yield from _order(item)  # type: ignore[arg-type]
            case Heard():
                yield from _heard(item)
            case Silent():
                yield "WARNING", "no breaker is heard; waiting for one"
            case Gap():
                yield from _gap(topic, item)
            case Unreadable():
                yield "WARNING", f"{topic} an event could not be read: {item.reason}"

    def _state(self, now: State) -> Iterator[Line]:
        before = self._states.get(now.scope)
        self._states[now.scope] = now
        if before is not None and _shown(before) == _shown(now):
            return
        # A strategy's circuit that is as it should be is no news until it has been otherwise.
        if before is None and now.scope != "system" and now.state == "CLOSED" and not now.conditions:
            return
        change: str = now.state
        if before is not None and before.state != now.state:
            change = f"{before.state} -> {now.state}"
        text = f"{now.scope}: {change}{', latched' if now.latched else ''}"
        if now.reason:
            text += f": {now.reason}"
        if now.conditions:
            text += f"; no order passes while these hold: {', '.join(now.conditions)}"
        if now.retry_at:
            text += f"; retries at {now.retry_at}"
        elif now.latched:
            text += "; nothing passes until a person resets it: orderfuse reset"
        yield "INFO" if now.state == "CLOSED" and not now.conditions else "WARNING", text


def _shown(state: State) -> tuple[Any, ...]:
    return state.state, state.latched, state.reason, tuple(state.conditions), state.retry_at, state.generation


def _order(event: AnyOrderEvent) -> Iterator[Line]:
    told = _order_line(event)
    if told is not None:
        level, text = told
        correction = f" (instead of what was said in {event.supersedes})" if event.supersedes is not None else ""
        yield level, f"{event.strategy_id} {event.order_id} {text}{correction}"


def _order_line(event: AnyOrderEvent) -> Line | None:  # noqa: C901 - a table of one row for each kind
    match event:
        case Filled():
            left = "done" if event.done else f"{event.remaining:g} left"
            change = f" (corrects {event.corrects})" if event.corrects else ""
            return "INFO", f"filled {event.shares:g} at {event.price:g}, {left}, exec {event.exec_id}{change}"
        case Blocked():
            return "WARNING", f"blocked ({event.code}): {event.reason}"
        case Expired():
            return "WARNING", f"expired: {event.age_ms} ms old at its turn, not sent"
        case Invalid():
            return "WARNING", f"invalid: {event.reason}"
        case Cancelled():
            return "INFO", f"cancelled: {event.filled:g} filled, {event.remaining:g} not; {event.reason}"
        case Rejected():
            return "WARNING", f"rejected by IB ({event.ib_code}): {event.reason}"
        case NotPlaced():
            return "WARNING", f"not placed ({event.code}){f': {event.reason}' if event.reason else ''}"
        case Unknown():
            return "ERROR", "unknown: what became of it at IB is open; it is being looked up, do not send it again"
        case CancelFailed():
            return "WARNING", f"not cancelled by IB ({event.ib_code}): {event.reason}"
        case ReplaceFailed():
            return "WARNING", f"not changed{f' by IB ({event.ib_code})' if event.ib_code else ''}: {event.reason}"
        case Replaced():
            return "INFO", f"changed as request {event.request_id} asked"
        case RequestRefused():
            return "WARNING", f"request {event.request_id} refused ({event.code}): {event.reason}"
        case Passed() | Accepted() | Commission() | Duplicate() | RequestPassed():
            return None


def _heard(heard: Heard) -> Iterator[Line]:
    status = heard.status or {}
    executor, gateway = a_map(status.get("executor")), a_map(status.get("gateway"))
    present = "present" if executor.get("present") else "not there"
    connected = "connected" if gateway.get("connected") else "not connected"
    yield "INFO", f"a breaker is there; executor {present}, gateway {connected}"
    if status.get("unknown"):
        ids = ", ".join(map(str, a_list(status["unknown"])))
        yield "ERROR", f"unknown orders: {ids}; IB may have them: look them up in TWS, then orderfuse resolve"


def _gap(topic: str, gap: Gap) -> Iterator[Line]:
    if gap.missing:
        yield "ERROR", f"{topic} events after {gap.after_seq} are lost, also in the journal: look with orderfuse orders"
    else:
        yield "INFO", f"{topic} {gap.replayed} events after {gap.after_seq} come from the journal"
