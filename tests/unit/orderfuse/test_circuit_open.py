"""A circuit that lets nothing through, and how long. Numbers are those of the specified cases."""

from datetime import timedelta

import pytest

from orderfuse.circuit import Verdict
from tests.clocks import STARTED_AT
from tests.unit.orderfuse.breakers import (
    CLOSED,
    FIVE_FAILURES,
    HALF_OPEN,
    OPEN,
    admit,
    closed_breaker,
    fail,
    half_open_breaker,
    open_breaker,
)


def test_before_300_s_an_order_is_blocked_with_reason_retry_time_and_generation():  # case 13
    breaker, clock, _ = open_breaker()
    clock.advance(299)
    assert breaker.admit("o-1") == Verdict(
        False, FIVE_FAILURES, generation=2, retry_at=STARTED_AT + timedelta(seconds=300)
    )


def test_open_ends_at_exactly_300_s():  # case 14
    breaker, clock, _ = open_breaker()
    clock.advance(299.999)
    assert not breaker.admit("o-1")
    clock.advance(0.001, ns=-1)
    assert not breaker.admit("o-1")
    assert breaker.state is OPEN
    clock.advance(ns=1)
    assert breaker.admit("o-1") == Verdict(True, "HALF_OPEN: Testing recovery", generation=3, trial=True)
    assert breaker.state is HALF_OPEN


def test_blocked_orders_use_no_memory_and_leave_the_timer_alone():  # case 15
    breaker, clock, _ = open_breaker()
    for n in range(20_000):
        assert not breaker.admit(f"o-{n}")
        clock.advance(ns=1)
    assert breaker._orders == {}
    assert breaker.admit("a") is breaker.admit("b")
    clock.advance(300, ns=-20_001)
    assert not breaker.admit("o")
    clock.advance(ns=1)
    assert breaker.admit("o")


def test_a_late_failure_moves_nothing_and_makes_no_wait_longer():  # case 16
    breaker, clock, transitions = closed_breaker()
    breaker.admit("late")
    fail(breaker, 5)
    clock.advance(100)
    before = breaker.get_state()
    assert breaker.record_failure("late") is OPEN
    assert breaker.get_state() == {**before, "late": 1}
    clock.advance(200)
    assert breaker.poll() is HALF_OPEN
    assert len(transitions) == 2


def test_a_failure_without_an_id_while_open_is_only_counted():
    breaker, clock, transitions = open_breaker()
    clock.advance(100)
    assert breaker.record_failure() is OPEN
    assert breaker.get_state()["failure_count"] == 6
    assert breaker.failures == [STARTED_AT] * 5
    clock.advance(200)
    assert breaker.poll() is HALF_OPEN
    assert len(transitions) == 2


@pytest.mark.parametrize("order_id", ["late", None])
def test_a_success_leaves_it_open(order_id):  # case 17
    breaker, clock, _ = closed_breaker()
    breaker.admit("late")
    fail(breaker, 5)
    for _ in range(3):
        assert breaker.record_success(order_id) is OPEN
    assert breaker.half_open_tries == 0
    clock.advance(299)
    assert breaker.poll() is OPEN


def test_without_traffic_half_open_comes_by_the_timer_and_is_published():  # case 18
    breaker, clock, transitions = open_breaker()
    clock.advance(400)
    assert breaker.poll() is HALF_OPEN
    assert transitions[-1].state is HALF_OPEN
    assert transitions[-1].at_ns == 300 * 10**9
    assert transitions[-1].at == STARTED_AT + timedelta(seconds=300)
    assert admit(breaker, "a", "b", "c", "d") == [True, True, True, False]


@pytest.mark.parametrize("ask", ["get_state", "is_trading_allowed", "snapshot", "poll"])
def test_any_look_makes_the_transition_that_is_due(ask):
    breaker, clock, transitions = open_breaker()
    clock.advance(300)
    assert breaker.state is OPEN, "an attribute only reads"
    assert breaker.opened_at == STARTED_AT
    assert breaker.failures == [STARTED_AT] * 5
    assert len(transitions) == 1
    getattr(breaker, ask)()
    assert breaker.state is HALF_OPEN
    assert len(transitions) == 2


@pytest.mark.parametrize("jump_secs", [-3600, 3600])
def test_a_wall_clock_that_jumps_changes_nothing(jump_secs):  # case 19
    breaker, clock, _ = closed_breaker()
    fail(breaker, 4)
    clock.jump_wall(jump_secs)
    assert breaker.record_failure() is OPEN
    clock.jump_wall(-2 * jump_secs)
    clock.advance(299.999)
    assert not breaker.admit("o-1")
    clock.jump_wall(3 * jump_secs)
    clock.advance(0.001)
    assert breaker.admit("o-1")
    clock.jump_wall(jump_secs)
    clock.advance(29.999)
    assert breaker.poll() is HALF_OPEN


def test_in_open_the_failures_stay_as_they_were_at_the_trip():
    breaker, clock, _ = closed_breaker()
    for _ in range(5):
        breaker.record_failure()
        clock.advance(10)
    clock.advance(200)
    assert breaker.failures == [STARTED_AT + timedelta(seconds=10 * n) for n in range(5)]
    assert breaker.get_state()["failures"] == 5


def test_a_trip_keeps_only_the_failures_that_were_in_the_window():
    breaker, clock, _ = closed_breaker()
    breaker.record_failure()
    clock.advance(60, ns=1)
    breaker.record_failure()
    breaker.trip("test")
    assert len(breaker.failures) == 1


def test_each_reopening_waits_longer_up_to_the_cap():
    breaker, clock, transitions = half_open_breaker(open_timeout_multiplier=2, open_timeout_max_secs=1000)
    waits = []
    for _ in range(4):
        breaker.record_failure()
        opened_ns = transitions[-1].at_ns
        clock.advance(5000)
        breaker.poll()
        waits.append((transitions[-1].at_ns - opened_ns) // 10**9)
    assert waits == [600, 1000, 1000, 1000]


def reopened_once(**fields):
    """CLOSED at second 900, after waits of 300 s and 600 s."""
    breaker, clock, transitions = half_open_breaker(open_timeout_multiplier=2, **fields)
    breaker.record_failure()
    clock.advance(600)
    for _ in range(3):
        breaker.record_success()
    assert breaker.state is CLOSED
    return breaker, clock, transitions


@pytest.mark.parametrize(("closed_ns", "wait_secs"), [(3600 * 10**9 - 1, 600), (3600 * 10**9, 300)])
def test_closed_for_one_caps_length_forgets_the_growth(closed_ns, wait_secs):
    breaker, clock, transitions = reopened_once()
    clock.advance(ns=closed_ns)
    breaker.trip("test")
    assert transitions[-1].retry_at - transitions[-1].at == timedelta(seconds=wait_secs)


def test_a_reset_forgets_the_growth():  # case 35
    breaker, _, transitions = reopened_once()
    breaker.reset()
    breaker.trip("test")
    assert transitions[-1].retry_at - transitions[-1].at == timedelta(seconds=300)


def test_a_cap_below_the_wait_makes_no_wait_shorter():
    breaker, _, transitions = half_open_breaker(open_timeout_multiplier=3, open_timeout_max_secs=10)
    breaker.record_failure()
    assert transitions[-1].retry_at - transitions[-1].at == timedelta(seconds=300)


def test_a_trip_out_of_half_open_is_a_reopening():
    breaker, _, transitions = half_open_breaker(open_timeout_multiplier=2)
    breaker.trip("test")
    assert transitions[-1].retry_at - transitions[-1].at == timedelta(seconds=600)
