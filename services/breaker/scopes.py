"""The circuits: one for the whole system, one for each strategy, and what counts in which.

An order passes if its strategy's circuit admits it and then the system's does, so that one broken strategy
stops itself and not its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from typing import Any

from orderfuse.circuit import CircuitBreakerConfig, CircuitState, Clock, TradingCircuitBreaker, Transition
from orderfuse.messages import BlockCode, Outcome
from services.breaker.last_failures import Failed, LastFailures
from services.breaker.orders import Change, OrderRecord
from services.breaker.places import Places

SYSTEM = "system"
SECOND_NS = 1_000_000_000
# Who pays for names that nothing is known of. No program and no strategy is called that.
NOBODY = "?"
# So a circuit begins the reason why it opens again when a trial was not answered in its time.
NO_OUTCOME = "a trial order had no outcome"


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
    """What a strategy has of orders without an end."""

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


@dataclass(slots=True)
class _Neighbour:
    """What the system's circuit must know of one strategy to count its failures fairly."""

    # Failures that the system counted, newest last; more than the threshold need not be kept.
    counted_ns: deque[int]
    last_success_ns: int | None = None

    def matters(self, since_ns: int) -> bool:
        """Whether anything of it is younger than that."""
        latest = max(self.last_success_ns or 0, self.counted_ns[-1] if self.counted_ns else 0)
        return latest >= since_ns


