"""How many subscriptions each sender has standing on `events`, and when these are too many. Only counts. Pure.

A sender is the process at the other end; where the system does not tell its pid, each connection is one.
"""

from __future__ import annotations

from collections import Counter, defaultdict

# A program with 100 clients has 200: its orders and a state, for each.
MOST_STANDING = 256
# Coming and going costs the breaker time even if little stands. Four times all that may stand is more than any
# program needs when it begins, or begins again after a restart of the breaker.
MOST_CHANGES = 4 * MOST_STANDING
# After so long the count begins anew.
COUNT_SECS = 1.0
# Who was cut off connects again by itself and would subscribe all anew: not sooner than this.
BARRED_SECS = 10.0


class Subscriptions:
    """What stands, by connection and by sender. A connection is known by its descriptor.

    Args:
        longest: how many bytes a topic may have.
    """

    def __init__(self, *, longest: int) -> None:
        self._longest = longest
        self._topics: defaultdict[int, set[bytes]] = defaultdict(set)
        self._senders: dict[int, int] = {}
        self._standing: Counter[int] = Counter()
        self._changes: Counter[int] = Counter()
        self._count_ends = 0.0

    def take(self, descriptor: int, pid: int | None, message: bytes, now: float) -> str:
        """Count what a connection has sent. Why its sender must be cut off; empty: all is well."""
        if message[:1] not in (b"\0", b"\1"):
            return "it sent something that is no subscription"
        topic = message[1:]
        if len(topic) > self._longest:
            return f"a subscription of {len(topic)} bytes, allowed are {self._longest}"
        # Descriptors and pids must not meet.
        sender = self._senders.setdefault(descriptor, -1 - descriptor if pid is None else pid)
        if now >= self._count_ends:
            self._count_ends = now + COUNT_SECS
            self._changes.clear()
        self._changes[sender] += 1
        if self._changes[sender] > MOST_CHANGES:
            return f"more than {MOST_CHANGES} subscriptions and their ends in {COUNT_SECS:g} s"
        self._change(descriptor, sender, topic, stands=message[:1] == b"\1")
        if self._standing[sender] > MOST_STANDING:
            return f"more than {MOST_STANDING} subscriptions"
        return ""

    def left(self, descriptor: int) -> None:
        """A connection has ended, or is to end: with it end its subscriptions."""
        sender = self._senders.pop(descriptor, None)
        topics = self._topics.pop(descriptor, ())
        if sender is None:
            return
        self._standing[sender] -= len(topics)
        if not self._standing[sender]:
            del self._standing[sender]

    def _change(self, descriptor: int, sender: int, topic: bytes, *, stands: bool) -> None:
        topics = self._topics[descriptor]
        before = len(topics)
        # libzmq keeps one of each topic for a connection, however often it was subscribed.
        if stands:
            topics.add(topic)
        else:
            topics.discard(topic)
        self._standing[sender] += len(topics) - before
