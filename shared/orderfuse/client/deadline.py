"""How long a call may still wait."""

from __future__ import annotations

import time


class Deadline:
    """A moment of the monotonic clock, so many `seconds` from now; None is never."""

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until then, at least 0; infinite if it is never."""
        return float("inf") if self._at is None else max(0.0, self._at - time.monotonic())

    def over(self) -> bool:
        """Whether it is reached."""
        return self._at is not None and time.monotonic() >= self._at
