"""What people and the world do to a circuit: trips, resets, conditions. Numbers are those of the specified cases."""

from datetime import timedelta

import pytest

from orderfuse.circuit import Verdict
from orderfuse.circuit.snapshot import MAX_CONDITIONS
from tests.clocks import STARTED_AT
from tests.unit.orderfuse.breakers import (
    CLOSED,
    FIVE_FAILURES,
    HALF_OPEN,
    OPEN,
    closed_breaker,
    fail,
    half_open_breaker,
    open_breaker,
)


def test_no_timer_ever_leaves_a_latched_open():  # case 33
    breaker, clock, transitions = closed_breaker()
    breaker.trip("a person said so", latch=True)
    clock.advance(10**9)
    assert breaker.admit("o-1") == Verdict(False, "OPEN: a person said so", generation=2)
    assert breaker.poll() is OPEN
    assert breaker.get_state()["latched"] is True
    assert breaker.get_state()["retry_at"] is None
    assert transitions[-1].retry_at is None


def test_outcomes_while_latched_make_no_transition():  # case 34
    breaker, clock, transitions = closed_breaker()
    breaker.admit("a")
    breaker.admit("b")
    breaker.trip("test", latch=True)
    clock.advance(300)
    breaker.record_success("a")
    breaker.record_failure("b")
    for _ in range(5):
        breaker.record_success()
        breaker.record_failure()
    assert len(transitions) == 1


def test_a_trip_while_open_changes_neither_state_nor_wait_nor_reason():
    breaker, clock, transitions = open_breaker()
    clock.advance(200)
    before = breaker.get_state()
    assert breaker.trip("again") is OPEN
    assert breaker.get_state() == before
    clock.advance(100)
    assert breaker.poll() is HALF_OPEN
    assert len(transitions) == 2


def test_a_trip_while_open_can_latch_and_then_gives_the_reason():
    breaker, clock, transitions = open_breaker()
    clock.advance(299.999)
    breaker.trip("stop for today", latch=True)
    clock.advance(1)
    assert breaker.is_trading_allowed() == (False, "OPEN: stop for today")
    assert breaker.admit("o-1") == Verdict(False, "OPEN: stop for today", generation=2)
    assert len(transitions) == 1
    breaker.trip("not latching any more", latch=False)
    assert breaker.get_state()["latched"] is True
    assert breaker.get_state()["reason"] == "stop for today"


def test_a_trip_at_the_end_of_open_comes_after_it():
    breaker, clock, transitions = open_breaker()
    clock.advance(300)
    breaker.trip("again")
    assert [t.state for t in transitions] == [OPEN, HALF_OPEN, OPEN]


@pytest.mark.parametrize("make", [open_breaker, half_open_breaker])
def test_a_reset_closes_and_clears(make):  # case 35
    breaker, _, transitions = make()
    generation = breaker.generation
    breaker.reset()
    assert transitions[-1].reason == "reset"
    assert breaker.generation == generation + 1
    assert breaker.get_state() == {
        "state": "CLOSED",
        "failures": 0,
        "failure_count": 0,
        "opened_at": None,
        "half_open_tries": 0,
        "latched": False,
        "generation": generation + 1,
        "conditions": [],
        "reason": None,
        "retry_at": None,
        "late": 0,
        "unknown_ids": 0,
    }


def test_a_reset_of_a_latched_circuit_ends_the_latch_for_good():  # case 35
    breaker, clock, _ = closed_breaker()
    breaker.trip("test", latch=True)
    breaker.reset()
    assert breaker.state is CLOSED
    breaker.trip("another")
    clock.advance(300)
    assert breaker.poll() is HALF_OPEN


def test_a_reset_of_a_closed_circuit_clears_counts_and_is_no_transition():  # case 35
    breaker, clock, transitions = closed_breaker(consecutive_failure_threshold=5)
    fail(breaker, 4)
    breaker.reset()
    assert (breaker.failures, breaker.get_state()["failure_count"], transitions) == ([], 0, [])
    for _ in range(4):
        assert breaker.record_failure() is CLOSED
    clock.advance(61)
    assert breaker.record_failure() is OPEN, "the row began anew as well, with four"


def test_two_resets_make_one_transition():  # case 36
    breaker, _, transitions = open_breaker()
    breaker.reset()
    breaker.reset()
    assert [t.state for t in transitions] == [OPEN, CLOSED]
    assert breaker.generation == 3


def test_fifty_orders_out_at_a_reset_and_all_rejected_open_the_circuit():  # case 39
    breaker, _, _ = closed_breaker()
    for n in range(50):
        breaker.admit(f"o-{n}")
    breaker.trip("test", latch=True)
    breaker.reset()
    states = [breaker.record_failure(f"o-{n}") for n in range(50)]
    assert states == [CLOSED] * 4 + [OPEN] * 46
    assert breaker.get_state()["late"] == 45


def test_a_trial_that_a_reset_takes_along_is_an_ordinary_order_then():
    breaker, clock, _ = half_open_breaker()
    breaker.admit("a")
    breaker.reset()
    clock.advance(30)
    assert breaker.poll() is CLOSED, "its deadline went with the round"
    assert breaker.record_failure("a") is CLOSED
    assert breaker.get_state()["failures"] == 1


