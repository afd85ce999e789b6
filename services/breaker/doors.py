"""Who may come in: the breaker's links let in as many connections as there are descriptors for, and no more.

libzmq ends the process when it cannot accept a connection on ipc for want of a descriptor (EMFILE), and it accepts on
a thread of its own, thousands a second, so that counting alone comes too late. And it ends all connections of an
endpoint when that is unbound, so that a full link could not be closed without cutting off everybody.

So ZeroMQ never accepts from the place where clients connect. A listening socket of ours is there, in whose queue the
kernel lets a few wait (`seats.MOST_AT_ONCE`). When somebody does and there is room for all who can, a new listening
socket is moved into its place, and the one before goes to ZeroMQ with the few that wait in it and that nobody can join
any more. It stays bound until all of them have left. Without room those who wait are accepted here and cut off.
"""

from __future__ import annotations

import os
import select
import selectors
import stat
import struct
import time
from typing import Any, get_args

import zmq
from loguru import logger

from orderfuse import links
from orderfuse.links import LinkName
from orderfuse.settings import Settings, SettingsError
from services.breaker.seats import BACKLOG, Seats

# Cut off at once in one turn, for each link: what a full link costs is a fraction of a millisecond.
MOST_REFUSED = 64
# A link that is full is counted anew at most so often.
RECOUNT_SECS = 1.0
# That a link is full is said at most so often, so that no log fills.
SAY_AGAIN_SECS = 60.0
_EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED


class Door:
    """One link: its socket, the listener where clients wait, and who is in."""

    def __init__(self, context: zmq.Context[Any], settings: Settings, link: LinkName, most: int) -> None:
        self.link: LinkName = link
        self._settings = settings
        self.seats = Seats(most)
        self.socket = links.open_end(context, link)
        self.monitor = context.socket(zmq.PAIR)
        # Without a bound: ZeroMQ's thread would wait for us while it is full.
        self.monitor.setsockopt(zmq.RCVHWM, 0)
        self.socket.monitor(f"inproc://{link}.monitor", _EVENTS)
        self.monitor.connect(f"inproc://{link}.monitor")
        self._listening: dict[str, int] = {}
        links.make_folder(settings, link)
        self.listener = links.listen(settings, link, backlog=BACKLOG)
        self._said_at = -SAY_AGAIN_SECS
        self._recounted_at = 0.0
        self._complaint = ""

    def open(self) -> None:
        """Let in who waits, if there is room for all who can wait.

        Raises:
            SettingsError: no listener can be put into the place of the one that goes to ZeroMQ.
        """
        coming = self.listener
        # By its name a batch is ended, so no two of those that live may have the same.
        names = {links.name_of(coming), *(endpoint.removeprefix("ipc://") for endpoint in self._listening)}
        self.listener = links.listen(self._settings, self.link, backlog=BACKLOG, avoid=names)
        descriptor = coming.fileno()
        endpoint = links.hand_over(self.socket, coming)
        self.seats.let_in(endpoint, time.monotonic())
        self._listening[endpoint] = descriptor

    def has_room(self) -> bool:
        """Whether all who can wait may come in."""
        if self.seats.has_room():
            return True
        now = time.monotonic()
        if now - self._recounted_at < RECOUNT_SECS:
            return False
        self._recounted_at = now
        self.seats.forget(_is_socket)
        return self.seats.has_room()

    def refuse(self) -> int:
        """Cut off who waits; returns how many."""
        for refused in range(MOST_REFUSED):
            try:
                self.listener.accept()[0].close()
            except OSError:
                # Nobody is left, or they have gone meanwhile.
                return refused
        return MOST_REFUSED

    def settle(self) -> None:
        """See which of the listeners that ZeroMQ has are empty, and end those through which nobody is in any more."""
        for endpoint in self.seats.take_empty(time.monotonic()):
            del self._listening[endpoint]
            self.socket.unbind(endpoint)
        for endpoint in self.seats.coming():
            if not _somebody_waits(self._listening[endpoint]):
                self.seats.all_in(endpoint)

    def tell(self) -> None:
        """Say that the link is full."""
        now = time.monotonic()
        if now - self._said_at >= SAY_AGAIN_SECS:
            self._said_at = now
            logger.warning(
                "{} is full: the programs that are connected to it have {} of {} descriptors; more are refused. "
                "Is one of them connecting in a loop?",
                self.link,
                self.seats.taken,
                self.seats.most,
            )

    def complain(self, error: SettingsError) -> None:
        """Say once that the link's place in the file system cannot be written."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            logger.error("nobody new can connect to {}: {}", self.link, error)

    def close(self) -> None:
        """Close everything but the link's socket, which may have to linger."""
        self.socket.disable_monitor()
        self.monitor.close()
        self.listener.close()


class Doors:
    """The links' sockets, and who is let in to them. A poller can wait for it: then somebody waits at a door.

    Args:
        context: where the sockets live.
        settings: where the links are.
        room: how many descriptors the connections of each link may have.

    Raises:
        SettingsError: an endpoint cannot be used.
    """

    def __init__(self, context: zmq.Context[Any], settings: Settings, room: dict[LinkName, int]) -> None:
        self._doors = {link: Door(context, settings, link, room[link]) for link in get_args(LinkName)}
        self._waiting = selectors.DefaultSelector()
        for door in self._doors.values():
            self._waiting.register(door.listener, selectors.EVENT_READ, door)

    def socket(self, link: LinkName) -> zmq.Socket[bytes]:
        """The breaker's end of a link."""
        return self._doors[link].socket

    def fileno(self) -> int:
        """Readable while somebody waits."""
        return self._waiting.fileno()

    def step(self) -> tuple[int, int]:
        """Let in or refuse who waits. Returns how many connections to `orders` ended, and how many were refused."""
        ended = self._hear()
        for door in self._doors.values():
            door.settle()
        refused = 0
        for key, _ in self._waiting.select(0):
            refused += self._answer(key.data)
        return ended, refused

    def close(self) -> None:
        """Close everything but the links' sockets."""
        for door in self._doors.values():
            door.close()
        self._waiting.close()

    def _answer(self, door: Door) -> int:
        if door.seats.coming():
            # Those before are on their way in: whoever waits does so for a moment longer.
            return 0
        if not door.has_room():
            door.tell()
            return door.refuse()
        before = door.listener.fileno()
        try:
            door.open()
        except SettingsError as error:
            door.complain(error)
            return door.refuse()
        self._waiting.unregister(before)
        self._waiting.register(door.listener, selectors.EVENT_READ, door)
        return 0

    def _hear(self) -> int:
        """Count who came and who left; returns how many have left `orders`."""
        ended = 0
        for door in self._doors.values():
            while True:
                try:
                    event, endpoint = door.monitor.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                kind, descriptor = struct.unpack("=HI", event)
                if kind == zmq.EVENT_ACCEPTED:
                    door.seats.came(endpoint.decode(), descriptor)
                else:
                    door.seats.left(descriptor)
                    ended += door.link == "orders"
        return ended


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _somebody_waits(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
