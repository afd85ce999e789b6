"""The circuits: one for the whole system, one for each strategy, and which strategies have a place. Pure.

An order passes if its strategy's circuit admits it and then the system's does, so that one broken strategy
stops itself and not its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Any, Protocol

from orderfuse.bus.events import BlockCode
from orderfuse.circuit import CircuitBreakerConfig, CircuitState, Clock, TradingCircuitBreaker, Transition
from services.breaker.circuits.fair_shares import FairShares
from services.breaker.circuits.places import Places
from services.breaker.control.last_failures import Failed, LastFailures
from services.breaker.deadlines import Deadline, Deadlines, Due
from services.breaker.orders import OrderRecord

SYSTEM = "system"
SECOND_NS = 1_000_000_000
# Who pays for names that nothing is known of. No program and no strategy is called that.
NOBODY = "?"


def strategy_scope(strategy_id: str) -> str:
    """The scope of one strategy's circuit."""
    return f"strategy:{strategy_id}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Our own no to an order, as far as the circuits are concerned."""

    code: BlockCode
    reason: str
    scope: str


class OrdersOf(Enum):
    """What a strategy has of orders, and of changes of orders, without an end."""

    WAITING = "all of them wait here"
    BEYOND = "some are beyond the breaker"


class Unreadable(Exception):
    """The journal does not tell."""


@dataclass(frozen=True, slots=True)
class KeptCircuit:
    """What the journal has of a circuit.

    Attributes:
        snapshot: the circuit's own, or None where it cannot be read.
        passed: an order of its strategy has: it is never forgotten while it has something to remember.
        by_hand: a person has tripped it.
        resting: it has given its place to another strategy, and comes back with the next message of its own.
    """

    snapshot: Any
    passed: bool = False
    by_hand: bool = False
    resting: bool = False


