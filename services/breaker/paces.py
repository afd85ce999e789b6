"""How fast each strategy sends. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from orderfuse.window import SlidingWindow

SECOND_NS = 1_000_000_000


@dataclass(slots=True)
class _Pace:
    """What one strategy sent lately."""

    recent: SlidingWindow[int, None]
    excess_told_ns: int | None = None


@dataclass(slots=True)
class Paces:
    """The orders and replaces of the last second, by strategy. `limit`: so many may be sent in a second."""

    limit: int
    _paces: dict[str, _Pace] = field(default_factory=dict)

    def keeps(self, strategy_id: str, now_ns: int, known: Container[str]) -> bool:
        """Whether one more is within the rate; then it is counted. `known`: strategies that must not be forgotten."""
        if strategy_id not in self._paces:
            # Strategies can be forgotten, so what is remembered of them must be too.
            self._paces = {name: pace for name, pace in self._paces.items() if name in known}
            self._paces[strategy_id] = _Pace(SlidingWindow(SECOND_NS - 1, self.limit))
        recent = self._paces[strategy_id].recent
        if recent.count(now_ns) >= self.limit:
            return False
        recent.add(now_ns, None)
        return True

    def is_new_excess(self, strategy_id: str, now_ns: int) -> bool:
        """Whether this is the first excess of its second: each second counts one failure."""
        pace = self._paces[strategy_id]
        if pace.excess_told_ns is not None and now_ns - pace.excess_told_ns < SECOND_NS:
            return False
        pace.excess_told_ns = now_ns
        return True
