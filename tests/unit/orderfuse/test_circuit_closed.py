"""A circuit that lets everything through until its failures break a rule. Numbers are those of the specified cases."""

from datetime import timedelta

import pytest

from orderfuse.circuit import Verdict
from tests.clocks import STARTED_AT
from tests.unit.orderfuse.breakers import CLOSED, FIVE_FAILURES, OPEN, closed_breaker, fail, half_open_breaker


def test_a_fresh_breaker_is_closed_and_admits():  # case 1
    breaker, _, _ = closed_breaker()
    assert breaker.state is CLOSED
    assert breaker.admit("o-1") == Verdict(True, None, generation=1, trial=False, retry_at=None)
    assert breaker.is_trading_allowed() == (True, None)


def test_the_fifth_failure_59_999_s_after_the_first_opens_once():  # case 2
    breaker, clock, transitions = closed_breaker()
    fail(breaker, 4)
    clock.advance(59.999)
    assert breaker.record_failure() is OPEN
    assert [t.state for t in transitions] == [OPEN]
    assert breaker.is_trading_allowed() == (False, FIVE_FAILURES)


def test_the_fifth_failure_at_exactly_60_s_opens():  # case 3
    breaker, clock, _ = closed_breaker()
    fail(breaker, 4)
    clock.advance(60)
    assert breaker.record_failure() is OPEN


@pytest.mark.parametrize("too_late_ns", [1, 1_000_000])
def test_the_fifth_failure_after_60_s_leaves_it_closed(too_late_ns):  # case 3
    breaker, clock, _ = closed_breaker()
    fail(breaker, 4)
    clock.advance(60, ns=too_late_ns)
    assert breaker.record_failure() is CLOSED
    assert len(breaker.failures) == 1


def test_failures_13_s_apart_open_at_the_52nd_second():  # case 4
    breaker, clock, _ = closed_breaker()
    states = []
    for _ in range(5):
        states.append(breaker.record_failure())
        clock.advance(13)
    assert states == [CLOSED, CLOSED, CLOSED, CLOSED, OPEN]
    assert breaker.opened_at == STARTED_AT + timedelta(seconds=52)


def test_failures_16_s_apart_never_open_by_the_window():  # case 4
    breaker, clock, _ = closed_breaker()
    for _ in range(200):
        assert breaker.record_failure() is CLOSED
        clock.advance(16)


def test_the_window_slides_and_no_boundary_loses_a_failure():  # case 5
    breaker, clock, _ = closed_breaker()
    breaker.record_failure()  # at 0 s
    clock.advance(59)
    fail(breaker, 3)  # at 59 s
    clock.advance(1.001)
    assert breaker.record_failure() is CLOSED  # at 60.001 s: the first is gone, four are left
    clock.advance(57.999)
    assert breaker.record_failure() is OPEN  # at 118 s: those of 59 s still count


def test_a_thousand_successes_erase_no_failure_from_the_window():  # case 6
    breaker, clock, _ = closed_breaker()
    for _ in range(4):
        breaker.record_failure()
        for n in range(250):
            breaker.admit(f"o-{n}")
            breaker.record_success(f"o-{n}")
        breaker.record_success()
        clock.advance(1)
    assert breaker.record_failure() is OPEN


@pytest.mark.parametrize("order_id", ["o-1", None])
def test_one_success_breaks_the_row(order_id):  # case 6
    breaker, clock, _ = closed_breaker(consecutive_failure_threshold=3)
    breaker.admit("o-1")
    for _ in range(2):
        breaker.record_failure()
        clock.advance(61)
    breaker.record_success(order_id)
    for _ in range(2):
        assert breaker.record_failure() is CLOSED
        clock.advance(61)
    assert breaker.record_failure() is OPEN


def test_a_success_while_a_condition_holds_breaks_the_row_too():
    breaker, clock, _ = closed_breaker(consecutive_failure_threshold=2)
    breaker.admit("o-1")
    breaker.record_failure()
    breaker.hold("feed_stale:ES", "no tick")
    breaker.record_success("o-1")
    clock.advance(61)
    assert breaker.record_failure() is CLOSED


