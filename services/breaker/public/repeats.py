"""What must not fill the log is said once, and then once in a while with how often it happened. Only counts. Pure."""

from __future__ import annotations

from collections.abc import Hashable

SAY_AGAIN_SECS = 60.0
# So many different things are told apart. Many processes that each do the same thing once are a flood as well.
MOST_TOLD_APART = 32


class Repeats:
    """Counts what happens, and tells when it is time to say it."""

    def __init__(self) -> None:
        self._said_at: dict[Hashable, float] = {}
        self._since: dict[Hashable, int] = {}

    def happened(self, what: Hashable, now: float, times: int = 1) -> int:
        """How often it has happened since it was said last, if it is to be said now; else 0."""
        if what not in self._said_at and len(self._said_at) >= MOST_TOLD_APART:
            self._forget_old(now)
            if len(self._said_at) >= MOST_TOLD_APART:
                return 0
        since = self._since.get(what, 0) + times
        if now - self._said_at.setdefault(what, now - SAY_AGAIN_SECS) < SAY_AGAIN_SECS:
            self._since[what] = since
            return 0
        self._said_at[what], self._since[what] = now, 0
        return since

    def _forget_old(self, now: float) -> None:
        for what in [each for each, at in self._said_at.items() if now - at >= SAY_AGAIN_SECS]:
            del self._said_at[what]
            self._since.pop(what, None)
