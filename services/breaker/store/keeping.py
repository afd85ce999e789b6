"""How long the breaker's journal keeps what, and giving back the room of what is gone: a little at a time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from services.breaker.circuits.scopes import SECOND_NS
from services.breaker.refusals import KEEP_REFUSED_NS
from services.runtime.sqlite import Database, JournalError

DAY_NS = 86_400 * SECOND_NS
# Events can be asked for again for a week, as long as the executor keeps its feedback; answered requests likewise.
KEEP_EVENTS_NS = 7 * DAY_NS
# What people have decided, of which anybody can make more: some 30 MB.
KEEP_DECISIONS = 100_000
# Each step takes a few milliseconds: a trip must not wait for an hour's events to be deleted.
AT_ONCE = 500
PAGES_AT_ONCE = 50
EVERY_SECS = 10.0
# Nothing is deleted for its age until the two clocks have run alike for so long, the longest time to live of an order:
# whatever a clock that was wrong has made look old, no copy of it can come any more.
STEADY_SECS = 3600.0
STEP_NS = SECOND_NS
# While there is more to be deleted: faster than anybody may fill it.
AGAIN_SECS = 0.1
# Where the journal counts how much room events take: their own bytes, and about so many around each.
EVENTS_BYTES = "events_bytes"
EVENT_OVERHEAD = 100


@dataclass(slots=True)
class Keeping:
    """Tidies an open journal. `keep_events_bytes`: what events may take together; the oldest go first."""

    database: Database
    keep_events_bytes: int
    _due: float = 0.0
    # How far the wall clock was ahead of the other one, and since when it has made no step.
    _ahead_ns: int | None = None
    _steady_since: float = 0.0

    def tidy(self, now: float, wall_ns: int) -> bool:
        """Delete some of what is too old or too much, if it is time, which is returned. `now`: monotonic seconds."""
        if now < self._due:
            return False
        self._due = now + EVERY_SECS
        ahead_ns = wall_ns - round(now * SECOND_NS)
        if self._ahead_ns is None or abs(ahead_ns - self._ahead_ns) > STEP_NS:
            self._steady_since = now
        self._ahead_ns = ahead_ns
        # On a disk that takes nothing there is nothing to be done, and what it says of that is said elsewhere.
        with contextlib.suppress(JournalError):
            aged = self._delete_aged(wall_ns) if now - self._steady_since >= STEADY_SECS else False
            if self._delete_surplus() or aged or self.database.shrink(PAGES_AT_ONCE):
                self._due = now + AGAIN_SECS
        return True

    def _delete_aged(self, wall_ns: int) -> bool:
        """Delete some; returns whether there may be more."""
        with self.database.transaction():
            deleted = [
                self._delete_events("WHERE at_ns < ?", (wall_ns - KEEP_EVENTS_NS,)),
                self._execute(
                    "DELETE FROM orders WHERE number IN "
                    # The last one stays: its number must not be given once more.
                    "(SELECT number FROM orders WHERE refused AND arrived_ns < ? "
                    "AND number < (SELECT max(number) FROM orders) ORDER BY arrived_ns LIMIT ?)",
                    (wall_ns - KEEP_REFUSED_NS, AT_ONCE),
                ),
                self._execute(
                    "DELETE FROM requests WHERE request_id IN "
                    "(SELECT request_id FROM requests WHERE at_ns < ? ORDER BY at_ns LIMIT ?)",
                    (wall_ns - KEEP_EVENTS_NS, AT_ONCE),
                ),
            ]
            self._execute("DELETE FROM refused_marks WHERE at_ns < ?", (wall_ns - KEEP_REFUSED_NS,))
        return max(deleted) >= AT_ONCE

    def _delete_surplus(self) -> bool:
        """Delete some; returns whether there may be more."""
        with self.database.transaction():
            deleted = [
                self._delete_events("", ()) if self._events_bytes() > self.keep_events_bytes else 0,
                self._execute(
                    "DELETE FROM decisions WHERE number IN (SELECT number FROM decisions "
                    "WHERE number <= (SELECT max(number) FROM decisions) - ? LIMIT ?)",
                    (KEEP_DECISIONS, AT_ONCE),
                ),
            ]
        return max(deleted) >= AT_ONCE

    def _delete_events(self, where: str, values: tuple[int, ...]) -> int:
        """Delete the oldest of these events, and count their room as free."""
        rows = self.database.read(
            f"SELECT topic, seq, length(fields) FROM events {where} ORDER BY at_ns LIMIT ?",  # noqa: S608 - fixed
            (*values, AT_ONCE),
        )
        if rows:
            self.database.executemany(
                "DELETE FROM events WHERE topic = ? AND seq = ?", [(topic, seq) for topic, seq, _ in rows]
            )
            count_events(self.database, -len(rows), -sum(size for _, _, size in rows))
        return len(rows)

    def _events_bytes(self) -> int:
        return int(self.database.meta(EVENTS_BYTES) or 0)

    def _execute(self, statement: str, values: tuple[int, ...]) -> int:
        return self.database.execute(statement, values).rowcount


def count_events(database: Database, count: int, size: int) -> None:
    """So many events of this size were added, in the transaction that is open; fewer than none: deleted."""
    database.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
        (EVENTS_BYTES, size + count * EVENT_OVERHEAD),
    )
