"""The monitor: one line for each thing that matters, and it waits for whatever is away."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orderfuse.bus.events import (
    Accepted,
    Blocked,
    CancelFailed,
    Cancelled,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    Passed,
    Rejected,
    Unknown,
)
from orderfuse.bus.notices import Gap, Heard, Silent, Unreadable
from orderfuse.bus.words import Severity
from orderfuse.settings import Settings
from services.monitor.lines import lines_about
from tests.processes.orderfuse.process import Service
from tests.processes.orderfuse.wire import WireBreaker
from tests.states import state

ABOUT: dict[str, Any] = {"order_id": "o-1", "strategy_id": "s"}


LEVELS = {Severity.INFO: "INFO", Severity.WARN: "WARNING", Severity.PAGE: "ERROR"}


def told(*items: Any) -> list[tuple[str, str]]:
    said = [words for item in items for words in lines_about("order/s/", item)]
    return [(LEVELS[severity], sentence) for severity, sentence in said]


def test_states_are_the_breakers_to_tell() -> None:
    assert told(state(), state(state="OPEN", reason="5 failures in 60s window", generation=2)) == []


OUTCOMES = [
    (
        Filled(**ABOUT, exec_id="e1", shares=10, price=190.5, cum_qty=10, avg_price=190.5, remaining=0, done=True),
        ("INFO", "s o-1 filled 10 at 190.5, done, exec e1"),
    ),
    (
        Filled(
            **ABOUT, exec_id="e1", shares=4, price=1, cum_qty=4, avg_price=1, remaining=6, done=False, corrects="e0"
        ),
        ("INFO", "s o-1 filled 4 at 1, 6 left, exec e1 (corrects e0)"),
    ),
    (
        Blocked(
            **ABOUT,
            reason="open",
            code="circuit_open",
            scope="system",
            state="OPEN",
            retry_at=None,
            failures=5,
            failure_count=5,
        ),
        ("WARNING", "s o-1 blocked (circuit_open): open"),
    ),
    (Expired(**ABOUT, age_ms=5001), ("WARNING", "s o-1 expired: 5001 ms old at its turn, not sent")),
    (Invalid(**ABOUT, reason="order.tif"), ("WARNING", "s o-1 invalid: order.tif")),
    (Cancelled(**ABOUT, filled=1, remaining=9, reason="x"), ("INFO", "s o-1 cancelled: 1 filled, 9 not; x")),
    (Rejected(**ABOUT, ib_code=201, reason="no"), ("WARNING", "s o-1 rejected by IB (201): no")),
    (NotPlaced(**ABOUT, code="fenced"), ("WARNING", "s o-1 not placed (fenced)")),
    (
        Unknown(**ABOUT),
        ("ERROR", "s o-1 unknown: what became of it at IB is open; it is being looked up, do not send it again"),
    ),
    (
        CancelFailed(**ABOUT, request_id=None, ib_code=10148, reason="done"),
        ("WARNING", "s o-1 not cancelled by IB (10148): done"),
    ),
]


@pytest.mark.parametrize(("event", "line"), OUTCOMES, ids=lambda value: type(value).__name__)
def test_an_outcome_is_one_line_with_ids_and_numbers(event: Any, line: tuple[str, str]) -> None:
    assert told(event) == [line]
    assert told(msgspec.structs.replace(event, again=True)) == []


def test_steps_on_the_way_are_no_lines() -> None:
    passed = Passed(**ABOUT, generation=1, trial=False)
    assert told(passed, Accepted(**ABOUT, ib_order_id=1, perm_id=2, status="Submitted")) == []


def test_a_fact_that_replaces_an_end_says_which() -> None:
    ((_, text),) = told(NotPlaced(**ABOUT, code="reconciled", supersedes=9))
    assert text.endswith("(instead of what was said in 9)")


def test_gaps_silence_and_the_unreadable_are_said() -> None:
    lines = told(Silent(2.0), Gap(7, 3, missing=False), Gap(7, 0, missing=True), Unreadable("kind is 'x'", "bad_field"))
    assert [level for level, _ in lines] == ["WARNING", "INFO", "ERROR", "WARNING"]
    assert "3 events after 7" in lines[1][1]
    assert "lost" in lines[2][1]
    assert "kind is 'x'" in lines[3][1]


def test_orders_that_are_unknown_are_named_when_a_breaker_is_found() -> None:
    status = {"executor": {"present": True}, "gateway": {"connected": False}, "unknown": ["o-7"]}
    assert told(Heard(status)) == [
        ("INFO", "a breaker is there; executor present, gateway not connected"),
        ("ERROR", "unknown orders: o-7; IB may have them: look them up in TWS, then orderfuse resolve"),
    ]
    assert len(told(Heard(None))) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_waits_for_a_breaker_and_outlives_it(home: Path, settings: Settings, number: int) -> None:
    with Service("monitor", home) as monitor:
        monitor.wait_for("no breaker is heard")
        with WireBreaker(settings) as breaker:
            monitor.wait_for("a breaker is there")
            breaker.tell(Expired(**ABOUT, age_ms=5001))
            monitor.wait_for("s o-1 expired: 5001 ms old at its turn, not sent")
        monitor.wait_for("no breaker is heard")
        assert monitor.stop(number) == 0
        assert monitor.said("no breaker is heard") == 2
        assert monitor.said("Traceback") == 0


def test_a_wrong_setting_ends_it_at_once(home: Path) -> None:
    (home / "orderfuse.toml").write_text("[links]\nevents = 'tcp://127.0.0.1:1'\n")
    with Service("monitor", home) as monitor:
        monitor.wait_for("links.events")
        assert monitor._process.wait(10) == 2
