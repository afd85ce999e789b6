"""A circuit that tries a few orders. Numbers are those of the specified cases."""

from datetime import timedelta

import pytest

from tests.clocks import STARTED_AT
from tests.unit.orderfuse.breakers import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    admit,
    closed_breaker,
    fail,
    half_open_breaker,
    open_breaker,
)


def test_of_ten_orders_before_any_outcome_three_are_admitted():  # case 20
    breaker, _, _ = half_open_breaker()
    verdicts = [breaker.admit(f"o-{n}") for n in range(10)]
    assert [v.allowed for v in verdicts] == [True] * 3 + [False] * 7
    assert {v.reason for v in verdicts[3:]} == {"HALF_OPEN: all trials are out"}
    assert {v.retry_at for v in verdicts[3:]} == {None}
    assert breaker.is_trading_allowed() == (False, "HALF_OPEN: all trials are out")


def test_half_open_with_a_free_slot_says_that_it_is_testing_and_takes_none():
    breaker, _, _ = half_open_breaker()
    for _ in range(10):
        assert breaker.is_trading_allowed() == (True, "HALF_OPEN: Testing recovery")
    assert admit(breaker, "a", "b", "c", "d") == [True, True, True, False]


def test_a_trial_that_asks_again_takes_no_second_slot():
    breaker, _, _ = half_open_breaker()
    first = breaker.admit("a")
    assert admit(breaker, "a", "b", "c", "d") == [True, True, True, False]
    assert breaker.admit("a") is first


def test_three_successes_close_with_an_empty_store_and_a_new_generation():  # case 21
    breaker, _, transitions = half_open_breaker()
    admit(breaker, "a", "b", "c")
    assert breaker.record_success("a") is HALF_OPEN
    assert breaker.half_open_tries == 1
    assert breaker.record_success("b") is HALF_OPEN
    assert breaker.record_success("c") is CLOSED
    state = breaker.get_state()
    assert (state["failures"], state["failure_count"], state["generation"]) == (0, 0, 4)
    assert (breaker.half_open_tries, breaker.opened_at) == (0, None)
    assert transitions[-1].reason == "3 trial orders succeeded"
    fail(breaker, 4)
    assert breaker.state is CLOSED


def test_a_succeeded_trial_keeps_its_slot():
    breaker, _, _ = half_open_breaker()
    admit(breaker, "a", "b", "c")
    breaker.record_success("a")
    assert admit(breaker, "d") == [False]


def test_closing_begins_the_row_anew():
    breaker, clock, _ = half_open_breaker(consecutive_failure_threshold=6)
    for _ in range(3):
        breaker.record_success()
    for _ in range(5):
        assert breaker.record_failure() is CLOSED
        clock.advance(61)
    assert breaker.record_failure() is OPEN


def test_two_successes_and_a_failure_open_again_for_a_full_wait():  # case 22
    breaker, clock, transitions = half_open_breaker()
    admit(breaker, "a", "b", "c")
    clock.advance(10)
    breaker.record_success("a")
    breaker.record_success("b")
    assert breaker.record_failure("c") is OPEN
    assert breaker.half_open_tries == 0
    assert breaker.is_trading_allowed() == (False, "OPEN: a trial order failed")
    assert breaker.opened_at == STARTED_AT + timedelta(seconds=310)
    clock.advance(299.999)
    assert breaker.poll() is OPEN
    clock.advance(0.001)
    assert breaker.poll() is HALF_OPEN
    assert breaker.half_open_tries == 0
    assert admit(breaker, "d", "e", "f", "g") == [True, True, True, False]
    assert len(transitions) == 4


def test_when_one_of_three_fails_the_later_successes_change_nothing():  # case 23
    breaker, _, transitions = half_open_breaker()
    admit(breaker, "a", "b", "c")
    assert breaker.record_failure("a") is OPEN
    before = breaker.get_state()
    breaker.record_success("b")
    breaker.record_success("c")
    assert breaker.get_state() == {**before, "late": 2}
    assert len(transitions) == 3


def test_a_neutral_trial_returns_its_slot_and_is_no_success():  # cases 24 and 30
    breaker, clock, _ = half_open_breaker()
    admit(breaker, "a", "b", "c")
    assert breaker.record_neutral("b") is HALF_OPEN
    assert breaker.half_open_tries == 0
    assert admit(breaker, "d", "e") == [True, False]
    clock.advance(29)
    breaker.record_neutral("a")
    breaker.record_neutral("c")
    breaker.record_neutral("d")
    clock.advance(3600)
    assert breaker.poll() is HALF_OPEN, "an order that is out no more has no deadline"


def test_an_unanswered_trial_opens_the_breaker_again():  # case 25
    breaker, clock, transitions = half_open_breaker()
    assert breaker.admit("o-1")
    clock.advance(30, ns=-1)
    assert breaker.poll() is HALF_OPEN
    clock.advance(ns=1)
    assert breaker.poll() is OPEN
    assert transitions[-1].reason == "a trial order had no outcome within 30s"
    assert breaker.get_state()["failure_count"] == 6


def test_each_trial_has_a_deadline_of_its_own():  # case 25
    breaker, clock, _ = half_open_breaker()
    breaker.admit("a")
    clock.advance(20)
    breaker.admit("b")
    breaker.record_success("a")
    clock.advance(29.999)
    assert breaker.poll() is HALF_OPEN
    clock.advance(0.001)
    assert breaker.poll() is OPEN


def test_an_outcome_after_the_deadline_is_late_even_if_nobody_polled():  # case 25
    breaker, clock, transitions = half_open_breaker()
    admit(breaker, "a", "b", "c")
    clock.advance(30)
    assert breaker.record_success("a") is OPEN
    assert breaker.record_failure("b") is OPEN
    assert breaker.get_state()["late"] == 2
    assert transitions[-1].at_ns == 330 * 10**9


