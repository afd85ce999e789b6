"""The circuits: one for the whole system, one for each strategy, and what counts in which.

An order passes if its strategy's circuit admits it and then the system's does, so that one broken strategy
stops itself and not its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from orderfuse.circuit import CircuitBreakerConfig, CircuitState, Clock, TradingCircuitBreaker, Transition
from orderfuse.messages import BlockCode, Outcome
from services.breaker.orders import Change, OrderRecord

SYSTEM = "system"
SECOND_NS = 1_000_000_000


def strategy_scope(strategy_id: str) -> str:
    """The scope of one strategy's circuit."""
    return f"strategy:{strategy_id}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Our own no to an order, as far as the circuits are concerned."""

    code: BlockCode
    reason: str
    scope: str


@dataclass(slots=True)
class _Neighbour:
    """What the system's circuit must know of one strategy to count its failures fairly."""

    # Failures that the system counted, newest last; more than the threshold need not be kept.
    counted_ns: deque[int]
    last_success_ns: int | None = None


@dataclass(slots=True)
class Scopes:
    """All circuits of the breaker and the rules between them.

    `transitions` collects what the circuits did, in order, until the stage takes it.
    """

    config: CircuitBreakerConfig
    clock: Clock
    max_strategies: int
    system: TradingCircuitBreaker = field(init=False)
    strategies: dict[str, TradingCircuitBreaker] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    transitions: list[tuple[str, Transition]] = field(default_factory=list)
    # Whether orders of a strategy wait: its circuit will be asked about them.
    waits: Callable[[str], bool] = lambda _: False
    _neighbours: dict[str, _Neighbour] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.system = self._watched(SYSTEM, TradingCircuitBreaker(self.config, clock=self.clock))

    def restore(self, scope: str, snapshot: Any) -> None:
        """Go on with a saved circuit. What can't be read becomes OPEN, latched."""
        circuit = self._watched(scope, TradingCircuitBreaker.restore(snapshot, self.config, clock=self.clock))
        self.touched.add(scope)
        if scope == SYSTEM:
            self.system = circuit
        else:
            self.strategies[scope.removeprefix("strategy:")] = circuit

    def __iter__(self) -> Iterator[tuple[str, TradingCircuitBreaker]]:
        yield SYSTEM, self.system
        for strategy_id, circuit in self.strategies.items():
            yield strategy_scope(strategy_id), circuit

    def find(self, scope: str) -> TradingCircuitBreaker | None:
        """The circuit of `scope`, if there is one."""
        return self.system if scope == SYSTEM else self.strategies.get(scope.removeprefix("strategy:"))

    def open_for(self, strategy_id: str) -> TradingCircuitBreaker | None:
        """The circuit of a strategy, made at its first order; None if there are too many strategies."""
        circuit = self.strategies.get(strategy_id)
        if circuit is None and (len(self.strategies) < self.max_strategies or self._forget_an_idle_one()):
            scope = strategy_scope(strategy_id)
            circuit = self._watched(scope, TradingCircuitBreaker(self.config, clock=self.clock))
            self.strategies[strategy_id] = circuit
            self.touched.add(scope)
        return circuit

    # -- what others report ------------------------------------------------------------------------------

    def reported_failure(self, scope: str) -> None:
        """Somebody outside has seen a failure; it counts in the scope that they named and nowhere else."""
        circuit = self.find(scope)
        if circuit is not None:
            self.touched.add(scope)
            circuit.record_failure()

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
        return None

    def settle(self, record: OrderRecord | Change, outcome: Outcome) -> None:
        """Tell both circuits what became of an admitted order; each order counts once.

        A success after a failure never counts; a failure after a success still does, once, if the order's
        generation is the present one.
        """
        if record.settled == "":
            self._first_outcome(record, outcome)
        elif record.settled == "success" and outcome in ("failure", "malformed"):
            self._failure_after_success(record, outcome)

    def _first_outcome(self, record: OrderRecord | Change, outcome: Outcome) -> None:
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
            if strategy:
                strategy.record_failure(order_id)
            if outcome == "failure" and self._system_counts(record):
                self.system.record_failure(order_id)
            else:
                self.system.record_neutral(order_id)

    def _failure_after_success(self, record: OrderRecord | Change, outcome: Outcome) -> None:
        record.settled = "failure"
        strategy = self.strategies.get(record.strategy_id)
        self.touched.update((strategy_scope(record.strategy_id), SYSTEM))
        if strategy and strategy.generation == record.strategy_generation:
            strategy.record_failure()
        current = self.system.generation == record.system_generation
        if outcome == "failure" and current and self._system_counts(record):
            self.system.record_failure()

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

    def strategy_failure(self, strategy_id: str) -> None:
        """A failure of the strategy itself, of no particular order."""
        self.touched.add(strategy_scope(strategy_id))
        self.strategies[strategy_id].record_failure()

    def system_failure(self) -> None:
        """A failure of no particular order: a condition that was shorter than its grace."""
        self.touched.add(SYSTEM)
        self.system.record_failure()

    def trip(self, scope: str, reason: str, *, latch: bool) -> bool:
        """Open a circuit. False if there is no such circuit and none can be made."""
        circuit = self.system if scope == SYSTEM else self.open_for(scope.removeprefix("strategy:"))
        if circuit is None:
            return False
        self.touched.add(scope)
        circuit.trip(reason, latch=latch)
        return True

    def reset(self, scope: str, circuit: TradingCircuitBreaker) -> None:
        """Close the circuit of `scope` by hand."""
        circuit.reset()
        self.touched.add(scope)
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
            if scope == SYSTEM and transition.state is CircuitState.CLOSED:
                self._forget_counted()

        circuit.on_transition = note
        return circuit

    def _neighbour(self, strategy_id: str) -> _Neighbour:
        found = self._neighbours.get(strategy_id)
        if found is None:
            found = _Neighbour(counted_ns=deque(maxlen=self.config.failure_threshold))
            self._neighbours[strategy_id] = found
        return found

    def _forget_an_idle_one(self) -> bool:
        """Make room by forgetting a circuit that has nothing to remember."""
        for strategy_id, circuit in self.strategies.items():
            if not self.waits(strategy_id) and is_idle(circuit):
                del self.strategies[strategy_id]
                self._neighbours.pop(strategy_id, None)
                self.forgotten.add(strategy_scope(strategy_id))
                self.touched.discard(strategy_scope(strategy_id))
                return True
        return False


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
