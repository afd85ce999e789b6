"""The breaker's history on disk: circuits, orders, events, requests, and what people decided. SQLite in WAL mode.

A batch is one transaction, committed before anything of it is sent. Trips, resets, latches and fences are
synced to disk; the rest survives the death of the process, and at a power cut may lose the last moments.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from services.breaker.batch import AnsweredRequest, Batch, KeptHeartbeat, Publication
from services.breaker.orders import OrderRecord
from services.breaker.owed import OwedCancel
from services.breaker.scopes import SYSTEM
from services.breaker.stage import Saved
from services.crash_points import reach
from services.runtime.sqlite import JournalError, Migration, Schema, Torn, open_journal, transaction

__all__ = ["Journal", "JournalError"]

FILE = "breaker.sqlite"
SCHEMA_VERSION = 2
# Events can be asked for again for a week, as long as the executor keeps its feedback.
KEEP_EVENTS_NS = 7 * 86_400 * 1_000_000_000
# A few at a time: deleting an hour's events at once would keep a trip waiting for seconds.
PRUNE_EVERY_SECS = 10
PRUNE_AT_ONCE = 5_000
# Nobody else writes this file; should somebody hold it all the same, a trip must not wait for that.
LOCK_WAIT_SECS = 0.1
# Events kept in memory while the disk takes none; older ones of them are lost.
MAX_UNSAVED_EVENTS = 10_000
# The same for orders that were never passed on, and for answered requests. A resend is judged anew.
MAX_UNSAVED_ANSWERS = 10_000
# After an unclean end (it may have been a power cut) numbering jumps over what may have been told and lost.
SEQ_JUMP = 100_000
# In the column `state`: done, but a replace has no answer yet, so that the next start must know the order.
CHANGING = "changing"

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE circuits (scope TEXT PRIMARY KEY, snapshot TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (
    number INTEGER PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, strategy_id TEXT NOT NULL,
    state TEXT NOT NULL, record BLOB NOT NULL);
CREATE INDEX orders_alive ON orders (state) WHERE state <> 'done';
CREATE INDEX orders_of_strategy ON orders (strategy_id, number);
CREATE TABLE events (
    topic TEXT NOT NULL, seq INTEGER NOT NULL, at_ns INTEGER NOT NULL, fields BLOB NOT NULL,
    PRIMARY KEY (topic, seq)) WITHOUT ROWID;
CREATE INDEX events_by_age ON events (at_ns);
CREATE TABLE seqs (topic TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE requests (request_id TEXT PRIMARY KEY, answer BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE remembered_cancels (
    strategy_id TEXT NOT NULL, order_id TEXT NOT NULL, until_ns INTEGER NOT NULL,
    PRIMARY KEY (strategy_id, order_id)) WITHOUT ROWID;
CREATE TABLE executions (
    order_id TEXT NOT NULL, kind TEXT NOT NULL, exec_id TEXT NOT NULL,
    PRIMARY KEY (order_id, kind, exec_id)) WITHOUT ROWID;
CREATE TABLE heartbeats (
    strategy_id TEXT PRIMARY KEY, cancel_after_ms INTEGER NOT NULL, silent INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE feedback_taken (journal_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE retold (journal_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, op TEXT NOT NULL, scope TEXT NOT NULL,
    reason TEXT NOT NULL, who TEXT NOT NULL);
"""


# From each earlier version to the next.
MIGRATIONS: dict[int, Migration] = {
    # Of the executions that were told, the events of the last week say.
    1: """
CREATE TABLE executions (
    order_id TEXT NOT NULL, kind TEXT NOT NULL, exec_id TEXT NOT NULL,
    PRIMARY KEY (order_id, kind, exec_id)) WITHOUT ROWID;
INSERT OR IGNORE INTO executions
    SELECT json_extract(said, '$.order_id'), json_extract(said, '$.kind'), json_extract(said, '$.exec_id')
    FROM (SELECT CAST(fields AS TEXT) AS said FROM events WHERE topic LIKE 'order/%')
    WHERE json_extract(said, '$.kind') IN ('filled', 'commission');
CREATE TABLE heartbeats (
    strategy_id TEXT PRIMARY KEY, cancel_after_ms INTEGER NOT NULL, silent INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE retold (journal_id TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
""",
}