def test_what_time_has_made_due_is_caught_up_in_order_and_as_of_its_own_time():  # case 25
    breaker, clock, transitions = open_breaker()
    clock.advance(310)
    breaker.admit("lost")  # HALF_OPEN since 300 s, so the deadline is at 340 s
    clock.advance(3600)
    assert breaker.poll() is HALF_OPEN
    assert [(t.state, t.at_ns // 10**9, t.generation) for t in transitions] == [
        (OPEN, 0, 2),
        (HALF_OPEN, 300, 3),
        (OPEN, 340, 4),
        (HALF_OPEN, 640, 5),
    ]
    assert transitions[2].at == STARTED_AT + timedelta(seconds=340)
    assert transitions[2].retry_at == STARTED_AT + timedelta(seconds=640)
    assert breaker.opened_at == STARTED_AT + timedelta(seconds=340)


def test_a_trial_that_asks_again_after_its_deadline_is_blocked():  # case 25
    breaker, clock, _ = half_open_breaker()
    assert breaker.admit("o-1")
    clock.advance(30)
    assert not breaker.admit("o-1")
    assert breaker.state is OPEN


@pytest.mark.parametrize("window_secs", [60, 329.999])
def test_the_failure_of_a_lost_trial_is_remembered_as_of_its_deadline(window_secs):
    breaker, clock, _ = half_open_breaker(failure_window_secs=window_secs)
    breaker.admit("lost")
    clock.advance(45)
    breaker.poll()
    assert breaker.failures == [STARTED_AT + timedelta(seconds=330)]


def test_a_hundred_rounds_of_lost_trials_make_a_hundred_new_rounds():  # case 26
    breaker, clock, transitions = half_open_breaker()
    for n in range(100):
        assert admit(breaker, f"a-{n}", f"b-{n}", f"c-{n}", f"d-{n}") == [True, True, True, False]
        clock.advance(30)
        assert breaker.poll() is OPEN
        clock.advance(300)
        assert breaker.poll() is HALF_OPEN
    assert len(transitions) == 202


def test_an_answered_trial_never_expires():  # case 27
    breaker, clock, _ = half_open_breaker()
    breaker.admit("a")
    clock.advance(29.999)
    breaker.record_success("a")
    clock.advance(3600)
    assert breaker.poll() is HALF_OPEN
    assert breaker.half_open_tries == 1
    assert admit(breaker, "b", "c", "d") == [True, True, False]


def test_the_same_outcome_twice_is_one_success_in_one_slot():  # case 28
    breaker, _, _ = half_open_breaker()
    admit(breaker, "a")
    for _ in range(5):
        assert breaker.record_success("a") is HALF_OPEN
    assert breaker.half_open_tries == 1
    assert breaker.get_state()["unknown_ids"] == 4
    assert admit(breaker, "b", "c", "d") == [True, True, False]


@pytest.mark.parametrize("make", [closed_breaker, open_breaker, half_open_breaker])
def test_an_id_that_was_never_admitted_is_counted_and_has_no_effect(make):  # case 29
    breaker, _, transitions = make()
    before = breaker.get_state()
    transitions.clear()
    for record in (breaker.record_success, breaker.record_failure, breaker.record_neutral):
        for n in range(10):
            record(f"never-{n}")
    assert breaker.get_state() == {**before, "unknown_ids": 30}
    assert transitions == []


def test_the_outcome_of_a_blocked_order_is_one_of_an_unknown_id():  # case 29
    breaker, _, _ = half_open_breaker()
    admit(breaker, "a", "b", "c", "blocked")
    assert breaker.record_failure("blocked") is HALF_OPEN
    assert breaker.get_state()["unknown_ids"] == 1


def test_a_trial_of_the_previous_round_does_nothing_in_this_one():  # case 31
    breaker, clock, _ = half_open_breaker()
    admit(breaker, "old-a", "old-b")
    clock.advance(330)
    assert breaker.poll() is HALF_OPEN
    before = breaker.get_state()
    breaker.record_success("old-a")
    breaker.record_failure("old-b")
    assert breaker.get_state() == {**before, "late": 2}


def test_an_order_still_out_from_an_earlier_generation_takes_no_slot():
    breaker, clock, _ = closed_breaker()
    first = breaker.admit("old")
    breaker.trip("test")
    assert not breaker.admit("old"), "in OPEN nothing is admitted"
    clock.advance(300)
    assert breaker.admit("old") is first
    assert admit(breaker, "a", "b", "c", "d") == [True, True, True, False]


def test_an_hour_without_traffic_leaves_it_half_open_and_admitting():  # case 32
    breaker, clock, transitions = half_open_breaker()
    clock.advance(3600)
    assert breaker.poll() is HALF_OPEN
    assert breaker.admit("a").trial
    assert len(transitions) == 2


def test_outcomes_without_an_id_count_as_trials_and_take_no_slot():
    breaker, _, _ = half_open_breaker()
    assert breaker.record_success() is HALF_OPEN
    assert breaker.half_open_tries == 1
    assert admit(breaker, "a", "b", "c", "d") == [True, True, True, False]
    breaker.record_success()
    assert breaker.record_success() is CLOSED


def test_a_failure_without_an_id_opens_from_half_open():
    breaker, _, _ = half_open_breaker()
    assert breaker.record_failure() is OPEN


def test_the_failure_of_a_trial_joins_those_still_in_the_window():
    breaker, clock, _ = half_open_breaker(failure_window_secs=1000)
    clock.advance(1)
    breaker.record_failure()
    assert len(breaker.failures) == 5, "no more than the threshold are stored"
    assert breaker.failures[-1] == STARTED_AT + timedelta(seconds=301)
