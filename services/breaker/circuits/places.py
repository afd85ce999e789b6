"""Who has one of the places for strategies: there are only so many, and whoever fills them is refused. Pure.

Each place belongs to the program that used it last, its sender. When all are taken, a sender makes room among its own
first, and then takes from one that has more places than itself. So a program that invents names drives out its own
names, and not somebody who trades and rests.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Places:
    """At most `most` strategies, the one that was used last at the end."""

    most: int
    _senders: OrderedDict[str, str] = field(default_factory=OrderedDict)
    _of: Counter[str] = field(default_factory=Counter)

    def sender_of(self, strategy_id: str) -> str:
        """Whose place it is; empty if the strategy has none."""
        return self._senders.get(strategy_id, "")

    def is_full(self) -> bool:
        """Whether a newcomer needs another's place."""
        return len(self._senders) >= self.most

    def use(self, strategy_id: str, sender: str) -> None:
        """The strategy is used by this sender; without one (after a restart, by a person) it is its own."""
        before = self._senders.get(strategy_id)
        now = sender or before or strategy_id
        if before != now:
            self._count(before, -1)
            self._of[now] += 1
        self._senders[strategy_id] = now
        self._senders.move_to_end(strategy_id)

    def leave(self, strategy_id: str) -> None:
        """The place is free."""
        self._count(self._senders.pop(strategy_id), -1)

    def own(self, sender: str) -> Iterator[str]:
        """A sender's strategies, those first that were not used for the longest time."""
        return (strategy_id for strategy_id, owner in self._senders.items() if owner == sender)

    def of_richer(self, sender: str) -> Iterator[str]:
        """The strategies of senders that would still have more places after giving one away, the richest first."""
        own = self._of[sender]
        for _, name in sorted(((count, name) for name, count in self._of.items() if count > own + 1), reverse=True):
            yield from self.own(name)

    def all(self) -> Iterator[str]:
        """All strategies, those first that were not used for the longest time."""
        return iter(self._senders)

    def _count(self, sender: str | None, by: int) -> None:
        if sender is not None:
            self._of[sender] += by
            if not self._of[sender]:
                del self._of[sender]
