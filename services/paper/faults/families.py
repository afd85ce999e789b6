"""What all faults have in common: the four families, and what their fields may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from services.paper.wire.layouts import REPLIES, REQUESTS

MAX_COUNT = 1_000_000
Count = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Orders = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Secs = Annotated[float, Meta(ge=0, le=86_400)]
Millis = Annotated[int, Meta(ge=0, le=600_000)]
Code = Annotated[int, Meta(ge=1, le=99_999)]
ClientId = Annotated[int, Meta(ge=0, le=999_999_999)]
Text = Annotated[str, Meta(max_length=1000)]
Word = Annotated[str, Meta(max_length=64)]
Price = Annotated[float, Meta(ge=-1e9, le=1e9)]
Size = Annotated[float, Meta(ge=0, le=1e9)]
Money = Annotated[float, Meta(ge=-1e12, le=1e12)]
# What is told of an order when it happens, and again in a list.
BOTH_TOLD_AND_LISTED = ("openOrder", "orderStatus", "execDetails", "commissionReport")
How = Literal["fin", "rst", "mid_frame", "stop_reading", "stop_writing"]
if TYPE_CHECKING:
    MessageName = str
    RequestName = str
else:
    MessageName = Literal[tuple(sorted(REPLIES))]
    RequestName = Literal[tuple(sorted(layout.name for layout in REQUESTS.values()))]


class FaultError(Exception):
    """A fault that cannot be played.

    Attributes:
        key: The field that is wrong, "" if it is the kind.
    """

    def __init__(self, reason: str, key: str = "") -> None:
        super().__init__(reason)
        self.key = key


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When: so many seconds, and so many further new orders, after it was armed."""

    after_secs: Secs = 0.0
    after_orders: Orders = 0


class OrderFault(Fault, frozen=True, kw_only=True):
    """Whom: the next `count` operations that match all that is given."""

    count: Count = 1
    on: Literal["new", "modify", "cancel"] = "new"
    order_ref: Text = ""  # only orders whose reference begins with this
    symbol: Word = ""
    client_id: ClientId | None = None


class MessageFault(Fault, frozen=True, kw_only=True):
    """Whom: the next `count` messages of one name, or from the first one on all of `for_secs`."""

    message: MessageName
    count: Count = 1
    for_secs: Secs = 0.0
    where: Literal["anywhere", "unasked", "list"] = "anywhere"  # as it happens, or in the answer to a request
    order_ref: Text = ""  # only messages about orders whose reference begins with this
    client_id: ClientId | None = None

    def __post_init__(self) -> None:
        """Refuse a place at which a message never is.

        Raises:
            FaultError: it is not about an order.
        """
        if self.where != "anywhere" and self.message not in BOTH_TOLD_AND_LISTED:
            names = ", ".join(BOTH_TOLD_AND_LISTED)
            raise FaultError(f"where is {self.where}; that can only be said of {names}", "where")


class RequestFault(Fault, frozen=True, kw_only=True):
    """Whom: the next `count` of what a client asks."""

    count: Count = 1
    client_id: ClientId | None = None


class Action(Fault, frozen=True, kw_only=True):
    """Happens once, as soon as its time has come."""
