"""Writing what a batch brought into the executor's journal, table by table, inside the transaction that is open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple

import msgspec
from msgspec import structs

from orderfuse.bus.codec import encode
from services.executor.account.position_breaks import Baseline, LegFill
from services.executor.batch import ByHand, Keep
from services.executor.breaker_link import SYSTEM
from services.executor.orders.records import Execution, OrderRecord
from services.runtime.sqlite import Database
from services.wire.feedback import Fact, Feedback, Outcome

UPSERT_ORDER = (
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?) ON CONFLICT (order_id) DO UPDATE SET "
    "ib_order_id = excluded.ib_order_id, perm_id = excluded.perm_id, ended = excluded.ended, "
    "record = excluded.record"
)


def write(database: Database, keep: Keep, journal_id: str, at_ns: int) -> list[tuple[int, Feedback, bytes]]:
    """Write all but the intents. Returns the facts: numbered, as messages and as bytes. `at_ns`: the wall clock."""
    for record in keep.orders.values():
        _order(database, record)
    for execution in keep.executions:
        _execution(database, execution)
    for fill in keep.fills:
        _fill(database, fill)
    if keep.baselines is not None:
        database.set_meta("baseline_taken", "1")
        _baselines(database, keep.baselines.values())
    for accepted in keep.by_hand:
        _accepted(database, accepted, at_ns)
    database.executemany("DELETE FROM accepted_orders WHERE perm_id = ?", [(each,) for each in keep.forgotten])
    for scope, fence in keep.fences:
        _fence(database, scope, fence)
    for owed in keep.owed:
        database.set_meta("owed_cancel", msgspec.json.encode(owed).decode())
    return [_feedback(database, journal_id, fact, outcome, at_ns) for fact, outcome in keep.facts]


def intend(database: Database, record: OrderRecord) -> None:
    """A row for an order that is about to be placed. There must be none yet."""
    values = (record.order_id, record.ib_order_id, record.perm_id, 0, msgspec.json.encode(record))
    database.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", values)


def _order(database: Database, record: OrderRecord) -> None:
    """The intent has made the row, but for an order that was found at IB."""
    values = (
        record.order_id,
        record.ib_order_id,
        record.perm_id,
        bool(record.ended) and record.change is None,
        msgspec.json.encode(record),
    )
    database.execute(UPSERT_ORDER, values)


def _execution(database: Database, execution: Execution) -> None:
    """An execution, or what is now known of it."""
    values = (
        execution.exec_id,
        execution.order_id,
        execution.shares,
        execution.price,
        execution.counts,
        execution.commission,
    )
    database.execute("INSERT OR REPLACE INTO executions VALUES (?, ?, ?, ?, ?, ?)", values)


def _fill(database: Database, fill: LegFill) -> None:
    """What an execution did to a position, and of which contract."""
    values = (fill.base, fill.con_id, fill.symbol, fill.shares)
    database.execute("INSERT OR REPLACE INTO fills VALUES (?, ?, ?, ?)", values)
    _contract(database, fill)


def _baselines(database: Database, changed: Iterable[Baseline]) -> None:
    """What is known of contracts."""
    for each in changed:
        values = (each.con_id, each.symbol, each.base, each.told)
        database.execute("INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?)", values)
        _contract(database, each)


def _contract(database: Database, known: Baseline | LegFill) -> None:
    traits = known.traits
    if traits.sec_type:
        values = (known.con_id, *astuple(traits))
        database.execute("INSERT OR IGNORE INTO contracts VALUES (?, ?, ?, ?, ?, ?)", values)


def _accepted(database: Database, accepted: ByHand, at_ns: int) -> None:
    """What a person has accepted, and who and why: baselines as they are from now on, and orders."""
    message = accepted.message
    differences = {each.con_id: each for each in message.drift}
    told = {"drift": [structs.asdict(differences[each.con_id]) for each in accepted.baselines]}
    told["foreign"] = [structs.asdict(order) for order in accepted.orders]
    values = (message.number, at_ns, msgspec.json.encode(told).decode(), message.reason, message.who)
    database.execute("INSERT INTO accepted VALUES (?, ?, ?, ?, ?)", values)
    _baselines(database, accepted.baselines)
    perm_ids = [(order.perm_id,) for order in accepted.orders if order.perm_id]
    database.executemany("INSERT OR IGNORE INTO accepted_orders VALUES (?)", perm_ids)


def _fence(database: Database, scope: str, fence: int) -> None:
    """A value of the fence that was taken; that of `system` takes the place of all others."""
    if scope == SYSTEM:
        database.execute("DELETE FROM fences")
    database.execute("INSERT OR REPLACE INTO fences VALUES (?, ?)", (scope, fence))


def _feedback(
    database: Database, journal_id: str, fact: Fact, outcome: Outcome | None, at_ns: int
) -> tuple[int, Feedback, bytes]:
    """Number a fact and keep it; returns its number, its message and that as bytes."""
    order_id = getattr(fact, "order_id", "")
    if order_id:
        fact = msgspec.structs.replace(fact, at_ns=at_ns)
    # The number is part of the bytes, so the row comes first and its bytes second.
    row = database.execute("INSERT INTO feedback (at_ns, order_id, payload) VALUES (?, ?, x'')", (at_ns, order_id))
    seq = int(row.lastrowid or 0)
    feedback = Feedback(journal_id=journal_id, seq=seq, fact=fact, outcome=outcome)
    payload = encode(feedback)
    database.execute("UPDATE feedback SET payload = ? WHERE seq = ?", (payload, seq))
    return seq, feedback, payload
