"""What a circuit tells, what it remembers, and what it is made of. Numbers are those of the specified cases."""

import pickle
from dataclasses import FrozenInstanceError
from datetime import UTC

import pytest

from orderfuse.circuit import (
    CircuitBreakerConfig,
    CircuitBreakerOpenException,
    SystemClock,
    TradingCircuitBreaker,
    Transition,
    Verdict,
)
from orderfuse.circuit.snapshot import MAX_ORDERS_OUT
from orderfuse.errors import OrderBlocked
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


def test_transitions_form_a_chain_of_growing_generations():  # case 40
    breaker, clock, transitions = half_open_breaker()
    breaker.scope = "strategy:example"
    breaker.record_failure()
    clock.advance(300)
    for _ in range(3):
        breaker.record_success()
    breaker.trip("x", latch=True)
    breaker.reset()
    assert [t.previous for t in transitions[1:]] == [t.state for t in transitions[:-1]]
    assert [t.generation for t in transitions] == list(range(2, 2 + len(transitions)))
    assert transitions[0].scope == "system"
    assert transitions[-1].scope == "strategy:example"


def test_a_listener_that_raises_affects_nothing():  # case 41
    breaker, clock, _ = closed_breaker()

    def broken(transition):
        raise RuntimeError(transition)

    breaker.on_transition = broken
    fail(breaker, 4)
    assert breaker.record_failure() is OPEN
    clock.advance(300)
    assert breaker.admit("a")
    assert breaker.listener_errors == 2


def test_a_listener_meets_a_breaker_that_has_moved_completely():  # case 42
    breaker, clock, _ = open_breaker()
    seen = []
    breaker.on_transition = lambda t: seen.append((t.state.name, breaker.get_state()["state"]))
    clock.advance(310)
    breaker.admit("lost")
    clock.advance(3600)
    breaker.poll()
    assert seen == [("HALF_OPEN", "HALF_OPEN"), ("OPEN", "HALF_OPEN"), ("HALF_OPEN", "HALF_OPEN")]


def test_a_listener_that_calls_back_in_hears_of_it_afterwards_and_in_order():
    breaker, _, _ = closed_breaker()
    heard = []

    def latch_what_opens(transition):
        heard.append(transition.state)
        if transition.state is OPEN and len(heard) == 1:
            breaker.reset()
            assert breaker.admit("from the listener")
            assert breaker.trip("for good", latch=True) is OPEN
            assert heard == [OPEN]

    breaker.on_transition = latch_what_opens
    fail(breaker, 5)
    assert heard == [OPEN, CLOSED, OPEN]
    assert breaker.get_state()["latched"] is True
    assert breaker.listener_errors == 0


def test_a_listener_that_trips_at_half_open_stops_the_order_that_brought_it_about():
    breaker, clock, _ = open_breaker()
    breaker.on_transition = lambda t: t.state is HALF_OPEN and breaker.trip("no")
    clock.advance(300)
    assert not breaker.admit("o-1"), "OPEN never admits"
    assert breaker.state is OPEN


def test_a_listener_that_takes_10_s_shortens_no_trials_deadline():
    breaker, clock, _ = open_breaker()
    breaker.on_transition = lambda t: t.state is HALF_OPEN and clock.advance(10)
    clock.advance(300)
    assert breaker.admit("o-1"), "admitted at 310 s"
    clock.advance(29.999)
    assert breaker.poll() is HALF_OPEN
    clock.advance(0.001)
    assert breaker.record_success("o-1") is OPEN


def test_a_listener_that_is_interrupted_leaves_the_announcements_working():
    breaker, _, _ = closed_breaker()

    def interrupted(_transition):
        raise KeyboardInterrupt

    breaker.on_transition = interrupted
    with pytest.raises(KeyboardInterrupt):
        breaker.trip("test")
    heard: list[Transition] = []
    breaker.on_transition = heard.append
    breaker.reset()
    assert [t.state for t in heard] == [CLOSED]


def test_what_a_circuit_has_done_is_handed_out_once_with_what_brought_it_about():
    breaker, clock, heard = open_breaker()
    clock.advance(300)
    breaker.admit("lost")
    clock.advance(30)
    taken = breaker.take_transitions()
    assert [t.cause for t in taken] == ["failures", "wait_over", "trial_lost"]
    assert taken == heard
    assert breaker.take_transitions() == []
    clock.advance(300)
    breaker.record_failure()
    clock.advance(300)
    for _ in range(3):
        breaker.record_success()
    breaker.trip("a person")
    breaker.reset()
    causes = [t.cause for t in breaker.take_transitions()]
    assert causes == ["wait_over", "trial_failed", "wait_over", "trials_succeeded", "trip", "reset"]


def test_what_is_due_is_handed_out_without_another_look():
    breaker, clock, _ = open_breaker()
    breaker.take_transitions()
    clock.advance(300)
    assert [t.state for t in breaker.take_transitions()] == [HALF_OPEN]


def test_of_transitions_that_nobody_takes_the_latest_hundred_are_kept():
    breaker, _, _ = closed_breaker()
    for _ in range(60):
        breaker.trip("x")
        breaker.reset()
    assert [t.generation for t in breaker.take_transitions()] == list(range(22, 122))


