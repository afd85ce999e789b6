"""The executor's journal: what it must never forget, in SQLite.

An order's intent is committed, and on the disk, before the order is written to IB; facts are committed
before they are told. So after a crash at any point the executor knows every order that may be at IB, and
the breaker gets every fact again.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from orderfuse.codec import encode
from orderfuse.messages import Accept, Fact, Feedback, ForeignOrder, Outcome
from services.crash_points import reach
from services.executor.drift import Baseline, LegFill
from services.executor.global_cancel import OwedCancel
from services.executor.records import Effects, Execution, OrderRecord
from services.executor.session import SYSTEM
from services.gateway.reports import UNNAMED, Traits
from services.runtime.sqlite import (
    JournalError,
    Migration,
    Schema,
    Torn,
    in_memory,
    open_journal,
    transaction,
    user_version,
)

__all__ = ["Journal", "JournalError", "JournalMismatch"]

SCHEMA_VERSION = 3
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
# Pages given back to the disk each time: some milliseconds.
SHRINK_AT_ONCE = 500
# A transaction waits this long for a person's sqlite3 shell; longer would hold up cancels.
BUSY_TIMEOUT_SECS = 0.5

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY,
    ib_order_id INTEGER NOT NULL,
    perm_id INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX orders_by_ib_order_id ON orders (ib_order_id);
CREATE INDEX orders_by_perm_id ON orders (perm_id) WHERE perm_id != 0;
CREATE INDEX orders_not_ended ON orders (ended) WHERE ended = 0;
CREATE TABLE executions (
    exec_id TEXT PRIMARY KEY,
    order_id TEXT NOT NULL,
    shares REAL NOT NULL,
    price REAL NOT NULL,
    counts INTEGER NOT NULL,
    commission INTEGER NOT NULL
);
CREATE INDEX executions_by_order ON executions (order_id);
CREATE TABLE feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns INTEGER NOT NULL,
    order_id TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX feedback_by_order ON feedback (order_id);
CREATE TABLE fills (
    base TEXT PRIMARY KEY,
    con_id INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    shares REAL NOT NULL
);
CREATE TABLE baselines (
    con_id INTEGER PRIMARY KEY,
    symbol TEXT NOT NULL,
    base REAL NOT NULL,
    told REAL NOT NULL
);
CREATE TABLE fences (scope TEXT PRIMARY KEY, fence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE taken (at_ns INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
"""
# What tells contracts apart; what people have accepted of what others did; and the orders among that.
_BESIDE = """
CREATE TABLE contracts (
    con_id INTEGER PRIMARY KEY,
    sec_type TEXT NOT NULL,
    currency TEXT NOT NULL,
    expiry TEXT NOT NULL,
    strike REAL NOT NULL,
    option_right TEXT NOT NULL
);
CREATE TABLE accepted (
    number INTEGER PRIMARY KEY,
    at_ns INTEGER NOT NULL,
    told TEXT NOT NULL,
    reason TEXT NOT NULL,
    who TEXT NOT NULL
);
CREATE TABLE accepted_orders (perm_id INTEGER PRIMARY KEY);
"""

# From each earlier version to the next. Beside the header, `meta` has the number, where the first version looks for
# it, so each sets it there too.
MIGRATIONS: dict[int, Migration] = {
    # What positions need may be missing in a file of the first version. Orders that are adopted have no number of
    # IB's at first. Which of the open orders protect a position was not kept: no automatic cancel must take one.
    1: """
CREATE TABLE IF NOT EXISTS fills (
    base TEXT PRIMARY KEY, con_id INTEGER NOT NULL, symbol TEXT NOT NULL, shares REAL NOT NULL);
CREATE TABLE IF NOT EXISTS baselines (
    con_id INTEGER PRIMARY KEY, symbol TEXT NOT NULL, base REAL NOT NULL, told REAL NOT NULL);
ALTER TABLE orders RENAME TO orders_before;
CREATE TABLE orders (
    order_id TEXT PRIMARY KEY, ib_order_id INTEGER NOT NULL, perm_id INTEGER NOT NULL, ended INTEGER NOT NULL,
    record BLOB NOT NULL);
INSERT INTO orders SELECT order_id, ib_order_id, perm_id, ended, record FROM orders_before ORDER BY rowid;
UPDATE orders SET record = CAST(json_set(CAST(record AS TEXT), '$.protect', json('true')) AS BLOB) WHERE ended = 0;
DROP TABLE orders_before;
CREATE INDEX orders_by_ib_order_id ON orders (ib_order_id);
CREATE INDEX orders_by_perm_id ON orders (perm_id) WHERE perm_id != 0;
CREATE INDEX orders_not_ended ON orders (ended) WHERE ended = 0;
CREATE TABLE fences (scope TEXT PRIMARY KEY, fence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE taken (at_ns INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
UPDATE meta SET value = '2' WHERE key = 'schema_version';
""",
    2: f"{_BESIDE}UPDATE meta SET value = '3' WHERE key = 'schema_version';",  # noqa: S608
}


