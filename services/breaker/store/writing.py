"""Writing one batch into the breaker's journal, table by table, inside the transaction that is open."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from services.breaker.batch import Batch, Publication
from services.breaker.circuits.scopes import SYSTEM
from services.breaker.store.keeping import count_events
from services.breaker.store.stored import Clocks, state_of
from services.runtime.sqlite import Database

UPSERT_ORDER = (
    "INSERT INTO orders (order_id, strategy_id, state, record, refused, arrived_ns) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE SET "
    "state = excluded.state, record = excluded.record, refused = excluded.refused"
)
UPSERT_SEQ = (
    "INSERT INTO seqs (topic, seq) VALUES (?, ?) ON CONFLICT (topic) DO UPDATE SET seq = max(seq, excluded.seq)"
)


def write(database: Database, batch: Batch, clocks: Clocks, now_ns: int) -> None:
    """Write all of a batch that is journaled. `now_ns`: the wall clock."""
    _orders(database, batch)
    _circuits(database, batch)
    # First: one that was given up may have begun anew since.
    database.executemany("DELETE FROM seqs WHERE topic = ?", [(topic,) for topic in batch.topics_given_up])
    _events(database, [item for item in batch.publications if item.journaled])
    database.executemany(
        "INSERT OR REPLACE INTO requests VALUES (?, ?, ?)",
        [(request_id, msgspec.json.encode(answer), now_ns) for request_id, answer in batch.requests.items()],
    )
    _remembered_cancels(database, batch, clocks)
    database.executemany("INSERT OR REPLACE INTO feedback_taken VALUES (?, ?)", batch.feedback_taken.items())
    database.executemany("INSERT OR REPLACE INTO retold VALUES (?, ?)", batch.retold.items())
    _heartbeats(database, batch)
    _last_failures(database, batch)
    database.executemany("INSERT OR IGNORE INTO executions VALUES (?, ?, ?)", batch.executions)
    if batch.owed is not None:
        database.set_meta("owed", msgspec.json.encode(batch.owed))
    _numbering(database, batch)
    database.executemany("INSERT OR REPLACE INTO refused_marks VALUES (?, ?)", batch.refused_marks.items())
    if batch.fence is not None:
        database.set_meta("fence", batch.fence)
    database.executemany(
        "INSERT INTO decisions (at_ns, op, scope, reason, who) VALUES (?, ?, ?, ?, ?)",
        [(now_ns, made.op, made.scope, made.reason, made.who) for made in batch.decisions],
    )


def _orders(database: Database, batch: Batch) -> None:
    for order_id, record in batch.orders.items():
        values = (
            order_id,
            record.strategy_id,
            state_of(record),
            msgspec.json.encode(record),
            record.state == "done" and not record.has_passed(),
            record.arrived_wall_ns,
        )
        database.execute(UPSERT_ORDER, values)


def _circuits(database: Database, batch: Batch) -> None:
    if SYSTEM in batch.circuits:
        # Now its own snapshot says that it is OPEN and why.
        database.execute("DELETE FROM meta WHERE key = 'trouble'")
    for scope, kept in batch.circuits.items():
        if kept is None:
            database.execute("DELETE FROM circuits WHERE scope = ?", (scope,))
        else:
            values = (scope, json.dumps(kept.snapshot), kept.passed, kept.by_hand, kept.resting)
            database.execute("INSERT OR REPLACE INTO circuits VALUES (?, ?, ?, ?, ?)", values)


def _events(database: Database, publications: Iterable[Publication]) -> None:
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
    if not rows:
        return
    database.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)", rows)
    newest = {topic: seq for topic, seq, *_ in rows}
    database.executemany(f"{UPSERT_SEQ}, kept = NULL", newest.items())
    count_events(database, len(rows), sum(len(fields) for _, _, _, fields, _ in rows))


def _remembered_cancels(database: Database, batch: Batch, clocks: Clocks) -> None:
    for (strategy_id, order_id), until_ns in batch.remembered_cancels.items():
        if until_ns is None:
            values = (strategy_id, order_id)
            database.execute("DELETE FROM remembered_cancels WHERE strategy_id = ? AND order_id = ?", values)
        else:
            kept = (strategy_id, order_id, clocks.to_wall(until_ns))
            database.execute("INSERT OR REPLACE INTO remembered_cancels VALUES (?, ?, ?)", kept)


def _heartbeats(database: Database, batch: Batch) -> None:
    for strategy_id, kept in batch.heartbeats.items():
        if kept is None:
            database.execute("DELETE FROM heartbeats WHERE strategy_id = ?", (strategy_id,))
        else:
            values = (strategy_id, kept.cancel_after_ms, kept.silent)
            database.execute("INSERT OR REPLACE INTO heartbeats VALUES (?, ?, ?)", values)


def _last_failures(database: Database, batch: Batch) -> None:
    for scope, said in batch.last_failures.items():
        if said is None:
            database.execute("DELETE FROM last_failures WHERE scope = ?", (scope,))
        else:
            database.execute("INSERT OR REPLACE INTO last_failures VALUES (?, ?)", (scope, said))


def _numbering(database: Database, batch: Batch) -> None:
    if batch.first_seq is not None:
        database.set_meta("first_seq", batch.first_seq)
        database.execute("UPDATE seqs SET seq = max(seq, ?), kept = NULL", (batch.first_seq,))
    database.executemany(UPSERT_SEQ, batch.reserved.items())
    if batch.floor is not None:
        database.set_meta("first_seq", batch.floor)
    if batch.ends:
        rows = [(topic, numbering.seq, numbering.kept) for topic, numbering in batch.topics.items()]
        database.executemany("INSERT OR REPLACE INTO seqs VALUES (?, ?, ?)", rows)
        database.set_meta("clean", 1)
