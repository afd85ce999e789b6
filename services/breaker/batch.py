"""What one turn of the stage wants done: first saved, in one transaction, then sent. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orderfuse.bus.fields import Message
from services.breaker.circuits.scopes import KeptCircuit
from services.breaker.dispatch.owed import OwedCancel
from services.breaker.orders import OrderRecord


@dataclass(frozen=True, slots=True)
class Publication:
    """A map for everybody on `events`.

    Attributes:
        journaled: it has a seq of its own and can be asked for again.
        previous: the seq of the journaled one before it: those between were told and are not kept.
    """

    topic: str
    fields: dict[str, Any]
    seq: int = 0
    journaled: bool = True
    previous: int = 0


@dataclass(slots=True)
class Numbering:
    """How far one topic has been numbered.

    Attributes:
        seq: the last number.
        kept: the last one that the journal keeps.
        reserved: up to here the journal knows that numbers may have been told.
    """

    seq: int
    kept: int
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class DispatchMessage:
    """A message for one peer on `dispatch`."""

    peer: bytes
    message: Message


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request on `control`. `token` is the requester's envelope."""

    token: Any
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """A cancel or replace and the answer that it got, so that a resend gets the same."""

    request_id: str
    order_id: str
    strategy_id: str
    accepted: bool
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class HandDecision:
    """Something a person did."""

    op: str
    scope: str
    reason: str
    who: str


@dataclass(frozen=True, slots=True)
class KeptHeartbeat:
    """How long a strategy's orders may outlive its silence, and whether it has fallen silent."""

    cancel_after_ms: int
    silent: bool = False


@dataclass(slots=True)
class Batch:
    """The effects of one turn.

    `sync`: the transaction must be on disk, not only in the page cache, before anything is sent (trips,
    resets, latches and fences: what a power cut must not undo).
    """

    orders: dict[str, OrderRecord] = field(default_factory=dict)
    circuits: dict[str, KeptCircuit | None] = field(default_factory=dict)
    requests: dict[str, AnsweredRequest] = field(default_factory=dict)
    remembered_cancels: dict[tuple[str, str], int | None] = field(default_factory=dict)
    feedback_taken: dict[str, int] = field(default_factory=dict)
    retold: dict[str, int] = field(default_factory=dict)
    decisions: list[HandDecision] = field(default_factory=list)
    # What was told of which execution: the order, `filled` or `commission`, and IB's id of the execution.
    executions: set[tuple[str, str, str]] = field(default_factory=set)
    # When (wall ns) something was refused that is not on disk, by strategy; "" for all that never had an order pass.
    refused_marks: dict[str, int] = field(default_factory=dict)
    heartbeats: dict[str, KeptHeartbeat | None] = field(default_factory=dict)
    # What failed last, as text by scope; None: nothing is kept of it any more.
    last_failures: dict[str, str | None] = field(default_factory=dict)
    owed: OwedCancel | None = None
    fence: int | None = None
    # Numbering of every topic goes on from here at least.
    first_seq: int | None = None
    # Up to where a topic may be numbered before the journal hears of it again.
    reserved: dict[str, int] = field(default_factory=dict)
    # Topics that are no longer numbered, and above which number new ones begin.
    topics_given_up: list[str] = field(default_factory=list)
    floor: int | None = None
    # The process ends in order: numbering can go on just where it stands.
    ends: bool = False
    topics: dict[str, Numbering] = field(default_factory=dict)
    sync: bool = False
    publications: list[Publication] = field(default_factory=list)
    dispatch: list[DispatchMessage] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    # Warnings for the log, of what no event says.
    notes: list[str] = field(default_factory=list)
    # What the journal said instead of an answer: what depended on that was left undone.
    unread: str = ""

    def add(self, later: Batch) -> None:
        """Lay the effects of the next step over these: both are saved as one."""
        self.add_what_is_saved(later)
        for name in ("dispatch", "replies", "notes"):
            getattr(self, name).extend(getattr(later, name))

    def add_what_is_saved(self, later: Batch) -> None:
        """Lay over these what the next step has for the journal."""
        for name in (
            "orders",
            "circuits",
            "requests",
            "remembered_cancels",
            "feedback_taken",
            "retold",
            "executions",
            "refused_marks",
            "heartbeats",
            "last_failures",
        ):
            getattr(self, name).update(getattr(later, name))
        for topic in later.topics_given_up:
            self.reserved.pop(topic, None)
        self.reserved.update(later.reserved)
        for name in ("decisions", "topics_given_up", "publications"):
            getattr(self, name).extend(getattr(later, name))
        for name in ("owed", "fence", "first_seq", "floor"):
            if getattr(later, name) is not None:
                setattr(self, name, getattr(later, name))
        self.ends, self.topics = later.ends, later.topics
        self.sync = self.sync or later.sync

    def saves_something(self) -> bool:
        """Whether there is anything to put on disk."""
        return bool(
            self.orders
            or self.circuits
            or self.requests
            or self.remembered_cancels
            or self.feedback_taken
            or self.decisions
            or self.executions
            or self.refused_marks
            or self.heartbeats
            or self.last_failures
            or self.owed
            or self.fence is not None
            or self.first_seq is not None
            or self.reserved
            or self.topics_given_up
            or self.floor is not None
            or self.ends
            or any(publication.journaled for publication in self.publications)
        )
