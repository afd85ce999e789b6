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

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orderfuse import events
    from orderfuse.bus.orders import Attached
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
    from orderfuse.client.control import ControlClient
    from orderfuse.client.handle import OrderHandle
    from orderfuse.client.sync import OrderClient
    from orderfuse.client.watch import Watcher
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
    from orderfuse.settings import Settings, load_settings
    from orderfuse.version import __version__

# Where each name comes from. Loaded when it is used first (PEP 562): who needs the circuit alone loads no zmq.
_HOME = {
    "orderfuse.bus.orders": ("Attached",),
    "orderfuse.circuit": (
        "CircuitBreakerConfig",
        "CircuitBreakerOpenException",
        "CircuitState",
        "Clock",
        "SystemClock",
        "TradingCircuitBreaker",
        "Transition",
        "Verdict",
    ),
    "orderfuse.client.control": ("ControlClient",),
    "orderfuse.client.handle": ("OrderHandle",),
    "orderfuse.client.sync": ("OrderClient",),
    "orderfuse.client.watch": ("Watcher",),
    "orderfuse.errors": (
        "BreakerUnavailable",
        "CancelRefused",
        "ControlRefused",
        "OrderBlocked",
        "OrderError",
        "OrderExpired",
        "OrderInvalid",
        "OrderUnacknowledged",
        "ReplaceRefused",
        "ReportsMissing",
        "SettingsError",
        "UsedAfterFork",
    ),
    "orderfuse.settings": (
        "Settings",
        "load_settings",
    ),
    "orderfuse.version": ("__version__",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

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


# Not for type checkers, which would take it to mean that every name is there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name == "events":
            return import_module("orderfuse.events")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
        return value


def __dir__() -> list[str]:
    return __all__
