"""The failures that a circuit remembers, and the two rules that they can break."""

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime

from orderfuse.circuit_config import CircuitBreakerConfig, secs_to_ns


class FailureHistory:
    """Failures in a sliding window on exact times, and in a row.

    No more than `failure_threshold` of them are stored: so many are enough to open the circuit.

    Attributes:
        count: Failures since the last `clear`, of any age.
        row: Failures since the last success.
    """

    __slots__ = ("_row_limit", "_stored", "_threshold", "_window_ns", "_window_text", "count", "row")

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self._window_ns = secs_to_ns(config.failure_window_secs)
        self._window_text = f"{config.failure_window_secs:g}s"
        self._threshold = config.failure_threshold
        self._row_limit = config.consecutive_failure_threshold
        self._stored: deque[tuple[int, datetime]] = deque(maxlen=config.failure_threshold)
        self.count = 0
        self.row = 0

    def __iter__(self) -> Iterator[tuple[int, datetime]]:
        """The stored failures, oldest first: monotonic nanoseconds and the wall clock's time."""
        return iter(self._stored)

    def store(self, failures: Iterable[tuple[int, datetime]]) -> None:
        """Put failures behind those that are stored; the order is that of time."""
        self._stored.extend(failures)

    def forget_old(self, now_ns: int) -> None:
        """Drop what has left the window; a failure exactly as old as the window is still in it."""
        while self._stored and now_ns - self._stored[0][0] > self._window_ns:
            self._stored.popleft()

    def in_window(self, now_ns: int) -> list[datetime]:
        """The wall-clock times of the failures in the window, oldest first; drops nothing."""
        return [at for at_ns, at in self._stored if now_ns - at_ns <= self._window_ns]

    def broken_rule(self) -> str | None:
        """The rule that the failures break, for people; None if they break none."""
        if len(self._stored) >= self._threshold:
            return f"{len(self._stored)} failures in {self._window_text} window"
        if self._row_limit is not None and self.row >= self._row_limit:
            return f"{self.row} failures in a row"
        return None

    def clear(self) -> None:
        """Forget everything."""
        self._stored.clear()
        self.count = 0
        self.row = 0
