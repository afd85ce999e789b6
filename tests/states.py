"""The state of a scope, as a monitor hears it."""

from __future__ import annotations

from typing import Any

from orderfuse.bus.events import State

Fields = dict[str, Any]


def state(**changes: Any) -> State:
    fields: Fields = {
        "scope": "system",
        "state": "CLOSED",
        "reason": None,
        "failures": 0,
        "failure_count": 0,
        "opened_at": None,
        "retry_at": None,
        "half_open_tries": 0,
        "latched": False,
        "generation": 1,
        "conditions": [],
        "fenced": True,
        "trading_allowed": True,
    }
    return State(**{**fields, **changes})
