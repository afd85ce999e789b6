"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

STARTED_AT = datetime(2025, 1, 6, 14, 30, tzinfo=UTC)


class ManualClock:
    """Monotonic and wall clock, moved together by `advance` and apart by `jump_wall`."""

    def __init__(self, *, wall: datetime = STARTED_AT, monotonic_ns: int = 0) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ahead_ns = (wall - STARTED_AT) // timedelta(microseconds=1) * 1000 - monotonic_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def utcnow(self) -> datetime:
        return STARTED_AT + timedelta(microseconds=(self._monotonic_ns + self._wall_ahead_ns) // 1000)

    def advance(self, secs: float = 0, *, ns: int = 0) -> None:
        """Let time pass, exactly: fractions of a second are taken to the nearest nanosecond."""
        self._monotonic_ns += round(secs * 10**9) + ns

    def jump_wall(self, secs: float) -> None:
        """Somebody sets the wall clock; no time passes."""
        self._wall_ahead_ns += round(secs * 10**9)