class RestingCircuits(Protocol):
    """What the journal can be asked of circuits."""

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another."""


@dataclass(slots=True)
class Scopes:
    """All circuits of the breaker and the rules between them.

    What the circuits do stays with them until `take_transitions` takes it. `leaving` has the circuits that are no
    longer in memory, as the journal is to keep them; None: not at all. Names cost nothing, so the journal hears only of
    strategies that had an order pass, or of which a person has said something (`is_kept`).
    """

    config: CircuitBreakerConfig
    clock: Clock
    max_strategies: int
    # Those without an end: a strategy that has any keeps its place.
    orders: Mapping[str, OrderRecord]
    history: RestingCircuits
    system: TradingCircuitBreaker = field(init=False)
    strategies: dict[str, TradingCircuitBreaker] = field(default_factory=dict)
    # What has changed since it was saved, and since it was told.
    touched: set[str] = field(default_factory=set)
    untold: set[str] = field(default_factory=set)
    # Scopes of strategies of which the journal has a circuit.
    _journaled: set[str] = field(default_factory=set)
    leaving: dict[str, KeptCircuit | None] = field(default_factory=dict)
    # Strategies that lost their place. What waits of them, orders or the changes of some that ended, is to be answered.
    put_out: list[str] = field(default_factory=list)
    # How many rest in the journal.
    resting: int = 0
    # When time alone changes a circuit.
    _due: Deadlines = field(default_factory=Deadlines)
    # What failed, for people.
    last_failures: LastFailures = field(default_factory=LastFailures)
    places: Places = field(init=False)
    # Strategies of which an order has passed, and those that a person has tripped.
    _passed: set[str] = field(default_factory=set)
    _by_hand: set[str] = field(default_factory=set)
    shares: FairShares = field(init=False)

    def __post_init__(self) -> None:
        self.system = self._new(SYSTEM)
        self.places = Places(self.max_strategies)
        self.shares = FairShares(self.config.failure_threshold, int(self.config.failure_window_secs * SECOND_NS))

    def restore(self, scope: str, kept: KeptCircuit) -> None:
        """Go on with a saved circuit. What can't be read becomes OPEN, latched."""
        self._journaled.add(scope)
        if kept.resting:
            self.resting += 1
        elif scope == SYSTEM:
            self.system = self._restored(scope, kept)
        else:
            self._take_place(scope.removeprefix("strategy:"), "", kept)

    def is_kept(self, scope: str) -> bool:
        """Whether what happens to this circuit goes to disk."""
        name, circuit = scope.removeprefix("strategy:"), self.find(scope)
        said = scope == SYSTEM or name in self._passed or name in self._by_hand
        return said or bool(circuit and circuit.get_state()["conditions"])

    def take_changed(self) -> dict[str, KeptCircuit | None]:
        """The circuits as the journal is to have them, since the last call; None: not at all."""
        changed = {scope: kept for scope, kept in self.leaving.items() if kept or scope in self._journaled}
        for scope in self.touched:
            circuit, name = self.find(scope), scope.removeprefix("strategy:")
            if circuit is not None and (self.is_kept(scope) or scope in self._journaled):
                passed, by_hand = name in self._passed, name in self._by_hand
                changed[scope] = KeptCircuit(circuit.snapshot(), passed=passed, by_hand=by_hand)
        self.touched.clear()
        self.leaving.clear()
        for scope, kept in changed.items():
            (self._journaled.discard if kept is None else self._journaled.add)(scope)
        return changed

    def __iter__(self) -> Iterator[tuple[str, TradingCircuitBreaker]]:
        yield SYSTEM, self.system
        for strategy_id, circuit in self.strategies.items():
            yield strategy_scope(strategy_id), circuit

    def find(self, scope: str) -> TradingCircuitBreaker | None:
        """The circuit of `scope`, if there is one."""
        return self.system if scope == SYSTEM else self.strategies.get(scope.removeprefix("strategy:"))

    def open_for(self, strategy_id: str, sender: str = "") -> TradingCircuitBreaker | None:
        """The circuit of a strategy, made at its first order; None if there are too many strategies.

        Another one may have lost its place for it, which `leaving` says.

        Raises:
            Unreadable: nobody knows whether one rests in the journal.
        """
        if strategy_id not in self.strategies:
            kept = self._resting(strategy_scope(strategy_id))
            if self.places.is_full() and not self._make_room(sender or strategy_id):
                return None
            self.resting -= kept is not None
            return self._take_place(strategy_id, sender, kept)
        if sender:
            self.places.use(strategy_id, sender)
        return self.strategies[strategy_id]

    def note_passed(self, strategy_id: str) -> None:
        """An order of this strategy has passed: its circuit is kept from now on."""
        self._passed.add(strategy_id)

    def has_passed(self, strategy_id: str) -> bool:
        """Whether the strategy has a place, and has had an order pass."""
        return strategy_id in self._passed

    def payer(self, strategy_id: str, sender: str) -> str:
        """Whose share of all is filled by what is done in this name: the program's that uses it.

        Where the system does not tell which that is, it is the strategy's own once an order of it has passed. Until
        then all of them have one together, since names cost nothing.
        """
        return sender or (strategy_id if self.has_passed(strategy_id) else NOBODY)

    def wake(self, scope: str) -> TradingCircuitBreaker | None:
        """The circuit of `scope`, also if it rests in the journal."""
        found = self.find(scope)
        if found is None and self._resting(scope) is not None:
            return self.open_for(scope.removeprefix("strategy:"))
        return found

    # -- circuits as such --------------------------------------------------------------------------------

    def trip(self, scope: str, reason: str, *, latch: bool) -> bool:
        """Open a circuit. False if there is no such circuit and none can be made."""
        circuit = self.system if scope == SYSTEM else self._to_be_stopped(scope.removeprefix("strategy:"))
        if circuit is None:
            return False
        self.touch(scope)
        circuit.trip(reason, latch=latch)
        return True

    def _to_be_stopped(self, strategy_id: str) -> TradingCircuitBreaker | None:
        try:
            if strategy_id not in self.strategies and self._resting(strategy_scope(strategy_id)) is None:
                # Names of which nothing was ever heard may be stopped, too, but must not take all places.
                unheard = self._by_hand - self._passed
                if len(unheard) >= max(1, self.max_strategies // 2):
                    return None
            return self.open_for(strategy_id)
        except Unreadable:
            # A stop needs no answer to a question first: what the journal may remember is less than to be stopped.
            return self._take_place(strategy_id, "", None)

    def keep(self, strategy_id: str) -> None:
        """There is an order of this strategy beyond the breaker: it has a circuit, however many others have."""
        if self.open_for(strategy_id) is None:
            self._take_place(strategy_id, "", self._resting(strategy_scope(strategy_id)))
        self._passed.add(strategy_id)

    def never_forget(self, scope: str) -> None:
        """A person has tripped this circuit: it keeps its place, so that everybody sees that, until a reset."""
        self.touch(scope)
        self._by_hand.add(scope.removeprefix("strategy:"))

    def reset(self, scope: str, circuit: TradingCircuitBreaker) -> None:
        """Close the circuit of `scope` by hand."""
        circuit.reset()
        self.last_failures.clear(scope)
        self.touch(scope)
        self._by_hand.discard(scope.removeprefix("strategy:"))
        if scope == SYSTEM:
            self.shares.begin_anew()

    def touch(self, *scopes: str) -> None:
        """These circuits may have changed: they are to be saved, and what is new of them is to be told."""
        self.touched.update(scopes)
        self.untold.update(scopes)

    def touch_all_told(self) -> None:
        """Something has changed that is told with each circuit."""
        self.untold.update(scope for scope, _ in self)

    def let_time_pass(self) -> None:
        """Let the circuits change whose time has come."""
        for deadline in self._due.take_due(self.clock.monotonic_ns()):
            circuit = self.find(deadline.whose)
            assert circuit is not None, f"{deadline.whose} is due, and there is no such circuit"
            circuit.poll()
            self.untold.add(deadline.whose)

    def see_when_due(self, scope: str, circuit: TradingCircuitBreaker) -> None:
        """A circuit has changed, and perhaps the time at which it changes by itself."""
        deadline, due_ns = Deadline(Due.CIRCUIT, scope), circuit.due_ns
        if due_ns is None:
            self._due.drop(deadline)
        else:
            self._due.set(deadline, due_ns)

    def take_untold(self) -> list[tuple[str, TradingCircuitBreaker]]:
        """The circuits of which there may be news, since the last call."""
        first = [SYSTEM] if SYSTEM in self.untold else []
        scopes = [*first, *sorted(self.untold - {SYSTEM})]
        found = [(scope, circuit) for scope in scopes if (circuit := self.find(scope)) is not None]
        self.untold.clear()
        return found

    def take_transitions(self) -> list[Transition]:
        """What the circuits did since the last call, by the time at which it was due; whose it was says `scope`."""
        # Nothing moves any other circuit than time and what touches it.
        self.let_time_pass()
        taken: list[Transition] = []
        # What is due at the same time: the system's last, as one strategy's failure may be the system's, too.
        for scope in sorted(self.touched | self.untold, key=lambda scope: (scope == SYSTEM, scope)):
            circuit = self.find(scope)
            if circuit is None:
                continue
            for transition in circuit.take_transitions():
                taken.append(transition)
                self.touch(scope)
                self._note(transition, circuit)
        taken.sort(key=lambda transition: transition.at_ns)
        return taken

    def _note(self, transition: Transition, circuit: TradingCircuitBreaker) -> None:
        if transition.cause == "trial_lost":
            # A failure that only the circuit itself has seen.
            for at in circuit.failures[-1:]:
                self.last_failures.note(transition.scope, Failed(transition.reason), at, SYSTEM)
        if transition.scope == SYSTEM and transition.state is CircuitState.CLOSED:
            self.shares.begin_anew()

    def _new(self, scope: str) -> TradingCircuitBreaker:
        circuit = TradingCircuitBreaker(self.config, clock=self.clock)
        circuit.scope = scope
        return circuit

    # -- places ------------------------------------------------------------------------------------------

    def _resting(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that has no place, if there is anything to remember of it."""
        # What has left in this turn is not in the journal yet.
        return self.leaving[scope] if scope in self.leaving else self.history.find_resting_circuit(scope)

    def _take_place(self, strategy_id: str, sender: str, kept: KeptCircuit | None) -> TradingCircuitBreaker:
        scope = strategy_scope(strategy_id)
        self.places.use(strategy_id, sender)
        self.leaving.pop(scope, None)
        if kept is None:
            self.strategies[strategy_id] = self._new(scope)
        else:
            self.strategies[strategy_id] = self._restored(scope, kept)
            for names, belongs in ((self._passed, kept.passed), (self._by_hand, kept.by_hand)):
                if belongs:
                    names.add(strategy_id)
        self.touch(scope)
        return self.strategies[strategy_id]

    def _restored(self, scope: str, kept: KeptCircuit) -> TradingCircuitBreaker:
        self.touch(scope)
        circuit = TradingCircuitBreaker.restore(kept.snapshot, self.config, clock=self.clock)
        circuit.scope = scope
        return circuit

    def _make_room(self, sender: str) -> bool:
        """Have another strategy give its place to a newcomer of this sender, if one can.

        A circuit that rests is kept, but nobody sees it, so one that has something to remember is chosen late. As a
        last resort a strategy goes whose orders all wait and which never had one pass; its queue is answered.
        """
        places, orders = self.places, _orders_by_strategy(self.orders)

        def may_leave(name: str) -> bool:
            """Nothing is lost if it does: it has no orders, and no person has said anything of it."""
            said = name in self._by_hand or self.strategies[name].get_state()["conditions"]
            return not said and name not in orders

        def may_be_put_out(name: str) -> bool:
            never_passed = name not in self._passed and name not in self._by_hand
            return never_passed and orders.get(name) is OrdersOf.WAITING

        choices = chain(
            filter(may_leave, places.own(sender)),
            filter(may_leave, places.of_richer(sender)),
            (name for name in places.all() if may_leave(name) and is_idle(self.strategies[name])),
            (name for name in places.all() if may_leave(name) and name not in self._passed),
            filter(may_leave, places.all()),
            filter(may_be_put_out, places.of_richer(sender)),
        )
        leaves = next(choices, None)
        if leaves is None:
            return False
        self.put_out.append(leaves)
        self._leave(leaves)
        return True

    def _leave(self, strategy_id: str) -> None:
        """What has nothing to remember is forgotten, and what never had an order pass: nobody lost anything by it."""
        scope = strategy_scope(strategy_id)
        circuit = self.strategies.pop(strategy_id)
        rests = strategy_id in self._passed and not is_idle(circuit)
        self.leaving[scope] = KeptCircuit(circuit.snapshot(), passed=True, resting=True) if rests else None
        self.resting += rests
        self.last_failures.clear(scope)
        self.places.leave(strategy_id)
        self._passed.discard(strategy_id)
        self.touched.discard(scope)
        self.untold.discard(scope)
        self._due.drop(Deadline(Due.CIRCUIT, scope))


def _orders_by_strategy(orders: Mapping[str, OrderRecord]) -> dict[str, OrdersOf]:
    """What each strategy has that has no end yet: also a change whose order has ended, which its circuit is to count.

    It may be counted when time alone has passed. Then nobody could ask the journal for a circuit that rests.
    """
    found: dict[str, OrdersOf] = {}
    for record in orders.values():
        if record.state == "queued":
            found.setdefault(record.strategy_id, OrdersOf.WAITING)
        elif record.state != "done" or (record.change is not None and not record.change.settled):
            found[record.strategy_id] = OrdersOf.BEYOND
    return found


def is_idle(circuit: TradingCircuitBreaker) -> bool:
    """Whether forgetting this circuit would change no decision: CLOSED, no failure that counts, no order out."""
    config, saved = circuit.config, circuit.snapshot()
    return (
        saved["state"] == "CLOSED"
        and not saved["failures"]
        and (saved["row"] == 0 or config.consecutive_failure_threshold is None)
        and saved["wait_ns"] <= config.open_timeout_secs * SECOND_NS
        and not saved["conditions"]
        and not saved["orders"]
    )
