"""Who may come in: the breaker's links let in as many connections as there are descriptors for, and no more.

libzmq ends the process when it cannot accept a connection on ipc for want of a descriptor (EMFILE), and it accepts on
a thread of its own, thousands a second, so that counting alone comes too late. And it ends all connections of an
endpoint when that is unbound, so that a full link could not be closed without cutting off everybody.

So ZeroMQ never accepts from the place where clients connect. A listening socket of ours is there, in whose queue the
kernel lets a few wait (`connections.MOST_AT_ONCE`). When somebody does and there is room for all who can, a new
listening socket is moved into its place, and the one before goes to ZeroMQ with the few that wait in it and that nobody
can join any more. It stays bound until all of them have left. Without room those who wait are accepted here and cut
off.

Whose a connection is can be seen only when it is in: then it is cut off if its process has too many already, or if it
subscribes to too much. What that process had before stays, and others find their place.
"""

from __future__ import annotations

import selectors
import time
from collections import Counter
from typing import Any, get_args

import zmq
from loguru import logger

from orderfuse.bus.links import LinkName
from orderfuse.settings import Settings, SettingsError
from services.breaker import memory
from services.breaker.public.audience import Audience
from services.breaker.public.capacity import Room
from services.breaker.public.door import Door
from services.breaker.public.inbox import MOST_FRAMES, Inbox
from services.breaker.public.repeats import Repeats

# Half a message that does not end is kept by libzmq where nobody sees it, and no bound of its holds for that. Floods
# were seen to come to a third of this. A process that fills each queue of every link (`bounds`) may come to it, and is
# then cut off as well; who is cut off with it and says nothing comes again by itself.
MOST_MEMORY = 250_000_000
LOOK_SECS = 0.1
# libzmq's thread frees what a connection has left, some millions of frames in a few of these looks. What is there for
# longer is nobody's.
MOST_LOOKS = 10
TOO_MANY_FRAMES = f"a message of more than {MOST_FRAMES} frames"


class Doors:
    """The links' sockets, and who is let in to them. A poller can wait for it: then somebody waits at a door.

    Args:
        context: where the sockets live.
        settings: where the links are.
        room: how much of each link its connections may have.

    Raises:
        SettingsError: an endpoint cannot be used.
    """

    def __init__(self, context: zmq.Context[Any], settings: Settings, room: dict[LinkName, Room]) -> None:
        self._doors = {link: Door(context, settings, link, room[link]) for link in get_args(LinkName)}
        self._audience = Audience(self._doors["events"])
        self._inboxes: dict[LinkName, Inbox] = {}
        self._look_at = 0.0
        self._most_memory = MOST_MEMORY
        # How often in a row there was too much.
        self._swollen = 0
        self._repeats = Repeats()
        self._waiting = selectors.DefaultSelector()
        for door in self._doors.values():
            self._waiting.register(door.listener, selectors.EVENT_READ, door)

    def socket(self, link: LinkName) -> zmq.Socket[bytes]:
        """The breaker's end of a link."""
        return self._doors[link].socket

    def inbox(self, link: LinkName) -> Inbox:
        """What comes by a link. Who sends endless messages there is turned out with the next step."""
        inbox = Inbox(self._doors[link].socket)
        self._inboxes[link] = inbox
        return inbox

    def fileno(self) -> int:
        """Readable while somebody waits."""
        return self._waiting.fileno()

    def step(self) -> Counter[str]:
        """Let in or refuse who waits, and cut off who takes too much. Returns what happened so, by cause."""
        now = time.monotonic()
        counted: Counter[str] = Counter()
        # Who may not be here is cut off before it is read what they say, and what was read is counted for who is heard
        # to have come.
        counted += self._hear(self._doors["events"], now)
        self._audience.listen()
        for door in self._doors.values():
            counted += self._hear(door, now)
        counted["too_many_subscriptions"] += self._audience.count(now)
        for link, inbox in self._inboxes.items():
            for origin in inbox.take_endless():
                counted["too_many_frames"] += 1
                if self._doors[link].is_in(origin):
                    self._doors[link].turn_out(origin.descriptor, TOO_MANY_FRAMES, now)
        if now >= self._look_at:
            self._look_at = now + LOOK_SECS
            counted["memory_full"] += self._watch_memory(now)
        for door in self._doors.values():
            door.end_empty()
        for key, _ in self._waiting.select(0):
            counted += self._answer(key.data, now)
        return counted

    def _hear(self, door: Door, now: float) -> Counter[str]:
        heard = door.hear(now)
        if door.link == "events":
            self._audience.left(heard.gone)
            self._audience.came(heard.came)
        return heard.counted

    def close(self) -> None:
        """Close everything but the links' sockets."""
        for door in self._doors.values():
            door.close()
        self._waiting.close()

    def _watch_memory(self, now: float) -> int:
        """Cut off who may have half a message here, while there is too much of those; returns how many these are.

        Who finishes messages has none that grows. Who listens to `events` sends nothing, and is spared at first. What
        stays even then is not theirs, and nobody is cut off again for it.
        """
        speakers = {link: inbox.take_speakers() for link, inbox in self._inboxes.items()}
        if not self._has_too_much():
            self._swollen = 0
            return 0
        self._swollen += 1
        if self._swollen > MOST_LOOKS:
            self._most_memory = memory.resident() + MOST_MEMORY // 2
            self._swollen = 0
            return 0
        if self._swollen > 1:
            speakers["events"] = set()
        cut = sum(self._doors[link].cut_off_all_but(spoke) for link, spoke in speakers.items())
        times = self._repeats.happened("memory", now)
        if times:
            logger.error(
                "{:,} MB, and messages without an end: {} connections were cut off that had finished none ({} times "
                "since it was said last). Does a program send frames without end?",
                *(memory.resident() // 1_000_000, cut, times),
            )
        return cut

    def _has_too_much(self) -> bool:
        if memory.resident() <= self._most_memory:
            return False
        # What was freed may still be here.
        memory.give_back()
        return memory.resident() > self._most_memory

    def _answer(self, door: Door, now: float) -> Counter[str]:
        if door.connections.coming():
            # Those before are on their way in: whoever waits does so for a moment longer.
            return Counter()
        sifted = door.sift(now)
        if sifted is not None:
            return sifted
        if not door.has_room():
            door.tell()
            return Counter(connection_refused=door.refuse())
        before = door.listener.fileno()
        try:
            door.open()
        except SettingsError as error:
            door.complain(error)
            return Counter(connection_refused=door.refuse())
        self._waiting.unregister(before)
        self._waiting.register(door.listener, selectors.EVENT_READ, door)
        return Counter()
