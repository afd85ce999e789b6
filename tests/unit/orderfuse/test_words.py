"""The one table of what is said of each event: how urgent, and in which words."""

from __future__ import annotations

from typing import Any, get_args

import pytest

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
from orderfuse.bus.notices import Gap, Heard, Silent, Unreadable
from orderfuse.bus.words import Severity, is_news, state_words, words_of
from tests.states import state

DEBUG, INFO, WARN, PAGE = Severity
ABOUT: dict[str, Any] = {"order_id": "o-1", "strategy_id": "s"}
FILL: dict[str, Any] = {"exec_id": "e1", "shares": 4.0, "price": 190.5, "cum_qty": 4.0, "avg_price": 190.5}
BLOCK: dict[str, Any] = {"scope": "system", "state": "OPEN", "retry_at": None, "failures": 5, "failure_count": 5}


def told(*states: State) -> list[tuple[Severity, str]]:
    """What a log says of states that come one after another."""
    before: dict[str, State] = {}
    lines: list[tuple[Severity, str]] = []
    for now in states:
        if is_news(now, before.get(now.scope)):
            lines.append(state_words(now, before.get(now.scope)))
        before[now.scope] = now
    return lines


def test_a_change_of_state_is_one_line_with_before_and_after_reason_and_retry() -> None:
    lines = told(
        state(),
        state(state="OPEN", reason="5 failures in 60s window", retry_at="2025-01-06T14:35:00+00:00", generation=2),
        state(state="HALF_OPEN", generation=3),
        state(generation=4),
    )
    assert lines == [
        (INFO, "system: CLOSED"),
        (WARN, "system: CLOSED -> OPEN: 5 failures in 60s window; retries at 2025-01-06T14:35:00+00:00"),
        (WARN, "system: OPEN -> HALF_OPEN"),
        (INFO, "system: HALF_OPEN -> CLOSED"),
    ]


def test_a_latched_circuit_says_who_can_end_it() -> None:
    (line,) = told(state(state="OPEN", latched=True, reason="stop"))
    assert line == (WARN, "system: OPEN, latched: stop; nothing passes until a person resets it: orderfuse reset")


def test_the_same_state_again_and_a_count_are_no_news() -> None:
    assert len(told(state(), state(repeat=True), state(failures=3), state(fenced=False))) == 1


def test_a_strategys_circuit_is_no_news_until_it_is_not_as_it_should_be() -> None:
    lines = told(state(scope="strategy:a"), state(scope="strategy:a", state="OPEN"), state(scope="strategy:b"))
    assert [text for _, text in lines] == ["strategy:a: CLOSED -> OPEN"]
    assert [text for _, text in told(state(scope="strategy:c", state="OPEN"))] == ["strategy:c: OPEN"]


def test_conditions_are_named_and_no_good_news() -> None:
    assert told(state(conditions=["margin_low"])) == [
        (WARN, "system: CLOSED; no order passes while these hold: margin_low")
    ]


