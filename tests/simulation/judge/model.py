"""A model of IB for a few orders: what is true there, and the messages that tell of it, which may be lost or late."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from services.executor.orders.outcomes import CANCEL, MODIFY, NEW, Meaning, for_order
from services.gateway.reports import (
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    OpenOrderReport,
    OrderReport,
    Report,
    RequestEnd,
    StatusReport,
)

ALIVE = frozenset({"PreSubmitted", "Submitted"})
# Every code that has a row, and three that nobody knows.
CODES = sorted({*NEW, *MODIFY, *CANCEL, 77777, 88888, 99998})
CANCELED = "Order Canceled - reason:"
DEAD = frozenset({Meaning.REJECTED, Meaning.MARGIN, Meaning.MALFORMED})
# Codes of the link between us and IB, and those that stop everything: what they mean is not about one order.
NOT_HERE = frozenset({100, 504, 512, 515, 10328, 435, 436, 10015})


@dataclass
class IbOrder:
    """One order as IB has it. `status` is empty until IB has shown it."""

    number: int
    perm: int
    ref: str
    quantity: float
    tif: str
    group: str
    price: float
    status: str = ""
    # When the executor has heard of it first.
    heard_at: float = float("inf")
    filled: float = 0.0
    executions: list[tuple[str, float]] = field(default_factory=list)
    cancelling: bool = False
    why: str = ""

    @property
    def alive(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in ALIVE or not self.status


class Ib:
    """What IB has, and what is under way from it. Our side of the socket is `Session`."""

    def __init__(self, rng: random.Random, client_id: int) -> None:
        self.rng = rng
        self.client_id = client_id
        self.now = 0.0
        self.orders: dict[int, IbOrder] = {}
        self.wire: list[OrderReport] = []
        # Orders of which IB has said something that a broker only says of a failure, and those that it has lost.
        self.faulted: set[str] = set()
        self.story: list[str] = []

    # -- what we write ------------------------------------------------------------------------------------

    def place(self, number: int, order: dict[str, Any], ref: str) -> None:
        """A placeOrder comes in: a new order, or the change of one."""
        known = self.orders.get(number)
        if known is None:
            values = (order["totalQuantity"], order.get("tif", ""), order.get("ocaGroup", ""), order["lmtPrice"])
            self.orders[number] = IbOrder(number, 9000 + number, ref, *values)
            return
        if not known.alive:
            self.say(ErrorReport(number, 104, "Cannot modify a filled order."))
        elif self.rng.random() < 0.3:
            code = self.rng.choice([105, 110, 201, 329, 88888])
            self.say(ErrorReport(number, code, f"change refused with {code}"))
        else:
            known.quantity, known.price = order["totalQuantity"], order["lmtPrice"]
            if known.filled >= known.quantity:
                known.quantity = known.filled
                self._move(known, "Filled")
            else:
                self._tell(known)

    def cancel(self, number: int) -> None:
        """A cancelOrder comes in."""
        known = self.orders.get(number)
        if known is None or (not known.status and self.rng.random() < 0.6):
            self.say(ErrorReport(number, 10147, f"OrderId {number} that needs to be cancelled is not found."))
        elif not known.alive or known.cancelling:
            state = "PendingCancel" if known.alive else known.status
            text = f"OrderId {number} that needs to be cancelled can not be cancelled, state: {state}."
            self.say(ErrorReport(number, 10148, text))
        elif self.rng.random() < 0.1:
            code = self.rng.choice([161, 136, 137, 77777])
            self.say(ErrorReport(number, code, f"cancel refused with {code}"))
        else:
            known.cancelling = True
            if self.rng.random() < 0.7:
                self.end(known, CANCELED)

    # -- what IB does -------------------------------------------------------------------------------------

    def show(self, order: IbOrder) -> None:
        """It works, and that is told."""
        if order.alive:
            self._move(order, self.rng.choice(["PreSubmitted", "Submitted"]))

    def fill(self, order: IbOrder, share: float) -> None:
        """Some of it is filled; the rest of its group ends."""
        left = order.quantity - order.filled
        shares = left if share > 0.6 else round(max(1.0, left * share))
        if not order.alive or left <= 0:
            return
        shares = min(shares, left)
        order.filled += shares
        exec_id = f"{order.number:04x}.{len(order.executions):04x}.01.01"
        order.executions.append((exec_id, shares))
        self.say(self._execution(order, exec_id, shares))
        self._move(order, "Filled" if order.filled >= order.quantity else "Submitted")
        self.say(CommissionReport(exec_id, 1.0, "USD", None))
        for other in self.orders.values():
            if order.group and other is not order and other.group == order.group and other.alive:
                self.end(other, CANCELED)

    def close(self) -> None:
        """The day ends: what is good for it ends without a word."""
        for order in self.orders.values():
            if order.status in ALIVE and order.tif in ("", "DAY"):
                if self.now - order.heard_at < 2.0:
                    self.faulted.add(order.ref)
                self.end(order, CANCELED)

    def end(self, order: IbOrder, why: str) -> None:
        """It is cancelled."""
        if order.alive:
            order.why = why
            self._move(order, "Cancelled")
            self.say(ErrorReport(order.number, 202, why))

    def drop(self, order: IbOrder) -> None:
        """IB ends it for a reason that nobody here asked for."""
        self.faulted.add(order.ref)
        self.end(order, CANCELED + "the venue says no")

    def err(self, order: IbOrder, code: int) -> None:
        """An error comes with its number; what it means for a new order is what becomes of this one."""
        meaning = for_order(code, "").meaning
        if code in NOT_HERE or (order.cancelling and meaning is not Meaning.NOTICE):
            return
        if meaning in DEAD and order.alive:
            self.faulted.add(order.ref)
            order.why = f"IB says {code}"
            self.say(ErrorReport(order.number, code, f"Order rejected - reason: {code}"))
            self._move(order, "Inactive")
            return
        if meaning is Meaning.CANCELLED:
            self.drop(order)
            return
        if meaning is Meaning.DOUBT:
            self.faulted.add(order.ref)
            if self.rng.random() < 0.5 and order.alive:
                order.why = f"dropped with {code}"
                order.status = "Inactive"
        if meaning is Meaning.DOUBT or meaning not in DEAD:
            self.say(ErrorReport(order.number, code, f"said {code}"))

    # -- what it tells ------------------------------------------------------------------------------------

    def say(self, report: OrderReport) -> None:
        """A message is under way."""
        self.wire.append(report)

    def answer(self, question: str) -> list[Report]:
        """What it says when it is asked, to the end of it."""
        told: list[Report] = []
        match question:
            case "open_orders":
                for order in self.orders.values():
                    if order.alive:
                        order.status = order.status or "Submitted"
                        told += [self._open(order), self._status(order)]
            case "executions":
                for order in self.orders.values():
                    for exec_id, shares in order.executions:
                        told += [self._execution(order, exec_id, shares), CommissionReport(exec_id, 1.0, "USD", None)]
            case "completed_orders":
                told += [self._completed(order) for order in self.orders.values() if not order.alive]
            case _:
                pass
        return [*told, RequestEnd(question)]

    def _move(self, order: IbOrder, status: str) -> None:
        order.status = status
        self._tell(order)

    def _tell(self, order: IbOrder) -> None:
        self.say(self._open(order))
        self.say(self._status(order))

    def _status(self, order: IbOrder) -> StatusReport:
        left = order.quantity - order.filled
        return StatusReport(order.number, order.status, order.filled, left, order.perm, self.client_id)

    def _open(self, order: IbOrder) -> OpenOrderReport:
        return OpenOrderReport(
            ib_order_id=order.number,
            perm_id=order.perm,
            client_id=self.client_id,
            order_ref=order.ref,
            account="DU1",
            status=order.status,
            quantity=order.quantity,
            terms={**self._terms(order), "totalQuantity": order.quantity},
        )

    def _execution(self, order: IbOrder, exec_id: str, shares: float) -> ExecutionReport:
        return ExecutionReport(order.number, order.perm, self.client_id, order.ref, "DU1", exec_id, shares, 10.0, "STK")

    def _completed(self, order: IbOrder) -> CompletedOrderReport:
        left = 0.0 if order.status == "Filled" else order.quantity - order.filled
        text = {"Filled": "Filled Size", "Inactive": f"Order rejected: {order.why}"}.get(order.status, order.why)
        quantities = (left, left + order.filled)
        return CompletedOrderReport(order.perm, order.ref, "DU1", order.status, text, self._terms(order), quantities)

    def _terms(self, order: IbOrder) -> dict[str, Any]:
        return {"lmtPrice": order.price, "auxPrice": 0.0, "tif": order.tif}
