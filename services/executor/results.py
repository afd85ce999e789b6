"""What facts mean to a caller of the engine, and the line that they leave in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loguru import logger

from orderfuse.messages import (
    Accepted,
    Adopted,
    AllCancelled,
    CancelFailed,
    Cancelled,
    Commission,
    Expired,
    Fact,
    Filled,
    Invalid,
    NotPlaced,
    Outcome,
    Rejected,
    Replaced,
    ReplaceFailed,
    Tripped,
    Unknown,
    Working,
    Written,
)

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


def log_fact(fact: Fact, outcome: Outcome | None) -> None:  # noqa: C901 - a table of one row for each kind
    """One line for each fact that matters to a person."""
    match fact:
        case Written() | Working() | Adopted() | AllCancelled():
            return
        case Tripped():
            said = f"IB said {fact.ib_code}: {fact.reason}" if fact.ib_code else fact.reason
            logger.critical("everything stops until a person resets it: {}", said)
        case Accepted():
            logger.info("{}: accepted by IB ({}), permanent id {}", fact.order_id, fact.status, fact.perm_id)
        case Filled():
            logger.info(
                "{}: filled {:g} at {:g}, {:g} remaining", fact.order_id, fact.shares, fact.price, fact.remaining
            )
        case Commission():
            logger.info("{}: commission {:g} {}", fact.order_id, fact.commission, fact.currency)
        case Rejected():
            counts = "; counts as a failure" if outcome in ("failure", "malformed") else ""
            logger.warning("{}: rejected by IB: {} {}{}", fact.order_id, fact.ib_code or "", fact.reason, counts)
        case Cancelled():
            logger.info("{}: cancelled, {:g} filled before it: {}", fact.order_id, fact.filled, fact.reason)
        case CancelFailed():
            logger.warning("{}: not cancelled: {} {}", fact.order_id, fact.ib_code or "", fact.reason)
        case NotPlaced():
            logger.warning("{}: not placed, IB never had it ({}): {}", fact.order_id, fact.code, fact.reason)
        case Invalid():
            logger.warning("{}: invalid, nothing went to IB: {}", fact.order_id, fact.reason)
        case Replaced():
            logger.info("{}: changed as request {} asked", fact.order_id, fact.request_id)
        case ReplaceFailed():
            logger.warning("{}: not changed: {} {}; it is as it was", fact.order_id, fact.ib_code or "", fact.reason)
        case Expired():
            logger.info("{}: {} ms old at its turn, not sent", fact.order_id, fact.age_ms)
        case Unknown(reason=reason):
            logger.warning("{}: unknown what became of it at IB: {}; do not send it again", fact.order_id, reason)
