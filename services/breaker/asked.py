"""The journal as one step asks it: each question once, and before anything has changed. Pure.

A disk may not answer. What needs the answer is then left undone, and that is safe only where nothing of it has been
done yet. So whoever takes an input first asks for all that it may need; what asks in the middle has its answer here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from services.breaker.batch import AnsweredRequest
from services.breaker.circuits.scopes import KeptCircuit
from services.breaker.orders import OrderRecord


class History(Protocol):
    """What the journal can be asked: orders and requests that are no longer in memory.

    Each question may raise `Unreadable`: the disk does not tell.
    """

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier."""

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier."""

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another."""

    def knows_execution(self, order_id: str, kind: str, exec_id: str) -> bool:
        """Whether an event of this kind was told of this execution before."""


class Asked:
    """The history with its answers of this step. `history`: the journal, and what waits to be saved there."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._orders: dict[str, OrderRecord | None] = {}
        self._requests: dict[str, AnsweredRequest | None] = {}
        self._circuits: dict[str, KeptCircuit | None] = {}

    def begin(self) -> None:
        """Another step: what was true in the one before need not be so now."""
        self._orders.clear()
        self._requests.clear()
        self._circuits.clear()

    def start_with(self, resting: Mapping[str, KeptCircuit | None]) -> None:
        """A process starts, and has just read which of these circuits rest."""
        self._circuits.update(resting)

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier."""
        if order_id not in self._orders:
            self._orders[order_id] = self._history.find_order(order_id)
        return self._orders[order_id]

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier."""
        if request_id not in self._requests:
            self._requests[request_id] = self._history.find_request(request_id)
        return self._requests[request_id]

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another."""
        if scope not in self._circuits:
            self._circuits[scope] = self._history.find_resting_circuit(scope)
        return self._circuits[scope]

    def knows_execution(self, order_id: str, kind: str, exec_id: str) -> bool:
        """Whether an event of this kind was told of this execution before. Asked once, before all else."""
        return self._history.knows_execution(order_id, kind, exec_id)
