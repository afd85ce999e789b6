"""Changes of our orders: whether one may be made, which are under way. What IB says of them is in `changes`. Pure."""

from __future__ import annotations

from services.executor.orders import changes
from services.executor.orders.doubts import Doubt
from services.executor.orders.memory import Memory
from services.executor.orders.records import Change, Effects


class ChangesUnderWay:
    """The changes of all orders, at most one of each.

    Args:
        memory: the orders.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def why_not(self, order_id: str, since: float) -> str:
        """Why an order may not be changed now; empty if it may. `since`: when this connection was made.

        A change of an order that IB has lost would be a new order.
        """
        order = self._memory.find(order_id)
        if order is None:
            return "the executor never had this order"
        record = order.record
        if record.ended:
            return f"the order was {record.ended}"
        if record.ib_order_id <= 0:
            return "IB has named no number of the order, so it can be changed only in TWS"
        if not record.accepted or order.doubtful or order.heard_at < since:
            return "IB has not confirmed the order on this connection"
        if record.cancel_asked:
            return "the order is being cancelled"
        return "another change is under way" if record.change else ""

    def knows(self, order_id: str, revision: int) -> bool:
        """Whether this change, or a later one, was ever meant to be written."""
        order = self._memory.find(order_id)
        return order is not None and order.record.revision >= revision

    def intend(self, order_id: str, change: Change) -> Effects:
        """Remember a change; its intent must be in the journal before its bytes leave."""
        effects = Effects()
        order = self._memory.orders[order_id]
        assert change.revision > order.record.revision, f"{order_id}: a change that was meant to be written before"
        order.record.revision, order.record.change = change.revision, change
        effects.keep(order.record)
        self._memory.marks.see(order)
        return effects

    def expect(self, order_id: str, change: Change) -> Effects:
        """A change of a known order that may have been done; nothing if it is known too."""
        effects = Effects(look_up=True)
        if not self.knows(order_id, change.revision):
            effects = self.intend(order_id, change)
            effects.look_up = True
        return effects

    def on_written(self, order_id: str, now: float) -> None:
        """The change's bytes have left for IB."""
        self._memory.orders[order_id].changed_at = now

    def on_failed(self, order_id: str, reason: str) -> Effects:
        """The change was not written, or is proven not to have happened."""
        effects = Effects()
        order = self._memory.orders[order_id]
        changes.fail(order, 0, reason, "neutral", effects)
        self._memory.marks.see(order)
        return effects

    def in_doubt(self) -> dict[str, Doubt]:
        """Orders with a change of which it is not known whether IB has done it."""
        changing = self._memory.marks.changing
        return {at: Doubt(order.changed_at, order.change_doubt is None) for at, order in changing.items()}

    def of_ended(self) -> dict[str, float]:
        """Orders that ended while a change of them had no answer, and when (monotonic seconds)."""
        return dict(self._memory.marks.over_unchanged)

    def names(self) -> list[str]:
        """The changes that are under way, as `order_id~revision`."""
        return [f"{at}~{order.record.revision}" for at, order in self._memory.marks.changing.items()]
