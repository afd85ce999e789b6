"""The moment of one input, read once at the rim and handed down. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Now:
    """What both clocks said when an input was taken.

    Attributes:
        monotonic_ns: nanoseconds since a fixed moment of this machine; every decision is made on these.
        wall_ns: nanoseconds since 1970 (UTC), for stamps on messages and for the time between two processes.
        utc_offset_secs: how far the machine's local time is ahead of UTC at that moment, for the executor, which must
            know whether its day is over; 0 where nobody asks for it.
    """

    monotonic_ns: int
    wall_ns: int
    utc_offset_secs: int = 0

    @property
    def secs(self) -> float:
        """Monotonic seconds."""
        return self.monotonic_ns / 1e9
