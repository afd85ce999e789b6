"""The failures that a circuit remembers, and the two rules that they can break. Pure."""

from collections.abc import Iterator
from datetime import datetime

from orderfuse.circuit.config import CircuitBreakerConfig, secs_to_ns
from orderfuse.window import SlidingWindow


class FailureHistory:
    """Failures in a sliding window on exact times, and in a row.

    No more than `failure_threshold` of them are kept: so many are enough to open the circuit.

    Attributes:
        count: Failures since the last `clear`, of any age.
        row: Failures since the last success.
    """

    __slots__ = ("_recent", "_row_limit", "_threshold", "_window_text", "count", "row")

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._window_text = f"{config.failure_window_secs:g}s"
        self._threshold = config.failure_threshold
        self._row_limit = config.consecutive_failure_threshold
        self._recent: SlidingWindow[int, datetime] = SlidingWindow(
            secs_to_ns(config.failure_window_secs), most=config.failure_threshold
        )
        self.count = 0
        self.row = 0

    def __iter__(self) -> Iterator[tuple[int, datetime]]:
        """The failures that are kept, oldest first: monotonic nanoseconds and the wall clock's time."""
        return iter(self._recent)

    def add(self, at_ns: int, at: datetime) -> None:
        """Keep a failure, which is not before those that are kept."""
        self._recent.add(at_ns, at)

    def forget_old(self, now_ns: int) -> None:
        """Drop what has left the window; a failure exactly as old as the window is still in it."""
        self._recent.forget_old(now_ns)

    def in_window(self, now_ns: int) -> list[datetime]:
        """The wall-clock times of the failures in the window, oldest first; drops nothing."""
        return self._recent.within(now_ns)

    def broken_rule(self) -> str | None:
        """The rule that the failures break, for people; None if they break none."""
        if len(self._recent) >= self._threshold:
            return f"{len(self._recent)} failures in {self._window_text} window"
        if self._row_limit is not None and self.row >= self._row_limit:
            return f"{self.row} failures in a row"
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._recent.clear()
        self.count = 0
        self.row = 0