def test_a_condition_blocks_a_closed_circuit_and_says_which():
    breaker, _, transitions = closed_breaker()
    assert breaker.hold("margin_low", "cushion 0.04") is CLOSED
    reason = "CLOSED: condition margin_low holds: cushion 0.04"
    assert breaker.is_trading_allowed() == (False, reason)
    assert breaker.admit("o-1") == Verdict(False, reason, generation=1)
    assert breaker.get_state()["conditions"] == ["margin_low"]
    assert breaker.release("margin_low") is CLOSED
    assert breaker.admit("o-1")
    assert transitions == []


def test_a_condition_blocks_half_open_and_says_which():
    breaker, _, _ = half_open_breaker()
    breaker.hold("broker_silent", "no answer in 3 s")
    reason = "HALF_OPEN: condition broker_silent holds: no answer in 3 s"
    assert breaker.is_trading_allowed() == (False, reason)
    assert breaker.admit("o-1").reason == reason
    breaker.release("broker_silent")
    assert breaker.is_trading_allowed() == (True, "HALF_OPEN: Testing recovery")


def test_every_condition_must_be_released():
    breaker, _, _ = closed_breaker()
    breaker.hold("a", "first")
    breaker.hold("b", "second")
    breaker.hold("a", "worse")
    assert breaker.admit("o-1").reason == "CLOSED: condition a holds: worse"
    breaker.release("a")
    assert breaker.admit("o-1").reason == "CLOSED: condition b holds: second"
    breaker.release("never held")
    breaker.release("b")
    assert breaker.admit("o-1")


def test_while_a_condition_holds_open_does_not_end():
    breaker, clock, transitions = open_breaker()
    breaker.hold("broker_disconnected", "1100")
    clock.advance(1000)
    assert breaker.poll() is OPEN
    assert breaker.admit("o-1") == Verdict(False, FIVE_FAILURES, generation=2, retry_at=None)
    assert breaker.get_state()["retry_at"] is None
    assert breaker.release("broker_disconnected") is HALF_OPEN
    assert transitions[-1].at_ns == 1000 * 10**9


def test_a_condition_released_before_the_wait_is_over_leaves_the_wait_alone():
    breaker, clock, transitions = open_breaker()
    breaker.hold("a", "one")
    breaker.hold("b", "two")
    clock.advance(100)
    breaker.release("a")
    clock.advance(100)
    assert breaker.release("b") is OPEN
    assert breaker.admit("o-1").retry_at == STARTED_AT + timedelta(seconds=300)
    clock.advance(100)
    assert breaker.poll() is HALF_OPEN
    assert transitions[-1].at_ns == 300 * 10**9


def test_of_two_conditions_the_last_release_begins_half_open():
    breaker, clock, transitions = open_breaker()
    breaker.hold("a", "one")
    breaker.hold("b", "two")
    clock.advance(400)
    assert breaker.release("a") is OPEN
    clock.advance(100)
    assert breaker.release("b") is HALF_OPEN
    assert transitions[-1].at_ns == 500 * 10**9


def test_a_condition_found_after_the_wait_came_too_late_to_hold_it():
    breaker, clock, transitions = open_breaker()
    clock.advance(301)
    assert breaker.hold("a", "one") is HALF_OPEN
    assert transitions[-1].at_ns == 300 * 10**9


def test_the_release_of_a_condition_does_not_end_a_latch():
    breaker, clock, _ = closed_breaker()
    breaker.trip("test", latch=True)
    breaker.hold("a", "one")
    clock.advance(1000)
    assert breaker.release("a") is OPEN


def test_a_trials_deadline_runs_on_while_a_condition_holds():
    breaker, clock, _ = half_open_breaker()
    breaker.admit("a")
    breaker.hold("a", "one")
    clock.advance(30)
    assert breaker.poll() is OPEN


def test_conditions_go_on_holding_after_a_reset_and_trip_nothing():
    breaker, clock, transitions = closed_breaker()
    breaker.hold("broker_disconnected", "1100")
    breaker.trip("broker_disconnected")
    breaker.reset()
    assert breaker.is_trading_allowed() == (False, "CLOSED: condition broker_disconnected holds: 1100")
    breaker.hold("broker_disconnected", "1100 still")
    clock.advance(3600)
    assert breaker.poll() is CLOSED
    assert [t.state for t in transitions] == [OPEN, CLOSED]
    breaker.release("broker_disconnected")
    assert breaker.admit("o-1")


def test_an_order_that_is_out_is_not_waved_through_while_a_condition_holds():
    breaker, _, _ = closed_breaker()
    first = breaker.admit("o-1")
    breaker.hold("a", "one")
    assert not breaker.admit("o-1")
    breaker.release("a")
    assert breaker.admit("o-1") is first


def test_conditions_without_end_latch_the_circuit_instead_of_being_dropped():
    breaker, _, _ = closed_breaker()
    for n in range(MAX_CONDITIONS):
        assert breaker.hold(f"c-{n}", "holds") is CLOSED
    assert breaker.hold("c-0", "holds again") is CLOSED
    assert breaker.hold("one more", "holds") is OPEN
    assert breaker.get_state()["latched"] is True
    assert "one more" in breaker.get_state()["reason"]
