"""When time alone changes a circuit: who polls it then, and at no other time, misses nothing."""

from __future__ import annotations

import random

import pytest

from orderfuse import CircuitBreakerConfig, TradingCircuitBreaker
from tests.clocks import ManualClock

CONFIG = CircuitBreakerConfig(
    failure_threshold=3,
    failure_window_secs=5,
    open_timeout_secs=4,
    half_open_max_tries=2,
    half_open_timeout_secs=3,
    open_timeout_multiplier=1.5,
)
STEP_NS = 250_000_000


def one_act(breaker: TradingCircuitBreaker, chance: random.Random, number: int) -> None:
    """Something that happens to a circuit; the same for two of them whose chance is the same."""
    order_id = f"o-{chance.randrange(max(0, number - 6), number + 1)}"
    match chance.randrange(12):
        case 0 | 1 | 2 | 3:
            breaker.admit(f"o-{number}")
        case 4 | 5:
            breaker.record_success(order_id)
        case 6 | 7 | 8:
            breaker.record_failure(order_id)
        case 9:
            breaker.record_failure()
        case 10:
            breaker.hold("tired", "x") if chance.random() < 0.5 else breaker.release("tired")
        case _:
            breaker.trip("x", latch=chance.random() < 0.2) if chance.random() < 0.3 else breaker.reset()


@pytest.mark.parametrize("seed", range(20))
def test_a_circuit_changes_only_by_what_happens_to_it_and_when_it_is_due(seed: int) -> None:
    clock, chance = ManualClock(), random.Random(seed)
    watched, other = TradingCircuitBreaker(CONFIG, clock=clock), TradingCircuitBreaker(CONFIG, clock=clock)
    seen = watched.get_state()
    for number in range(400):
        clock.advance(ns=STEP_NS)
        if watched.due_ns is not None and watched.due_ns <= clock.monotonic_ns():
            watched.poll()
            seen = watched.get_state()
        assert seen == other.get_state()
        if chance.random() < 0.4:
            same = chance.getrandbits(32)
            for breaker in (watched, other):
                one_act(breaker, random.Random(same), number)
            seen = watched.get_state()


def due(breaker: TradingCircuitBreaker) -> int | None:
    return breaker.due_ns


def test_nothing_is_due_of_a_circuit_that_only_an_act_can_change() -> None:
    clock = ManualClock()
    breaker = TradingCircuitBreaker(CONFIG, clock=clock)
    assert due(breaker) is None
    breaker.trip("a person", latch=True)
    assert due(breaker) is None
    breaker.reset()
    breaker.trip("a fault")
    assert due(breaker) == 4 * 10**9
    breaker.hold("tired", "x")
    assert due(breaker) is None


def test_a_failure_is_due_one_nanosecond_after_it_was_last_in_the_window() -> None:
    clock = ManualClock()
    breaker = TradingCircuitBreaker(CONFIG, clock=clock)
    breaker.record_failure()
    assert due(breaker) == 5 * 10**9 + 1
    clock.advance(ns=5 * 10**9)
    assert len(breaker.failures) == 1
    clock.advance(ns=1)
    assert breaker.failures == []
    breaker.poll()
    assert due(breaker) is None
