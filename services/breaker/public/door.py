"""The door of one link: the listener where clients wait, who is in, and who must leave again."""

from __future__ import annotations

import os
import select
import stat
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import zmq
from loguru import logger

from orderfuse.bus import links
from orderfuse.bus.links import LinkName
from orderfuse.settings import Settings, SettingsError
from services.breaker.public import peers
from services.breaker.public.capacity import Room
from services.breaker.public.connections import BACKLOG, Connections
from services.breaker.public.flooding import Flooding
from services.breaker.public.holders import Holders
from services.breaker.public.inbox import Origin
from services.breaker.public.monitors import Monitor
from services.breaker.public.repeats import Repeats
from services.breaker.public.subscriptions import BARRED_SECS

# Cut off at once in one turn, for each link: what a full link costs is a fraction of a millisecond.
MOST_REFUSED = 64
# A link that is full is counted anew at most so often.
RECOUNT_SECS = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What has happened at a door: connections that came and that ended, and what is to be counted by cause."""

    came: list[int]
    gone: list[int]
    counted: Counter[str]


class Door:
    """One link: its socket, the listener where clients wait, and who is in."""

    def __init__(self, context: zmq.Context[Any], settings: Settings, link: LinkName, room: Room) -> None:
        self.link: LinkName = link
        self._settings = settings
        self.connections = Connections(room.descriptors)
        self.holders = Holders(room.of_one_process)
        self.socket = links.open_end(context, link)
        self._monitor = Monitor(context, self.socket, link)
        self._listening: dict[str, int] = {}
        links.make_folder(settings, link)
        self.listener = links.listen(settings, link, backlog=BACKLOG)
        self._flooding = Flooding()
        self._repeats = Repeats()
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
        self.connections.let_in(endpoint, time.monotonic())
        self._listening[endpoint] = descriptor

    def has_room(self) -> bool:
        """Whether all who can wait may come in."""
        if self.connections.has_room():
            return True
        now = time.monotonic()
        if now - self._recounted_at < RECOUNT_SECS:
            return False
        self._recounted_at = now
        self.connections.forget(_is_socket)
        self.holders.forget(_is_socket)
        return self.connections.has_room()

    def refuse(self) -> int:
        """Cut off who waits; returns how many."""
        for refused in range(MOST_REFUSED):
            try:
                self.listener.accept()[0].close()
            except OSError:
                # Nobody is left, or they have gone meanwhile.
                return refused
        return MOST_REFUSED

    def end_empty(self) -> None:
        """See which of the listeners that ZeroMQ has are empty, and end those through which nobody is in any more."""
        for endpoint in self.connections.take_empty(time.monotonic()):
            del self._listening[endpoint]
            self.socket.unbind(endpoint)
        for endpoint in self.connections.coming():
            if not _somebody_waits(self._listening[endpoint]):
                self.connections.all_in(endpoint)

    def hear(self, now: float) -> Heard:
        """See who came and who left since, and end what may not be here."""
        came: list[int] = []
        gone: list[int] = []
        counted: Counter[str] = Counter()
        for happening in self._monitor.read():
            descriptor = happening.descriptor
            if happening.came:
                self.connections.came(happening.endpoint, descriptor)
                cause = self._seen(descriptor, happening.pid, now)
                counted[cause] += bool(cause)
                came.append(descriptor)
                continue
            # libzmq cuts off who sends an oversized frame without telling; the end of a connection can be counted.
            counted["peer_left_or_cut_off"] += self.link == "orders" and self.holders.stays(descriptor)
            self.connections.left(descriptor)
            self.holders.left(descriptor)
            gone.append(descriptor)
        return Heard(came, gone, counted)

    def sift(self, now: float) -> Counter[str] | None:
        """Close who waits, while one process floods the door; see `Flooding`. None: all who wait may come in."""
        if not self._flooding.is_sifted(now):
            return None
        counted: Counter[str] = Counter()
        for _ in range(MOST_REFUSED):
            try:
                with self.listener.accept()[0] as connection:
                    pid = peers.pid_at(connection)
            except OSError:
                # Nobody is left, or they have gone meanwhile.
                break
            no = self.holders.objection(pid, now)
            if not no:
                self._flooding.wished(now)
                break
            counted[self._objected(pid, no, now)] += 1
        return counted

    def _seen(self, descriptor: int, pid: int | None, now: float) -> str:
        """The cause for which a connection that has come is cut off; empty: it stays."""
        no = self.holders.came(descriptor, pid, now)
        if not no:
            return ""
        self._cut_off(descriptor, pid)
        return self._objected(pid, no, now)

    def _objected(self, pid: int | None, no: str, now: float) -> str:
        """Tell that somebody may not come in; returns the cause under which it is counted."""
        self._flooding.objected(now)
        if no == "barred":
            return "connection_refused"
        self._say(
            (pid, no),
            f"{self.link}: process {pid} has as many connections as one may have ({self.holders.most}), or comes again "
            "and again; its newest are cut off. Does it connect in a loop?",
        )
        return "too_many_connections"

    def is_in(self, origin: Origin) -> bool:
        """Whether this is still the connection that it was, and may be here."""
        known = self.holders.stays(origin.descriptor)
        return known and origin.pid in (None, self.holders.pid(origin.descriptor))

    def turn_out(self, descriptor: int, why_so: str, now: float) -> list[int]:
        """Cut off all that the process of this connection has here, for a while; returns what it had."""
        pid = self.holders.pid(descriptor)
        its = self.holders.bar(descriptor, now + BARRED_SECS)
        for each in its:
            self._cut_off(each, pid)
        whose = f"process {pid}" if pid is not None else "a connection (this system does not tell whose)"
        self._say((pid, "turned out"), f"{self.link}: {whose} is cut off for {BARRED_SECS:g} s: {why_so}.")
        return its

    def cut_off_all_but(self, spared: Container[int]) -> int:
        """Cut off all other connections, which may come again at once; returns how many these are."""
        its = [each for each in self.holders.all() if each not in spared]
        for each in its:
            self._cut_off(each, self.holders.pid(each))
        return len(its)

    def _cut_off(self, descriptor: int, pid: int | None) -> None:
        endpoint = self.connections.endpoint_of(descriptor)
        if endpoint is not None:
            discard = self.link == "events"
            peers.cut_off(descriptor, pid, endpoint.removeprefix("ipc://"), discard=discard)

    def _say(self, what: tuple[object, ...], text: str) -> None:
        times = self._repeats.happened(what, time.monotonic())
        if times:
            logger.warning("{}{}", text, f" ({times} times since it was said last)" if times > 1 else "")

    def tell(self) -> None:
        """Say that the link is full."""
        self._say(
            ("full",),
            f"{self.link} is full: the programs that are connected to it have {self.connections.taken} of "
            f"{self.connections.most} descriptors; more are refused.",
        )

    def complain(self, error: SettingsError) -> None:
        """Say once that the link's place in the file system cannot be written."""
        if str(error) != self._complaint:
            self._complaint = str(error)
            logger.error("nobody new can connect to {}: {}", self.link, error)

    def close(self) -> None:
        """Close everything but the link's socket, which may have to linger."""
        self._monitor.close()
        self.listener.close()


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _somebody_waits(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
