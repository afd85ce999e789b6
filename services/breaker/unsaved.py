"""What the stage has handed out and the journal does not have yet: the batches of one turn, saved together. Pure.

One transaction for a turn costs a tenth of one for each input. Until then the stage may ask for an order that it has
just ended, and gets it from here: an id that looked free for a moment could be placed a second time.
"""

from __future__ import annotations

from services.breaker.asked import History
from services.breaker.batch import AnsweredRequest, Batch
from services.breaker.circuits.scopes import KeptCircuit
from services.breaker.orders import OrderRecord


class Unsaved:
    """The history with what is to be saved laid over it. `journal`: what has been saved."""

    def __init__(self, journal: History) -> None:
        self._journal = journal
        self._batch = Batch()

    def add(self, batch: Batch) -> None:
        """Lay the effects of one more input over it."""
        self._batch.add(batch)

    def take(self) -> Batch:
        """All of it, to be saved now, and then to be sent."""
        taken, self._batch = self._batch, Batch()
        return taken

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier."""
        return self._batch.orders.get(order_id) or self._journal.find_order(order_id)

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier."""
        return self._batch.requests.get(request_id) or self._journal.find_request(request_id)

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another."""
        if scope in self._batch.circuits:
            kept = self._batch.circuits[scope]
            return kept if kept is not None and kept.resting else None
        return self._journal.find_resting_circuit(scope)

    def knows_execution(self, order_id: str, kind: str, exec_id: str) -> bool:
        """Whether an event of this kind was told of this execution before."""
        key = (order_id, kind, exec_id)
        return key in self._batch.executions or self._journal.knows_execution(*key)