@dataclass(slots=True)
class _Backlog:
    """What could not be saved yet."""

    batch: Batch = field(default_factory=Batch)

    def add(self, batch: Batch) -> None:
        """Lay a batch over what waits; of the events the newest are kept."""
        kept = self.batch
        for name in (
            "orders",
            "circuits",
            "requests",
            "remembered_cancels",
            "feedback_taken",
            "executions",
            "heartbeats",
            "retold",
        ):
            getattr(kept, name).update(getattr(batch, name))
        kept.owed = batch.owed or kept.owed
        kept.first_seq = batch.first_seq or kept.first_seq
        kept.decisions.extend(batch.decisions)
        kept.fence = batch.fence if batch.fence is not None else kept.fence
        kept.sync = kept.sync or batch.sync
        kept.publications.extend(item for item in batch.publications if item.journaled)
        del kept.publications[: max(0, len(kept.publications) - MAX_UNSAVED_EVENTS)]
        while len(kept.requests) > MAX_UNSAVED_ANSWERS:
            del kept.requests[next(iter(kept.requests))]
        if len(kept.orders) > 2 * MAX_UNSAVED_ANSWERS:
            # Rarely, and half of them at once: it walks through all of them.
            refused = [order_id for order_id, record in kept.orders.items() if not record.passed_wall_ns]
            for order_id in refused[: max(0, len(refused) - MAX_UNSAVED_ANSWERS)]:
                del kept.orders[order_id]


