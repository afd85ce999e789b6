"""Who listens to `events`: what subscribers send is read in bounded pieces and counted; who has too much must go."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import zmq

from orderfuse.bus.links import MAX_TOPIC_BYTES
from services.breaker.public.door import Door
from services.breaker.public.inbox import Origin, origin_of
from services.breaker.public.subscriptions import Subscriptions

# What a peer's end or a flood leaves is read over several turns: so many take some milliseconds.
MOST_PER_TURN = 512


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message, and who has sent it."""

    origin: Origin
    message: bytes


class Audience:
    """The subscribers behind the door of `events`."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._subscriptions = Subscriptions(longest=MAX_TOPIC_BYTES)
        self._sent: list[_Sent] = []
        # Connections that have come while something was still to be read. It may be of one that has left, whose
        # descriptor they have now: somebody else must not be taken for its sender.
        self._new: set[int] = set()
        self._all_read = True

    def listen(self) -> None:
        """Read what subscribers have sent, up to `MOST_PER_TURN` messages.

        Ends of subscriptions that libzmq makes itself when a connection has gone are left out; they count all the same.
        """
        self._all_read = False
        for _ in range(MOST_PER_TURN):
            try:
                # Each frame by itself, however many make a message: none of them may come by unseen.
                frame = self._door.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._all_read = True
                break
            origin = origin_of(frame)
            if origin is not None:
                self._sent.append(_Sent(origin, frame.bytes))

    def came(self, descriptors: Iterable[int]) -> None:
        """These connections are new."""
        self._new.update(descriptors)

    def left(self, descriptors: Iterable[int]) -> None:
        """These connections have ended."""
        for descriptor in descriptors:
            self._subscriptions.left(descriptor)
            self._new.discard(descriptor)

    def count(self, now: float) -> int:
        """Count what was read, and turn out who has too much; returns how many these are.

        Whoever has sent it must have been heard to come: so `listen` goes before the door hears, and this behind it.
        """
        turned_out = 0
        for sent in self._sent:
            descriptor = sent.origin.descriptor
            if self._is_nobodys(sent.origin):
                continue
            pid = self._door.holders.pid(descriptor)
            too_much = self._subscriptions.take(descriptor, pid, sent.message, now)
            if too_much:
                turned_out += 1
                self.left(self._door.turn_out(descriptor, too_much, now))
        if self._all_read:
            self._new.clear()
        self._sent.clear()
        return turned_out

    def _is_nobodys(self, origin: Origin) -> bool:
        """Whether it has left, or must leave: another one may have the descriptor now."""
        if not self._door.is_in(origin):
            return True
        return origin.pid is None and origin.descriptor in self._new
