"""Circuits for tests, each with the clock that moves it and the list that its transitions go to."""

from orderfuse.circuit import CircuitBreakerConfig, CircuitState, TradingCircuitBreaker, Transition
from tests.clocks import ManualClock

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
FIVE_FAILURES = "OPEN: 5 failures in 60s window"


def closed_breaker(**fields):
    clock = ManualClock()
    breaker = TradingCircuitBreaker(CircuitBreakerConfig(**fields), clock=clock)
    transitions: list[Transition] = []
    breaker.on_transition = transitions.append
    return breaker, clock, transitions


def open_breaker(**fields):
    """OPEN since second 0 by five failures."""
    breaker, clock, transitions = closed_breaker(**fields)
    fail(breaker, breaker.config.failure_threshold)
    assert breaker.state is OPEN
    return breaker, clock, transitions


def half_open_breaker(**fields):
    """HALF_OPEN since the end of the first wait."""
    breaker, clock, transitions = open_breaker(**fields)
    clock.advance(breaker.config.open_timeout_secs)
    assert breaker.poll() is HALF_OPEN
    return breaker, clock, transitions


def fail(breaker, times):
    for _ in range(times):
        breaker.record_failure()


def admit(breaker, *order_ids):
    return [breaker.admit(order_id).allowed for order_id in order_ids]
