"""What each event means to a person: how urgent it is, and one sentence. For logs, the command line and alerts. Pure.

The sentences hold others' words as they came; who prints them makes one line of them (`orderfuse.text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, assert_never

from orderfuse.bus.events import (
    Accepted,
    AnyOrderEvent,
    Blocked,
    CancelFailed,
    Cancelled,
    Commission,
    Duplicate,
    Expired,
    Filled,
    Health,
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
from orderfuse.bus.notices import Gap, Heard, Message, Notice, Silent, Unreadable
from orderfuse.text import plain_number

SYSTEM = "system"


class Severity(Enum):
    """Who has to know.

    `DEBUG`: who looks for a fault; a step on the way. `INFO`: who reads the log. `WARN`: who trades, today. `PAGE`:
    a person, now: money may be where nobody looks.
    """

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    PAGE = "page"


class Words(NamedTuple):
    """What is said of one event."""

    severity: Severity
    sentence: str


def words_of(item: Message | Notice) -> Words:
    """What is said of an event or a notice; the sentence does not say whose it is."""
    match item:
        case State():
            return state_words(item)
        case Health():
            return _health_words(item)
        case OrderEvent():
            return order_words(item)
        case Silent() | Heard() | Gap() | Unreadable():
            return _notice_words(item)
        case _:
            assert_never(item)


def order_words(event: AnyOrderEvent) -> Words:
    """What became of an order. A fact that is told again, or in place of another, says so."""
    severity, sentence = _order_words(event)
    if event.supersedes is not None:
        sentence += f" (instead of what was said in {event.supersedes})"
    return Words(severity, f"{sentence} (told again)" if event.again else sentence)


def _order_words(event: AnyOrderEvent) -> tuple[Severity, str]:  # noqa: C901 - a table of one row for each kind
    match event:
        case Passed():
            return Severity.DEBUG, "passed as a trial" if event.trial else "passed"
        case Blocked():
            return Severity.WARN, f"blocked ({event.code}): {event.reason}"
        case Expired():
            return Severity.WARN, f"expired: {event.age_ms} ms old at its turn, not sent"
        case Invalid():
            return Severity.WARN, f"invalid: {event.reason}"
        case Duplicate():
            return Severity.DEBUG, "sent again; it was answered before"
        case Accepted():
            before = "" if event.filled_before is None else f", {plain_number(event.filled_before)} filled before"
            return Severity.DEBUG, f"accepted by IB ({event.status}), permanent id {event.perm_id}{before}"
        case Filled():
            return Severity.INFO, _filled_words(event)
        case Commission():
            return Severity.DEBUG, f"commission {plain_number(event.commission)} {event.currency}"
        case Cancelled():
            filled, rest = plain_number(event.filled), plain_number(event.remaining)
            return Severity.INFO, f"cancelled: {filled} filled, {rest} not; {event.reason}"
        case Rejected():
            return Severity.WARN, f"rejected by IB ({event.ib_code}): {event.reason}"
        case NotPlaced():
            return Severity.WARN, f"not placed ({event.code}){_because(event.reason)}"
        case Unknown():
            why = f" ({event.reason})" if event.reason else ""
            # Whoever sends it again may have it twice.
            what = f"what became of it at IB is open{why}; it is being looked up, do not send it again"
            return Severity.PAGE, f"unknown: {what}"
        case RequestPassed():
            return Severity.DEBUG, f"request {event.request_id} passed ({event.code}){_because(event.reason)}"
        case RequestRefused():
            return Severity.WARN, f"request {event.request_id} refused ({event.code}): {event.reason}"
        case CancelFailed():
            return Severity.WARN, f"not cancelled by IB ({event.ib_code}): {event.reason}"
        case Replaced():
            return Severity.INFO, f"changed as request {event.request_id} asked"
        case ReplaceFailed():
            whose = f" by IB ({event.ib_code})" if event.ib_code else ""
            return Severity.WARN, f"not changed{whose}: {event.reason}"
        case _:
            assert_never(event)


def _filled_words(event: Filled) -> str:
    left = "done" if event.done else f"{plain_number(event.remaining)} left"
    change = f" (corrects {event.corrects})" if event.corrects else ""
    return f"filled {plain_number(event.shares)} at {plain_number(event.price)}, {left}, exec {event.exec_id}{change}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def state_words(now: State, before: State | None = None) -> Words:
    """How a circuit is; with the state `before`, also what has changed."""
    change: str = now.state if before is None or before.state == now.state else f"{before.state} -> {now.state}"
    sentence = f"{now.scope}: {change}{', latched' if now.latched else ''}{_because(now.reason or '')}"
    if now.conditions:
        sentence += f"; no order passes while these hold: {', '.join(now.conditions)}"
    if now.retry_at:
        sentence += f"; retries at {now.retry_at}"
    elif now.latched:
        sentence += "; nothing passes until a person resets it: orderfuse reset"
    return Words(Severity.INFO if _as_it_should_be(now) else Severity.WARN, sentence)


def is_news(now: State, before: State | None) -> bool:
    """Whether a state of a circuit differs, to a person, from the one that was heard before.

    Counts are no news. The first state of a strategy's circuit is none either while it is as it should be.
    """
    if before is None:
        return now.scope == SYSTEM or not _as_it_should_be(now)
    return _told_by(before) != _told_by(now)


def _as_it_should_be(state: State) -> bool:
    return state.state == "CLOSED" and not state.conditions


def _told_by(state: State) -> tuple[Any, ...]:
    return state.state, state.latched, state.reason, tuple(state.conditions), state.retry_at, state.generation


def _health_words(health: Health) -> Words:
    sentence = (
        f"window {health.window_used} of {health.window}, {health.unknown} unknown; "
        f"executor {'there' if health.executor_present else 'NOT THERE'}, "
        f"gateway {'connected' if health.gateway_connected else 'NOT CONNECTED'}"
    )
    if health.journal_error:
        return Words(Severity.PAGE, f"{sentence}; JOURNAL: {health.journal_error}")
    return Words(Severity.DEBUG, sentence)


def _notice_words(notice: Notice) -> Words:
    match notice:
        case Heard():
            return Words(Severity.INFO, _heard_words(notice.status or {}))
        case Silent():
            return Words(Severity.WARN, "no breaker is heard; waiting for one")
        case Gap():
            severity = Severity.PAGE if notice.missing else Severity.INFO
            what = "some are lost: look with orderfuse orders" if notice.missing else "all are here"
            sentence = f"missed; {notice.replayed} events after {notice.after_seq} come from the journal, {what}"
            return Words(severity, sentence)
        case Unreadable():
            return Words(Severity.WARN, f"an unreadable event: {notice.reason}")
        case _:
            assert_never(notice)


def _heard_words(status: dict[str, Any]) -> str:
    def says(part: str, key: str) -> bool:
        # Of a breaker of any version: what is missing or of another type counts as no.
        found = status.get(part)
        return isinstance(found, dict) and bool(found.get(key))

    executor = "present" if says("executor", "present") else "not there"
    gateway = "connected" if says("gateway", "connected") else "not connected"
    return f"a breaker is there; executor {executor}, gateway {gateway}"


def unknown_orders_words(order_ids: Sequence[Any]) -> Words:
    """What is said of orders that are unknown when a breaker is found."""
    ids = ", ".join(map(str, order_ids))
    sentence = f"unknown orders: {ids}; IB may have them: look them up in TWS, then orderfuse resolve"
    return Words(Severity.PAGE, sentence)
