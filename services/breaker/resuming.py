"""What a new process makes of what an earlier one left. Pure."""

from __future__ import annotations

from collections import OrderedDict

from services.breaker.circuits.conditions import BROKER_DISCONNECTED, EXECUTOR_SILENT
from services.breaker.circuits.scopes import SYSTEM, KeptCircuit
from services.breaker.core import ACK_DEADLINE_NS, Core
from services.breaker.dispatch.executor_link import LEASE_NS
from services.breaker.gates import Gates
from services.breaker.saved import Saved


def resume(core: Core, gates: Gates, saved: Saved) -> None:
    """Go on with what an earlier process left; what follows from it is handed out with the first step."""
    core.publisher.topics = OrderedDict(saved.topics)
    core.publisher.floor = saved.floor
    core.feedback_taken = dict(saved.feedback_taken)
    core.retold = dict(saved.retold)
    core.owed = saved.owed
    if core.owed is not None:
        core.owed.go_on(core.now, core.wall_ns)
    gates.dead_man.restore(saved.heartbeats)
    gates.remembered.restore(saved.remembered_cancels, core.now)
    gates.marks.restore(saved.refused_marks, core.wall_ns)
    for scope, kept in saved.circuits.items():
        core.scopes.restore(scope, kept)
    core.scopes.last_failures.restore(saved.last_failures, saved.circuits)
    if saved.trouble:
        core.scopes.trip(SYSTEM, saved.trouble, latch=True)
    core.history.start_with({record.scope: _resting(saved.circuits.get(record.scope)) for record in saved.orders})
    for record in saved.orders:
        core.orders[record.order_id] = record
        # A journal of an earlier version may have one of a strategy without a circuit.
        core.keep_place(record.strategy_id)
        if record.in_window():
            core.await_answer(record, record.passed_ns + ACK_DEADLINE_NS)
    now = core.now
    core.conditions.begin(EXECUTOR_SILENT, "no executor yet", now, expected=True)
    core.conditions.begin(BROKER_DISCONNECTED, "no executor yet", now, expected=True)
    core.conditions.release_forgotten()
    # An executor may still hold a lease that an earlier process gave: a trip has to wait for its end.
    core.executor.lease_ends_ns = now + LEASE_NS
    # A process start is no transition, but nothing that an earlier process sent may still be written.
    core.raise_fence()
    core.first_fence = core.fence


def _resting(kept: KeptCircuit | None) -> KeptCircuit | None:
    return kept if kept is not None and kept.resting else None
