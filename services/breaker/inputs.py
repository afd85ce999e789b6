"""Everything that the stage takes: each is one step. Pure.

What comes over a link was checked at the door. What the rim itself has seen (the disk, the file STOP, a message that
did not leave) comes the same way, so that a run is nothing but its inputs and their times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orderfuse.bus.codec import DecodeError
from orderfuse.bus.control import (
    AcceptRequest,
    CancelRequest,
    ReportRequest,
    ResetRequest,
    ResolveRequest,
    StatusRequest,
    TripRequest,
)
from orderfuse.bus.orders import FromStrategy
from services.wire.dispatch import FromExecutor
from services.wire.feedback import Feedback

HandRequest = (
    StatusRequest | TripRequest | ResetRequest | ReportRequest | ResolveRequest | CancelRequest | AcceptRequest
)


@dataclass(frozen=True, slots=True)
class Started:
    """The process serves from now on: what its start has brought about is to be saved and sent."""


@dataclass(frozen=True, slots=True)
class FromOrders:
    """Something valid came on `orders`. `sender`: the program that has sent it, where the system tells."""

    message: FromStrategy
    sender: str = ""


@dataclass(frozen=True, slots=True)
class UnreadableOrder:
    """Something that is no message came on `orders`."""

    error: DecodeError
    sender: str = ""


@dataclass(frozen=True, slots=True)
class FromDispatch:
    """Something valid came on `dispatch` from `peer`."""

    peer: bytes
    message: FromExecutor


@dataclass(frozen=True, slots=True)
class FromFeedback:
    """The executor tells a fact."""

    feedback: Feedback


@dataclass(frozen=True, slots=True)
class UnreadableFeedback:
    """The executor tells something that cannot be read."""

    error: DecodeError


@dataclass(frozen=True, slots=True)
class FromControl:
    """Somebody asks on `control`. `token`: the requester's envelope, which the reply carries."""

    token: Any
    request: HandRequest


@dataclass(frozen=True, slots=True)
class StopSeen:
    """The file STOP has appeared, or says something else now. `who`: whose file it is."""

    reason: str
    who: str


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """An order, or the change of one, that was to be handed over and could not be."""

    order_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A message other than an order did not reach this peer."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class JournalSeen:
    """The journal could not be written or read, or (`error` is None) can be again."""

    error: str | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the loop knows of sockets and disk, for `health` and `status`.

    Attributes:
        dropped: what was dropped since the start, by cause.
        journal_lag_ms: how long the last transaction took.
        journal_error: why the journal cannot be written, None if it can.
        journals: the journals' sizes, in bytes.
        disk_free: what is left on their disk, in bytes; None where the system does not tell.
    """

    dropped: dict[str, int]
    journal_lag_ms: float
    journal_error: str | None
    journals: dict[str, int]
    disk_free: int | None


@dataclass(frozen=True, slots=True)
class Ending:
    """This process ends because it was told to."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed: whatever is due happens."""


Input = (
    Started
    | FromOrders
    | UnreadableOrder
    | FromDispatch
    | FromFeedback
    | UnreadableFeedback
    | FromControl
    | StopSeen
    | Undeliverable
    | Missed
    | JournalSeen
    | Measured
    | Ending
    | Tick
)
