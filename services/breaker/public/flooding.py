"""Whether those who wait at a door are looked at before they are let in. Only counts. Pure.

ZeroMQ accepts, so whose a connection is can be seen only when it is in, and to let one in and end it again costs ten
times what it costs to accept it here and close it. But one that was accepted here cannot be handed to ZeroMQ. So while
one process floods a door, all who wait are accepted here and closed, until there is somebody among them who may come
in. He connects again by himself, and for that time all are let in.
"""

from __future__ import annotations

# More than come in at once by mistake.
MOST_OBJECTIONS = 32
# After so long the count begins anew.
COUNT_SECS = 1.0
# A client of ZeroMQ connects again after its RECONNECT_IVL, which is 100 ms unless it says otherwise, with up to as
# much again by chance.
WISH_SECS = 0.25


class Flooding:
    """What was seen at one door of late."""

    def __init__(self) -> None:
        self._objections = 0
        self._count_ends = self._flooded_until = self._wished_until = 0.0

    def objected(self, now: float) -> None:
        """Somebody came who may not come in."""
        if now >= self._count_ends:
            self._count_ends = now + COUNT_SECS
            self._objections = 0
        self._objections += 1
        if self._objections > MOST_OBJECTIONS:
            self._flooded_until = now + COUNT_SECS

    def wished(self, now: float) -> None:
        """Somebody was turned away who may come in."""
        self._wished_until = now + WISH_SECS

    def is_sifted(self, now: float) -> bool:
        """Whether who waits is accepted here and closed."""
        return self._wished_until <= now < self._flooded_until
