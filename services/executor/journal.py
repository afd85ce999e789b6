"""The executor's journal: what it must never forget, in SQLite.

An order's intent is committed, and on the disk, before the order is written to IB; facts are committed
before they are told. So after a crash at any point the executor knows every order that may be at IB, and
the breaker gets every fact again.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import structs

from orderfuse.bus.codec import decode, encode
from services.executor.batch import Keep
from services.executor.core import Saved
from services.executor.orders.records import OrderRecord
from services.executor.store import writing
from services.executor.store.history import History, read_order
from services.executor.store.schema import TABLES, VERSION, read_meta
from services.runtime.crash_points import reach
from services.runtime.opening import in_memory, open_journal
from services.runtime.sqlite import Connection, Database, JournalError, Torn
from services.wire.feedback import Feedback

__all__ = ["Journal", "JournalError", "JournalMismatch"]

FILE_NAME = "executor.sqlite"
# What the breaker has taken stays for a week more, for one that is set back to an older copy of its journal. What it
# has not taken stays for ever.
KEEP_FEEDBACK_NS = 7 * 86_400 * 10**9
# How far the breaker had come is marked at most once an hour: that makes 168 marks.
MARK_TAKEN_NS = 3600 * 10**9
# Checked at every start and once in so many commits: pruning need not be exact.
PRUNE_EVERY = 10_000
# More than are written in between: a commit rarely has more than four facts.
PRUNE_AT_ONCE = 50_000
# Pages given back to the disk each time: some 30 ms, beside the rows that are deleted then.
SHRINK_AT_ONCE = 500
# A transaction waits this long for a person's sqlite3 shell; longer would hold up cancels.
BUSY_TIMEOUT_SECS = 0.5


class JournalMismatch(JournalError):
    """The journal belongs to another account or client id. Waiting does not help."""


class Journal(History):
    """One executor's journal. `trouble` says why the one of before could not be read and where it is now, or "".

    Args:
        path: the file, or None for one in memory that ends with the process (a script, a test).
        client_id: the API client id; IB's order ids belong to it, so the journal does too.
        wall_ns: the wall clock, nanoseconds.

    Raises:
        JournalMismatch: the file belongs to another client id.
        JournalError: it cannot be used, or a newer version wrote it.
    """

    def __init__(self, path: Path | None, client_id: int, *, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self.wall_ns = wall_ns
        self.client_id = client_id
        self._commits = 0
        # The last number that was told before this process.
        self._told_before = 0
        # What was last marked of what the breaker has taken, and when.
        self._marked_seq, self._marked_ns = 0, float("-inf")
        database, self.trouble = self._open(path)
        super().__init__(database)
        self.prune()
        self.journal_id = self._meta("journal_id")
        # Up to where the breaker has taken what was told.
        self.taken = int(self._meta("feedback_taken", "0"))

    def _open(self, path: Path | None) -> tuple[Database, str]:
        if path is None:
            return in_memory(TABLES, self._fill), ""
        opened = open_journal(
            path,
            TABLES,
            fill=self._fill,
            read=lambda database: self._check(database, path),
            lock_wait_secs=BUSY_TIMEOUT_SECS,
            wall_ns=self.wall_ns(),
        )
        return opened.database, opened.trouble

    def _fill(self, database: Connection, _trouble: str) -> None:
        # The new id alone says to the breaker that the journal of before is lost.
        meta = {
            "schema_version": str(VERSION),
            "journal_id": str(uuid.uuid4()),
            "client_id": str(self.client_id),
            "account": "",
            "highest_ib_order_id": "0",
        }
        database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _check(self, database: Connection, path: Path) -> None:
        # FULL: a committed intent is on the disk, also if the machine loses power.
        database.execute("PRAGMA synchronous = FULL")
        owner = _owner(database)
        if owner != self.client_id:
            raise JournalMismatch(
                f"{path} belongs to ib.client_id {owner}, but ib.client_id is {self.client_id}. "
                f"Set it back to {owner}: orders can be found and cancelled only with the id that placed them. "
                "Or give the other id an ORDERFUSE_HOME of its own."
            )

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(JournalError), self._db.transaction():
            self._db.set_meta("feedback_taken", str(self.taken))
        self._db.close()

    def _bind_account(self, account: str) -> None:
        """Take `account` as the journal's own, the first time; later it must be the same.

        Raises:
            JournalMismatch: the journal belongs to another account.
        """
        if self.account and self.account != account:
            raise JournalMismatch(
                f"{self._db.where} belongs to the account {self.account}, but the gateway trades {account}. "
                f"Set ib.port and ib.account back, or give {account} an ORDERFUSE_HOME of its own."
            )
        if not self.account:
            self._db.set_meta("account", account)

    def rename(self) -> str:
        """Take another id, since this file is an old copy of a journal that went on. Returns it.

        What earlier processes told was taken long ago under the old id, and is dropped. What this one has told nobody
        has taken, since its numbers had been used: it is told again under the new id. Numbering goes on.

        Raises:
            JournalError: it cannot be written.
        """
        renamed = str(uuid.uuid4())
        with self._db.transaction():
            self._db.set_meta("journal_id", renamed)
            self._db.execute("DELETE FROM feedback WHERE seq <= ?", (self._told_before,))
            for seq, payload in self.feedback_after(self._told_before, -1):
                told = structs.replace(decode(payload, Feedback), journal_id=renamed)
                self._db.execute("UPDATE feedback SET payload = ? WHERE seq = ?", (encode(told), seq))
            self._db.execute("DELETE FROM taken")
            self._db.set_meta("feedback_taken", "0")
        self.journal_id = renamed
        self._marked_seq = self.taken = 0
        return renamed

    # -- orders and facts ---------------------------------------------------------------------------------

    def saved(self) -> Saved:
        """What a process begins with.

        Raises:
            JournalError: it cannot be read.
        """
        self._told_before = self.feedback_range()[1]
        return Saved(
            journal_id=self.journal_id,
            highest_ib_order_id=self.highest_ib_order_id,
            orders=self.open_orders(),
            fences=self.fences(),
            owed=self.owed_cancel(),
            fills=self.fill_sums(),
            baselines=self.baselines(),
            accepted=self.accepted_orders(),
        )

    def save(self, keep: Keep, at_ns: int) -> list[tuple[int, Feedback, bytes]]:
        """Keep what a batch brought, in one transaction. Returns its facts: numbered, as messages and as bytes.

        `at_ns`: the wall clock of the batch.

        Raises:
            JournalMismatch: the journal belongs to another account.
            JournalError: nothing of it was kept; no order of it may be placed.
        """
        if not keep:
            return []
        reach("executor.intent.unsaved" if keep.intents else "executor.feedback.unsaved")
        with self._db.transaction():
            if keep.account:
                self._bind_account(keep.account)
            self._intend(keep.intents)
            told = writing.write(self._db, keep, self.journal_id, at_ns)
            self._raise_highest(keep.orders.values())
            # With what is written anyway; a little behind is good enough.
            self._db.set_meta("feedback_taken", str(self.taken))
            reach("executor.intent.uncommitted" if keep.intents else "executor.feedback.uncommitted")
        reach("executor.intent.synced" if keep.intents else "executor.feedback.committed")
        self._commits += 1
        if self._commits % PRUNE_EVERY == 0:
            # What is committed stays committed. A disk that takes no more says so to whatever is saved next.
            with contextlib.suppress(JournalError):
                self.prune()
        return told

    def _intend(self, records: list[OrderRecord]) -> None:
        """These orders are about to be written to IB. Only after this may their bytes leave."""
        for record in records:
            if record.ib_order_id <= self.highest_ib_order_id:
                raise JournalError(
                    f"IB's order id {record.ib_order_id} is not above {self.highest_ib_order_id}, "
                    "the highest one used: it could change an older order"
                )
            self._db.set_meta("highest_ib_order_id", str(record.ib_order_id))
            writing.intend(self._db, record)

    def _raise_highest(self, records: Iterable[OrderRecord]) -> None:
        """An order that was found at IB may have an id above all that are known."""
        highest = max((record.ib_order_id for record in records), default=0)
        if highest > self.highest_ib_order_id:
            self._db.set_meta("highest_ib_order_id", str(highest))

    def note_taken(self, seq: int) -> None:
        """The breaker has journaled the feedback up to this number. Marked at most once an hour.

        Raises:
            JournalError: it cannot be written.
        """
        self.taken = max(self.taken, seq)
        now_ns = self.wall_ns()
        if seq <= self._marked_seq or abs(now_ns - self._marked_ns) < MARK_TAKEN_NS:
            return
        with self._db.transaction():
            self._db.execute("INSERT OR REPLACE INTO taken VALUES (?, ?)", (now_ns, seq))
        self._marked_seq, self._marked_ns = seq, now_ns

    def prune(self) -> None:
        """Drop feedback that was taken more than a week ago, a bounded number of rows: it stands still for it.

        Raises:
            JournalError: it cannot be written.
        """
        old = self.wall_ns() - KEEP_FEEDBACK_NS
        with self._db.transaction():
            self._db.execute(
                "DELETE FROM feedback WHERE seq IN (SELECT seq FROM feedback WHERE seq <= "
                "(SELECT coalesce(max(seq), 0) FROM taken WHERE at_ns < ?) ORDER BY seq LIMIT ?)",
                (old, PRUNE_AT_ONCE),
            )
            # The newest of the old marks says what may go, the others say less.
            self._db.execute(
                "DELETE FROM taken WHERE at_ns < (SELECT max(at_ns) FROM taken WHERE at_ns < ?)",
                (old,),
            )
        self._db.shrink(SHRINK_AT_ONCE)


def _owner(database: Connection) -> int:
    """The client id that a journal belongs to, once all is understood that the executor begins with.

    Raises:
        Torn: something of it is not.
    """
    try:
        for key in ("journal_id", "account"):
            read_meta(database, key)
        int(read_meta(database, "highest_ib_order_id"))
        for (blob,) in database.execute("SELECT record FROM orders WHERE ended = 0"):
            read_order(blob)
        return int(read_meta(database, "client_id"))
    except (JournalError, ValueError, TypeError) as error:
        raise Torn(str(error)) from error
