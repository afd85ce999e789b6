"""Trips, whoever brings them about: the fence that is raised, what becomes of working orders, and the reply. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orderfuse.bus.control import CancelScope, TripRequest
from orderfuse.circuit import CircuitState
from orderfuse.stopfile import DEFAULT_REASON
from services.breaker import cancelling
from services.breaker.batch import HandDecision
from services.breaker.circuits import states
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, strategy_scope
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.dispatch import global_cancel
from services.breaker.dispatch.executor_link import LEASE_NS

# The request that follows a file of `orderfuse trip` is here within milliseconds.
REQUEST_FOLLOWS_NS = SECOND_NS
# Trips that wait for their fence at the same time; the next ones are answered without waiting.
MAX_PENDING_TRIPS = 100
ON_TRIP: dict[str, CancelScope] = {"keep": "none", "cancel": "ours", "cancel_all": "all"}


def follow_transitions(core: Core, *, by_hand: str = "") -> None:
    """Carry out what the transitions of the circuits bring about, and tell the states at once: none is skipped.

    Args:
        core: the state of the stage.
        by_hand: the scope that a person trips just now, who says what to cancel and may say nothing.
    """
    while transitions := core.scopes.take_transitions():
        for transition in transitions:
            scope = transition.scope
            if not core.scopes.is_kept(scope):
                # Nothing of it can be under way, and nobody loses anything if it is forgotten.
                continue
            # Saved to disk before anybody is told: a power cut must not undo it.
            core.batch.sync = True
            if transition.state is CircuitState.OPEN:
                core.raise_fence(scope)
                if scope != by_hand:
                    _cancel_working(core, scope, _policy(core, scope))
        states.tell(core)


def _policy(core: Core, scope: str) -> CancelScope:
    """What `on_trip` means for a circuit. No strategy's own trip takes the orders of its neighbours along."""
    policy = ON_TRIP[core.settings.on_trip]
    return "ours" if policy == "all" and scope != SYSTEM else policy


def _cancel_working(core: Core, scope: str, cancel: CancelScope) -> list[str]:
    """Cancel what was chosen; returns the ids of ours that are being cancelled."""
    if cancel == "none":
        return []
    ids = cancelling.cancel_automatically(core, scope, protective_too=cancel in ("all", "ours_with_protective"))
    if cancel == "all":
        global_cancel.promise(core, scope)
    return ids


@dataclass(slots=True)
class _PendingTrip:
    """A trip whose reply waits until the executor has confirmed the fence or its lease has run out."""

    token: Any
    request: TripRequest
    cancelling: list[str]
    fence: int
    give_up_ns: int
    note: str


@dataclass(slots=True)
class Trips:
    """Trips by hand: those that were asked for, and the file STOP."""

    core: Core
    _pending: list[_PendingTrip] = field(default_factory=list)
    # Trips of the system that came as requests, and how many these were when the file STOP appeared.
    _asked_for: int = 0
    _asked_before_stop: int = 0

    def on_request(self, token: Any, request: TripRequest) -> None:
        """Trip now; the reply may wait for the fence."""
        core = self.core
        self._asked_for += request.scope == SYSTEM
        fence_before = core.fence_of(request.scope)
        if not core.scopes.trip(request.scope, request.reason, latch=True):
            core.refuse(token, request, "not_allowed", f"there is no circuit {request.scope}, and no room for it")
            return
        core.scopes.never_forget(request.scope)
        core.batch.decisions.append(HandDecision("trip", request.scope, request.reason, request.who))
        core.batch.sync = True
        follow_transitions(core, by_hand=request.scope)
        if core.fence_of(request.scope) == fence_before:
            # It was OPEN already. Whatever is still under way is stopped all the same.
            core.raise_fence(request.scope)
        cancel = request.cancel or _policy(core, request.scope)
        ids = _cancel_working(core, request.scope, cancel)
        note = ""
        if cancel == "all" and not core.executor.joined:
            note = "no executor is there: the cancel of all orders of the account is owed, and goes when there is one"
        # An executor that is gone can't confirm, but it may still place orders until its lease has run out.
        give_up_ns = core.now + LEASE_NS if core.executor.joined else core.executor.lease_ends_ns
        pending = _PendingTrip(token, request, ids, core.fence_of(request.scope), give_up_ns, note)
        if core.now >= give_up_ns or len(self._pending) >= MAX_PENDING_TRIPS:
            self._finish(pending, fenced=False, written=self._maybe_written())
        else:
            self._pending.append(pending)

    def on_stop(self, reason: str, who: str) -> None:
        """The file STOP is there: a trip of the system that needs no message. `who`: whose file it is."""
        core = self.core
        core.batch.decisions.append(HandDecision("stop", SYSTEM, reason, who))
        core.batch.sync = True
        state = core.scopes.system.get_state()
        if state["latched"]:
            if state["reason"] == DEFAULT_REASON:
                # A file appears empty, and its first line a moment later.
                core.scopes.trip(SYSTEM, reason, latch=True)
            else:
                # The state, which tells of every other stop, does not change.
                core.batch.notes.append(f"the file STOP is there too: {reason}")
            return
        core.scopes.trip(SYSTEM, reason, latch=True)
        # `orderfuse trip` makes the file first, and says a moment later what is to be cancelled.
        follow_transitions(core, by_hand=SYSTEM)
        self._asked_before_stop = self._asked_for
        core.deadlines.set(Deadline(Due.STOP_FILE), core.now + REQUEST_FOLLOWS_NS)

    def on_stop_alone(self) -> None:
        """If the file came alone: do with working orders what the setting says, if it still stops."""
        asked_for = self._asked_for != self._asked_before_stop
        if not asked_for and self.core.scopes.system.get_state()["latched"]:
            _cancel_working(self.core, SYSTEM, _policy(self.core, SYSTEM))

    def on_fence_confirmed(self, written: list[str]) -> None:
        """Answer the trips that waited for it."""
        confirmed = self.core.executor.confirmed_fence
        finished = [pending for pending in self._pending if pending.fence <= confirmed]
        self._pending = [pending for pending in self._pending if pending.fence > confirmed]
        for pending in finished:
            self._finish(pending, fenced=True, written=written)

    def poll(self) -> None:
        """Answer trips whose executor did not confirm while its lease ran."""
        now = self.core.now
        late = [pending for pending in self._pending if now >= pending.give_up_ns]
        self._pending = [pending for pending in self._pending if now < pending.give_up_ns]
        for pending in late:
            self._finish(pending, fenced=False, written=self._maybe_written())

    def _finish(self, pending: _PendingTrip, *, fenced: bool, written: list[str]) -> None:
        circuit = self.core.scopes.find(pending.request.scope)
        told = {
            "generation": circuit.generation if circuit else 0,
            "fenced": fenced,
            "written": [each for each in written if self._is_of(each, pending.request.scope)],
            "cancelling": pending.cancelling,
            **({"note": pending.note} if pending.note else {}),
        }
        self.core.reply(pending.token, pending.request, told)

    def _is_of(self, written: str, scope: str) -> bool:
        """Whether an order, or the change of one, belongs to the scope that was tripped."""
        if scope == SYSTEM:
            return True
        record = self.core.orders.get(written.partition("~")[0])
        return record is None or strategy_scope(record.strategy_id) == scope

    def _maybe_written(self) -> list[str]:
        """Without the executor's word: every order and every change handed over that IB has not answered."""
        records = self.core.orders.values()
        orders = [record.order_id for record in records if record.doubtful()]
        return sorted(orders + [record.change.order_id for record in records if record.change is not None])
