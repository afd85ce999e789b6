"""orderfuse: a circuit breaker between automated strategies and Interactive Brokers.

A strategy needs `OrderClient`; a script without the bus `TradingCircuitBreaker`. What a submit may raise is
an `OrderError`: `CircuitBreakerOpenException` and other `OrderBlocked`, `OrderInvalid`, `OrderExpired`,
`OrderUnacknowledged`, `BreakerUnavailable`.
"""

from orderfuse.circuit import (
    CircuitBreakerConfig,
    CircuitBreakerOpenException,
    CircuitState,
    Clock,
    SystemClock,
    TradingCircuitBreaker,
    Transition,
    Verdict,
)
from orderfuse.client import OrderClient
from orderfuse.errors import (
    BreakerUnavailable,
    CancelRefused,
    OrderBlocked,
    OrderError,
    OrderExpired,
    OrderInvalid,
    OrderUnacknowledged,
    ReplaceRefused,
    ReportsMissing,
)
from orderfuse.handle import OrderHandle
from orderfuse.settings import Settings, SettingsError, load_settings
from orderfuse.version import __version__

__all__ = [
    "BreakerUnavailable",
    "CancelRefused",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenException",
    "CircuitState",
    "Clock",
    "OrderBlocked",
    "OrderClient",
    "OrderError",
    "OrderExpired",
    "OrderHandle",
    "OrderInvalid",
    "OrderUnacknowledged",
    "ReplaceRefused",
    "ReportsMissing",
    "Settings",
    "SettingsError",
    "SystemClock",
    "TradingCircuitBreaker",
    "Transition",
    "Verdict",
    "__version__",
    "load_settings",
]