SAID: list[tuple[Any, Severity, str]] = [
    (Passed(**ABOUT, generation=1, trial=False), DEBUG, "passed"),
    (Passed(**ABOUT, generation=1, trial=True), DEBUG, "passed as a trial"),
    (Blocked(**ABOUT, reason="why", code="latched", **BLOCK), WARN, "blocked (latched): why"),
    (Expired(**ABOUT, age_ms=5001), WARN, "expired: 5001 ms old at its turn, not sent"),
    (Invalid(**ABOUT, reason="order.tif"), WARN, "invalid: order.tif"),
    (Duplicate(**ABOUT, again=True), DEBUG, "sent again; it was answered before (told again)"),
    (
        Accepted(**ABOUT, ib_order_id=1, perm_id=2, status="Submitted", filled_before=3.0),
        DEBUG,
        "accepted by IB (Submitted), permanent id 2, 3 filled before",
    ),
    (Filled(**ABOUT, **FILL, remaining=6.0, done=False), INFO, "filled 4 at 190.5, 6 left, exec e1"),
    (
        Filled(**ABOUT, **{**FILL, "shares": 1e6}, remaining=0.0, done=True, corrects="e0"),
        INFO,
        "filled 1000000 at 190.5, done, exec e1 (corrects e0)",
    ),
    (
        Commission(**ABOUT, exec_id="e", commission=1.25, currency="USD", realized_pnl=None),
        DEBUG,
        "commission 1.25 USD",
    ),
    (Cancelled(**ABOUT, filled=1.0, remaining=9.0, reason="x"), INFO, "cancelled: 1 filled, 9 not; x"),
    (Rejected(**ABOUT, ib_code=201, reason="no"), WARN, "rejected by IB (201): no"),
    (
        NotPlaced(**ABOUT, code="reconciled", supersedes=9),
        WARN,
        "not placed (reconciled) (instead of what was said in 9)",
    ),
    (NotPlaced(**ABOUT, code="fenced", reason="a trip"), WARN, "not placed (fenced): a trip"),
    (
        Unknown(**ABOUT, reason="no answer in 5 s"),
        PAGE,
        "unknown: what became of it at IB is open (no answer in 5 s); it is being looked up, do not send it again",
    ),
    (RequestPassed(**ABOUT, request_id="r", code="sent", reason=""), DEBUG, "request r passed (sent)"),
    (RequestRefused(**ABOUT, request_id="r", code="done", reason="ended"), WARN, "request r refused (done): ended"),
    (CancelFailed(**ABOUT, request_id="r", ib_code=10148, reason="x"), WARN, "not cancelled by IB (10148): x"),
    (Replaced(**ABOUT, request_id="r"), INFO, "changed as request r asked"),
    (ReplaceFailed(**ABOUT, request_id="r", ib_code=201, reason="x"), WARN, "not changed by IB (201): x"),
    (ReplaceFailed(**ABOUT, request_id="r", reason="expired"), WARN, "not changed: expired"),
    (Silent(2.0), WARN, "no breaker is heard; waiting for one"),
    (Heard(None), INFO, "a breaker is there; executor not there, gateway not connected"),
    (
        Heard({"executor": {"present": True}, "gateway": "of another version"}),
        INFO,
        "a breaker is there; executor present, gateway not connected",
    ),
    (Gap(7, 3, missing=False), INFO, "missed; 3 events after 7 come from the journal, all are here"),
    (
        Gap(7, 0, missing=True),
        PAGE,
        "missed; 0 events after 7 come from the journal, some are lost: look with orderfuse orders",
    ),
    (Unreadable("kind is 'x'", "bad_field"), WARN, "an unreadable event: kind is 'x'"),
]


@pytest.mark.parametrize(("item", "severity", "sentence"), SAID, ids=lambda value: type(value).__name__)
def test_each_event_has_a_severity_and_one_sentence(item: Any, severity: Severity, sentence: str) -> None:
    assert words_of(item) == (severity, sentence)


def test_no_kind_of_event_is_left_out_of_the_table() -> None:
    assert {type(item) for item, _, _ in SAID if isinstance(item, OrderEvent)} == set(get_args(AnyOrderEvent))


def test_health_pages_where_the_journal_cannot_be_written() -> None:
    fields: dict[str, Any] = {"at_ns": 0, "queued": {}, "orders_out": 2, "dropped": {}, "journal_lag_ms": 0.0}
    used = {**fields, "window": 8, "window_used": 2, "unknown": 1}
    there = Health(**used, executor_present=True, gateway_connected=True, journal_error=None)
    gone = Health(**used, executor_present=False, gateway_connected=False, journal_error="disk full")
    assert words_of(there) == (DEBUG, "window 2 of 8, 1 unknown; executor there, gateway connected")
    assert words_of(gone) == (
        PAGE,
        "window 2 of 8, 1 unknown; executor NOT THERE, gateway NOT CONNECTED; JOURNAL: disk full",
    )
