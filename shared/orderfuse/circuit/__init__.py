"""The circuit breaker alone: for a script that wants no bus. Loads no zmq. Pure."""

from orderfuse.circuit.breaker import TradingCircuitBreaker
from orderfuse.circuit.clock import SystemClock
from orderfuse.circuit.config import CircuitBreakerConfig
from orderfuse.circuit.types import (
    CircuitBreakerOpenException,
    CircuitState,
    Clock,
    Transition,
    Verdict,
)

__all__ = [
    "CircuitBreakerConfig",
    "CircuitBreakerOpenException",
    "CircuitState",
    "Clock",
    "SystemClock",
    "TradingCircuitBreaker",
    "Transition",
    "Verdict",
]
