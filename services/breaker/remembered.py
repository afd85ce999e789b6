"""Cancels that came before their order: each waits an hour for it. Pure.

One strategy fills only its own share, and who has no circuit yet shares one with all others of the kind. What was
promised is never forgotten for another's sake: a full share refuses.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

# PROTOCOL: remembered for an hour.
REMEMBER_NS = 3600 * 1_000_000_000
# A strategy cancels early where its order was lost on the way: a few, not hundreds.
MOST_OF_ONE = 200
MOST_OF_STRANGERS = 1000

Key = tuple[str, str]


@dataclass(slots=True)
class RememberedCancels:
    """By strategy and order id, in the order in which they end."""

    _until: OrderedDict[Key, int] = field(default_factory=OrderedDict)
    _of: Counter[str] = field(default_factory=Counter)

    def restore(self, kept: Mapping[Key, int], now_ns: int) -> None:
        """Go on with what an earlier process kept; never for longer than from now on, wherever the clock was set."""
        for key, until_ns in sorted(kept.items(), key=lambda item: item[1]):
            self._add(key, min(until_ns, now_ns + REMEMBER_NS))

    def refuses(self, key: Key, known: Collection[str]) -> str:
        """Why one more cannot be kept; empty if it can. `known`: the strategies that have a circuit."""
        strategy_id = key[0]
        if key in self._until:
            return ""
        if strategy_id in known:
            waiting = self._of[strategy_id]
            return f"{waiting} cancels of this strategy wait for orders already" if waiting >= MOST_OF_ONE else ""
        waiting = len(self._until) - sum(self._of[name] for name in known)
        full = waiting >= MOST_OF_STRANGERS
        return f"{waiting} cancels of strategies that have sent no order wait for theirs already" if full else ""

    def add(self, key: Key, now_ns: int) -> int | None:
        """Remember one. Returns until when, or None if it is remembered already."""
        if key in self._until:
            return None
        self._add(key, now_ns + REMEMBER_NS)
        return self._until[key]

    def take(self, key: Key) -> bool:
        """The order has come; whether a cancel of it was remembered."""
        if self._until.pop(key, None) is None:
            return False
        self._forget(key)
        return True

    def expired(self, now_ns: int) -> Iterator[Key]:
        """Forget those whose order never came, one after the other."""
        while self._until and next(iter(self._until.values())) <= now_ns:
            key, _ = self._until.popitem(last=False)
            self._forget(key)
            yield key

    def _add(self, key: Key, until_ns: int) -> None:
        self._until[key] = until_ns
        self._of[key[0]] += 1

    def _forget(self, key: Key) -> None:
        self._of[key[0]] -= 1
        if not self._of[key[0]]:
            del self._of[key[0]]
