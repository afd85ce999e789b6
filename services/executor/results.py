"""What facts mean to a script that places an order. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orderfuse.bus.events import (
    Cancelled,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    Rejected,
    Unknown,
)
from services.wire.feedback import Fact

Status = Literal["accepted", "filled", "cancelled", "rejected", "unknown", "invalid", "expired", "not_placed"]


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What became of an order, as far as IB has said.

    Attributes:
        order_id: the order.
        status: `accepted`: IB has it and works it; `unknown`: no answer in time, it may be at IB;
            `invalid`, `expired`, `not_placed`: nothing went to IB.
        ib_order_id, perm_id: IB's ids, 0 if there are none.
        filled: quantity executed so far.
        avg_price: of what is filled; 0 without a fill.
        ib_code: IB's error code, 0 without one.
        reason: for people; empty if all is well.
    """

    order_id: str
    status: Status
    ib_order_id: int = 0
    perm_id: int = 0
    filled: float = 0.0
    avg_price: float = 0.0
    ib_code: int = 0
    reason: str = ""


def status_of(fact: Fact) -> Status:
    """What a decisive fact makes of an order."""
    match fact:
        case Filled(done=True):
            return "filled"
        case Cancelled():
            return "cancelled"
        case Rejected():
            return "rejected"
        case Unknown():
            return "unknown"
        case NotPlaced():
            return "not_placed"
        case Invalid():
            return "invalid"
        case Expired():
            return "expired"
        case _:
            return "accepted"
