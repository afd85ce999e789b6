"""What was refused and is not kept on disk: the same order, sent again, gets the same answer. Pure.

A strategy that is blocked, or sends faster than it may, must fill neither the disk nor the memory. So only the first
refusals of a program are kept as orders are; the others stay here while their copy of the order may still be under
way. Whoever fills its share is refused until there is room, and until every copy is too old that found none.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from services.breaker.circuits.scopes import SECOND_NS

# LIMITS: at most so many a strategy. At some 0.6 kB each that is 3 MB.
MOST_OF_ONE = 5000
# Of all together some 30 MB. No program has more than this part of what is left, so that there is always some left for
# the next (as switches share their memory: dynamic queue thresholds, Choudhury and Hahne 1998); a few in any case.
MOST_OF_ALL = 50_000
PART_OF_REST = 2
FEW = 100
# Owners and strategies that are refused because an answer found no room: some 1 MB.
MOST_SHUT = 10_000
# As long as an order that never passed is kept: then its id is free again.
KEEP_REFUSED_NS = 24 * 3600 * SECOND_NS
# A mark on disk holds for all that is refused within this time of it.
MARK_EVERY_NS = SECOND_NS
# What one program may have kept on disk: a healthy one that retries through an outage stays below, a loop that sends
# into an open circuit comes to less than 1 MB a minute.
KEPT_AT_ONCE = 300
KEPT_EVERY_NS = SECOND_NS // 2
# Programs whose budget is remembered; more than have connections.
MOST_BUDGETS = 10_000


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that stands for as long as a copy of its order may come.

    Attributes:
        program: who has sent it.
        strategy_id: in whose name.
        digest: what was refused.
        said: the event, encoded.
    """

    program: str
    strategy_id: str
    digest: bytes
    said: bytes

    def event(self) -> dict[str, Any]:
        """The event as it was told."""
        decoded: dict[str, Any] = msgspec.json.decode(self.said)
        return decoded


