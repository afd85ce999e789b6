"""The tables of the executor's journal, and how those of earlier versions become them."""

from __future__ import annotations

from services.runtime.sqlite import Connection, Migration, Schema, Torn, user_version

VERSION = 3

SCHEMA = """
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


def read_meta(database: Connection, key: str) -> str:
    """A value that a journal has from its beginning.

    Raises:
        Torn: it is not there.
    """
    row = database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise Torn(f"it has no {key}")
    return str(row[0])


def _version(database: Connection) -> int:
    """The first version has its number in `meta` alone."""
    return user_version(database) or int(read_meta(database, "schema_version"))


TABLES = Schema(SCHEMA + _BESIDE, VERSION, MIGRATIONS, read_version=_version)