class Journal:
    """The open journal of one home. `saved` is what an earlier process left.

    Raises:
        JournalError: it cannot be opened, or a newer version wrote it.
    """

    def __init__(self, home: Path, *, wall_ns: int, monotonic_ns: int) -> None:
        self._path = home / FILE
        self._backlog = _Backlog()
        self._offset_ns = wall_ns - monotonic_ns
        self._opened_ns = monotonic_ns
        self._prune_due = time.monotonic()
        schema = Schema(SCHEMA, SCHEMA_VERSION, MIGRATIONS)
        opened = open_journal(
            self._path,
            schema,
            fill=lambda database, trouble: _fill(database, trouble, wall_ns // 1_000_000),
            read=self._read_saved,
            lock_wait_secs=LOCK_WAIT_SECS,
            wall_ns=wall_ns,
        )
        self._db, self.saved = opened.database, opened.found

    # -- opening -------------------------------------------------------------------------------------------

    def _read_saved(self, database: sqlite3.Connection) -> Saved:
        database.execute("PRAGMA synchronous=NORMAL")
        try:
            saved = self._saved(database)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise Torn(str(error)) from error
        with transaction(database):
            database.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("clean", 0), ("first_seq", saved.first_seq)]
            )
        return saved

    def _saved(self, database: sqlite3.Connection) -> Saved:
        meta = dict(database.execute("SELECT key, value FROM meta"))
        clean = bool(meta.get("clean", 1))
        return Saved(
            fence=int(meta.get("fence", 0)),
            circuits={
                scope: _json_or_none(snapshot)
                for scope, snapshot in database.execute("SELECT scope, snapshot FROM circuits")
            },
            orders=[
                self._record(row[0])
                for row in database.execute("SELECT record FROM orders WHERE state <> 'done' ORDER BY number")
            ],
            feedback_taken=dict(database.execute("SELECT journal_id, seq FROM feedback_taken")),
            remembered_cancels={
                (strategy_id, order_id): until_ns - self._offset_ns
                for strategy_id, order_id, until_ns in database.execute(
                    "SELECT strategy_id, order_id, until_ns FROM remembered_cancels ORDER BY until_ns"
                )
            },
            seqs={topic: self._go_on(seq, clean) for topic, seq in database.execute("SELECT topic, seq FROM seqs")},
            # A topic may have begun after the last that was saved.
            first_seq=self._go_on(int(meta.get("first_seq", 0)), clean),
            trouble=str(meta.get("trouble", "")),
            retold=dict(database.execute("SELECT journal_id, seq FROM retold")),
            heartbeats={
                strategy_id: KeptHeartbeat(cancel_after_ms, bool(silent))
                for strategy_id, cancel_after_ms, silent in database.execute("SELECT * FROM heartbeats")
            },
            owed=msgspec.json.decode(meta["owed"], type=OwedCancel) if "owed" in meta else None,
        )

    def _go_on(self, seq: int, clean: bool) -> int:
        """From where numbering goes on: after an end that was not clean, above all that may have been told.

        By the clock, for this may be an old copy, or the first journal after one that was lost. Only where more was
        told than milliseconds have passed, or the clock was set back, it jumps ahead of the clock.
        """
        now_ms = (self._opened_ns + self._offset_ns) // 1_000_000
        return seq if clean else now_ms if now_ms > seq else seq + SEQ_JUMP

    def close(self) -> None:
        """End cleanly, so that numbering goes on without a jump; with something unsaved the end is not clean."""
        with contextlib.suppress(sqlite3.Error, JournalError):
            self.save(Batch())
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 1)")
        self._db.close()

    # -- writing -------------------------------------------------------------------------------------------

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
            self._db.execute(f"PRAGMA synchronous={'FULL' if waiting.sync else 'NORMAL'}")
            with transaction(self._db):
                self._write(waiting)
                reach("breaker.save.uncommitted")
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self._path} cannot be written: {error}") from error
        reach("breaker.save.committed")
        if waiting.fence is not None:
            reach("breaker.fence.committed")
        self._backlog = _Backlog()
        self._prune_if_due()

    def has_backlog(self) -> bool:
        """Whether something waits for the disk."""
        return self._backlog.batch.saves_something()

    def _write(self, batch: Batch) -> None:
        database, now_ns = self._db, time.time_ns()
        for order_id, record in batch.orders.items():
            database.execute(
                "INSERT INTO orders (order_id, strategy_id, state, record) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, record = excluded.record",
                (order_id, record.strategy_id, _stored_state(record), msgspec.json.encode(record)),
            )
        self._write_circuits(batch)
        self._write_events([item for item in batch.publications if item.journaled])
        database.executemany(
            "INSERT OR REPLACE INTO requests VALUES (?, ?)",
            [(request_id, msgspec.json.encode(answer)) for request_id, answer in batch.requests.items()],
        )
        for (strategy_id, order_id), until_ns in batch.remembered_cancels.items():
            if until_ns is None:
                database.execute(
                    "DELETE FROM remembered_cancels WHERE strategy_id = ? AND order_id = ?", (strategy_id, order_id)
                )
            else:
                database.execute(
                    "INSERT OR REPLACE INTO remembered_cancels VALUES (?, ?, ?)",
                    (strategy_id, order_id, until_ns + self._offset_ns),
                )
        database.executemany("INSERT OR REPLACE INTO feedback_taken VALUES (?, ?)", batch.feedback_taken.items())
        database.executemany("INSERT OR REPLACE INTO retold VALUES (?, ?)", batch.retold.items())
        self._write_heartbeats(batch)
        database.executemany("INSERT OR IGNORE INTO executions VALUES (?, ?, ?)", batch.executions)
        if batch.owed is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('owed', ?)", (msgspec.json.encode(batch.owed),))
        if batch.first_seq is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('first_seq', ?)", (batch.first_seq,))
            database.execute("UPDATE seqs SET seq = max(seq, ?)", (batch.first_seq,))
        if batch.fence is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('fence', ?)", (batch.fence,))
        database.executemany(
            "INSERT INTO decisions (at_ns, op, scope, reason, who) VALUES (?, ?, ?, ?, ?)",
            [(now_ns, made.op, made.scope, made.reason, made.who) for made in batch.decisions],
        )

    def _write_heartbeats(self, batch: Batch) -> None:
        for strategy_id, kept in batch.heartbeats.items():
            if kept is None:
                self._db.execute("DELETE FROM heartbeats WHERE strategy_id = ?", (strategy_id,))
            else:
                values = (strategy_id, kept.cancel_after_ms, kept.silent)
                self._db.execute("INSERT OR REPLACE INTO heartbeats VALUES (?, ?, ?)", values)

    def _write_circuits(self, batch: Batch) -> None:
        if SYSTEM in batch.circuits:
            # Now its own snapshot says that it is OPEN and why.
            self._db.execute("DELETE FROM meta WHERE key = 'trouble'")
        for scope, snapshot in batch.circuits.items():
            if snapshot is None:
                self._db.execute("DELETE FROM circuits WHERE scope = ?", (scope,))
            else:
                self._db.execute("INSERT OR REPLACE INTO circuits VALUES (?, ?)", (scope, json.dumps(snapshot)))

    def _write_events(self, publications: list[Publication]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)",
            [(item.topic, item.seq, item.fields["at_ns"], msgspec.json.encode(item.fields)) for item in publications],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO seqs VALUES (?, ?)",
            {item.topic: item.seq for item in publications}.items(),
        )

    def _prune_if_due(self) -> None:
        if time.monotonic() < self._prune_due:
            return
        self._prune_due = time.monotonic() + PRUNE_EVERY_SECS
        with contextlib.suppress(sqlite3.Error):
            self._db.execute(
                "DELETE FROM events WHERE (topic, seq) IN "
                "(SELECT topic, seq FROM events WHERE at_ns < ? ORDER BY at_ns LIMIT ?)",
                (time.time_ns() - KEEP_EVENTS_NS, PRUNE_AT_ONCE),
            )

    # -- reading -------------------------------------------------------------------------------------------

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier.

        Raises:
            JournalError: the disk does not tell.
        """
        waiting = self._backlog.batch.orders.get(order_id)
        if waiting is not None:
            return waiting
        with self._reading():
            row = self._db.execute("SELECT record FROM orders WHERE order_id = ?", (order_id,)).fetchone()
            return self._record(row[0]) if row else None

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier.

        Raises:
            JournalError: the disk does not tell.
        """
        waiting = self._backlog.batch.requests.get(request_id)
        if waiting is not None:
            return waiting
        with self._reading():
            row = self._db.execute("SELECT answer FROM requests WHERE request_id = ?", (request_id,)).fetchone()
            return msgspec.json.decode(row[0], type=AnsweredRequest) if row else None

    def knows_execution(self, order_id: str, kind: str, exec_id: str) -> bool:
        """Whether an event of this kind was told of this execution before.

        Raises:
            JournalError: the disk does not tell.
        """
        if (order_id, kind, exec_id) in self._backlog.batch.executions:
            return True
        query = "SELECT 1 FROM executions WHERE order_id = ? AND kind = ? AND exec_id = ?"
        with self._reading():
            return self._db.execute(query, (order_id, kind, exec_id)).fetchone() is not None

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            raise JournalError(f"the journal {self._path} cannot be read: {error}") from error

    def orders(
        self, *, strategy_id: str | None, order_id: str | None, state: str | None, after: int
    ) -> Iterator[tuple[int, OrderRecord]]:
        """Orders behind number `after` that fit, oldest first, each with its number.

        Raises:
            JournalError: the disk does not tell.
        """
        wanted = {"strategy_id": strategy_id, "order_id": order_id, "state": state}
        given = [f"{key} = :{key}" for key, value in wanted.items() if value]
        if state == "done":
            given[-1] = f"state IN ('done', '{CHANGING}')"
        elif state:
            # In these words SQLite sees that the index of orders that live will do, however many have ended.
            given.append("state <> 'done'")
        where = " AND ".join(["number > :after", *given])
        query = f"SELECT number, record FROM orders WHERE {where} ORDER BY number"  # noqa: S608 - fixed names
        with self._reading():
            for number, blob in self._db.execute(query, {**wanted, "after": after}):
                yield number, self._record(blob)

    def events(self, topic: str, after_seq: int) -> Iterator[dict[str, Any]]:
        """Journaled events of one topic behind `after_seq`, in order.

        Raises:
            JournalError: the disk does not tell.
        """
        query = "SELECT fields FROM events WHERE topic = ? AND seq > ? ORDER BY seq"
        with self._reading():
            for (fields,) in self._db.execute(query, (topic, after_seq)):
                yield msgspec.json.decode(fields)

    def _record(self, blob: bytes) -> OrderRecord:
        """Read an order; its monotonic times become those of this process, by the wall clock."""
        record = msgspec.json.decode(blob, type=OrderRecord)
        if record.passed_wall_ns:
            # A clock that was set back must not turn the past into the future.
            record.passed_ns = min(record.passed_wall_ns - self._offset_ns, self._opened_ns)
        return record


def _fill(database: sqlite3.Connection, trouble: str, base: int) -> None:
    """Begin anew after a journal that was lost: numbered above all that it had, and OPEN, latched.

    Whether it was OPEN is not known, so it is, until a person has looked; also if this process dies now.
    """
    # Not clean from the first byte on: a copy of the file alone, without its log, must not number on from here.
    database.execute("INSERT INTO meta VALUES ('clean', 0)")
    if trouble:
        rows = {"trouble": trouble, "fence": base, "first_seq": base}
        database.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        database.execute("INSERT INTO circuits VALUES (?, ?)", (SYSTEM, json.dumps({"generation": base})))


def _stored_state(record: OrderRecord) -> str:
    return CHANGING if record.state == "done" and record.change is not None else record.state


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
