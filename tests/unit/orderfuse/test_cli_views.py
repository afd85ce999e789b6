"""What a person sees: the page of `status`, the live page, times, orders. Pure, with the time written in the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.text import Text

from orderfuse.bus.events import Filled, Health, Passed, Rejected
from orderfuse.bus.notices import Gap, Heard, Silent
from orderfuse.cli.orders import order_rows
from orderfuse.cli.preview import before_reset
from orderfuse.cli.show import event_words, names, since, span, until, wrapped
from orderfuse.cli.status import headline, status_lines
from orderfuse.cli.watch import MAX_EVENTS, MAX_STRATEGIES, Page
from orderfuse.stopfile import Stop
from tests.states import Fields, state

NOW = datetime(2025, 1, 6, 14, 35, tzinfo=UTC)
NS = int(NOW.timestamp()) * 1_000_000_000
FILL: dict[str, Any] = {"kind": "filled", "exec_id": "e", "price": 1.5, "cum_qty": 4.0, "avg_price": 1.5}


def circuit(scope: str = "system", **changes: Any) -> Fields:
    return {"scope": scope, "state": "CLOSED", "trading_allowed": True, "conditions": [], **changes}


def opened(scope: str = "system", **changes: Any) -> Fields:
    trip = {"state": "OPEN", "trading_allowed": False, "reason": "5 failures", "opened_at": "2025-01-06T14:33:00+00:00"}
    return circuit(scope, **{**trip, **changes})


def page(*circuits: Fields, **facts: Any) -> str:
    reply = {"circuits": list(circuits), "gateway": {"host": "h", "port": 4001, "detail": "logged out"}, **facts}
    return "\n".join(str(line) for line in status_lines(reply, NOW))


# -- status -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("circuits", "said"),
    [
        ([circuit()], "ORDERS PASS"),
        ([circuit(), opened("strategy:a")], "ORDERS PASS, but not those of strategy:a"),
        ([opened(latched=True)], "NO ORDER PASSES: system is OPEN, latched"),
        ([circuit(trading_allowed=False, conditions=["feed_stale"])], "NO ORDER PASSES: feed_stale holds"),
        ([opened(conditions=["feed_stale"])], "NO ORDER PASSES: system is OPEN; feed_stale holds"),
        (
            [opened(conditions=["feed_stale", "margin_low"])],
            "NO ORDER PASSES: system is OPEN; feed_stale, margin_low hold",
        ),
        ([circuit(state="HALF_OPEN")], "ONLY TRIAL ORDERS PASS: system is HALF_OPEN"),
        ([circuit(state="HALF_OPEN", trading_allowed=False)], "NO ORDER PASSES: system is HALF_OPEN"),
        ([circuit("strategy:a")], "NOBODY KNOWS WHETHER ORDERS PASS: the reply names no circuit of the system"),
    ],
)
def test_the_first_line_says_whether_orders_pass(circuits: list[Fields], said: str) -> None:
    assert headline({"circuits": circuits}).plain == said
    assert page(*circuits).splitlines()[0] == said


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (opened(latched=True), "find the cause, then: orderfuse reset"),
        (opened("strategy:a", latched=True), "find the cause, then: orderfuse reset --scope strategy:a"),
        (
            opened(retry_at="2025-01-06T14:39:12+00:00"),
            "tries again at 2025-01-06 14:39:12 UTC (in 4 min 12 s); sooner with: orderfuse reset",
        ),
        (opened(conditions=["feed_stale"]), "it tries again only after feed_stale is over"),
        (opened(conditions=["a", "b"]), "it tries again only after a, b are over"),
        (circuit(state="HALF_OPEN"), "it closes when its trial orders succeed"),
        (circuit(conditions=["broker_disconnected"]), "is TWS or IB Gateway running and logged in at h:4001?"),
        (circuit(conditions=["broker_disconnected"]), "broker_disconnected holds (logged out)"),
        (circuit(conditions=["executor_silent"]), "start the executor"),
        (circuit(conditions=["journal_failed"]), "make room on the disk"),
        (
            circuit("strategy:a", conditions=["feed_stale"]),
            'orderfuse report condition feed_stale --over --reason "..." --scope strategy:a',
        ),
    ],
)
def test_each_trouble_comes_with_what_to_do(one: Fields, said: str) -> None:
    assert said in page(one)


def test_what_the_executor_advises_stands_in_place_of_what_mostly_helps() -> None:
    one = circuit(conditions=["broker_disconnected"], trading_allowed=False)
    remedy = "restart it"
    gateway = {"host": "h", "port": 4001, "detail": f"no list; {remedy}", "remedy": remedy, "connected": True}
    assert page(one, gateway=gateway).splitlines()[1:3] == [
        "  system: broker_disconnected holds (no list)",
        "    -> restart it. It ends by itself then",
    ]
    assert "gateway   connected, h:4001 (no list; restart it)" in page(one, gateway=gateway)
    assert "is TWS or IB Gateway running" in page(one, gateway={**gateway, "detail": "of another trouble"})
    other = circuit("strategy:a", conditions=["feed_stale"])
    assert "restart it" not in page(other, gateway=gateway).partition("\ngateway")[0], "that is not the gateway's"


def test_under_a_circuit_stands_what_failed_in_it() -> None:
    at = (NOW - timedelta(seconds=12)).isoformat()
    failures = [
        {"code": 201, "text": "no \x1bmargin", "order_id": "a-17", "count": 5, "at": at},
        {"code": None, "text": "unknown: no answer in 5 s", "order_id": "b-1", "count": 1, "at": at},
        {"code": "slow_fills", "text": "reported: late", "order_id": None, "count": 2, "at": at},
    ]
    by = {"strategy:b": 1, "strategy:a": 4}
    system = opened(failures=5, last_failures=failures, failures_by=by)
    when = "2025-01-06 14:34:48 UTC (12 s ago)"
    assert page(system, circuit("strategy:a", failures=1, last_failures=failures[:1])).splitlines()[4:11] == [
        "system      OPEN    blocked, 5 failures in the window",
        "    counted: 4 of strategy:a, 1 of strategy:b",
        f"    201 no �margin x5, last a-17, {when}",
        f"    unknown: no answer in 5 s x1, last b-1, {when}",
        f"    slow_fills reported: late x2, {when}",
        "strategy:a  CLOSED  orders pass, 1 failure in the window",
        f"    201 no �margin x5, last a-17, {when}",
    ]
    assert "a-17" not in page(circuit(last_failures=failures, failures=0)), "it is over"
    assert "a-17" in page(circuit(state="HALF_OPEN", last_failures=failures, failures=0))


def test_unknown_orders_and_drift_come_with_what_to_do() -> None:
    drift = [{"symbol": "ES", "actual": 3.0, "expected": 2.0}]
    shown = page(circuit(), unknown=["o-1", "o-2"], drift=drift)
    assert "2 unknown: o-1, o-2; nobody knows whether IB has them" in shown
    assert "look them up in TWS, then say how each ended: orderfuse resolve o-1 --as" in shown
    assert "drift: IB holds 3 ES, our fills make 2" in shown


@pytest.mark.parametrize("width", [1, 20, 40, 200])
def test_no_word_is_lost_however_narrow_the_terminal_is(width: int) -> None:
    long = opened(retry_at="2025-01-06T14:39:12+00:00", reason="r" * 70 + " and [brackets]", conditions=["c" * 64])
    for line in status_lines({"circuits": [long]}, NOW):
        parts = wrapped(line, width)
        assert all(len(part) <= max(width, 20) for part in parts)
        whole = line.plain if isinstance(line, Text) else line
        assert "".join("".join(part.plain.split()) for part in parts) == "".join(whole.split())


# -- times ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min"), (252, "4 min 12 s"), (3660, "1 h 1 min"), (180_000, "2 d 2 h")],
)
def test_durations_have_two_units(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_a_clock_that_was_set_back_makes_no_negative_times() -> None:
    later, earlier = (NOW + timedelta(hours=1)).isoformat(), (NOW - timedelta(hours=1)).isoformat()
    assert since(earlier, NOW) == "2025-01-06 13:35:00 UTC (1 h ago)"
    assert since(later, NOW) == "2025-01-06 15:35:00 UTC"
    assert until(later, NOW) == "2025-01-06 15:35:00 UTC (in 1 h)"
    assert until(earlier, NOW) == "2025-01-06 13:35:00 UTC (due now)"


@pytest.mark.parametrize("moment", ["soon", 5, [], "0001-01-01T00:00:00+14:00"])
def test_a_time_that_is_none_is_shown_as_it_came(moment: Any) -> None:
    assert since(moment, NOW) == str(moment)
    assert until(moment, NOW) == str(moment)


def test_a_time_without_a_zone_is_utc() -> None:
    assert since("2025-01-06T14:34:00", NOW) == "2025-01-06 14:34:00 UTC (1 min ago)"


# -- orders -----------------------------------------------------------------------------------------------


def test_an_order_shows_what_it_wants_and_the_last_that_was_heard_of_it() -> None:
    order = {
        "order_id": "o-1",
        "strategy_id": "s",
        "contract": {"symbol": "ES", "secType": "FUT"},
        "order": {"action": "BUY", "totalQuantity": 10.0, "orderType": "STP LMT", "lmtPrice": 190.5, "auxPrice": 191},
        "state": "done",
        "filled": 4.0,
        "last_event": {
            "kind": "rejected",
            "order_id": "o-1",
            "strategy_id": "s",
            "ib_code": 201,
            "reason": "no\x1b margin",
            "at_ns": NS - 120_000_000_000,
        },
    }
    head, line = order_rows([order], NOW)
    assert head.index("what") == line.index("BUY 10 ES FUT STP LMT at 190.5 stop 191")
    assert head.index("state") == line.index("done")
    assert head.index("last event") == line.index("rejected by IB (201): no� margin, 2 min ago")
    _, ahead = order_rows([{**order, "last_event": {"kind": "accepted", "at_ns": NS + 10**9}}], NOW)
    assert ahead.endswith("accepted, at 2025-01-06 14:35:01 UTC")
    _, empty = order_rows([{"last_event": {"at_ns": 10**40}}], NOW)
    assert "None" not in empty


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({**FILL, "shares": 4.0, "remaining": 6.0, "done": False}, "filled 4 at 1.5, 6 left, exec e"),
        ({**FILL, "shares": 4, "remaining": 0, "done": True}, "filled 4 at 1.5, done, exec e"),
        ({"kind": "expired", "age_ms": 5001}, "expired: 5001 ms old at its turn, not sent"),
        ({"kind": "invalid", "reason": "why\n\x1b"}, "invalid: why��"),
        ({"kind": "passed", "trial": True, "generation": 1}, "passed as a trial"),
        ({"kind": "rejected", "ib_code": 201, "reason": "no", "of_tomorrow": 1}, "rejected by IB (201): no"),
    ],
)
def test_an_event_is_said_in_the_words_of_every_log(event: Fields, said: str) -> None:
    assert event_words({"v": 1, "order_id": "o-1", "strategy_id": "s", **event}) == said


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"kind": "of_tomorrow", "again": True}, "of_tomorrow (told again)"),
        ({"kind": "of_tomorrow", "code": "x", "reason": "why"}, "of_tomorrow (x): why"),
        ({"kind": "blocked", "code": "of_tomorrow", "reason": "why"}, "blocked (of_tomorrow): why"),
        ({"kind": "filled"}, "filled"),
    ],
)
def test_an_event_of_another_version_is_shown_as_well(event: Fields, said: str) -> None:
    assert event_words(event) == said


def test_many_ids_are_counted() -> None:
    assert names(range(22)).endswith("18, 19 and 2 more")


# -- reset ----------------------------------------------------------------------------------------------


def test_a_reset_says_what_goes_on_blocking() -> None:
    system = opened(latched=True, conditions=["feed_stale"], failures=5, generation=4)
    status: Fields = {"circuits": [system, opened("strategy:a")], "queued": 3}
    shown = "\n".join(before_reset(status, system, NOW))
    assert "system is OPEN and latched, opened 2025-01-06 14:33:00 UTC (2 min ago): 5 failures" in shown
    assert "5 failures, generation 4" in shown
    assert "3 queued: those that wait for system are blocked, not sent" in shown
    assert "but feed_stale still holds, and blocks until it is over" in shown
    assert "but strategy:a stays as it is" in shown
    two = {**system, "conditions": ["feed_stale", "margin_low"]}
    shown = "\n".join(before_reset({"circuits": [two, opened("strategy:a"), opened("strategy:b")]}, two, NOW))
    assert "but feed_stale, margin_low still hold, and block until they are over" in shown
    assert "but strategy:a, strategy:b stay as they are" in shown
    of_strategy = "\n".join(before_reset(status, status["circuits"][1], NOW))
    assert "but the system lets no order pass" in of_strategy


def test_a_reset_of_system_says_that_it_removes_the_file_and_one_of_a_strategy_does_not() -> None:
    status = {"circuits": [opened(latched=True), opened("strategy:a")]}
    stop = Stop("looked \x1bodd", "alice")
    said = "the file STOP of alice is removed first: looked �odd"
    assert said in "\n".join(before_reset(status, status["circuits"][0], NOW, stop))
    assert "STOP" not in "\n".join(before_reset(status, status["circuits"][1], NOW, stop))


# -- the live page ----------------------------------------------------------------------------------------


def seen(live: Page, width: int = 100, height: int = 40) -> str:
    return "\n".join(line.plain for line in live.lines(NOW, width, height))


def test_the_live_page_waits_for_a_breaker_and_says_when_it_is_gone_again() -> None:
    live = Page()
    assert seen(live).startswith("NOBODY ANSWERS: waiting for a breaker")
    live.take("", Silent(2.0))
    assert seen(live).startswith("NOBODY ANSWERS: no breaker is heard; waiting for one")
    live.take("", Heard({"circuits": [circuit()]}))
    assert seen(live).startswith("ORDERS PASS\n")
    assert "a breaker is there" in seen(live)
    live.take("", Silent(2.0))
    assert seen(live).startswith("NOBODY ANSWERS: no breaker is heard")
    assert "what follows is the last that was heard" in seen(live)
    assert "ORDERS PASS" not in seen(live)


def test_the_live_page_shows_circuits_window_counts_and_events() -> None:
    live = Page()
    live.take("", Heard({"circuits": [circuit()]}))
    live.take("state/system/", state(at_ns=NS))
    live.take("state/system/", state(state="OPEN", reason="5 failures", trading_allowed=False, at_ns=NS))
    live.take("health/", health(queued={"a": 3}, window_used=2))
    ids: Fields = {"order_id": "o-1", "strategy_id": "a", "at_ns": NS}
    live.take("order/a/", Passed(**ids, generation=1, trial=False, seq=1))
    live.take("order/a/", Passed(**ids, generation=1, trial=False, seq=2, again=True))
    fill: Fields = {"exec_id": "e", "shares": 1.0, "price": 2.0, "cum_qty": 1.0, "avg_price": 2.0, "remaining": 0.0}
    live.take("order/a/", Filled(**ids, **fill, done=True, seq=3))
    live.take("order/a/", Rejected(**ids, ib_code=201, reason="no", seq=4))
    shown = seen(live)
    for line in (
        "NO ORDER PASSES: system is OPEN",
        "window 2 of 8, 0 unknown; executor there, gateway connected",
        "a                3 queued  1 filled, 1 passed, 1 rejected",
        "14:35:00  system: CLOSED -> OPEN: 5 failures",
        "14:35:00  a o-1 filled 1 at 2, done, exec e",
        "14:35:00  a o-1 rejected by IB (201): no",
    ):
        assert line in shown.splitlines()
    assert not any(line.endswith("system: CLOSED") for line in shown.splitlines())


def test_the_circuits_of_the_live_page_change_no_places() -> None:
    live = Page()
    live.take("", Heard({"circuits": [circuit(), circuit("strategy:a"), circuit("strategy:b")]}))
    live.take("state/strategy:a/", state(scope="strategy:a", at_ns=NS))
    live.take("state/system/", state(at_ns=NS))
    first = [line.split()[0] for line in seen(live).splitlines() if "  CLOSED  " in line]
    assert first == ["system", "strategy:a", "strategy:b"]


def test_the_live_page_keeps_no_more_than_it_may_and_fits_the_terminal() -> None:
    live = Page()
    live.take("", Heard({"circuits": [circuit()]}))
    for number in range(MAX_STRATEGIES + 2):
        event = Passed(order_id="o", strategy_id=f"s{number}", generation=1, trial=False, at_ns=NS, seq=1)
        live.take(f"order/s{number}/", event)
    for number in range(MAX_EVENTS + 1):
        live.take("order/s/", Gap(number, 0, missing=True))
    everything = seen(live, height=10_000).splitlines()
    assert [line for line in everything if line.startswith("others")] == ["others           0 queued  2 passed"]
    assert sum("some are lost" in line for line in everything) == MAX_EVENTS
    for width, height in ((20, 10), (80, 24), (200, 5)):
        lines = live.lines(NOW, width, height)
        assert len(lines) <= height
        assert all(len(line) <= width for line in lines)


def health(**changes: Any) -> Health:
    fields: Fields = {
        "at_ns": NS,
        "queued": {},
        "orders_out": 0,
        "window": 8,
        "window_used": 0,
        "unknown": 0,
        "executor_present": True,
        "gateway_connected": True,
        "dropped": {},
        "journal_lag_ms": 0.0,
        "journal_error": None,
    }
    return Health(**{**fields, **changes})


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        ("owed", "it goes again by itself, for 10 minutes"),
        ("given_up", "IB listed some of them still"),
        ("done", None),
        ("ended", None),
    ],
)
def test_status_says_how_a_global_cancel_stands_while_somebody_has_to_know(standing: str, words: str | None) -> None:
    owed = {"what": "global_cancel", "scope": "system", "since_ns": NS - 60 * 10**9, "standing": standing}
    shown = page(circuit(), owed=[owed])
    assert ("every order of the account" in shown) is (words is not None)
    assert words is None or words in shown


def test_status_names_orders_that_no_journal_knows() -> None:
    shown = page(circuit(), adopted=["lost-1", "lost-2"])
    assert "2 adopted: lost-1, lost-2" in shown
    assert "look at them in TWS" in shown
