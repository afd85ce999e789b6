"""What an order, its outcome, or a failure of no order does to which circuits. Pure.

An order passes if its strategy's circuit admits it and then the system's does, so that one broken strategy stops itself
and not its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

from orderfuse.bus.events import BlockCode
from orderfuse.circuit import CircuitState, TradingCircuitBreaker
from services.breaker.circuits.scopes import SYSTEM, Refusal, Scopes, strategy_scope
from services.breaker.control.last_failures import Failed
from services.breaker.orders import Change, OrderRecord
from services.breaker.present import Present
from services.wire.feedback import Outcome


@dataclass(slots=True)
class Outcomes:
    """Admits orders, and counts what became of them."""

    scopes: Scopes
    present: Present

    def would_admit(self, strategy_id: str) -> bool:
        """Whether an order of this strategy would be admitted now, taking no slot."""
        return (
            self.scopes.system.is_trading_allowed()[0] and self.scopes.strategies[strategy_id].is_trading_allowed()[0]
        )

    def admit(self, record: OrderRecord | Change) -> Refusal | None:
        """Let the order into both circuits, or neither and say why."""
        strategy = self.scopes.strategies[record.strategy_id]
        scope = strategy_scope(record.strategy_id)
        verdict = strategy.admit(record.order_id)
        if not verdict.allowed:
            return Refusal(block_code(strategy), verdict.reason or "", scope)
        self.scopes.touch(scope, SYSTEM)
        record.strategy_generation = verdict.generation
        trial = verdict.trial
        verdict = self.scopes.system.admit(record.order_id)
        if not verdict.allowed:
            # The strategy's slot goes back before anybody hears of the refusal.
            strategy.record_neutral(record.order_id)
            return Refusal(block_code(self.scopes.system), verdict.reason or "", SYSTEM)
        states = {strategy.state, self.scopes.system.state}
        assert CircuitState.OPEN not in states, f"{record.order_id} is admitted while a circuit is OPEN"
        record.system_generation = verdict.generation
        record.trial = trial or verdict.trial
        self.scopes.note_passed(record.strategy_id)
        return None

    def record(self, record: OrderRecord | Change, outcome: Outcome, failed: Failed | None = None) -> None:
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
        strategy = self.scopes.open_for(record.strategy_id)
        order_id = record.order_id
        self.scopes.touch(strategy_scope(record.strategy_id), SYSTEM)
        if outcome == "success":
            record.settled = "success"
            self.scopes.shares.succeeded(record.strategy_id, self.present.monotonic_ns())
            self.scopes.system.record_success(order_id)
            if strategy:
                strategy.record_success(order_id)
        elif outcome == "neutral":
            record.settled = "neutral"
            self.scopes.system.record_neutral(order_id)
            if strategy:
                strategy.record_neutral(order_id)
        else:
            record.settled = "failure"
            scope = strategy_scope(record.strategy_id)
            if strategy:
                self._record_failure(scope, strategy, failed, order_id)
            if outcome == "failure" and self._system_counts(record):
                self._record_failure(SYSTEM, self.scopes.system, failed, order_id, source=scope)
            else:
                self.scopes.system.record_neutral(order_id)

    def _failure_after_success(self, record: OrderRecord | Change, outcome: Outcome, failed: Failed) -> None:
        record.settled = "failure"
        strategy, scope = self.scopes.open_for(record.strategy_id), strategy_scope(record.strategy_id)
        self.scopes.touch(scope, SYSTEM)
        if strategy and strategy.generation == record.strategy_generation:
            self._record_failure(scope, strategy, failed)
        current = self.scopes.system.generation == record.system_generation
        if outcome == "failure" and current and self._system_counts(record):
            self._record_failure(SYSTEM, self.scopes.system, failed, source=scope)

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
            at = stored[0] if stored else self.present.utcnow()
            self.scopes.last_failures.note(scope, failed, at, source if stored else None)

    def _system_counts(self, record: OrderRecord | Change) -> bool:
        """Whether the system counts this failure too. In HALF_OPEN every trial counts."""
        system = self.scopes.system
        if record.system_generation != system.generation:
            return True  # a late outcome, which the circuit itself counts as such
        capped = system.state is CircuitState.CLOSED
        return self.scopes.shares.takes_one_more(record.strategy_id, self.present.monotonic_ns(), capped=capped)

    # -- of no order -------------------------------------------------------------------------------------

    def reported_failure(self, scope: str, failed: Failed) -> None:
        """Somebody outside has seen a failure; it counts in the scope that they named and nowhere else."""
        self.scopes.touch(scope)
        self._record_failure(scope, self._found(scope), failed)

    def hold(self, scope: str, name: str, reason: str) -> None:
        """A condition that somebody outside reports; the first report of it trips, without grace."""
        circuit = self._found(scope)
        first = name not in circuit.get_state()["conditions"]
        circuit.hold(name, reason)
        self.scopes.touch(scope)
        if first:
            self.scopes.trip(scope, f"{name}: {reason}", latch=False)

    def release(self, scope: str, name: str) -> None:
        """A reported condition is over."""
        self._found(scope).release(name)
        self.scopes.touch(scope)

    def _found(self, scope: str) -> TradingCircuitBreaker:
        circuit = self.scopes.find(scope)
        assert circuit is not None, f"something is told of {scope}, and there is no such circuit"
        return circuit

    def strategy_failure(self, strategy_id: str, failed: Failed) -> None:
        """A failure of the strategy itself, of no particular order."""
        self.reported_failure(strategy_scope(strategy_id), failed)

    def system_failure(self, failed: Failed) -> None:
        """A failure of no particular order: a condition that was shorter than its grace."""
        self.scopes.touch(SYSTEM)
        self._record_failure(SYSTEM, self.scopes.system, failed)


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
