"""Indexes of the orders that time, IB's lists or the window concern. Pure."""

from __future__ import annotations

from services.executor.orders.doubts import Doubt
from services.executor.orders.order_at_ib import OrderAtIb


class Marks:
    """By order id; `see` puts an order where it belongs, and is called whenever something of it has changed.

    Moments are monotonic seconds.

    Attributes:
        now: when the present step takes place.
        waiting: orders that the mere passing of time concerns.
        ended: since when orders are over, in the order in which they may be forgotten.
        cancels: orders whose cancel was asked for and has not left.
        changing: orders with a change of which it is not known whether IB has done it.
        over_unchanged: ended orders with a change that IB has not answered, and when they ended.
        sought: orders without all of their fills, and since when those are sought.
        asked: orders of which IB was asked whether it still has them, and has not said so since.
        doubts: orders that IB may or may not have, and since when that is open.
        unanswered: orders that are written and not answered, and when they were written.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: dict[str, OrderAtIb] = {}
        self.ended: dict[str, float] = {}
        self.cancels: dict[str, OrderAtIb] = {}
        self.changing: dict[str, OrderAtIb] = {}
        self.over_unchanged: dict[str, float] = {}
        self.sought: dict[str, float] = {}
        self.asked: dict[str, float] = {}
        self.doubts: dict[str, Doubt] = {}
        self.unanswered: dict[str, float] = {}

    def see(self, order: OrderAtIb) -> None:
        """Put the order where the next look finds it."""
        record = order.record
        order_id, over = record.order_id, bool(record.ended)
        _keep(self.waiting, order, holds=order.waits)
        _keep(self.cancels, order, holds=order.cancel_wanted)
        _keep(self.changing, order, holds=record.change is not None and not over)
        if over or record.accepted:
            self.doubts.pop(order_id, None)
        if over:
            self.unanswered.pop(order_id, None)
        self._mark(self.ended, order_id, holds=over and record.change is None)
        self._mark(self.over_unchanged, order_id, holds=over and record.change is not None)
        self._mark(self.sought, order_id, holds=order.lacks_fills)
        living = record.accepted and not (over or order.doubtful)
        asked = living and order.asked_after > order.heard_at
        self._mark(self.asked, order_id, holds=asked or record.twins_lack_fills)

    def forget(self, order_id: str) -> None:
        """The order, which is over, leaves the memory."""
        for marks in (self.ended, self.waiting, self.asked):
            marks.pop(order_id, None)

    def _mark(self, marks: dict[str, float], order_id: str, *, holds: bool) -> None:
        if holds:
            marks.setdefault(order_id, self.now)
        else:
            marks.pop(order_id, None)


def _keep(orders: dict[str, OrderAtIb], order: OrderAtIb, *, holds: bool) -> None:
    if holds:
        orders[order.record.order_id] = order
    else:
        orders.pop(order.record.order_id, None)