@dataclass(slots=True)
class Scopes:
    """All circuits of the breaker and the rules between them.

    `transitions` collects what the circuits did, in order, until the stage takes it. `leaving` has the circuits that
    are no longer in memory, as the journal is to keep them; None: not at all. Names cost nothing, so the journal hears
    only of strategies that had an order pass, or of which a person has said something (`is_kept`).
    """

    config: CircuitBreakerConfig
    clock: Clock
    max_strategies: int
    system: TradingCircuitBreaker = field(init=False)
    strategies: dict[str, TradingCircuitBreaker] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    # Scopes of strategies of which the journal has a circuit.
    _journaled: set[str] = field(default_factory=set)
    leaving: dict[str, KeptCircuit | None] = field(default_factory=dict)
    # Strategies that lost their place while orders of theirs waited, which are to be answered.
    put_out: list[str] = field(default_factory=list)
    # How many rest in the journal.
    resting: int = 0
    transitions: list[tuple[str, Transition]] = field(default_factory=list)
    # What failed, for people.
    last_failures: LastFailures = field(default_factory=LastFailures)
    # What each strategy has that has no end yet: such a one keeps its place.
    has_orders: Callable[[], Mapping[str, OrdersOf]] = dict
    # A circuit that rests in the journal.
    find_resting: Callable[[str], KeptCircuit | None] = lambda _: None
    _places: Places = field(init=False)
    # Strategies of which an order has passed, and those that a person has tripped.
    _passed: set[str] = field(default_factory=set)
    _by_hand: set[str] = field(default_factory=set)
    _neighbours: dict[str, _Neighbour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.system = self._watched(SYSTEM, TradingCircuitBreaker(self.config, clock=self.clock))
        self._places = Places(self.max_strategies)

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
            if self._places.is_full() and not self._make_room(sender or strategy_id):
                return None
            kept = self._resting(strategy_scope(strategy_id))
            self.resting -= kept is not None
            return self._take_place(strategy_id, sender, kept)
        if sender:
            self._places.use(strategy_id, sender)
        return self.strategies[strategy_id]

    def has_passed(self, strategy_id: str) -> bool:
        """Whether the strategy has a place, and has had an order pass."""
        return strategy_id in self._passed

    def payer(self, strategy_id: str, sender: str) -> str:
        """Whose share of all is filled by what is done in this name: the program's that uses it.

        Where the system does not tell which that is, it is the strategy's own once an order of it has passed. Until
        then all of them have one together, since names cost nothing.
        """
        return sender or (strategy_id if self.has_passed(strategy_id) else NOBODY)

    def sender_of(self, strategy_id: str) -> str:
        """The program that has used a strategy's place last; empty if it has none."""
        return self._places.sender_of(strategy_id)

    def wake(self, scope: str) -> TradingCircuitBreaker | None:
        """The circuit of `scope`, also if it rests in the journal."""
        found = self.find(scope)
        if found is None and self._resting(scope) is not None:
            return self.open_for(scope.removeprefix("strategy:"))
        return found

    # -- what others report ------------------------------------------------------------------------------

    def reported_failure(self, scope: str, failed: Failed) -> None:
        """Somebody outside has seen a failure; it counts in the scope that they named and nowhere else."""
        circuit = self.find(scope)
        if circuit is not None:
            self.touched.add(scope)
            self._record_failure(scope, circuit, failed)

    def hold(self, scope: str, name: str, reason: str) -> None:
        """A condition that somebody outside reports; the first report of it trips, without grace."""
        circuit = self.find(scope)
        if circuit is None:
            return
        first = name not in circuit.get_state()["conditions"]
        circuit.hold(name, reason)
        self.touched.add(scope)
        if first:
            self.trip(scope, f"{name}: {reason}", latch=False)

    def release(self, scope: str, name: str) -> None:
        """A reported condition is over."""
        circuit = self.find(scope)
        if circuit is not None:
            circuit.release(name)
            self.touched.add(scope)

    # -- one order ---------------------------------------------------------------------------------------

    def would_admit(self, strategy_id: str) -> bool:
        """Whether an order of this strategy would be admitted now, taking no slot."""
        return self.system.is_trading_allowed()[0] and self.strategies[strategy_id].is_trading_allowed()[0]

    def admit(self, record: OrderRecord | Change) -> Refusal | None:
        """Let the order into both circuits, or neither and say why."""
        strategy = self.strategies[record.strategy_id]
        scope = strategy_scope(record.strategy_id)
        verdict = strategy.admit(record.order_id)
        if not verdict.allowed:
            return Refusal(block_code(strategy), verdict.reason or "", scope)
        self.touched.update((scope, SYSTEM))
        record.strategy_generation = verdict.generation
        trial = verdict.trial
        verdict = self.system.admit(record.order_id)
        if not verdict.allowed:
            # The strategy's slot goes back before anybody hears of the refusal.
            strategy.record_neutral(record.order_id)
            return Refusal(block_code(self.system), verdict.reason or "", SYSTEM)
        record.system_generation = verdict.generation
        record.trial = trial or verdict.trial
        self._passed.add(record.strategy_id)
        return None

    def settle(self, record: OrderRecord | Change, outcome: Outcome, failed: Failed | None = None) -> None:
        """Tell both circuits what became of an admitted order; each order counts once. `failed`: what a failure was.

        A success after a failure never counts; a failure after a success still does, once, if the order's
        generation is the present one.
        """
        failed = failed or Failed(outcome)
        if record.settled == "":
            self._first_outcome(record, outcome, failed)
        elif record.settled == "success" and outcome in ("failure", "malformed"):
            self._failure_after_success(record, outcome, failed)

    def _first_outcome(self, record: OrderRecord | Change, outcome: Outcome, failed: Failed) -> None:
        strategy = self.open_for(record.strategy_id)
        order_id = record.order_id
        self.touched.update((strategy_scope(record.strategy_id), SYSTEM))
        if outcome == "success":
            record.settled = "success"
            self._neighbour(record.strategy_id).last_success_ns = self.clock.monotonic_ns()
            self.system.record_success(order_id)
            if strategy:
                strategy.record_success(order_id)
        elif outcome == "neutral":
            record.settled = "neutral"
            self.system.record_neutral(order_id)
            if strategy:
                strategy.record_neutral(order_id)
        else:
            record.settled = "failure"
            scope = strategy_scope(record.strategy_id)
            if strategy:
                self._record_failure(scope, strategy, failed, order_id)
            if outcome == "failure" and self._system_counts(record):
                self._record_failure(SYSTEM, self.system, failed, order_id, source=scope)
            else:
                self.system.record_neutral(order_id)

    def _failure_after_success(self, record: OrderRecord | Change, outcome: Outcome, failed: Failed) -> None:
        record.settled = "failure"
        strategy, scope = self.open_for(record.strategy_id), strategy_scope(record.strategy_id)
        self.touched.update((scope, SYSTEM))
        if strategy and strategy.generation == record.strategy_generation:
            self._record_failure(scope, strategy, failed)
        current = self.system.generation == record.system_generation
        if outcome == "failure" and current and self._system_counts(record):
            self._record_failure(SYSTEM, self.system, failed, source=scope)

    def _record_failure(
        self,
        scope: str,
        circuit: TradingCircuitBreaker,
        failed: Failed,
        order_id: str | None = None,
        source: str = SYSTEM,
    ) -> None:
        """Tell a circuit of a failure, and keep what it was if the circuit counts it. `source`: the scope whose it is.

        That of an order of an earlier generation counts nowhere.
        """
        before = circuit.get_state()
        circuit.record_failure(order_id)
        if circuit.get_state()["failure_count"] > before["failure_count"]:
            # While OPEN the circuit's window stays as it was at the trip.
            stored = circuit.failures[-1:] if before["state"] != "OPEN" else []
            at = stored[0] if stored else self.clock.utcnow()
            self.last_failures.note(scope, failed, at, source if stored else None)

    def _system_counts(self, record: OrderRecord | Change) -> bool:
        """Whether the system counts this failure too.

        While another strategy has had a success inside the window, one strategy's failures count at most
        threshold - 1 times, so that alone it can't open the system. In HALF_OPEN every trial counts.
        """
        if record.system_generation != self.system.generation:
            return True  # a late outcome, which the circuit itself counts as such
        neighbour = self._neighbour(record.strategy_id)
        now = self.clock.monotonic_ns()
        since = now - int(self.config.failure_window_secs * SECOND_NS)
        while neighbour.counted_ns and neighbour.counted_ns[0] < since:
            neighbour.counted_ns.popleft()
        others_succeed = any(
            other.last_success_ns is not None and other.last_success_ns >= since
            for name, other in self._neighbours.items()
            if name != record.strategy_id
        )
        capped = others_succeed and len(neighbour.counted_ns) >= self.config.failure_threshold - 1
        if capped and self.system.state is CircuitState.CLOSED:
            return False
        neighbour.counted_ns.append(now)
        return True

    # -- circuits as such --------------------------------------------------------------------------------

    def strategy_failure(self, strategy_id: str, failed: Failed) -> None:
        """A failure of the strategy itself, of no particular order."""
        self.reported_failure(strategy_scope(strategy_id), failed)

    def system_failure(self, failed: Failed) -> None:
        """A failure of no particular order: a condition that was shorter than its grace."""
        self.touched.add(SYSTEM)
        self._record_failure(SYSTEM, self.system, failed)

    def trip(self, scope: str, reason: str, *, latch: bool) -> bool:
        """Open a circuit. False if there is no such circuit and none can be made."""
        circuit = self.system if scope == SYSTEM else self._to_be_stopped(scope.removeprefix("strategy:"))
        if circuit is None:
            return False
        self.touched.add(scope)
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
        self.touched.add(scope)
        self._by_hand.add(scope.removeprefix("strategy:"))

    def reset(self, scope: str, circuit: TradingCircuitBreaker) -> None:
        """Close the circuit of `scope` by hand."""
        circuit.reset()
        self.last_failures.clear(scope)
        self.touched.add(scope)
        self._by_hand.discard(scope.removeprefix("strategy:"))
        if scope == SYSTEM:
            self._forget_counted()

    def _forget_counted(self) -> None:
        """The system's circuit counts from nought again, so each strategy's share of its count does too."""
        for neighbour in self._neighbours.values():
            neighbour.counted_ns.clear()

    def poll(self) -> None:
        """Let due time pass in every circuit."""
        for _, circuit in self:
            circuit.poll()

    def take_transitions(self) -> list[tuple[str, Transition]]:
        """What the circuits did since the last call, in order."""
        taken, self.transitions = self.transitions, []
        return taken

    def _watched(self, scope: str, circuit: TradingCircuitBreaker) -> TradingCircuitBreaker:
        def note(transition: Transition) -> None:
            self.touched.add(scope)
            self.transitions.append((scope, transition))
            if transition.previous is CircuitState.HALF_OPEN and transition.reason.startswith(NO_OUTCOME):
                # A failure that only the circuit itself has seen.
                for at in circuit.failures[-1:]:
                    self.last_failures.note(scope, Failed(transition.reason), at, SYSTEM)
            if scope == SYSTEM and transition.state is CircuitState.CLOSED:
                self._forget_counted()

        circuit.on_transition = note
        return circuit

    def _neighbour(self, strategy_id: str) -> _Neighbour:
        found = self._neighbours.get(strategy_id)
        if found is None:
            # Also those that have lost their place meanwhile, as long as what they did counts.
            since = self.clock.monotonic_ns() - int(self.config.failure_window_secs * SECOND_NS)
            self._neighbours = {name: known for name, known in self._neighbours.items() if known.matters(since)}
            found = _Neighbour(counted_ns=deque(maxlen=self.config.failure_threshold))
            self._neighbours[strategy_id] = found
        return found

    # -- places ------------------------------------------------------------------------------------------

    def _resting(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that has no place, if there is anything to remember of it."""
        # What has left in this turn is not in the journal yet.
        return self.leaving[scope] if scope in self.leaving else self.find_resting(scope)

    def _take_place(self, strategy_id: str, sender: str, kept: KeptCircuit | None) -> TradingCircuitBreaker:
        scope = strategy_scope(strategy_id)
        self._places.use(strategy_id, sender)
        self.leaving.pop(scope, None)
        if kept is None:
            self.strategies[strategy_id] = self._watched(scope, TradingCircuitBreaker(self.config, clock=self.clock))
        else:
            self.strategies[strategy_id] = self._restored(scope, kept)
            for names, belongs in ((self._passed, kept.passed), (self._by_hand, kept.by_hand)):
                if belongs:
                    names.add(strategy_id)
        self.touched.add(scope)
        return self.strategies[strategy_id]

    def _restored(self, scope: str, kept: KeptCircuit) -> TradingCircuitBreaker:
        self.touched.add(scope)
        return self._watched(scope, TradingCircuitBreaker.restore(kept.snapshot, self.config, clock=self.clock))

    def _make_room(self, sender: str) -> bool:
        """Have another strategy give its place to a newcomer of this sender, if one can.

        What rests is not forgotten, and yet goes late: nobody sees it while it does. At the worst one has to go all of
        whose orders wait here and which never had one pass; its queue is answered.
        """
        places, orders = self._places, self.has_orders()

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
        if leaves in orders:
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
        self._places.leave(strategy_id)
        self._passed.discard(strategy_id)
        self.touched.discard(scope)


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


def block_code(circuit: TradingCircuitBreaker) -> BlockCode:
    """Why this circuit refuses, as a code: the cause that must end first is named."""
    state = circuit.get_state()
    if state["latched"]:
        return "latched"
    if state["conditions"]:
        return "condition"
    if state["state"] == "CLOSED":
        return "limit"
    return "circuit_open" if state["state"] == "OPEN" else "half_open_full"