def test_a_late_or_unknown_success_breaks_no_row():
    breaker, clock, _ = closed_breaker(consecutive_failure_threshold=2)
    breaker.admit("late")
    breaker.trip("test")
    clock.advance(300)
    for n in range(3):
        breaker.admit(f"t-{n}")
        breaker.record_success(f"t-{n}")
    breaker.record_failure()
    clock.advance(61)
    breaker.record_success("late")
    breaker.record_success("never admitted")
    assert breaker.record_failure() is OPEN
    assert breaker.is_trading_allowed() == (False, "OPEN: 2 failures in a row")


def test_ten_failures_at_one_moment_make_one_transition_and_one_generation():  # case 7
    breaker, _, transitions = closed_breaker()
    for n in range(10):
        breaker.admit(f"o-{n}")
    for n in range(10):
        breaker.record_failure(f"o-{n}")
    assert [(t.previous, t.state, t.generation) for t in transitions] == [(CLOSED, OPEN, 2)]
    state = breaker.get_state()
    assert (state["generation"], state["failures"], state["late"]) == (2, 5, 5)


def test_one_failure_in_61_s_opens_by_the_row_when_that_rule_is_set():  # case 8
    breaker, clock, transitions = closed_breaker(consecutive_failure_threshold=4)
    states = []
    for _ in range(4):
        states.append(breaker.record_failure())
        clock.advance(61)
    assert states == [CLOSED, CLOSED, CLOSED, OPEN]
    assert transitions[0].reason == "4 failures in a row"


def test_one_failure_in_61_s_never_opens_without_the_rule_for_rows():  # case 8
    breaker, clock, _ = closed_breaker()
    for _ in range(100):
        assert breaker.record_failure() is CLOSED
        clock.advance(61)


def test_after_an_idle_hour_the_store_is_empty():  # case 10
    breaker, clock, _ = closed_breaker()
    fail(breaker, 4)
    clock.advance(3600)
    assert breaker.failures == []
    assert breaker.poll() is CLOSED
    assert list(breaker._failures) == []
    assert breaker.get_state()["failures"] == 0
    assert breaker.get_state()["failure_count"] == 4


def test_a_failure_is_in_the_window_for_exactly_60_s():
    breaker, clock, _ = closed_breaker()
    breaker.record_failure()
    clock.advance(60)
    assert breaker.failures == [STARTED_AT]
    assert breaker.get_state()["failures"] == 1
    clock.advance(ns=1)
    assert breaker.failures == []
    assert breaker.get_state()["failures"] == 0


@pytest.mark.parametrize("make", [closed_breaker, half_open_breaker])
def test_neutral_outcomes_move_no_count(make):  # case 11
    breaker, _, transitions = make()
    before = breaker.get_state()
    transitions.clear()
    for n in range(100):
        assert breaker.admit(f"o-{n}").allowed
        breaker.record_neutral(f"o-{n}")
    assert breaker.get_state() == before
    assert transitions == []


def test_a_neutral_outcome_breaks_no_row():  # case 11
    breaker, clock, _ = closed_breaker(consecutive_failure_threshold=2)
    breaker.admit("o-1")
    breaker.record_failure()
    breaker.record_neutral("o-1")
    clock.advance(61)
    assert breaker.record_failure() is OPEN


def test_a_neutral_outcome_while_open_moves_no_count():  # case 11
    breaker, _, _ = closed_breaker()
    breaker.admit("o-1")
    breaker.trip("test")
    before = breaker.get_state()
    assert breaker.record_neutral("o-1") is OPEN
    assert breaker.get_state() == {**before, "late": 1}


def test_a_trip_opens_at_once():  # case 12
    breaker, _, transitions = closed_breaker()
    assert breaker.trip("100 pacing") is OPEN
    assert breaker.is_trading_allowed() == (False, "OPEN: 100 pacing")
    assert not breaker.admit("o-1")
    assert transitions[0].reason == "100 pacing"
    assert breaker.get_state()["failure_count"] == 0


def test_the_reason_names_the_window_as_it_was_set():
    breaker, _, _ = closed_breaker(failure_threshold=2, failure_window_secs=2.5)
    fail(breaker, 2)
    assert breaker.is_trading_allowed() == (False, "OPEN: 2 failures in 2.5s window")


def test_an_order_that_is_out_gets_the_same_verdict_again():
    breaker, _, _ = closed_breaker()
    first = breaker.admit("o-1")
    assert breaker.admit("o-1") is first
    breaker.record_failure("o-1")
    assert breaker.record_failure("o-1") is CLOSED
    assert breaker.get_state()["failure_count"] == 1
    assert breaker.get_state()["unknown_ids"] == 1
