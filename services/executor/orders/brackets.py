"""What a bracket needs beyond its single orders: it is one unit at IB, and must not stay there in parts. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from orderfuse.bus.events import Rejected
from orderfuse.text import MAX_REASON, cut
from services.executor.orders.kin import Kin
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.orders.records import Effects


class Brackets:
    """The brackets among the orders; the orders themselves are the ledger's.

    Args:
        orders: all orders in memory.
        kin: which of them go together.
    """

    def __init__(self, orders: Mapping[str, OrderAtIb], kin: Kin) -> None:
        self._orders = orders
        self._kin = kin

    def is_provable(self, order: OrderAtIb) -> bool:
        """Whether IB's lists can show that it does not have this order.

        TWS holds back what comes without the last leg of its bracket, lists it nowhere (ib_insync issues 346, 416),
        and a person can still transmit it. So a parent is asked about by its cancel, and its legs go by it.
        """
        if not (order.record.legs or order.record.parent):
            return True
        if order.record.legs:
            return order.record.denied
        parent = self._parent(order)
        return parent is None or parent.record.accepted or bool(parent.record.ended)

    def broken(self) -> list[str]:
        """What to cancel where IB does not list a whole bracket: its parent, or what is seen if the parent is not."""
        cancel: dict[str, None] = {}
        for order in self._orders.values():
            record = order.record
            if not record.parent or record.ended:
                continue
            parent = self._parent(order)
            unit = [parent, *self._living_legs(record.parent)] if parent is not None else []
            living = [each for each in unit if not each.record.ended]
            seen = [each for each in living if each.record.accepted]
            if len(seen) == len(living):
                continue
            if parent in seen:
                # A parent with fills would take along the legs that protect them.
                seen = [] if parent is not None and parent.filled and len(seen) > 1 else [parent]
            elif not seen and parent in living:
                # Nothing of it is listed, and all of it may be held back.
                seen = [parent]
            records = [each.record for each in seen if each is not None]
            cancel.update({record.order_id: None for record in records if not record.cancel_asked})
        return list(cancel)

    def protects(self, order: OrderAtIb) -> bool:
        """Whether it protects what its bracket has bought, or its cancel would take along what does."""
        if order.record.parent:
            parent = self._parent(order)
            return parent is not None and (parent.filled > 0 or not parent.record.ended)
        return order.filled > 0 and any(leg.record.accepted for leg in self._living_legs(order.record.order_id))

    def missing(self, order: OrderAtIb) -> str:
        """What a leg's end says of a parent that is filled without it."""
        parent = self._parent(order)
        if parent is None or not parent.filled:
            return ""
        return f"; this leg of {parent.record.order_id} is missing: {parent.filled:g} are filled without it"

    def see_refused_leg(self, order: OrderAtIb, effects: Effects) -> str:
        """A leg that IB refuses leaves its parent without it: whose rest has to be cancelled, or nobody's."""
        record = order.record
        if not record.parent or record.ended != "rejected":
            return ""
        missing = self.missing(order)
        if missing:
            room = MAX_REASON - len(missing)
            effects.facts = [
                (structs.replace(fact, reason=cut(fact.reason, room) + missing), outcome)
                if isinstance(fact, Rejected) and fact.order_id == record.order_id
                else (fact, outcome)
                for fact, outcome in effects.facts
            ]
        parent = self._parent(order)
        if parent is None or parent.record.ended or (parent.filled and self._living_legs(record.parent)):
            return ""
        effects.notes.append(f"{record.parent}: cancelled, since IB refused its leg {record.order_id}")
        return record.parent

    def _parent(self, order: OrderAtIb) -> OrderAtIb | None:
        return self._orders.get(order.record.parent) if order.record.parent else None

    def _living_legs(self, parent_id: str) -> list[OrderAtIb]:
        legs = (self._orders[order_id] for order_id in self._kin.legs(parent_id))
        return [leg for leg in legs if not leg.record.ended]
