"""What was counted as a failure, and which of it IB did in the ordinary course of things.

What an answer of IB means is judged by the executor, whose journal keeps it with each fact that the breaker is told;
what a circuit makes of that, the breaker says in its status. Both are looked at before they can be lost.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

# The executor calls a silent end of a day order ordinary once it has been accepted for 2 s (BREAKER, ordinary ends).
# It counts from when it heard of either, which is a little later than its journal or the gateway's close say.
YOUNG_SECS = 2.5
LAG_SECS = 0.5
CANCELLED_CODE = 202
COPIES = 5


@dataclass(frozen=True)
class Fact:
    """One fact of the executor's journal, and what it means to the circuits."""

    journal_id: str
    seq: int
    at_ns: int
    order_id: str
    kind: str
    code: int
    outcome: str | None


@dataclass
class Counted:
    """What has been seen so far."""

    facts: set[Fact] = field(default_factory=set)
    # By circuit: the order that failed last, and how it is told.
    failures: set[tuple[str, str, int, str]] = field(default_factory=set)
    # When (wall clock) the executor was started again; what it had accepted before is old enough for it.
    executor_started_ns: int = 0

    def look(self, home: Path, status: dict[str, Any] | None) -> None:
        """Take what stands in the executor's journal and, if the breaker runs, in what it has replied to `status`."""
        self.facts |= set(_facts(home / "executor.sqlite"))
        for circuit in status["circuits"] if status else ():
            for group in circuit.get("last_failures", ()):
                code = group["code"] if isinstance(group["code"], int) else 0
                self.failures.add((circuit["scope"], group["order_id"] or "", code, group["text"]))

    def complaints(self, for_the_day: set[str], closed_ns: list[int], *, lost: Sequence[str] = ()) -> list[str]:
        """Ends that count as failures. Nothing but a day order that was too young at a close may.

        Args:
            for_the_day: the orders that nothing but the close may have ended.
            closed_ns: when closes were, wall clock.
            lost: whose journals were lost. What the executor's new one says of an order, the breaker may know better:
                then only what the circuits count is looked at. If both were, nobody knows any more which cancels were
                our own.
        """
        if {"breaker", "executor"} <= set(lost):
            return []
        young = {order_id for order_id in for_the_day if self._was_young(order_id, closed_ns)}
        found = [
            f"{fact.order_id}: {fact.kind} counts as a {fact.outcome} ({fact.code or 'without a code'})"
            for fact in sorted(self.facts, key=lambda fact: fact.at_ns)
            if "executor" not in lost
            and fact.outcome in ("failure", "malformed")
            and (fact.kind != "unknown" or fact.code == CANCELLED_CODE)
            and not (fact.kind == "cancelled" and fact.order_id in young)
        ]
        return found + [
            f"{scope} counts {order_id} as a failure: {code or ''} {text}"
            for scope, order_id, code, text in sorted(self.failures)
            if (code == CANCELLED_CODE or text.startswith("cancelled")) and order_id not in young
        ]

    def _was_young(self, order_id: str, closed_ns: list[int]) -> bool:
        """Whether it had been accepted only just when a day ended, or nobody knew yet that it was."""
        accepted = [fact.at_ns for fact in self.facts if (fact.order_id, fact.kind) == (order_id, "accepted")]
        if not (closed_ns and accepted):
            return bool(closed_ns)
        ages = (closed - max(accepted) for closed in closed_ns)
        lately = max(accepted) >= self.executor_started_ns
        return lately and any(-LAG_SECS * 1e9 < age < YOUNG_SECS * 1e9 for age in ages)


def _facts(path: Path) -> list[Fact]:
    """What stands in this journal. A copy is read: the last one to close a journal changes its files."""
    for _ in range(COPIES):
        # Its process may write while it is copied, so that the parts do not fit.
        with contextlib.suppress(sqlite3.DatabaseError):
            return list(_facts_of_copy(path))
    return list(_facts_of_copy(path))


def _facts_of_copy(path: Path) -> Iterator[Fact]:
    with tempfile.TemporaryDirectory(prefix="of-") as directory:
        copy = Path(directory) / path.name
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            if source.exists():
                shutil.copy(source, copy.with_name(copy.name + suffix))
        if not copy.exists() or not copy.stat().st_size:
            return
        with closing(sqlite3.connect(copy)) as database:
            for seq, at_ns, order_id, payload in database.execute("SELECT seq, at_ns, order_id, payload FROM feedback"):
                told = msgpack.unpackb(payload)
                fact = told["fact"]
                code, outcome = fact.get("ib_code") or 0, told.get("outcome")
                yield Fact(told["journal_id"], seq, at_ns, order_id, fact["kind"], code, outcome)
