"""Following what the breaker publishes, without a hole: gaps in `seq` are filled from the breaker's journal.

PUB drops what a subscriber can't take, and what is published while a connection is down is gone. Each
event carries a `seq` that counts per topic without a gap, so a hole is seen by the next event; after a new
connection, and after a pause in reading, no next event may come, so the journal is asked anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import zmq

from orderfuse import links
from orderfuse.birthplace import Birthplace
from orderfuse.bounded import Bounded
from orderfuse.codec import MAX_REPLY_BYTES, DecodeError, convert, decode_map
from orderfuse.control import ANSWER_TIMEOUT_S, ControlClient
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.messages import AnyOrderEvent, Health, OrderEvent, State
from orderfuse.replies import a_list, maps
from orderfuse.settings import Settings

# Every topic there is, in the order in which a subscriber that wants all asks for them.
EVERYTHING = ("order/", "health/", "state/")

# The breaker repeats its states every 500 ms: three missing in a row mean that nothing comes any more.
SILENCE_S = 1.75
# The link holds 10,000 messages for us; with the most strategies allowed (100, two states a second each)
# that is 50 s. Whoever reads less often than every 10 s asks the journal what was dropped.
PAUSE_S = 10.0
# A journal that did not answer is asked again this much later; meanwhile the topic waits.
RETRY_S = 1.0
# Events asked for at once (the most the breaker gives), and how often in a row: 10,000 events in memory.
_PAGE, _PAGES = 1000, 10
MOST_REPLAYED = _PAGE * _PAGES


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


Message = AnyOrderEvent | State | Health
Notice = Silent | Heard | Gap | Unreadable
Item = tuple[str, Message | Notice]


@dataclass(frozen=True, slots=True)
class Replay:
    """What the journal had. `last` is the highest seq in it; not `complete`: there is more behind that."""

    items: list[Item]
    last: int
    complete: bool


@dataclass(slots=True)
class Track:
    """How far one topic has been followed."""

    seq: int | None = None
    # The newest `at_ns`, not the last: the breaker's wall clock may have been put back.
    at_ns: int = 0
    # The highest seq seen on the link; above `seq` while a gap waits for the journal.
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


class Follower:
    """Follows topics of `events`. For one thread; a context manager.

    What it returns is in order and without a hole for each topic, from the first event seen (or from
    `after`) on: an event behind a gap waits until the journal has said what was missed.

    Args:
        settings: where the breaker is.
        topics: prefixes to subscribe to. One of them should reach `state/system/`, since the states are
            what tells a quiet breaker from none; put it last, then the first state proves all of them.
        after: `seq` by topic from which to go on, as remembered from an earlier run.
        context: a zmq context to share; without one it makes and ends its own.

    Raises:
        SettingsError: an endpoint cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        topics: tuple[str, ...] = EVERYTHING,
        *,
        after: dict[str, int] | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        # Raises, if at all, before there is anything to close.
        links.endpoint(settings, "events")
        links.endpoint(settings, "control")
        self._birthplace = Birthplace("Watcher")
        self._own_context = context is None
        self._context = context or zmq.Context()
        self.control = ControlClient(settings, context=self._context)
        self.socket = links.connect(self._context, settings, "events")
        self._connections = self.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        for topic in topics:
            self.socket.subscribe(topic)
        # What an earlier run has heard was published before this one began.
        now_ns = time.time_ns()
        self._tracks: Bounded[str, Track] = Bounded()
        for topic, seq in (after or {}).items():
            self._tracks[topic] = Track(seq, now_ns, seen=seq)
        self._catch_up_due = True
        # When a state was last heard, None before the first: then `silent_s` counts from the start.
        self.heard_at: float | None = None
        # What is wrong with the version of a breaker that speaks another one; empty where none does.
        self.other_version = ""
        self._started_at = self._read_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the links; a second time does nothing, nor does it in a child of a fork: the links are the parent's."""
        if self._birthplace.is_here and not self.socket.closed:
            self.socket.disable_monitor()
            self._connections.close()
            self.socket.close()
            self.control.close()
            if self._own_context:
                self._context.term()

    @property
    def silent_s(self) -> float:
        """Seconds since the last state was heard, or since the start."""
        return time.monotonic() - (self.heard_at or self._started_at)

    def read(self, wait_s: float = 0.0) -> list[Item]:
        """What has come, waiting up to `wait_s` for the first of it. May take a second longer at a gap.

        Raises:
            UsedAfterFork: it was made before a fork, and this is the child.
        """
        self._birthplace.check()
        if wait_s > 0:
            self.socket.poll(max(1, round(wait_s * 1000)))
        reconnected = self._was_reconnected()
        frames = self._frames()
        items = [item for topic, data in frames for item in self._on_frame(topic, data)]
        # States in the batch that shows a new connection may still be the old breaker's: only a later one
        # proves that the new subscription stands, and only then does asking the journal leave no hole.
        if reconnected:
            self._catch_up_due = True
        elif self._catch_up_due and any(topic.startswith("state/") for topic, _ in frames):
            self._catch_up_due = False
            items += self.catch_up()
        return items + self._retry()

    def catch_up(self, topics: Iterable[str] | None = None) -> list[Item]:
        """Ask the journal for what was missed on `topics` (default: all known so far), a quarter second each.

        Without an answer it is asked again when the next state is heard.
        """
        items: list[Item] = []
        for topic in list(self._tracks) if topics is None else topics:
            track = self._tracks.get(topic)
            if track is None or track.seq is None:
                continue
            found = self.journal(topic, track.seq, timeout_s=0.25)
            if found is None:
                self._catch_up_due = True
                break
            items += self._fill(topic, track, found)
        return items

    def journal(self, topic: str, after: int, *, timeout_s: float = ANSWER_TIMEOUT_S) -> Replay | None:
        """The journaled events of `topic` after the number `after`, or None if they can't be had now."""
        items: list[Item] = []
        page: int | None = None
        last = after
        try:
            for _ in range(_PAGES):
                reply = self.control.request(
                    "events",
                    topic=topic,
                    after_seq=after,
                    after=page,
                    limit=_PAGE,
                    timeout_s=timeout_s,
                    connect_timeout_s=timeout_s,
                )
                found = maps(reply.get("events"))
                items += [(topic, _typed_or_unreadable(topic, fields)) for fields in found]
                # Numbers that were told and are not kept are no loss: those answers go to who sent the order again.
                ends = [skipped[1] for skipped in a_list(reply.get("skipped")) if _is_range(skipped)]
                last = max([last, *ends, *(seq for fields in found if isinstance(seq := fields.get("seq"), int))])
                page = reply.get("next")
                if not (reply.get("more") and found and isinstance(page, int)):
                    return Replay(items, last, complete=True)
        except (BreakerUnavailable, ControlRefused):
            return None
        return Replay(items, last, complete=False)

    # -- reading ------------------------------------------------------------------------------------------

    def _was_reconnected(self) -> bool:
        now = time.monotonic()
        paused, self._read_at = now - self._read_at > PAUSE_S, now
        connected = False
        while self._connections.poll(0):
            self._connections.recv_multipart()
            connected = True
        return connected or paused

    def _frames(self) -> list[tuple[str, bytes]]:
        frames = []
        # The link's high-water mark bounds what can lie there; twice that, if it fills while being read.
        for _ in range(20_000):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            if len(parts) == 2:
                frames.append((parts[0].decode("ascii", "replace"), parts[1]))
        return frames

    def _on_frame(self, topic: str, data: bytes) -> list[Item]:
        try:
            fields = decode_map(data, limit=MAX_REPLY_BYTES)
        except DecodeError as error:
            said = self.other_version
            if error.cause == "wrong_version":
                self.other_version = error.reason
            # All that such a breaker says is of that version: once is enough.
            return [] if said and said == self.other_version else [(topic, Unreadable(error.reason, error.cause))]
        self.other_version = ""
        if topic.startswith("state/"):
            self.heard_at = time.monotonic()
        message = _typed_or_unreadable(topic, fields)
        if isinstance(message, Unreadable):
            # Its number still counts, or the next event would look like the end of a gap.
            track, seq = self._tracks.get(topic), fields.get("seq")
            if track is not None and track.seq is not None and seq == track.seq + 1:
                track.seq = seq
            return [(topic, message)]
        return self._on_message(topic, message)

    def _on_message(self, topic: str, message: Message) -> list[Item]:
        if isinstance(message, Health):
            return [(topic, message)]
        track = self._tracks.pop(topic, None) or Track()
        # Of the topics that somebody makes up, the one that was quiet longest is forgotten.
        self._tracks[topic] = track
        step = track.take(message)
        if step == "replay":
            return self._replay(topic, message)
        return [(topic, message)] if step == "deliver" else []

    # -- filling gaps -------------------------------------------------------------------------------------

    def _retry(self) -> list[Item]:
        now = time.monotonic()
        due = [topic for topic, track in self._tracks.items() if track.retry_at and track.retry_at <= now]
        return [item for topic in due for item in self._replay(topic)]

    def _replay(self, topic: str, behind_it: AnyOrderEvent | State | None = None) -> list[Item]:
        """Fill the gap before `behind_it`, or have the topic wait until the journal answers."""
        track = self._tracks[topic]
        found = self.journal(topic, track.seq or 0)
        if found is None:
            track.retry_at = time.monotonic() + RETRY_S
            return []
        return self._fill(topic, track, found, behind_it)

    def _fill(
        self, topic: str, track: Track, found: Replay, behind_it: AnyOrderEvent | State | None = None
    ) -> list[Item]:
        """What the journal had, then `behind_it` if it is newer still."""
        after = track.seq or 0
        items = found.items
        for _, message in items:
            if isinstance(message, OrderEvent | State):
                track.advance(message)
        track.seq = max(after, found.last)
        # There was more than is read in one go: the topic waits for the rest, which the next call reads.
        track.retry_at = None if found.complete else time.monotonic()
        if not found.complete:
            return [(topic, Gap(after, len(items), missing=False)), *items]
        if behind_it is not None and behind_it.seq > track.seq:
            track.advance(behind_it)
            items = [*items, (topic, behind_it)]
        # What the journal does not have will not come: go on with what follows it.
        missing, track.seq = track.seen > track.seq, max(track.seq, track.seen)
        return [(topic, Gap(after, len(found.items), missing)), *items] if items or missing else []


