"""The tables of the breaker's journal, and how those of earlier versions become them."""

from __future__ import annotations

from services.breaker.store.keeping import EVENT_OVERHEAD, EVENTS_BYTES
from services.runtime.sqlite import Migration, Schema

VERSION = 3

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE circuits (
    scope TEXT PRIMARY KEY, snapshot TEXT NOT NULL,
    passed INTEGER NOT NULL DEFAULT 0, by_hand INTEGER NOT NULL DEFAULT 0,
    resting INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE orders (
    number INTEGER PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, strategy_id TEXT NOT NULL,
    state TEXT NOT NULL, record BLOB NOT NULL,
    refused INTEGER NOT NULL DEFAULT 0, arrived_ns INTEGER NOT NULL DEFAULT 0);
CREATE INDEX orders_refused ON orders (arrived_ns) WHERE refused;
CREATE INDEX orders_alive ON orders (state) WHERE state <> 'done';
CREATE INDEX orders_of_strategy ON orders (strategy_id, number);
CREATE INDEX orders_by_arrival ON orders (arrived_ns);
CREATE TABLE events (
    topic TEXT NOT NULL, seq INTEGER NOT NULL, at_ns INTEGER NOT NULL, fields BLOB NOT NULL, previous INTEGER,
    PRIMARY KEY (topic, seq)) WITHOUT ROWID;
CREATE INDEX events_by_age ON events (at_ns);
CREATE TABLE seqs (topic TEXT PRIMARY KEY, seq INTEGER NOT NULL, kept INTEGER) WITHOUT ROWID;
CREATE TABLE requests (
    request_id TEXT PRIMARY KEY, answer BLOB NOT NULL, at_ns INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (at_ns);
CREATE TABLE refused_marks (strategy_id TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE remembered_cancels (
    strategy_id TEXT NOT NULL, order_id TEXT NOT NULL, until_ns INTEGER NOT NULL,
    PRIMARY KEY (strategy_id, order_id)) WITHOUT ROWID;
CREATE TABLE executions (
    order_id TEXT NOT NULL, kind TEXT NOT NULL, exec_id TEXT NOT NULL,
    PRIMARY KEY (order_id, kind, exec_id)) WITHOUT ROWID;
CREATE TABLE heartbeats (
    strategy_id TEXT PRIMARY KEY, cancel_after_ms INTEGER NOT NULL, silent INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE last_failures (scope TEXT PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID;
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
    # Which circuits belong to strategies that ever had an order pass, and which orders never passed, the orders say.
    2: f"""
ALTER TABLE circuits ADD COLUMN passed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE circuits ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
ALTER TABLE circuits ADD COLUMN resting INTEGER NOT NULL DEFAULT 0;
UPDATE circuits SET
    passed = EXISTS (
        SELECT 1 FROM orders WHERE strategy_id = substr(circuits.scope, length('strategy:') + 1)
        AND json_extract(CAST(record AS TEXT), '$.passed_wall_ns') > 0),
    by_hand = coalesce((
        SELECT op = 'trip' FROM decisions WHERE decisions.scope = circuits.scope AND op IN ('trip', 'reset')
        ORDER BY number DESC LIMIT 1), 0);
ALTER TABLE orders ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN arrived_ns INTEGER NOT NULL DEFAULT 0;
UPDATE orders SET
    arrived_ns = coalesce(json_extract(CAST(record AS TEXT), '$.first_event.at_ns'), 0),
    refused = state = 'done' AND json_extract(CAST(record AS TEXT), '$.passed_wall_ns') = 0
        AND json_extract(CAST(record AS TEXT), '$.end.kind') IN ('blocked', 'expired', 'invalid');
CREATE INDEX orders_refused ON orders (arrived_ns) WHERE refused;
CREATE INDEX orders_by_arrival ON orders (arrived_ns);
ALTER TABLE events ADD COLUMN previous INTEGER;
INSERT OR REPLACE INTO meta SELECT '{EVENTS_BYTES}', total(length(fields) + {EVENT_OVERHEAD}) FROM events;
ALTER TABLE seqs ADD COLUMN kept INTEGER;
ALTER TABLE requests ADD COLUMN at_ns INTEGER NOT NULL DEFAULT 0;
UPDATE requests SET at_ns = CAST(strftime('%s', 'now') AS INTEGER) * 1000000000;
CREATE INDEX requests_by_age ON requests (at_ns);
CREATE TABLE refused_marks (strategy_id TEXT PRIMARY KEY, at_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE last_failures (scope TEXT PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID;
""",  # noqa: S608 - the names are fixed
}

TABLES = Schema(SCHEMA, VERSION, MIGRATIONS)
