"""Cancels of our orders: asked for, sent, and to be sent again; what IB says of them is in `order_errors`. Pure."""

from __future__ import annotations

from orderfuse.bus.events import CancelFailed
from services.executor.orders import cancels
from services.executor.orders.memory import Memory
from services.executor.orders.records import Effects


class CancelsUnderWay:
    """The cancels of all orders.

    Args:
        memory: the orders.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        # How the orders stood that the cancel of everything takes: it was asked for, it has left, one had left before.
        self._taken_along: dict[str, tuple[bool, bool, bool]] = {}

    def on_asked(self, order_id: str, request_id: str | None, why: str = "") -> Effects:
        """Somebody wants this order cancelled; `to_send` has it until its cancel has left.

        `why`: why orderfuse itself does.
        """
        effects = Effects()
        order = self._memory.find(order_id)
        if order is not None and request_id is not None and request_id == order.record.answered_cancel:
            return effects  # It has been told, to a breaker that died before it took it.
        if order is not None and order.record.ended == "cancelled":
            # Its cancellation was told too, and that is what was asked for; should the order live after all, it goes
            # to IB.
            cancels.ask(order.record, request_id, why)
            effects.keep(order.record)
            return effects
        if order is None or order.record.ended:
            no = f"the order was {order.record.ended}" if order else "the executor does not know this order"
            if order is not None and request_id is not None and request_id == order.record.cancel_request_id:
                # IB's own answer, which is still to come, is no news then.
                cancels.fail(order, 0, no, effects)
                return effects
            strategy_id = order.record.strategy_id if order else ""
            fact = CancelFailed(order_id=order_id, strategy_id=strategy_id, request_id=request_id, ib_code=0, reason=no)
            effects.facts.append((fact, None))
            if order is not None:
                order.record.answered_cancel = request_id
                effects.keep(order.record)
            return effects
        self._taken_along.pop(order_id, None)
        cancels.ask(order.record, request_id, why)
        order.cancels.on_asked()
        effects.keep(order.record)
        self._memory.marks.see(order)
        return effects

    def on_sent(self, order_id: str, now: float) -> Effects:
        """The cancel's bytes have left for IB."""
        self._memory.marks.now = now
        effects = Effects()
        order = self._memory.orders[order_id]
        order.record.cancel_sent = order.record.cancel_left = True
        order.cancels.on_sent(now)
        effects.keep(order.record)
        self._memory.marks.see(order)
        return effects

    def on_unsent(self, order_id: str) -> Effects:
        """The cancel's bytes did not leave after all: it goes with the next connection."""
        effects = Effects()
        order = self._memory.orders.get(order_id)
        if order is not None and not order.record.ended:
            order.record.cancel_sent = False
            order.cancels.on_new_connection()
            effects.keep(order.record)
            self._memory.marks.see(order)
        return effects

    def on_everything_sent(self) -> Effects:
        """`reqGlobalCancel` leaves: every order that is cancelled from now on was asked to be."""
        effects = Effects()
        for order_id, order in self._memory.orders.items():
            record = order.record
            if not record.ended:
                before = record.cancel_asked, record.cancel_sent, record.cancel_left
                self._taken_along.setdefault(order_id, before)
                record.cancel_asked = record.cancel_sent = record.cancel_left = True
                effects.keep(record)
                self._memory.marks.see(order)
        return effects

    def on_everything_written(self, *, left: bool) -> Effects:
        """What became of the bytes of `reqGlobalCancel`: if they have not left, the orders stand as they stood."""
        effects = Effects()
        before, self._taken_along = self._taken_along, {}
        for order_id, (asked, sent, left_before) in before.items():
            order = None if left else self._memory.orders.get(order_id)
            if order is not None and order.record.cancel_sent and not order.record.ended:
                record = order.record
                record.cancel_asked, record.cancel_sent, record.cancel_left = asked, sent, left_before
                effects.keep(record)
                self._memory.marks.see(order)
        return effects

    def on_new_connection(self) -> Effects:
        """Cancels that left over an earlier connection and had no effect must leave again."""
        effects = Effects()
        for order in self._memory.orders.values():
            if order.record.cancel_sent and not order.record.ended:
                order.record.cancel_sent = order.record.denied = False
                order.cancels.on_new_connection()
                effects.keep(order.record)
                self._memory.marks.see(order)
        return effects

    def to_send(self) -> dict[str, int]:
        """Orders whose cancel was asked for and has not left yet, and the number of IB's that it is for."""
        # One that was never heard of here has no number of IB's yet, until its lists tell.
        wanted = {order_id: order.cancel_number for order_id, order in self._memory.marks.cancels.items()}
        return {order_id: number for order_id, number in wanted.items() if number > 0}

    def unprotected(self) -> list[str]:
        """Orders that may be at IB and that no automatic cancel must spare.

        A leg whose parent has fills protects them, a parent with fills and a living leg would take that leg along,
        and a leg whose parent lives is ended by IB together with it.
        """
        return [
            order_id
            for order_id, order in self._memory.orders.items()
            if not (order.record.ended or order.record.protect or order.record.cancel_asked)
            and not self._memory.brackets.protects(order)
        ]