class Watcher:
    """`Follower` for people who watch: first how everything stands, then every change, as (topic, message).

    A message is a typed event of the bus, or one of the notices `Heard`, `Silent`, `Gap`, `Unreadable`
    (those about the breaker itself come with the topic ""). Repeated states are left out.
    A context manager, for one thread.

    Args:
        settings: where the breaker is.
        topics: prefixes of the topics to follow: `order/`, `order/<strategy_id>/`, `health/`, `state/`; default: all.
            Keep `state/` or `state/system/` among them: the states tell a quiet breaker from none.

    Raises:
        SettingsError: an endpoint cannot be used.
    """

    def __init__(self, settings: Settings, topics: tuple[str, ...] = EVERYTHING) -> None:
        self._follower = Follower(settings, topics)
        self._heard: bool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the links; a second time does nothing, nor does it in a child of a fork: the links are the parent's."""
        self._follower.close()

    def __iter__(self) -> Iterator[Item]:
        """Everything that comes, for ever.

        Raises:
            UsedAfterFork: it was made before a fork, and this is the child.
        """
        while True:
            yield from self.read(1.0)

    def read(self, wait_s: float = 0.0) -> list[Item]:
        """What has come, waiting up to `wait_s` seconds for the first of it. May take a second longer at a gap.

        Raises:
            UsedAfterFork: it was made before a fork, and this is the child.
        """
        items = self._follower.read(wait_s)
        return self._presence() + items

    def _presence(self) -> list[Item]:
        silent_s = self._follower.silent_s
        heard = self._follower.heard_at is not None and silent_s < SILENCE_S
        if heard == self._heard or (not heard and silent_s < SILENCE_S):
            return []
        self._heard = heard
        return [("", Heard(self._status()) if heard else Silent(silent_s))]

    def _status(self) -> dict[str, Any] | None:
        try:
            return self._follower.control.request("status")
        except (BreakerUnavailable, ControlRefused):
            return None


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(number, int) for number in value)


def _typed_or_unreadable(topic: str, fields: dict[str, Any]) -> Message | Unreadable:
    try:
        return _typed(topic, fields)
    except DecodeError as error:
        return Unreadable(error.reason, error.cause)


def _typed(topic: str, fields: dict[str, Any]) -> Message:
    kinds: dict[str, Any] = {"order": AnyOrderEvent, "state": State, "health": Health}
    kind = kinds.get(topic.partition("/")[0])
    if kind is None:
        raise DecodeError("unknown_topic", f"the topic is {topic!r}, known are {', '.join(kinds)}")
    message: Message = convert(fields, kind)
    return message
