"""What goes into the executor's stage: checked messages, what the gateway's side says, and the time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.gateway.checks import CheckedOrder
from services.gateway.frames import Frame
from services.gateway.reports import Dialled, Heard, NotDialled
from services.wire.dispatch import ToExecutor


@dataclass(frozen=True, slots=True)
class Told:
    """A message of the breaker."""

    message: ToExecutor


@dataclass(frozen=True, slots=True)
class Ordered:
    """A script, which has no breaker stage, places an order. It has looked whether one may be written now."""

    order: CheckedOrder


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; and all that came before it was taken.

    Attributes:
        stopped: the file STOP is there, or cannot be looked for.
        buffer_empty: all bytes written before have left this process.
        feedback_sent: the highest number of feedback that the link has taken so far.
    """

    stopped: bool = False
    buffer_empty: bool = True
    feedback_sent: int = 0


@dataclass(frozen=True, slots=True)
class Unsent:
    """A frame of the last batch that was not written, or only in part.

    Attributes:
        frame: which.
        reason: why, for people.
        code: what is told of an order: as of `NotPlaced`.
        written: how many of its orders were written before.
    """

    frame: Frame
    reason: str
    code: Literal["fenced", "lease", "undelivered"] = "undelivered"
    written: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """The last batch was saved and sent, but for what is named here. What it brings goes with the next batch.

    Attributes:
        trouble: why nothing of it is on the disk; empty if it is, or had nothing to save.
        unsent: the frames that were not written.
    """

    trouble: str = ""
    unsent: tuple[Unsent, ...] = ()


@dataclass(frozen=True, slots=True)
class Renamed:
    """The journal has another id from now on. What it brings goes with the next batch."""

    journal_id: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is about to end, and takes nothing more: what the last `Done` brought is to be handed out."""


Input = Told | Ordered | Heard | Dialled | NotDialled | Tick | Done | Renamed | Stopping
