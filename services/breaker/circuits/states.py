"""Telling how the circuits stand: at every change, and again after a while. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from services.breaker.circuits.scopes import SYSTEM
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.publisher import MAX_REPEATS_AT_ONCE


def tell(core: Core) -> None:
    """Publish the states that have changed, and see when time will change them."""
    allowed, core.system_allowed = core.system_allowed, core.scopes.system.is_trading_allowed()[0]
    if allowed is not core.system_allowed:
        core.scopes.touch_all_told()
    for scope, circuit in core.scopes.take_untold():
        fenced = core.is_fenced(scope)
        if core.publisher.tell_state(scope, circuit, fenced=fenced, system_allows=core.system_allowed):
            _repeat_later(core, scope)
        core.scopes.see_when_due(scope, circuit)


def _repeat_later(core: Core, scope: str) -> None:
    core.deadlines.set(Deadline(Due.REPEAT, scope), core.now + core.publisher.repeat_after_ns(scope))


def forget(core: Core, scope: str) -> None:
    """The circuit is no more."""
    core.publisher.forget(scope)
    core.deadlines.drop(Deadline(Due.REPEAT, scope))


def repeat(core: Core, scopes: Sequence[str]) -> None:
    """Tell these states again, a bounded number of them now and the others with the next tick.

    The system's comes first: it is the breaker's sign of life, however many others are due.
    """
    scopes = sorted(scopes, key=lambda scope: scope != SYSTEM)
    for scope in scopes[:MAX_REPEATS_AT_ONCE]:
        core.publisher.repeat_state(scope)
        _repeat_later(core, scope)
    for scope in scopes[MAX_REPEATS_AT_ONCE:]:
        core.deadlines.set(Deadline(Due.REPEAT, scope), core.now)
