"""orderfuse: a fuse between automated strategies and one Interactive Brokers account.

A strategy needs `OrderClient`:

    with OrderClient("my-strategy") as client:
        handle = client.submit(contract, order)
        print(handle.wait(timeout=60).kind)

What its calls may raise is an `OrderError`: `CircuitBreakerOpenException` and other `OrderBlocked`, `OrderInvalid`,
`OrderExpired`, `OrderUnacknowledged`, `BreakerUnavailable`, `CancelRefused`, `ReplaceRefused`, `ReportsMissing`,
`UsedAfterFork`.
What it hears are the events of `orderfuse.events`, such as `Filled`, `Cancelled` and `Rejected`.

A monitor needs `Watcher`, which follows everything. A program that trips or resets, as the command `orderfuse` does,
needs `ControlClient`. A script that wants the circuit breaker alone needs `TradingCircuitBreaker`.

All of them find the breaker by `load_settings`: in `$ORDERFUSE_HOME`, else `~/.orderfuse`. Importing this package
needs pyzmq, msgpack and msgspec, and configures no logging.
"""

from orderfuse import events
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
from orderfuse.control import ControlClient
from orderfuse.errors import (
    BreakerUnavailable,
    CancelRefused,
    ControlRefused,
    OrderBlocked,
    OrderError,
    OrderExpired,
    OrderInvalid,
    OrderUnacknowledged,
    ReplaceRefused,
    ReportsMissing,
    SettingsError,
    UsedAfterFork,
)
from orderfuse.handle import OrderHandle
from orderfuse.messages import Attached
from orderfuse.settings import Settings, load_settings
from orderfuse.version import __version__
from orderfuse.watch import Watcher

__all__ = [
    "Attached",
    "BreakerUnavailable",
    "CancelRefused",
    "CircuitBreakerConfig",
    "CircuitBreakerOpenException",
    "CircuitState",
    "Clock",
    "ControlClient",
    "ControlRefused",
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
    "UsedAfterFork",
    "Verdict",
    "Watcher",
    "__version__",
    "events",
    "load_settings",
]


def __dir__() -> list[str]:
    return __all__
