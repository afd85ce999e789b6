"""Following what the breaker publishes, without a hole: gaps in `seq` are filled from the breaker's journal.

PUB drops what a subscriber can't take, and what is published while a connection is down is gone. A hole is seen by
the next event; after a new connection, and after a pause in reading, no next event may come, so the journal is asked
anyway.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import zmq

from orderfuse.bounded import Bounded
from orderfuse.bus import links
from orderfuse.bus.codec import MAX_REPLY_BYTES, DecodeError, decode_map
from orderfuse.bus.events import AnyOrderEvent, Health, State
from orderfuse.bus.notices import Item, Message, Unreadable
from orderfuse.client.birthplace import Birthplace
from orderfuse.client.closing import Closing
from orderfuse.client.control import ANSWER_TIMEOUT_S, ControlClient
from orderfuse.client.tracks import Replay, Track, read_event, read_page
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.settings import Settings

# Every topic there is, in the order in which a subscriber that wants all asks for them.
EVERYTHING = ("order/", "health/", "state/")

# The breaker repeats the system's state every 500 ms, those of strategies more rarely: three missing in a row mean that
# nothing comes any more.
SIGN_OF_LIFE = "state/system/"
SILENCE_S = 1.75
# The link holds 10,000 messages for us: 50 s even if 100 strategies (the default) are all OPEN, when each state is told
# twice a second. Whoever reads less often than every 10 s asks the journal what was dropped.
PAUSE_S = 10.0
# A journal that did not answer is asked again this much later; meanwhile the topic waits.
RETRY_S = 1.0
# Events asked for at once (the most the breaker gives), and how often in a row: 10,000 events in memory.
_PAGE, _PAGES = 1000, 10
MOST_REPLAYED = _PAGE * _PAGES


class Follower(Closing):
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
        # When the system's state was last heard, None before the first: then `silent_s` counts from the start.
        self.heard_at: float | None = None
        # What is wrong with the version of a breaker that speaks another one; empty where none does.
        self.other_version = ""
        self._started_at = self._read_at = time.monotonic()

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
        """Seconds since the system's state was last heard, or since the start."""
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
            items += track.fill(topic, found, time.monotonic())
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
                found = read_page(topic, reply)
                items += found.items
                last, page = max(last, found.last), found.next
                if page is None:
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
        if topic == SIGN_OF_LIFE:
            self.heard_at = time.monotonic()
        message = read_event(topic, fields)
        if isinstance(message, Unreadable):
            if topic in self._tracks:
                self._tracks[topic].skip(fields.get("seq"))
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
        return track.fill(topic, found, time.monotonic(), behind_it)
