"""What leaves for TWS or IB Gateway, as plain data: the rim writes it, in this order and nothing in between. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# What can be asked for without placing or cancelling anything; each is one message.
Question = Literal["open_orders", "executions", "completed_orders", "positions", "end_positions", "current_time"]


@dataclass(frozen=True, slots=True)
class Dial:
    """Make a connection. What is heard over it, and what became of the attempt, comes back with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """Drop the connection now. Unsent bytes must never leave: nobody expects those orders any more."""

    number: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask for something. `request_id` and `account` are of executions only."""

    question: Question
    request_id: int = 0
    account: str = ""


@dataclass(frozen=True, slots=True)
class WireOrder:
    """One order as it is written: checked fields, and what only the executor may set."""

    order_id: str
    ib_order_id: int
    contract: Mapping[str, Any]
    order: Mapping[str, Any]
    account: str
    parent_id: int = 0
    transmit: bool = True


@dataclass(frozen=True, slots=True)
class PlaceOrders:
    """Write an order, or a bracket with nothing in between. Its intents are on the disk.

    Attributes:
        orders: the order, and behind it the legs of its bracket.
        until: not after this (monotonic seconds): the lease may end while the disk takes its time.
    """

    orders: tuple[WireOrder, ...]
    until: float


@dataclass(frozen=True, slots=True)
class ChangeOrder:
    """Write a change of an order that IB has. Its intent is on the disk. `until`: as of `PlaceOrders`."""

    order: WireOrder
    until: float


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel one order. `order_id`: ours, for the log."""

    order_id: str
    ib_order_id: int


@dataclass(frozen=True, slots=True)
class CancelEverything:
    """Cancel every order of the account, manual ones too (`reqGlobalCancel`)."""


Frame = Dial | HangUp | Ask | PlaceOrders | ChangeOrder | CancelOrder | CancelEverything


def messages_in(frame: Frame) -> int:
    """How many messages of IB's pacing a frame takes."""
    match frame:
        case PlaceOrders(orders):
            return len(orders)
        case HangUp():
            return 0
        case _:
            return 1
