"""Which orders go together at IB: the members of an OCA group, and the orders of a bracket. Pure.

What becomes of one of them is why IB ends the others without a word. It is written into the record of each that lives,
and so is known over a restart.
"""

from __future__ import annotations

from collections.abc import Mapping

from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.records import Effects, OrderRecord

GROUP_OVER = "another order of its OCA group was filled"


class Kin:
    """Finds the orders that belong to one; the orders themselves are the ledger's.

    Args:
        orders: all that are in memory, by order id.
    """

    def __init__(self, orders: Mapping[str, OrderAtIb]) -> None:
        self._orders = orders
        self._groups: dict[str, set[str]] = {}
        self._brackets: dict[str, set[str]] = {}

    def add(self, record: OrderRecord) -> None:
        """The order is in memory from now on."""
        if record.oca_group:
            self._groups.setdefault(record.oca_group, set()).add(record.order_id)
        if record.parent:
            self._brackets.setdefault(record.parent, set()).add(record.order_id)

    def filled_of_group(self, record: OrderRecord) -> list[str]:
        """The other members of its OCA group that had a fill."""
        members = self._groups.get(record.oca_group, set()) - {record.order_id}
        return [order_id for order_id in members if self._orders[order_id].had_fill]

    def forget(self, record: OrderRecord) -> None:
        """The order has left the memory."""
        for members, key in ((self._groups, record.oca_group), (self._brackets, record.parent)):
            if key in members:
                members[key].discard(record.order_id)
                if not members[key]:
                    del members[key]

    def legs(self, parent_id: str) -> list[str]:
        """The legs of this parent that are in memory."""
        return sorted(self._brackets.get(parent_id, ()))

    def see(self, order: OrderAtIb, effects: Effects) -> list[str]:
        """Something was said of this order: mark those that IB may now end by itself. Returns whose mark is new."""
        record = order.record
        marked: list[str] = []
        if record.oca_group and order.had_fill:
            marked += self._mark(self._groups.get(record.oca_group, ()), record, GROUP_OVER, effects)
        over = bool(record.ended)
        if record.parent and (over or order.had_fill):
            why = f"the bracket of {record.parent} is over"
            marked += self._mark(self._brackets.get(record.parent, ()), record, why, effects)
        if record.legs and over and record.ended != "filled":
            # A parent that is filled leaves its legs working: they protect what it has bought.
            why = f"the bracket of {record.order_id} is over"
            marked += self._mark(self._brackets.get(record.order_id, ()), record, why, effects)
        return marked

    def _mark(self, members: set[str] | tuple[()], but: OrderRecord, why: str, effects: Effects) -> list[str]:
        marked = []
        for order_id in sorted(members):
            record = self._orders[order_id].record
            if record is not but and not record.ended and not record.kin_over:
                record.kin_over = why
                effects.keep(record)
                marked.append(order_id)
        return marked
