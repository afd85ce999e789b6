"""What the owner of a connection hears of it, beside the reports about orders. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.gateway.frames import Frame
from services.gateway.position_list import Held
from services.gateway.reports import OrderReport, Unreadable
from services.runtime.notes import Note


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to this account is made, of which nothing is known yet."""

    account: str


@dataclass(frozen=True, slots=True)
class RoundBegun:
    """Open orders, executions and completed orders are asked for, from the first to the last."""


@dataclass(frozen=True, slots=True)
class RoundComplete:
    """All three were reported completely, and IB was behind the gateway all the time."""

    undisturbed_since: float


@dataclass(frozen=True, slots=True)
class PositionsAsked:
    """A list of positions is asked for."""


@dataclass(frozen=True, slots=True)
class PositionsListed:
    """IB has listed all positions of the account."""

    held: list[Held]


@dataclass(frozen=True, slots=True)
class PositionTold:
    """IB tells of one position unasked."""

    held: Held


@dataclass(frozen=True, slots=True)
class OrdersAsked:
    """All open orders of the account are asked for."""


@dataclass(frozen=True, slots=True)
class OrdersListed:
    """IB has listed all open orders of the account."""


News = (
    Connected
    | OrderReport
    | Unreadable
    | RoundBegun
    | RoundComplete
    | PositionsAsked
    | PositionsListed
    | PositionTold
    | OrdersAsked
    | OrdersListed
)


@dataclass(slots=True)
class Out:
    """What a step brings: frames for the gateway, news in their order, and lines for the log."""

    frames: list[Frame] = field(default_factory=list)
    news: list[News] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
