"""What the breaker's journal has in it from the beginning, and what a start reads of it."""

from __future__ import annotations

import json

import msgspec

from services.breaker.batch import KeptHeartbeat, Numbering
from services.breaker.circuits.scopes import SYSTEM, KeptCircuit
from services.breaker.dispatch.owed import OwedCancel
from services.breaker.orders import OrderRecord
from services.breaker.saved import Saved
from services.breaker.store.stored import Clocks, read_order, read_snapshot
from services.runtime.sqlite import Connection, Torn, transaction

# After an unclean end (it may have been a power cut) numbering jumps over what may have been told and lost.
SEQ_JUMP = 100_000
# Said twice, so that SQLite takes the index of orders that live.
FORGET_WAITING = "DELETE FROM orders WHERE state = 'queued' AND state <> 'done'"


def fill(database: Connection, trouble: str, clocks: Clocks) -> None:
    """Begin anew after a journal that was lost: numbered above all that it had, and OPEN, latched.

    Whether it was OPEN is not known, so it is, until a person has looked; also if this process dies now.
    """
    # Not clean from the first byte on: a copy of the file alone, without its log, must not number on from here.
    database.execute("INSERT INTO meta VALUES ('clean', 0)")
    if trouble:
        base = clocks.wall_ns // 1_000_000
        rows = {"trouble": trouble, "fence": base, "first_seq": base}
        database.executemany("INSERT INTO meta VALUES (?, ?)", rows.items())
        database.execute(
            "INSERT INTO circuits (scope, snapshot) VALUES (?, ?)", (SYSTEM, json.dumps({"generation": base}))
        )


def restore(database: Connection, clocks: Clocks) -> Saved:
    """Read what an earlier process left, and note that this one has begun.

    Raises:
        Torn: what is there is not what a breaker writes.
    """
    database.execute("PRAGMA synchronous=NORMAL")
    try:
        saved = _saved(database, clocks)
    except (msgspec.MsgspecError, ValueError, TypeError) as error:
        raise Torn(str(error)) from error
    with transaction(database):
        # What waited is gone, and comes again as something new. An earlier version could leave the parent of a leg.
        database.execute(FORGET_WAITING)
        database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", [("clean", 0), ("first_seq", saved.floor)])
    return saved


def _saved(database: Connection, clocks: Clocks) -> Saved:
    meta = dict(database.execute("SELECT key, value FROM meta"))
    clean = bool(meta.get("clean", 1))
    return Saved(
        fence=int(meta.get("fence", 0)),
        circuits={
            scope: KeptCircuit(read_snapshot(snapshot), bool(passed), bool(by_hand), bool(resting))
            for scope, snapshot, passed, by_hand, resting in database.execute("SELECT * FROM circuits")
        },
        orders=_orders(database, clocks),
        feedback_taken=dict(database.execute("SELECT journal_id, seq FROM feedback_taken")),
        remembered_cancels={
            (strategy_id, order_id): clocks.to_monotonic(until_ns)
            for strategy_id, order_id, until_ns in database.execute(
                "SELECT strategy_id, order_id, until_ns FROM remembered_cancels ORDER BY until_ns"
            )
        },
        topics={
            topic: _numbering(seq, kept, clean, clocks)
            for topic, seq, kept in database.execute("SELECT topic, seq, kept FROM seqs")
        },
        # A topic may have begun after the last that was saved.
        floor=_go_on(int(meta.get("first_seq", 0)), clean, clocks),
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


def _orders(database: Connection, clocks: Clocks) -> list[OrderRecord]:
    """The orders without an end, and the parents of legs among them: what becomes of a leg depends on its parent."""
    alive = database.execute("SELECT record FROM orders WHERE state <> 'done' AND state <> 'queued' ORDER BY number")
    orders = {record.order_id: record for record in (read_order(row[0], clocks) for row in alive)}
    for parent in {record.parent for record in orders.values() if record.parent} - orders.keys():
        for row in database.execute("SELECT record FROM orders WHERE order_id = ? AND state <> 'queued'", (parent,)):
            orders[parent] = read_order(row[0], clocks)
    return list(orders.values())


def _go_on(seq: int, clean: bool, clocks: Clocks) -> int:
    """From where numbering goes on: after an end that was not clean, above all that may have been told.

    By the clock, for this may be an old copy, or the first journal after one that was lost. Only where more was
    told than milliseconds have passed, or the clock was set back, it jumps ahead of the clock.
    """
    now_ms = clocks.wall_ns // 1_000_000
    return seq if clean else now_ms if now_ms > seq else seq + SEQ_JUMP


def _numbering(seq: int, kept: int | None, clean: bool, clocks: Clocks) -> Numbering:
    now = _go_on(seq, clean, clocks)
    return Numbering(now, kept if clean and kept is not None else now)
