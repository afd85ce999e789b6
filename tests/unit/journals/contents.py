"""What the two journals of a home have in them, read by the present code and told in words that no schema changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from services.breaker.journal import Journal as BreakerJournal
from services.executor.journal import Journal as ExecutorJournal

FILES = ("breaker.sqlite", "breaker.sqlite-wal", "executor.sqlite", "executor.sqlite-wal")
CLIENT_ID = 7


def copied(kept: Path, home: Path) -> Path:
    """A home of its own with the kept journals in it: to open one is to change it."""
    home.mkdir(mode=0o700, exist_ok=True)
    for name in FILES:
        if (kept / name).exists():
            shutil.copyfile(kept / name, home / name)
    return home


def contents(home: Path, made_ns: int) -> dict[str, Any]:
    """What is in the journals of this home at the time (wall clock, nanoseconds) at which they were made."""
    return {"breaker": of_breaker(home, made_ns), "executor": of_executor(home, made_ns)}


def of_breaker(home: Path, made_ns: int) -> dict[str, Any]:
    """What a breaker that starts now goes on with, and what it can still look up."""
    # With the clocks equal, what is told in monotonic time is as it was written.
    journal = BreakerJournal(home, wall_ns=made_ns, monotonic_ns=made_ns, keep_events_bytes=512_000_000)
    saved = journal.saved
    try:
        orders = {
            record.order_id: {
                "strategy_id": record.strategy_id,
                "state": record.state,
                "filled": record.filled,
                "ib_order_id": record.ib_order_id,
                "perm_id": record.perm_id,
                "revision": record.revision,
                "change": record.change.request_id if record.change else "",
                "attached": record.attached,
                "parent": record.parent,
                "order": record.order,
                "last_event": record.last_event["kind"] if record.last_event else "",
            }
            for _, record in journal.orders(strategy_id=None, order_id=None, state=None, after=0)
        }
        return {
            "trouble": saved.trouble,
            "orders": orders,
            "alive": [record.order_id for record in saved.orders],
            "circuits": {
                scope: {
                    **{key: kept.snapshot[key] for key in ("state", "latched", "generation", "cause", "failure_count")},
                    "passed": kept.passed,
                    "by_hand": kept.by_hand,
                }
                for scope, kept in saved.circuits.items()
            },
            "seqs": {topic: numbering.seq for topic, numbering in saved.topics.items()},
            "first_seq": saved.floor,
            "feedback_taken": saved.feedback_taken,
            "remembered_cancels": [list(key) for key in saved.remembered_cancels],
            "events": {
                topic: [f"{event['seq']} {event['kind']}" for _, event in journal.events(topic, 0)]
                for topic in saved.topics
            },
        }
    finally:
        journal.close()


def of_executor(home: Path, made_ns: int) -> dict[str, Any]:
    """What an executor that starts now goes on with, and the feedback that it can send again."""
    journal = ExecutorJournal(home / "executor.sqlite", CLIENT_ID, wall_ns=lambda: made_ns)
    try:
        feedback = [seq for seq, _ in journal.feedback_after(0, 100_000)]
        return {
            "journal_id": journal.journal_id,
            "account": journal.account,
            "highest_ib_order_id": journal.highest_ib_order_id,
            "open_orders": {
                record.order_id: {
                    "ib_order_id": record.ib_order_id,
                    "perm_id": record.perm_id,
                    "accepted": record.accepted,
                    "ended": record.ended,
                    "parent": record.parent,
                    "legs": record.legs,
                    "revision": record.revision,
                    "change": record.change.request_id if record.change else "",
                    "executions": sorted(each.exec_id for each in journal.find_executions(record.order_id)),
                }
                for record in journal.open_orders()
            },
            "baselines": {
                each.symbol: {"con_id": each.con_id, "base": each.base, "told": each.told}
                for each in journal.baselines() or ()
            },
            "fills": {each.symbol: each.shares for each in journal.fill_sums()},
            "feedback": [*journal.feedback_range(), len(feedback)],
        }
    finally:
        journal.close()
