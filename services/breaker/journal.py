"""The breaker's history on disk: circuits, orders, events, requests, and what people decided. SQLite in WAL mode.

A batch is one transaction, committed before anything of it is sent. Trips, resets, latches and fences are
synced to disk; the rest survives the death of the process, and at a power cut may lose the last moments.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from services.breaker.backlog import Backlog
from services.breaker.batch import Batch
from services.breaker.saved import Saved
from services.breaker.store import restoring
from services.breaker.store.history import History
from services.breaker.store.keeping import Keeping
from services.breaker.store.schema import TABLES
from services.breaker.store.stored import Clocks
from services.breaker.store.writing import write
from services.runtime.crash_points import reach
from services.runtime.opening import Opened, open_journal
from services.runtime.reserve import Reserve
from services.runtime.sqlite import JournalError

__all__ = ["Journal", "JournalError"]

FILE = "breaker.sqlite"
RESERVE = "breaker.reserve"
# Nobody else writes this file; should somebody hold it all the same, a trip must not wait for that.
LOCK_WAIT_SECS = 0.1


class Journal(History):
    """The open journal of one home. `saved` is what an earlier process left.

    Raises:
        JournalError: it cannot be opened, or a newer version wrote it.
    """

    def __init__(self, home: Path, *, wall_ns: int, monotonic_ns: int, keep_events_bytes: int) -> None:
        clocks = Clocks(wall_ns, monotonic_ns)
        self._reserve = Reserve(home / RESERVE)
        # Whether the last batch that could not be saved has left its stop on the disk all the same.
        self.stop_is_saved = False
        opened = self._open(home / FILE, clocks)
        super().__init__(opened.database, Backlog(), clocks)
        self.saved = opened.found
        self._reserve.hold()
        self._keeping = Keeping(self._db, keep_events_bytes)

    def _open(self, path: Path, clocks: Clocks) -> Opened[Saved]:
        def open_once() -> Opened[Saved]:
            return open_journal(
                path,
                TABLES,
                fill=lambda database, trouble: restoring.fill(database, trouble, clocks),
                read=lambda database: restoring.restore(database, clocks),
                lock_wait_secs=LOCK_WAIT_SECS,
                wall_ns=clocks.wall_ns,
            )

        try:
            return open_once()
        except JournalError:
            if not self._reserve.release():
                raise
            # The disk may be full, and a breaker that was stopped must come back as one.
            return open_once()

    def save(self, batch: Batch) -> None:
        """Commit a batch, and with it what could not be saved before.

        Raises:
            JournalError: nothing was saved; all of it is kept and tried again with the next batch.
        """
        if batch.saves_something():
            self._backlog.add(batch)
        waiting = self._backlog.batch
        if not waiting.saves_something():
            return
        reach("breaker.save.unsaved")
        try:
            with self._db.transaction(synced=waiting.sync):
                write(self._db, waiting, self._clocks, time.time_ns())
                reach("breaker.save.uncommitted")
        except JournalError:
            self.stop_is_saved = waiting.sync and self._save_stop(waiting)
            raise
        reach("breaker.save.committed")
        if waiting.fence is not None:
            reach("breaker.fence.committed")
        self._backlog.clear()

    def _save_stop(self, waiting: Batch) -> bool:
        """Commit what a restart must not forget, into the room that was held back for it; whether that is done."""
        self._reserve.release()
        stop = Batch(circuits=waiting.circuits, fence=waiting.fence, decisions=waiting.decisions, owed=waiting.owed)
        try:
            with self._db.transaction():
                write(self._db, stop, self._clocks, time.time_ns())
        except JournalError:
            return False
        # Written again with the rest, they would stand there twice.
        waiting.decisions = []
        return True

    def has_backlog(self) -> bool:
        """Whether something waits for the disk."""
        return self._backlog.batch.saves_something()

    def tidy(self) -> None:
        """Delete some of what is kept no longer, and hold some room back, if it is time."""
        if self._keeping.tidy(time.monotonic(), time.time_ns()) and not self.has_backlog():
            self._reserve.hold()

    def close(self) -> None:
        """Save what could not be saved so far, and close the file. Only a batch that says so ends it cleanly."""
        with contextlib.suppress(JournalError):
            self.save(Batch())
        self._db.close()
