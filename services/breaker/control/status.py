"""The answer to `status`: how everything stands. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from orderfuse.bus.fields import ADOPTED
from orderfuse.circuit import TradingCircuitBreaker
from services.breaker.circuits.scopes import SYSTEM
from services.breaker.control.accepting import told_of
from services.breaker.core import Core
from services.breaker.dispatch.executor_link import LEASE_MS
from services.breaker.publisher import state_of

# Why orders are unknown is said of as many as fit on a screen, with the rest by their ids.
MAX_REASONS = 20


def status(core: Core, version: str) -> dict[str, Any]:
    """The fields of the reply. `version`: of this program."""
    account = core.executor.account
    return {
        "circuits": _circuits(core),
        "executor": {
            "present": core.executor.joined,
            "account": account,
            "lease_ms": LEASE_MS,
        },
        "gateway": _gateway(core),
        "drift": [told_of(each, account) for each in core.executor.position_breaks],
        "foreign": [told_of(each, account) for each in core.executor.foreign],
        "owed": [core.owed.told()] if core.owed is not None else [],
        **_orders(core),
        "circuits_at_rest": core.scopes.resting,
        "journals": core.journals,
        "disk_free": core.disk_free,
        "version": version,
    }


def _circuits(core: Core) -> list[dict[str, Any]]:
    system_allows = core.scopes.system.is_trading_allowed()[0]
    failures = core.scopes.last_failures.told()
    return [
        msgspec.to_builtins(
            state_of(
                scope,
                circuit,
                fenced=core.is_fenced(scope),
                trading_allowed=circuit.is_trading_allowed()[0] and (scope == SYSTEM or system_allows),
            )
        )
        | _failures(core, scope, circuit, failures)
        for scope, circuit in core.scopes
    ]


def _failures(core: Core, scope: str, circuit: TradingCircuitBreaker, told: dict[str, Any]) -> dict[str, Any]:
    """What failed in a circuit. Nothing is said of one that had no room in `told`, least of all that none did."""
    kept = core.scopes.last_failures
    found: dict[str, Any] = {}
    if scope in told or scope not in kept:
        found["last_failures"] = told.get(scope, [])
    if scope == SYSTEM:
        found["failures_by"] = kept.by_source(scope, circuit.failures)
    return found


def _gateway(core: Core) -> dict[str, Any]:
    gateway = core.executor.gateway
    return {
        "connected": bool(core.executor.joined and gateway and gateway.connected),
        "host": gateway.host if gateway else "",
        "port": gateway.port if gateway else 0,
        "detail": gateway.detail if gateway else "",
        "drift_at_ns": gateway.drift_at_ns if gateway else 0,
        "foreign_at_ns": gateway.foreign_at_ns if gateway else 0,
        "foreign_ignored": bool(gateway and gateway.foreign_ignored),
        **({"remedy": gateway.remedy} if gateway and gateway.remedy else {}),
    }


def _orders(core: Core) -> dict[str, Any]:
    """How many orders are where."""
    return {
        "orders_out": len(core.out),
        "unknown": sorted(o.order_id for o in core.orders.values() if o.state == "unknown"),
        "unknown_because": _reasons(core),
        "queued": len(core.queues),
        # Found at IB, of which no journal knows whose they are.
        "adopted": sorted(o.order_id for o in core.orders.values() if o.strategy_id == ADOPTED),
    }


def _reasons(core: Core) -> dict[str, str]:
    """Why orders are unknown, of as many as a person can look into."""
    unknown = (record for record in core.orders.values() if record.state == "unknown")
    told = ((each.order_id, each.last_event or {}) for each in unknown)
    because = {order_id: event.get("reason", "") for order_id, event in told if event.get("kind") == "unknown"}
    return dict(sorted(because.items())[:MAX_REASONS])
