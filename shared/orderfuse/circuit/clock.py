"""The clocks of the machine, for a circuit that is given no other."""

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's own clocks.

    On Linux the monotonic clock stands still while the machine is suspended: after that a wait ends later
    than the wall clock would have it, never earlier.
    """

    # The function of the standard library itself: a method around it would cost more than the clock.
    monotonic_ns = staticmethod(time.monotonic_ns)

    def utcnow(self) -> datetime:
        """The wall clock, aware and in UTC."""
        return datetime.now(UTC)