def test_transitions_and_verdicts_cannot_be_changed():
    breaker, _, transitions = open_breaker()
    with pytest.raises(FrozenInstanceError):
        breaker.admit("o-1").allowed = True
    with pytest.raises(FrozenInstanceError):
        transitions[0].state = CLOSED


def test_what_the_state_says_is_how_it_behaves():  # case 42
    breaker, clock, _ = open_breaker()
    for _ in range(700):
        state = breaker.get_state()
        allowed, reason = breaker.is_trading_allowed()
        verdict = breaker.admit(f"o-{state['generation']}")
        assert (verdict.allowed, verdict.reason) == (allowed, reason)
        assert verdict.generation == state["generation"]
        assert allowed == (state["state"] != "OPEN")
        assert state["retry_at"] == (None if allowed else verdict.retry_at.isoformat())
        clock.advance(1)


def test_orders_out_are_bounded_and_beyond_the_bound_nothing_is_admitted():
    breaker, _, _ = closed_breaker()
    for n in range(MAX_ORDERS_OUT):
        breaker.admit(f"o-{n}")
    reason = "CLOSED: 100000 orders are out without an outcome"
    assert breaker.admit("one more") == Verdict(False, reason, generation=1)
    assert breaker.is_trading_allowed() == (False, reason)
    assert breaker.admit("o-0"), "it is out already"
    breaker.record_neutral("o-0")
    assert breaker.is_trading_allowed() == (True, None)
    assert admit(breaker, "one more", "and one") == [True, False]


def test_forgotten_orders_of_an_earlier_generation_do_not_stop_the_line():
    breaker, clock, _ = closed_breaker()
    for n in range(MAX_ORDERS_OUT):
        breaker.admit(f"o-{n}")
    breaker.trip("test")
    clock.advance(300)
    assert breaker.is_trading_allowed() == (True, "HALF_OPEN: Testing recovery")
    assert len(breaker._orders) == MAX_ORDERS_OUT, "looking forgets nothing"
    assert breaker.admit("trial")
    assert list(breaker._orders) == ["trial"]
    assert breaker.record_failure("o-0") is HALF_OPEN
    assert breaker.get_state()["unknown_ids"] == 1


def test_in_closed_they_are_forgotten_too_as_soon_as_an_order_needs_their_room(monkeypatch):
    monkeypatch.setattr("orderfuse.circuit.breaker.MAX_ORDERS_OUT", 2)
    breaker, clock, _ = closed_breaker(half_open_max_tries=1)
    admit(breaker, "old-1", "old-2")
    breaker.trip("test")
    clock.advance(300)
    assert breaker.poll() is HALF_OPEN
    assert breaker.record_success() is CLOSED
    assert breaker.admit("new") == Verdict(True, None, generation=4)
    assert list(breaker._orders) == ["new"]
    assert breaker.record_failure("old-1") is CLOSED
    assert (breaker.get_state()["unknown_ids"], breaker.get_state()["failures"]) == (1, 0)


def test_who_listens_can_be_asked():
    breaker, _, transitions = closed_breaker()
    assert breaker.on_transition == transitions.append
    breaker.on_transition = None
    assert breaker.on_transition is None
    breaker.trip("test")
    assert transitions == []


def test_the_store_holds_no_more_than_the_threshold():
    breaker, clock, _ = closed_breaker(failure_threshold=3)
    for _ in range(1000):
        fail(breaker, 3)
        clock.advance(300)
        assert len(breaker._failures._recent) <= 3


def test_the_exception_reads_as_documented_and_is_an_order_blocked():
    error = CircuitBreakerOpenException("5 failures in 60s window", failure_count=7, failures_in_window=5)
    assert str(error) == "Circuit breaker OPEN: 5 failures in 60s window"
    assert (error.reason, error.state) == ("5 failures in 60s window", OPEN)
    assert (error.failure_count, error.failures_in_window) == (7, 5)
    assert isinstance(error, OrderBlocked)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (str(copy), copy.failure_count) == (str(error), 7)


def test_a_verdict_is_true_exactly_when_it_allows():
    assert Verdict(True, None, 1)
    assert not Verdict(False, "OPEN: test", 1)


def test_the_system_clock_is_monotonic_and_aware():
    clock = SystemClock()
    assert clock.monotonic_ns() <= clock.monotonic_ns()
    assert clock.utcnow().tzinfo is UTC


def test_a_breaker_without_a_clock_takes_the_systems():
    breaker = TradingCircuitBreaker(CircuitBreakerConfig(failure_threshold=1, open_timeout_secs=1e-9))
    assert breaker.record_failure() in (OPEN, HALF_OPEN)
    assert breaker.poll() is HALF_OPEN


def test_a_record_returns_the_state_after_it():
    breaker, _, _ = closed_breaker(failure_threshold=1)
    admit(breaker, "a", "b", "c")
    assert breaker.record_success("a") is CLOSED
    assert breaker.record_neutral("b") is CLOSED
    assert breaker.record_failure("c") is OPEN
