"""How far each topic of `events` has been followed, and what is missing in between. Pure.

Each event carries a `seq` that counts for its topic without a gap, so a hole is seen by the next event. What fills it
comes from the breaker's journal, page by page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orderfuse.bus.codec import DecodeError, convert
from orderfuse.bus.events import AnyOrderEvent, Health, OrderEvent, State
from orderfuse.bus.notices import Gap, Item, Message, Unreadable
from orderfuse.client.replies import a_list, maps

_KINDS: dict[str, Any] = {"order": AnyOrderEvent, "state": State, "health": Health}


@dataclass(frozen=True, slots=True)
class Replay:
    """What the journal had. `last` is the highest seq in it; not `complete`: there is more behind that."""

    items: list[Item]
    last: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A reply to `events`: its events, the highest number that it accounts for, and where the next page begins."""

    items: list[Item]
    last: int
    next: int | None


def read_page(topic: str, reply: dict[str, Any]) -> Page:
    """Read a reply to `events` from a breaker of any version."""
    found = maps(reply.get("events"))
    # Numbers that were told and are not kept are no loss: those answers go to who sent the order again.
    ends = [skipped[1] for skipped in a_list(reply.get("skipped")) if _is_range(skipped)]
    last = max([0, *ends, *(seq for fields in found if isinstance(seq := fields.get("seq"), int))])
    more = reply.get("next") if reply.get("more") and found else None
    return Page([(topic, read_event(topic, fields)) for fields in found], last, more if isinstance(more, int) else None)


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)


def read_event(topic: str, fields: dict[str, Any]) -> Message | Unreadable:
    """The event in a map of this topic, or why it cannot be read."""
    kind = _KINDS.get(topic.partition("/")[0])
    try:
        if kind is None:
            raise DecodeError("unknown_topic", f"the topic is {topic!r}, known are {', '.join(_KINDS)}")
        message: Message = convert(fields, kind)
    except DecodeError as error:
        return Unreadable(error.reason, error.cause)
    return message


@dataclass(slots=True)
class Track:
    """How far one topic has been followed.

    Attributes:
        seq: the number of the last event that was delivered; None before the first.
        at_ns: the newest `at_ns`, not the last: the breaker's wall clock may have been put back.
        seen: the highest seq seen on the link; above `seq` while a gap waits for the journal.
        retry_at: when the journal is asked again, monotonic seconds; None while nothing waits for it.
    """

    seq: int | None = None
    at_ns: int = 0
    seen: int = 0
    retry_at: float | None = None

    def take(self, message: AnyOrderEvent | State) -> str:
        """What to do with a live message: `deliver`, `drop`, or `replay` what is missing before it."""
        anew = self._numbering_began_anew(message)
        if anew:
            self.seq = self.seen = 0
        self.seen = max(self.seen, message.seq)
        if anew:
            return "replay"
        if self.retry_at is not None:
            return "drop"
        if _is_again(message) and self.seq is not None and message.seq <= self.seq:
            return "deliver"
        if self.seq is None or message.seq == self.seq + 1:
            self.advance(message)
            return "deliver"
        return "replay" if message.seq > self.seq else "drop"

    def skip(self, seq: Any) -> None:
        """The event of this number cannot be read. It still counts, or the next would look like the end of a gap."""
        if self.seq is not None and seq == self.seq + 1:
            self.seq = seq

    def fill(self, topic: str, found: Replay, now: float, behind_it: AnyOrderEvent | State | None = None) -> list[Item]:
        """What the journal had of a gap, then `behind_it` if it is newer still, with the notice that there was one."""
        after = self.seq or 0
        items = found.items
        for _, message in items:
            if isinstance(message, OrderEvent | State):
                self.advance(message)
        self.seq = max(after, found.last)
        # There was more than is read in one go: the topic waits for the rest, which the next call reads.
        self.retry_at = None if found.complete else now
        if not found.complete:
            return [(topic, Gap(after, len(items), missing=False)), *items]
        if behind_it is not None and behind_it.seq > self.seq:
            self.advance(behind_it)
            items = [*items, (topic, behind_it)]
        # What the journal does not have will not come: go on with what follows it.
        missing, self.seq = self.seen > self.seq, max(self.seq, self.seen)
        return [(topic, Gap(after, len(found.items), missing)), *items] if items or missing else []

    def advance(self, message: AnyOrderEvent | State) -> None:
        """`message` is delivered, and all before it."""
        self.seq = message.seq
        self.seen = max(self.seen, message.seq)
        self.at_ns = max(self.at_ns, message.at_ns)

    def _numbering_began_anew(self, message: AnyOrderEvent | State) -> bool:
        """A lower number on a later event is another journal. Taken for repeats, all its events would be lost."""
        if self.seq is None or _is_again(message):
            return False
        repeated = isinstance(message, State) and message.repeat and message.seq == self.seq
        return message.seq <= self.seq and message.at_ns > self.at_ns and not repeated


def _is_again(message: AnyOrderEvent | State) -> bool:
    return not isinstance(message, State) and message.again