# The columns that `Traits` are read from, and where they stand.
_TRAITS = "sec_type, currency, expiry, strike, option_right"
_NAMED = "LEFT JOIN contracts USING (con_id)"


class JournalMismatch(JournalError):
    """The journal belongs to another account or client id. Waiting does not help."""


class Journal:
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
        self._where = str(path) if path else "the journal in memory"
        self.wall_ns = wall_ns
        self.client_id = client_id
        self._commits = 0
        # Up to where the breaker has taken what was told, and what was last marked of it, and when.
        self.taken = 0
        self._marked_seq, self._marked_ns = 0, float("-inf")
        schema = Schema(_SCHEMA + _BESIDE, SCHEMA_VERSION, MIGRATIONS, read_version=_version)
        if path is None:
            self._db = in_memory(schema, lambda database, _: self._fill(database))
            self._check(self._db)
            self.trouble = ""
        else:
            opened = open_journal(
                path,
                schema,
                fill=lambda database, _: self._fill(database),
                read=self._check,
                lock_wait_secs=BUSY_TIMEOUT_SECS,
                wall_ns=wall_ns(),
            )
            self._db, self.trouble = opened.database, opened.trouble
        self.prune()
        self.journal_id = self._meta("journal_id")
        self.taken = int(self._meta_or("feedback_taken", "0"))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(JournalError), self._transaction():
            self._set_meta("feedback_taken", str(self.taken))
        self._db.close()

    # -- what it belongs to -------------------------------------------------------------------------------

    @property
    def account(self) -> str:
        """The account whose orders are here; empty before the first connection."""
        return self._meta("account")

    def bind_account(self, account: str) -> None:
        """Take `account` as the journal's own, the first time; later it must be the same.

        Raises:
            JournalMismatch: the journal belongs to another account.
            JournalError: it cannot be written.
        """
        if self.account and self.account != account:
            raise JournalMismatch(
                f"{self._where} belongs to the account {self.account}, but the gateway trades {account}. "
                f"Set ib.port and ib.account back, or give {account} an ORDERFUSE_HOME of its own."
            )
        if not self.account:
            with self._transaction():
                self._set_meta("account", account)

    # -- IB's order ids -----------------------------------------------------------------------------------

    @property
    def highest_ib_order_id(self) -> int:
        """The highest of IB's order ids ever used or promised; they never go back."""
        return int(self._meta("highest_ib_order_id"))

    # -- writing ------------------------------------------------------------------------------------------

    def intend(self, *records: OrderRecord) -> None:
        """Commit that these orders are about to be written to IB. Only after this may their bytes leave.

        Raises:
            JournalError: it cannot be written; the order must not be placed.
        """
        reach("executor.intent.unsaved")
        with self._transaction():
            for record in records:
                if record.ib_order_id <= self.highest_ib_order_id:
                    raise JournalError(
                        f"IB's order id {record.ib_order_id} is not above {self.highest_ib_order_id}, "
                        "the highest one used: it could change an older order"
                    )
                self._set_meta("highest_ib_order_id", str(record.ib_order_id))
                self._db.execute(
                    "INSERT INTO orders VALUES (?, ?, ?, ?, ?)",
                    (record.order_id, record.ib_order_id, record.perm_id, 0, msgspec.json.encode(record)),
                )
            reach("executor.intent.uncommitted")
        reach("executor.intent.synced")

    def commit(self, effects: Effects) -> list[tuple[int, Feedback, bytes]]:
        """Keep what a step brought, in one transaction: numbered feedback, as messages and as bytes.

        Raises:
            JournalError: nothing of it was kept.
        """
        if not (effects.facts or effects.orders or effects.executions or effects.fills):
            return []
        at_ns = self.wall_ns()
        reach("executor.feedback.unsaved")
        with self._transaction():
            for record in effects.orders.values():
                self._keep_order(record)
            for execution in effects.executions:
                self._db.execute(
                    "INSERT OR REPLACE INTO executions VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        execution.exec_id,
                        execution.order_id,
                        execution.shares,
                        execution.price,
                        execution.counts,
                        execution.commission,
                    ),
                )
            for fill in effects.fills:
                values = (fill.base, fill.con_id, fill.symbol, fill.shares)
                self._db.execute("INSERT OR REPLACE INTO fills VALUES (?, ?, ?, ?)", values)
                self._keep_contract(fill)
            told = [self._feedback(fact, outcome, at_ns) for fact, outcome in effects.facts]
            # With what is written anyway; a little behind is good enough.
            self._set_meta("feedback_taken", str(self.taken))
            reach("executor.feedback.uncommitted")
        reach("executor.feedback.committed")
        self._commits += 1
        if self._commits % PRUNE_EVERY == 0:
            self.prune()
        return told

    def _keep_order(self, record: OrderRecord) -> None:
        """The intent has made the row, but for an order that was found at IB."""
        values = (
            record.order_id,
            record.ib_order_id,
            record.perm_id,
            bool(record.ended) and record.change is None,
            msgspec.json.encode(record),
        )
        self._db.execute(
            "INSERT INTO orders VALUES (?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE SET "
            "ib_order_id = excluded.ib_order_id, perm_id = excluded.perm_id, ended = excluded.ended, "
            "record = excluded.record",
            values,
        )
        if record.ib_order_id > self.highest_ib_order_id:
            self._set_meta("highest_ib_order_id", str(record.ib_order_id))

    def keep_baselines(self, changed: list[Baseline]) -> None:
        """Keep what is known of contracts. From the first call on there is a baseline, also an empty one.

        Raises:
            JournalError: nothing of it was kept.
        """
        with self._transaction():
            self._set_meta("baseline_taken", "1")
            self._keep_baselines(changed)

    def _keep_baselines(self, changed: list[Baseline]) -> None:
        for each in changed:
            values = (each.con_id, each.symbol, each.base, each.told)
            self._db.execute("INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?)", values)
            self._keep_contract(each)

    def _keep_contract(self, known: Baseline | LegFill) -> None:
        traits = known.traits
        if traits.sec_type:
            values = (known.con_id, *astuple(traits))
            self._db.execute("INSERT OR IGNORE INTO contracts VALUES (?, ?, ?, ?, ?, ?)", values)

    def accept(self, message: Accept, baselines: list[Baseline], orders: list[ForeignOrder]) -> None:
        """Keep what a person has accepted, and who and why: baselines as they are from now on, and orders.

        Raises:
            JournalError: nothing of it was kept.
        """
        differences = {each.con_id: each for each in message.drift}
        told = {"drift": [structs.asdict(differences[each.con_id]) for each in baselines]}
        told["foreign"] = [structs.asdict(order) for order in orders]
        text = msgspec.json.encode(told).decode()
        with self._transaction():
            values = (message.number, self.wall_ns(), text, message.reason, message.who)
            self._db.execute("INSERT INTO accepted VALUES (?, ?, ?, ?, ?)", values)
            self._keep_baselines(baselines)
            perm_ids = [(order.perm_id,) for order in orders if order.perm_id]
            self._db.executemany("INSERT OR IGNORE INTO accepted_orders VALUES (?)", perm_ids)

    def forget_orders(self, perm_ids: list[int]) -> None:
        """Accepted orders have gone.

        Raises:
            JournalError: it cannot be written.
        """
        with self._transaction():
            self._db.executemany("DELETE FROM accepted_orders WHERE perm_id = ?", [(each,) for each in perm_ids])

    def prune(self) -> None:
        """Drop feedback that was taken more than a week ago, a bounded number of rows: it stands still for it.

        Raises:
            JournalError: it cannot be written.
        """
        old = self.wall_ns() - KEEP_FEEDBACK_NS
        with self._transaction():
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
            self._db.execute(f"PRAGMA incremental_vacuum({SHRINK_AT_ONCE})").fetchall()

    def note_taken(self, seq: int) -> None:
        """The breaker has journaled the feedback up to this number. Marked at most once an hour.

        Raises:
            JournalError: it cannot be written.
        """
        self.taken = max(self.taken, seq)
        now_ns = self.wall_ns()
        if seq <= self._marked_seq or abs(now_ns - self._marked_ns) < MARK_TAKEN_NS:
            return
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO taken VALUES (?, ?)", (now_ns, seq))
        self._marked_seq, self._marked_ns = seq, now_ns

    def keep_fence(self, scope: str, fence: int) -> None:
        """A value of the fence was taken; that of `system` takes the place of all others.

        Raises:
            JournalError: it cannot be written.
        """
        with self._transaction():
            if scope == SYSTEM:
                self._db.execute("DELETE FROM fences")
            self._db.execute("INSERT OR REPLACE INTO fences VALUES (?, ?)", (scope, fence))

    def rename(self) -> str:
        """Take another id, since this file is an old copy of a journal that went on. Returns it.

        What it has told so far was taken long ago under the old id, and is dropped; numbering goes on.

        Raises:
            JournalError: it cannot be written.
        """
        renamed = str(uuid.uuid4())
        with self._transaction():
            self._set_meta("journal_id", renamed)
            self._db.execute("DELETE FROM feedback")
            self._db.execute("DELETE FROM taken")
            self._set_meta("feedback_taken", "0")
        self.journal_id = renamed
        self._marked_seq = self.taken = 0
        return renamed

    def keep_owed_cancel(self, owed: OwedCancel | None) -> None:
        """The global cancel that is owed, or that none is; what is kept already is not written again.

        Raises:
            JournalError: it cannot be written.
        """
        text = msgspec.json.encode(owed).decode()
        if text != self._meta_or("owed_cancel", "null"):
            with self._transaction():
                self._set_meta("owed_cancel", text)

    def _feedback(self, fact: Fact, outcome: Outcome | None, at_ns: int) -> tuple[int, Feedback, bytes]:
        order_id = getattr(fact, "order_id", "")
        if order_id:
            fact = msgspec.structs.replace(fact, at_ns=at_ns)
        # The number is part of the bytes, so the row comes first and its bytes second.
        row = self._db.execute("INSERT INTO feedback (at_ns, order_id, payload) VALUES (?, ?, x'')", (at_ns, order_id))
        seq = int(row.lastrowid or 0)
        feedback = Feedback(journal_id=self.journal_id, seq=seq, fact=fact, outcome=outcome)
        payload = encode(feedback)
        self._db.execute("UPDATE feedback SET payload = ? WHERE seq = ?", (payload, seq))
        return seq, feedback, payload

    # -- reading ------------------------------------------------------------------------------------------

    def fences(self) -> dict[str, int]:
        """The highest value of the fence that was taken, of each scope."""
        return dict(self._read("SELECT scope, fence FROM fences"))

    def owed_cancel(self) -> OwedCancel | None:
        """The global cancel that is owed."""
        return msgspec.json.decode(self._meta_or("owed_cancel", "null"), type=OwedCancel | None)

    def open_orders(self) -> list[OrderRecord]:
        """The orders that have not ended, or of a change of which something is still to be heard."""
        rows = self._read("SELECT record FROM orders WHERE ended = 0 ORDER BY ib_order_id")
        return [_record(row[0]) for row in rows]

    def find_order(self, *, order_id: str = "", perm_id: int = 0, ib_order_id: int = 0) -> OrderRecord | None:
        """The order with this id; one of the three is given."""
        if order_id:
            rows = self._read("SELECT record FROM orders WHERE order_id = ?", order_id)
        elif perm_id:
            rows = self._read("SELECT record FROM orders WHERE perm_id = ? AND perm_id != 0", perm_id)
        else:
            rows = self._read("SELECT record FROM orders WHERE ib_order_id = ?", ib_order_id)
        return _record(rows[0][0]) if rows else None

    def find_executions(self, order_id: str) -> list[Execution]:
        """The executions of this order, corrected ones too."""
        return [_execution(row) for row in self._read("SELECT * FROM executions WHERE order_id = ?", order_id)]

    def find_execution(self, exec_id: str) -> Execution | None:
        """The execution with this id."""
        rows = self._read("SELECT * FROM executions WHERE exec_id = ?", exec_id)
        return _execution(rows[0]) if rows else None

    def baselines(self) -> list[Baseline] | None:
        """What is known of contracts; None if there was no list of positions yet."""
        if not self._read("SELECT 1 FROM meta WHERE key = 'baseline_taken'"):
            return None
        rows = self._read(f"SELECT con_id, symbol, base, told, {_TRAITS} FROM baselines {_NAMED}")  # noqa: S608
        return [Baseline(con_id, symbol, base, told, _traits(said)) for con_id, symbol, base, told, *said in rows]

    def fill_sums(self) -> list[LegFill]:
        """All fills, added up by contract."""
        sums = "SELECT con_id, symbol, sum(shares) AS shares FROM fills GROUP BY con_id"
        rows = self._read(f"SELECT con_id, symbol, shares, {_TRAITS} FROM ({sums}) {_NAMED}")  # noqa: S608
        return [LegFill("", con_id, symbol, shares, _traits(said)) for con_id, symbol, shares, *said in rows]

    def has_accepted(self, number: int) -> bool:
        """Whether what has this number was accepted already."""
        return bool(self._read("SELECT 1 FROM accepted WHERE number = ?", number))

    def accepted_orders(self) -> list[ForeignOrder]:
        """The foreign orders that a person has accepted and that have not gone, each as it was accepted last."""
        perm_ids = {row[0] for row in self._read("SELECT perm_id FROM accepted_orders")}
        if not perm_ids:
            return []
        told = (msgspec.json.decode(row[0]) for row in self._read("SELECT told FROM accepted ORDER BY number"))
        orders = [ForeignOrder(**each) for message in told for each in message["foreign"]]
        return list({order.perm_id: order for order in orders if order.perm_id in perm_ids}.values())

    def find_fill(self, base: str) -> LegFill | None:
        """The fill of the execution with this id without its revision."""
        rows = self._read("SELECT base, con_id, symbol, shares FROM fills WHERE base = ?", base)
        return LegFill(*rows[0]) if rows else None

    def feedback_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Journaled feedback with a number above `seq`, in order."""
        rows = self._read("SELECT seq, payload FROM feedback WHERE seq > ? ORDER BY seq LIMIT ?", seq, limit)
        return [(row[0], row[1]) for row in rows]

    def feedback_of(self, order_id: str) -> list[tuple[int, bytes]]:
        """Journaled feedback about one order, in order."""
        rows = self._read("SELECT seq, payload FROM feedback WHERE order_id = ? ORDER BY seq", order_id)
        return [(row[0], row[1]) for row in rows]

    def feedback_range(self) -> tuple[int, int]:
        """The first number that is still here, and the last one given. Without any: one past the last, and it."""
        last = int((self._read("SELECT seq FROM sqlite_sequence WHERE name = 'feedback'") or [(0,)])[0][0])
        first = self._read("SELECT min(seq) FROM feedback")[0][0]
        return (int(first) if first is not None else last + 1, last)

    # -- the file -----------------------------------------------------------------------------------------

    def _fill(self, database: sqlite3.Connection) -> None:
        # The new id alone says to the breaker that the journal of before is lost.
        meta = {
            "schema_version": str(SCHEMA_VERSION),
            "journal_id": str(uuid.uuid4()),
            "client_id": str(self.client_id),
            "account": "",
            "highest_ib_order_id": "0",
        }
        database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def _check(self, database: sqlite3.Connection) -> None:
        # FULL: a committed intent is on the disk, also if the machine loses power.
        database.execute("PRAGMA synchronous = FULL")
        owner = _owner(database)
        if owner != self.client_id:
            raise JournalMismatch(
                f"{self._where} belongs to ib.client_id {owner}, but ib.client_id is {self.client_id}. "
                f"Set it back to {owner}: orders can be found and cancelled only with the id that placed them. "
                "Or give the other id an ORDERFUSE_HOME of its own."
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with transaction(self._db):
                yield
        except sqlite3.Error as error:
            raise JournalError(
                f"{self._where} cannot be written: {error}. Make room on its disk, or see that you may write there."
            ) from error

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"{self._where} cannot be read: {error}") from error

    def _meta(self, key: str) -> str:
        rows = self._read("SELECT value FROM meta WHERE key = ?", key)
        if not rows:
            raise JournalError(f"{self._where} has no {key}: it is no journal of an executor, or it is damaged.")
        return str(rows[0][0])

    def _meta_or(self, key: str, default: str) -> str:
        rows = self._read("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else default

    def _set_meta(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _version(database: sqlite3.Connection) -> int:
    """The first version has its number in `meta` alone."""
    return user_version(database) or int(_from_meta(database, "schema_version"))


def _owner(database: sqlite3.Connection) -> int:
    """The client id that a journal belongs to, once all is understood that the executor begins with.

    Raises:
        Torn: something of it is not.
    """
    try:
        for key in ("journal_id", "account"):
            _from_meta(database, key)
        int(_from_meta(database, "highest_ib_order_id"))
        for (blob,) in database.execute("SELECT record FROM orders WHERE ended = 0"):
            _record(blob)
        return int(_from_meta(database, "client_id"))
    except (JournalError, ValueError, TypeError) as error:
        raise Torn(str(error)) from error


def _from_meta(database: sqlite3.Connection, key: str) -> str:
    row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise Torn(f"it has no {key}")
    return str(row[0])


def _record(blob: bytes) -> OrderRecord:
    try:
        return msgspec.json.decode(blob, type=OrderRecord)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise JournalError(f"an order in the executor's journal is damaged: {error}") from error


def _traits(said: list[Any]) -> Traits:
    return Traits(*said) if said[0] is not None else UNNAMED


def _execution(row: tuple[Any, ...]) -> Execution:
    return Execution(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5]))
