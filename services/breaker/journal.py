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

from services.breaker import schema
from services.breaker.batch import AnsweredRequest, Batch, KeptHeartbeat, Numbering, Publication
from services.breaker.keeping import Keeping
from services.breaker.orders import OrderRecord
from services.breaker.owed import OwedCancel
from services.breaker.scopes import SYSTEM, KeptCircuit, Unreadable
from services.breaker.stage import Saved
from services.crash_points import reach
from services.runtime.reserve import Reserve
from services.runtime.sqlite import JournalError, Opened, Schema, Torn, open_journal, transaction

__all__ = ["Journal", "JournalError"]


class ReadError(JournalError, Unreadable):
    """The disk does not tell."""


FILE = "breaker.sqlite"
RESERVE = "breaker.reserve"
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

UPSERT_SEQ = (
    "INSERT INTO seqs (topic, seq) VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET seq = max(seq, excluded.seq)"
)


# Behind which number the orders stand that arrived since then: the lowest of the first that did. So nobody who asks for
# the last hour has the orders of all years read. They are many, because an order that waited is numbered late.
SINCE = """SELECT min(number) - 1 FROM (
    SELECT number FROM orders WHERE arrived_ns >= ? ORDER BY arrived_ns LIMIT 10000)"""
# A list is read so many rows at a time, and nothing stays open in between: while somebody reads, the log cannot begin
# anew, and grows as long as some page is under way. 32 rows of 2 kB cost some 0.05 ms, of which asking anew is a tenth;
# all pages together have 2 ms of a turn.
CHUNK_ROWS = 32
# Large rows: as much as those. Each of 64 pages under way holds a chunk.
CHUNK_BYTES = 64 * 1024
# Above every number that SQLite gives.
NO_NUMBER = 2**63 - 1


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
            "last_failures",
            "retold",
            "refused_marks",
            "reserved",
        ):
            getattr(kept, name).update(getattr(batch, name))
        kept.owed = batch.owed or kept.owed
        kept.first_seq = batch.first_seq or kept.first_seq
        kept.topics_given_up += batch.topics_given_up
        kept.floor = batch.floor or kept.floor
        kept.ends, kept.topics = batch.ends, batch.topics
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

    def __init__(self, home: Path, *, wall_ns: int, monotonic_ns: int, keep_events_bytes: int) -> None:
        self._path = home / FILE
        self._backlog = _Backlog()
        self._offset_ns = wall_ns - monotonic_ns
        self._opened_ns = monotonic_ns
        tables = Schema(schema.SCHEMA, schema.VERSION, schema.MIGRATIONS)
        self._reserve = Reserve(home / RESERVE)
        # Whether the last batch that could not be saved has left its stop on the disk all the same.
        self.stop_is_saved = False

        def opened() -> Opened[Saved]:
            return open_journal(
                self._path,
                tables,
                fill=lambda database, trouble: _fill(database, trouble, wall_ns // 1_000_000),
                read=self._read_saved,
                lock_wait_secs=LOCK_WAIT_SECS,
                wall_ns=wall_ns,
            )

        try:
            found = opened()
        except JournalError:
            if not self._reserve.release():
                raise
            # The disk may be full, and a breaker that was stopped must come back as one.
            found = opened()
        self._db, self.saved = found.database, found.found
        self._reserve.hold()
        self._keeping = Keeping(self._db, keep_events_bytes)

    # -- opening -------------------------------------------------------------------------------------------

    def _read_saved(self, database: sqlite3.Connection) -> Saved:
        database.execute("PRAGMA synchronous=NORMAL")
        try:
            saved = self._saved(database)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise Torn(str(error)) from error
        with transaction(database):
            database.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("clean", 0), ("first_seq", saved.floor)]
            )
        return saved

    def _saved(self, database: sqlite3.Connection) -> Saved:
        meta = dict(database.execute("SELECT key, value FROM meta"))
        clean = bool(meta.get("clean", 1))
        return Saved(
            fence=int(meta.get("fence", 0)),
            circuits={
                scope: KeptCircuit(_json_or_none(snapshot), bool(passed), bool(by_hand), bool(resting))
                for scope, snapshot, passed, by_hand, resting in database.execute("SELECT * FROM circuits")
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
            topics={
                topic: self._numbering(seq, kept, clean)
                for topic, seq, kept in database.execute("SELECT topic, seq, kept FROM seqs")
            },
            # A topic may have begun after the last that was saved.
            floor=self._go_on(int(meta.get("first_seq", 0)), clean),
            refused_marks=dict(database.execute("SELECT strategy_id, at_ns FROM refused_marks")),
            trouble=str(meta.get("trouble", "")),
            retold=dict(database.execute("SELECT journal_id, seq FROM retold")),
            heartbeats={
                strategy_id: KeptHeartbeat(cancel_after_ms, bool(silent))
                for strategy_id, cancel_after_ms, silent in database.execute("SELECT * FROM heartbeats")
            },
            last_failures=dict(database.execute("SELECT scope, said FROM last_failures")),
            owed=msgspec.json.decode(meta["owed"], type=OwedCancel) if "owed" in meta else None,
        )

    def _go_on(self, seq: int, clean: bool) -> int:
        """From where numbering goes on: after an end that was not clean, above all that may have been told.

        By the clock, for this may be an old copy, or the first journal after one that was lost. Only where more was
        told than milliseconds have passed, or the clock was set back, it jumps ahead of the clock.
        """
        now_ms = (self._opened_ns + self._offset_ns) // 1_000_000
        return seq if clean else now_ms if now_ms > seq else seq + SEQ_JUMP

    def _numbering(self, seq: int, kept: int | None, clean: bool) -> Numbering:
        now = self._go_on(seq, clean)
        return Numbering(now, kept if clean and kept is not None else now)

    def close(self) -> None:
        """Save what could not be saved so far, and close the file. Only a batch that says so ends it cleanly."""
        with contextlib.suppress(sqlite3.Error, JournalError):
            self.save(Batch())
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
            self.stop_is_saved = waiting.sync and self._save_stop(waiting)
            raise JournalError(f"the journal {self._path} cannot be written: {error}") from error
        reach("breaker.save.committed")
        if waiting.fence is not None:
            reach("breaker.fence.committed")
        self._backlog = _Backlog()

    def _save_stop(self, waiting: Batch) -> bool:
        """Commit what a restart must not forget, into the room that was held back for it; whether that is done."""
        self._reserve.release()
        stop = Batch(circuits=waiting.circuits, fence=waiting.fence, decisions=waiting.decisions, owed=waiting.owed)
        try:
            with transaction(self._db):
                self._write(stop)
        except sqlite3.Error:
            return False
        # Written again with the rest, they would stand there twice.
        waiting.decisions = []
        return True

    def tidy(self) -> None:
        """Delete some of what is kept no longer, and hold some room back, if it is time."""
        if self._keeping.tidy(time.monotonic(), time.time_ns()) and not self.has_backlog():
            self._reserve.hold()

    def has_backlog(self) -> bool:
        """Whether something waits for the disk."""
        return self._backlog.batch.saves_something()

    def _write(self, batch: Batch) -> None:
        database, now_ns = self._db, time.time_ns()
        for order_id, record in batch.orders.items():
            database.execute(
                "INSERT INTO orders (order_id, strategy_id, state, record, refused, arrived_ns) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE SET "
                "state = excluded.state, record = excluded.record, refused = excluded.refused",
                (
                    order_id,
                    record.strategy_id,
                    _stored_state(record),
                    msgspec.json.encode(record),
                    record.state == "done" and not record.has_passed(),
                    record.arrived_wall_ns,
                ),
            )
        self._write_circuits(batch)
        # First: one that was given up may have begun anew since.
        database.executemany("DELETE FROM seqs WHERE topic = ?", [(topic,) for topic in batch.topics_given_up])
        self._write_events([item for item in batch.publications if item.journaled])
        database.executemany(
            "INSERT OR REPLACE INTO requests VALUES (?, ?, ?)",
            [(request_id, msgspec.json.encode(answer), now_ns) for request_id, answer in batch.requests.items()],
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
        self._write_last_failures(batch)
        database.executemany("INSERT OR IGNORE INTO executions VALUES (?, ?, ?)", batch.executions)
        if batch.owed is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('owed', ?)", (msgspec.json.encode(batch.owed),))
        self._write_numbering(batch)
        database.executemany("INSERT OR REPLACE INTO refused_marks VALUES (?, ?)", batch.refused_marks.items())
        if batch.fence is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('fence', ?)", (batch.fence,))
        database.executemany(
            "INSERT INTO decisions (at_ns, op, scope, reason, who) VALUES (?, ?, ?, ?, ?)",
            [(now_ns, made.op, made.scope, made.reason, made.who) for made in batch.decisions],
        )

    def _write_numbering(self, batch: Batch) -> None:
        database = self._db
        if batch.first_seq is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('first_seq', ?)", (batch.first_seq,))
            database.execute("UPDATE seqs SET seq = max(seq, ?), kept = NULL", (batch.first_seq,))
        database.executemany(UPSERT_SEQ, batch.reserved.items())
        if batch.floor is not None:
            database.execute("INSERT OR REPLACE INTO meta VALUES ('first_seq', ?)", (batch.floor,))
        if batch.ends:
            rows = [(topic, numbering.seq, numbering.kept) for topic, numbering in batch.topics.items()]
            database.executemany("INSERT OR REPLACE INTO seqs VALUES (?, ?, ?)", rows)
            database.execute("INSERT OR REPLACE INTO meta VALUES ('clean', 1)")

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
        for scope, kept in batch.circuits.items():
            if kept is None:
                self._db.execute("DELETE FROM circuits WHERE scope = ?", (scope,))
            else:
                values = (scope, json.dumps(kept.snapshot), kept.passed, kept.by_hand, kept.resting)
                self._db.execute("INSERT OR REPLACE INTO circuits VALUES (?, ?, ?, ?, ?)", values)

    def _write_last_failures(self, batch: Batch) -> None:
        for scope, said in batch.last_failures.items():
            if said is None:
                self._db.execute("DELETE FROM last_failures WHERE scope = ?", (scope,))
            else:
                self._db.execute("INSERT OR REPLACE INTO last_failures VALUES (?, ?)", (scope, said))

    def _write_events(self, publications: list[Publication]) -> None:
        if not publications:
            return
        rows = [
            (
                item.topic,
                item.seq,
                item.fields["at_ns"],
                msgspec.json.encode(item.fields),
                # Nearly always the number before, which need not be said.
                item.previous if item.previous != item.seq - 1 else None,
            )
            for item in publications
        ]
        self._db.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)", rows)
        self._db.executemany(
            f"{UPSERT_SEQ}, kept = NULL",
            {item.topic: item.seq for item in publications}.items(),
        )
        self._keeping.grew(len(rows), sum(len(row[3]) for row in rows))

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
            raise ReadError(f"the journal {self._path} cannot be read: {error}") from error

    def orders(
        self,
        *,
        strategy_id: str | None = None,
        order_id: str | None = None,
        state: str | None = None,
        since_ns: int | None = None,
        before: int | None = None,
        after: int | None = None,
    ) -> Iterator[tuple[int, OrderRecord]]:
        """Orders that fit, each with its number: oldest first those behind number `after`, else newest first.

        Nothing is held open from one to the next. Oldest first, what is decided meanwhile comes too.

        Raises:
            JournalError: the disk does not tell.
        """
        fits = _fitting(strategy_id, order_id, state)
        values = {"strategy_id": strategy_id, "order_id": order_id, "state": state, "since": since_ns}
        values |= {"after": after or 0, "before": NO_NUMBER if before is None else before}
        with self._reading():
            if since_ns is not None:
                (begin,) = self._db.execute(SINCE, (since_ns,)).fetchone()
                if begin is None:
                    return
                values["after"] = max(after or 0, begin)
                fits += " AND arrived_ns >= :since"
            direction, end = ("DESC", "before") if after is None else ("ASC", "after")
            query = f"SELECT number, record FROM orders WHERE {fits} ORDER BY number {direction}"  # noqa: S608 - fixed
            while rows := self._chunk(query, values):
                for number, blob in rows:
                    yield number, self._record(blob)
                values[end] = rows[-1][0]

    def newest_order(self) -> int:
        """The number of the order that was decided last; 0: there is none.

        Raises:
            JournalError: the disk does not tell.
        """
        with self._reading():
            return int(self._db.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()[0])

    def events(self, topic: str, after_seq: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Journaled events of one topic behind `after_seq`, in order, each with the number of the one before it.

        What was told between these two is not kept. Nothing is held open from one to the next, and what is told
        meanwhile comes too.

        Raises:
            JournalError: the disk does not tell.
        """
        query = (
            "SELECT seq, coalesce(previous, seq - 1), fields FROM events "
            "WHERE topic = :topic AND seq > :after ORDER BY seq"
        )
        with self._reading():
            while rows := self._chunk(query, {"topic": topic, "after": after_seq}):
                for _, previous, fields in rows:
                    yield previous, msgspec.json.decode(fields)
                after_seq = rows[-1][0]

    def _chunk(self, query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """The first rows of a query, whose last column is the large one; it is over when they are there."""
        chunk, size = [], 0
        with contextlib.closing(self._db.execute(f"{query} LIMIT {CHUNK_ROWS}", values)) as rows:
            for row in rows:
                chunk.append(row)
                size += len(row[-1])
                if size >= CHUNK_BYTES:
                    break
        return chunk

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another.

        Raises:
            JournalError: the disk does not tell.
        """
        if scope in self._backlog.batch.circuits:
            waiting = self._backlog.batch.circuits[scope]
            return waiting if waiting is not None and waiting.resting else None
        with self._reading():
            row = self._db.execute("SELECT snapshot FROM circuits WHERE scope = ? AND resting", (scope,)).fetchone()
            return KeptCircuit(_json_or_none(row[0]), passed=True, resting=True) if row else None

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
        database.execute(
            "INSERT INTO circuits (scope, snapshot) VALUES (?, ?)", (SYSTEM, json.dumps({"generation": base}))
        )


def _fitting(strategy_id: str | None, order_id: str | None, state: str | None) -> str:
    """Which orders fit, in words from which SQLite sees an index that has no others, in the order of their numbers."""
    given = ["number > :after AND number < :before"]
    is_alive = state not in (None, "", "done")
    if is_alive:
        # However many have ended, the index of orders that live will do.
        given.append("state = :state AND state <> 'done'")
    elif state:
        given.append(f"state IN ('done', '{CHANGING}')")
    if strategy_id:
        # With the plus, the index of the strategy's orders is not taken: nearly all in there have ended.
        given.append("+strategy_id = :strategy_id" if is_alive else "strategy_id = :strategy_id")
    if order_id:
        given.append("order_id = :order_id")
    return " AND ".join(given)


def _stored_state(record: OrderRecord) -> str:
    return CHANGING if record.state == "done" and record.change is not None else record.state


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
