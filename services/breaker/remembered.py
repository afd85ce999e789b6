"""Cancels that came before their order: each waits an hour for it. Pure.

One strategy fills only its own share, and so does a program with names of which no order has passed. What was promised
is never forgotten for another's sake: a full share refuses.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

# PROTOCOL: remembered for an hour.
REMEMBER_NS = 3600 * 1_000_000_000
# A strategy cancels early where its order was lost on the way: a few, not hundreds.
MOST_OF_ONE = 200
# Of all together, some 10 MB. A program with many strategies has at most half of what is left.
MOST_OF_ALL = 50_000

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Share:
    """Whose share a cancel fills: its strategy's, or its program's if no order of the strategy has ever passed."""

    owner: str
    program: str


@dataclass(slots=True)
class RememberedCancels:
    """By strategy and order id, in the order in which they end: until when, and whose share each one fills."""

    _kept: OrderedDict[Key, tuple[int, Share]] = field(default_factory=OrderedDict)
    _of_owner: Counter[str] = field(default_factory=Counter)
    _of_program: Counter[str] = field(default_factory=Counter)

    def restore(self, kept: Mapping[Key, int], now_ns: int) -> None:
        """Go on with what an earlier process kept; never for longer than from now on, wherever the clock was set."""
        for key, until_ns in sorted(kept.items(), key=lambda item: item[1]):
            self._add(key, min(until_ns, now_ns + REMEMBER_NS), Share(key[0], key[0]))

    def refuses(self, key: Key, share: Share) -> str:
        """Why one more cannot be kept in this share; empty if it can."""
        if key in self._kept:
            return ""
        waiting = self._of_owner[share.owner]
        if waiting >= MOST_OF_ONE:
            return f"{waiting} cancels of this strategy or program wait for orders already"
        of_program = self._of_program[share.program]
        if of_program >= (MOST_OF_ALL - len(self._kept)) // 2:
            return f"{of_program} cancels of this program wait for orders already"
        return ""

    def add(self, key: Key, share: Share, now_ns: int) -> int | None:
        """Remember one. Returns until when, or None if it is remembered already."""
        if key in self._kept:
            return None
        self._add(key, now_ns + REMEMBER_NS, share)
        return now_ns + REMEMBER_NS

    def take(self, key: Key) -> bool:
        """The order has come; whether a cancel of it was remembered."""
        if key not in self._kept:
            return False
        self._forget(key)
        return True

    def expired(self, now_ns: int) -> Iterator[Key]:
        """Forget those whose order never came, one after the other."""
        while self._kept and next(iter(self._kept.values()))[0] <= now_ns:
            key = next(iter(self._kept))
            self._forget(key)
            yield key

    def _add(self, key: Key, until_ns: int, share: Share) -> None:
        self._kept[key] = until_ns, share
        self._of_owner[share.owner] += 1
        self._of_program[share.program] += 1

    def _forget(self, key: Key) -> None:
        _, share = self._kept.pop(key)
        for counter, name in ((self._of_owner, share.owner), (self._of_program, share.program)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]
