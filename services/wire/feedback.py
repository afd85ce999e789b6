"""The link `feedback`: the facts that the executor tells, and what each counts as. Pure."""

from __future__ import annotations

from typing import Any, Literal

from orderfuse.bus.events import (
    Accepted,
    CancelFailed,
    Cancelled,
    Commission,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    OrderEvent,
    Rejected,
    Replaced,
    ReplaceFailed,
    Unknown,
)
from orderfuse.bus.fields import Message
from services.wire.dispatch import ExpectedChange


class Written(OrderEvent, frozen=True, kw_only=True, tag="written"):
    """The order's bytes have left for IB. Not published: it only says that the bytes have left."""

    ib_order_id: int


class Working(OrderEvent, frozen=True, kw_only=True, tag="working"):
    """IB reports a new status of an accepted order. Not published: it only says what the order counts as.

    Attributes:
        lives: it was over for us, and IB shows that it is not.
        doubts: the replace that IB has answered in words that nobody knows, and `said`, these words.
    """

    status: str
    lives: bool = False
    doubts: str = ""
    said: str = ""


class Tripped(Message, frozen=True, kw_only=True, tag="tripped"):
    """IB said something after which nobody may trade until a person has looked (the class `trip, latched`)."""

    ib_code: int
    reason: str


class Adopted(OrderEvent, frozen=True, kw_only=True, tag="adopted"):
    """IB has this order of ours, and the executor's journal or the breaker did not know it. Not published.

    `contract` and `order`: as far as is known, with IB's field names. `status`: IB's own, and
    what is `filled`, where nothing further is told of it now; `doubtful`: nobody knows whether IB has it. `change`: the
    one that is under way, which the breaker has forgotten with the order.
    """

    ib_order_id: int
    perm_id: int
    contract: dict[str, Any]
    order: dict[str, Any]
    status: str = ""
    filled: float = 0.0
    doubtful: bool = False
    change: ExpectedChange | None = None


class AllCancelled(Message, frozen=True, kw_only=True, tag="all_cancelled"):
    """IB lists none of the orders any more that it listed when this global cancel was sent."""

    number: int


Outcome = Literal["success", "failure", "malformed", "neutral"]
Fact = (
    Written
    | Working
    | Adopted
    | Tripped
    | AllCancelled
    | Expired
    | Invalid
    | NotPlaced
    | Unknown
    | Accepted
    | Filled
    | Commission
    | Cancelled
    | Rejected
    | Replaced
    | ReplaceFailed
    | CancelFailed
)


class Feedback(Message, frozen=True, kw_only=True, tag="feedback"):
    """One fact, numbered by the executor's journal. `outcome` is what it means to the circuits, None: nothing.

    `malformed` counts for the strategy only: IB calls the order itself wrong.
    """

    journal_id: str
    seq: int
    fact: Fact
    outcome: Outcome | None = None