@dataclass(slots=True)
class Refusals:
    """By the id of the order, or of the request: the answer, and until when it stands."""

    _refused: dict[str, tuple[Refused, int]] = field(default_factory=dict)
    _ends: list[tuple[int, str]] = field(default_factory=list)
    # How many there are of each program, and of each strategy.
    _of_program: Counter[str] = field(default_factory=Counter)
    _of_strategy: Counter[str] = field(default_factory=Counter)
    # Until when a program, or a strategy, is refused because an answer to it found no room.
    _shut_until_ns: dict[str, int] = field(default_factory=dict)

    def find(self, key: str) -> Refused | None:
        """The answer to this order or request, if it was refused a while ago."""
        found = self._refused.get(key)
        return found[0] if found else None

    def has_room(self, program: str, strategy_id: str, now_ns: int) -> bool:
        """Whether one more answer can be remembered; else nothing more may be sent."""
        if now_ns <= max(self._shut_until_ns.get(program, -1), self._shut_until_ns.get(strategy_id, -1)):
            return False
        share = max(FEW, (MOST_OF_ALL - len(self._refused)) // PART_OF_REST)
        return self._of_strategy[strategy_id] < MOST_OF_ONE and self._of_program[program] < share

    def can_answer(self, program: str, strategy_id: str, now_ns: int) -> bool:
        """Whether a refusal can be given and remembered.

        A program without room that makes up new names gets no answer.
        """
        shut = self._shut_until_ns
        known = program in shut and strategy_id in shut
        return known or len(shut) + 2 <= MOST_SHUT or self.has_room(program, strategy_id, now_ns)

    def add(self, key: str, refused: Refused, until_ns: int, now_ns: int) -> None:
        """Remember an answer until then; one that finds no room shuts its program and strategy out for as long."""
        self._forget(key)
        if not self.has_room(refused.program, refused.strategy_id, now_ns):
            for name in (refused.program, refused.strategy_id):
                self._shut_until_ns[name] = max(until_ns, self._shut_until_ns.get(name, 0))
            return
        self._refused[key] = refused, until_ns
        self._of_program[refused.program] += 1
        self._of_strategy[refused.strategy_id] += 1
        heapq.heappush(self._ends, (until_ns, key))

    def poll(self, now_ns: int) -> None:
        """Forget what can come no more."""
        while self._ends and self._ends[0][0] < now_ns:
            until_ns, key = heapq.heappop(self._ends)
            if key in self._refused and self._refused[key][1] == until_ns:
                self._forget(key)
        for name in [name for name, until_ns in self._shut_until_ns.items() if until_ns < now_ns]:
            del self._shut_until_ns[name]

    def _forget(self, key: str) -> None:
        refused, _ = self._refused.pop(key, (None, 0))
        if refused is not None:
            _take_one(self._of_program, refused.program)
            _take_one(self._of_strategy, refused.strategy_id)


def _take_one(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]


@dataclass(slots=True)
class Marks:
    """For refusals that are not on disk, the disk has only which strategies had some, and when (a second late).

    Those that never had an order pass have one mark together, under the empty name: names cost nothing.
    `skew_ns`: how far ahead of the clock a stamp may be.
    """

    skew_ns: int
    _at_ns: dict[str, int] = field(default_factory=dict)
    # Those of earlier processes, whose answers this one does not know.
    _before: dict[str, int] = field(default_factory=dict)
    _began_ns: int = 0

    def restore(self, marks: Mapping[str, int], wall_ns: int) -> None:
        """Go on after a process that has left these."""
        self._before, self._began_ns = dict(marks), wall_ns

    def add(self, name: str, wall_ns: int, ahead_ns: int) -> int | None:
        """Something was refused now. Returns the time to be saved before it is told; None: the last one holds for this.

        Args:
            name: whose mark.
            wall_ns: the time.
            ahead_ns: how far its stamp was ahead of that. Then the mark is later still, for all that is refused alike
                within a second.
        """
        saved_ns = self._at_ns.get(name, 0)
        holds_since, holds_until = saved_ns - MARK_EVERY_NS - self.skew_ns, saved_ns + MARK_EVERY_NS
        if holds_since < wall_ns < holds_until and (not ahead_ns or wall_ns + ahead_ns <= saved_ns):
            return None
        self._at_ns[name] = wall_ns + (ahead_ns and ahead_ns + MARK_EVERY_NS)
        return self._at_ns[name]

    def name(self, strategy_id: str) -> int | None:
        """An order of it passes for the first time. Returns its own mark, if it shared that of the nameless."""
        at_ns = max(self._at_ns.get("", 0), self._before.get("", 0))
        if not at_ns:
            return None
        self._at_ns[strategy_id] = at_ns
        self._before[strategy_id] = max(self._before.get("", 0), self._before.get(strategy_id, 0))
        return at_ns

    def may_have_been_refused(self, strategy_id: str, sent_ns: int, *, nameless: bool) -> bool:
        """Whether an earlier process may have refused what was sent then. `nameless`: it has the mark of all these."""
        at_ns = max(self._before.get(strategy_id, 0), self._before.get("", 0) if nameless else 0)
        latest_ns = at_ns + MARK_EVERY_NS + self.skew_ns
        # No earlier process can have refused what was sent after this one began, but stamps may have been ahead, and
        # the clock set back. Then the mark is later than the beginning.
        return sent_ns < (min(latest_ns, self._began_ns) if at_ns < self._began_ns else latest_ns)


@dataclass(slots=True)
class Budget:
    """How much of what never passed may be kept on disk, for each program."""

    _full_at_ns: dict[str, int] = field(default_factory=dict)

    def spend(self, owner: str, now_ns: int) -> bool:
        """Whether one more answer of this owner may be kept."""
        full_at_ns = max(self._full_at_ns.pop(owner, now_ns), now_ns)
        affordable = full_at_ns - now_ns <= (KEPT_AT_ONCE - 1) * KEPT_EVERY_NS
        self._full_at_ns[owner] = full_at_ns + KEPT_EVERY_NS if affordable else full_at_ns
        if len(self._full_at_ns) > MOST_BUDGETS:
            del self._full_at_ns[next(iter(self._full_at_ns))]
        return affordable
