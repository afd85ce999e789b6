"""What a follower of `events` is told beside the events: whether a breaker is heard, and completely. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orderfuse.bus.events import AnyOrderEvent, Health, State


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing has come from a breaker for `for_s` seconds: it is not there (any more), or it is stuck."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A breaker is there (again). `status` is its answer to the request of that name, None if none came."""

    status: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Events after the number `after_seq` were missed; `replayed` of them come from the journal and follow.

    `missing` is True if the journal did not have them all: read the rest from `orders` and `status`.
    """

    after_seq: int
    replayed: int
    missing: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event that this version can't read, and the `reason`, for people.

    The `cause` is for programs: `unknown_kind` is a newer breaker's event, `wrong_version` a breaker of another
    version, which is said once for all of its events.
    """

    reason: str
    cause: str


Notice = Silent | Heard | Gap | Unreadable
Message = AnyOrderEvent | State | Health
Item = tuple[str, Message | Notice]
