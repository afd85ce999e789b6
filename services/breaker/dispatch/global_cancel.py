"""The global cancel: every order of the account, also by an executor that is not there now. Pure.

One at a time is enough, since it takes all there is. Promised, sent at each welcome, and ended when it was carried out
or when it would take orders along that a person has placed since.
"""

from __future__ import annotations

from services.breaker.core import Core
from services.breaker.dispatch.owed import GIVE_UP_NS, OwedCancel, Standing
from services.wire.dispatch import EndGlobalCancel, GlobalCancel


def promise(core: Core, scope: str) -> None:
    """The circuit of `scope` was tripped, and with it every order of the account is to be cancelled."""
    circuit = core.scopes.find(scope)
    number = max(core.wall_ns // 1_000_000, core.owed.number + 1 if core.owed else 0)
    until_ns = core.now + GIVE_UP_NS
    generation = circuit.generation if circuit else 0
    core.owed = core.batch.owed = OwedCancel(number, scope, generation, core.wall_ns, until_ns)
    core.batch.sync = True
    send(core)


def send(core: Core) -> None:
    """Tell the executor of the one that is owed; told again, it is the same one."""
    owed = core.owed
    if owed is not None and owed.standing == "owed" and core.executor.joined:
        left_ms = max(0, owed.until_ns - core.now) // 1_000_000
        core.send(GlobalCancel(reason=f"{owed.scope} was tripped", number=owed.number, left_ms=left_ms))


def end(core: Core, standing: Standing) -> None:
    """It is owed no more."""
    if core.owed is None or core.owed.standing in ("done", "ended"):
        return
    core.owed.standing = standing
    core.batch.owed = core.owed
    core.batch.sync = True
    if standing != "done":
        core.send(EndGlobalCancel(number=core.owed.number))


def on_carried_out(core: Core, number: int) -> None:
    """IB lists none of the orders any more that it listed when the one with this number was sent."""
    if core.owed is not None and core.owed.number == number:
        end(core, "done")


def on_reset(core: Core, scope: str) -> str:
    """The circuit of `scope` is reset; returns what is to be said of a cancel that it ends."""
    owed = core.owed
    if owed is None or owed.standing not in ("owed", "given_up") or owed.scope != scope:
        return ""
    end(core, "ended")
    return "the cancel of all orders of the account was not done yet and is not sent again: look into TWS"


def poll(core: Core) -> None:
    """End one that came to its end by itself."""
    if core.owed is not None:
        standing = core.owed.due_end(core.scopes.find(core.owed.scope), core.now)
        if standing is not None:
            end(core, standing)
