"""IB's pacing rule: so many messages a second from one client."""

from __future__ import annotations

import math

from orderfuse.window import SlidingWindow

# Breaches of the pacing rule after which the client is dropped, and the time in which they count as one.
MAX_PACING_BREACHES = 3
PACING_WINDOW_SECS = 1.0


class Pacing:
    """Counts messages over a sliding second.

    Args:
        limit: Messages allowed in `PACING_WINDOW_SECS`; 0 for any number.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.received = 0
        self._breaches = 0
        self._last_breach = float("-inf")
        # What is a whole second old is over; of a flood only the newest matter, so it does not grow the memory.
        self._recent: SlidingWindow[float, None] = SlidingWindow(math.nextafter(PACING_WINDOW_SECS, 0), limit + 1)

    def count(self, now: float) -> int:
        """Count one message; return the number of this breach if it is one, else 0.

        A burst is one breach, however long: the next one counts a second later at the earliest.
        """
        if not self.limit:
            return 0
        self._recent.add(now, None)
        received = self._recent.count(now)
        if received <= self.limit or now - self._last_breach < PACING_WINDOW_SECS:
            return 0
        self.received = received
        self._last_breach = now
        self._breaches += 1
        return self._breaches
