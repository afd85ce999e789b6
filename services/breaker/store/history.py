"""Reading back what the breaker's journal has, and what waits for the disk."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from services.breaker.backlog import Backlog
from services.breaker.batch import AnsweredRequest
from services.breaker.circuits.scopes import KeptCircuit, Unreadable
from services.breaker.orders import OrderRecord
from services.breaker.store.stored import CHANGING, Clocks, read_order, read_snapshot
from services.runtime import sqlite
from services.runtime.sqlite import Database, Values

# Behind which number the orders stand that arrived since then: the lowest of the first that did. So nobody who asks for
# the last hour has the orders of all years read. They are many, because an order that waited is numbered late.
SINCE = """SELECT min(number) - 1 FROM (
    SELECT number FROM orders WHERE arrived_ns >= ? ORDER BY arrived_ns LIMIT 10000)"""
EVENTS = (
    "SELECT seq, coalesce(previous, seq - 1), fields FROM events WHERE topic = :topic AND seq > :after ORDER BY seq"
)
# A list is read so many rows at a time, and nothing stays open in between: while somebody reads, the log cannot begin
# anew, and grows as long as some page is under way. 32 rows of 2 kB cost some 0.05 ms, of which asking anew is a tenth;
# all pages together have 2 ms of a turn.
CHUNK_ROWS = 32
# Large rows: as much as those. Each of 64 pages under way holds a chunk.
CHUNK_BYTES = 64 * 1024
# Above every number that SQLite gives.
NO_NUMBER = 2**63 - 1


class ReadError(sqlite.ReadError, Unreadable):
    """The disk does not tell."""


class History:
    """What was saved, and before it what waits to be."""

    def __init__(self, database: Database, backlog: Backlog, clocks: Clocks) -> None:
        self._db = database
        self._backlog = backlog
        self._clocks = clocks
        # The latest question of the stage's that the disk left open.
        self._unanswered: tuple[str, Values] | None = None

    def find_order(self, order_id: str) -> OrderRecord | None:
        """An order that was decided earlier.

        Raises:
            JournalError: the disk does not tell.
        """
        waiting = self._backlog.batch.orders.get(order_id)
        if waiting is not None:
            return waiting
        with self._reading():
            row = self._ask("SELECT record FROM orders WHERE order_id = ?", (order_id,))
            return read_order(row[0], self._clocks) if row else None

    def find_request(self, request_id: str) -> AnsweredRequest | None:
        """A cancel or replace that was answered earlier.

        Raises:
            JournalError: the disk does not tell.
        """
        waiting = self._backlog.batch.requests.get(request_id)
        if waiting is not None:
            return waiting
        with self._reading():
            row = self._ask("SELECT answer FROM requests WHERE request_id = ?", (request_id,))
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
            return self._ask(query, (order_id, kind, exec_id)) is not None

    def find_resting_circuit(self, scope: str) -> KeptCircuit | None:
        """The circuit of a strategy that gave its place to another.

        Raises:
            JournalError: the disk does not tell.
        """
        if scope in self._backlog.batch.circuits:
            waiting = self._backlog.batch.circuits[scope]
            return waiting if waiting is not None and waiting.resting else None
        with self._reading():
            row = self._ask("SELECT snapshot FROM circuits WHERE scope = ? AND resting", (scope,))
            return KeptCircuit(read_snapshot(row[0]), passed=True, resting=True) if row else None

    def _ask(self, query: str, values: Values) -> Any:
        try:
            return self._db.read_one(query, values)
        except sqlite.ReadError:
            self._unanswered = query, values
            raise

    @property
    def is_unanswered(self) -> bool:
        """Whether the disk did not tell something that the stage has asked, and nobody has asked once more since."""
        return self._unanswered is not None

    def ask_again(self) -> None:
        """Ask once more what the disk did not tell; that it takes what is written says nothing of that.

        Raises:
            JournalError: it does not tell yet.
        """
        if self._unanswered is not None:
            self._db.read_one(*self._unanswered)
            self._unanswered = None

    def newest_order(self) -> int:
        """The number of the order that was decided last; 0: there is none.

        Raises:
            JournalError: the disk does not tell.
        """
        with self._reading():
            return int(self._db.read_one("SELECT coalesce(max(number), 0) FROM orders")[0])

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
                (begin,) = self._db.read_one(SINCE, (since_ns,))
                if begin is None:
                    return
                values["after"] = max(after or 0, begin)
                fits += " AND arrived_ns >= :since"
            direction, end = ("DESC", "before") if after is None else ("ASC", "after")
            query = f"SELECT number, record FROM orders WHERE {fits} ORDER BY number {direction}"  # noqa: S608 - fixed
            while rows := self._chunk(query, values):
                for number, blob in rows:
                    yield number, read_order(blob, self._clocks)
                values[end] = rows[-1][0]

    def events(self, topic: str, after_seq: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Journaled events of one topic behind `after_seq`, in order, each with the number of the one before it.

        What was told between these two is not kept. Nothing is held open from one to the next, and what is told
        meanwhile comes too.

        Raises:
            JournalError: the disk does not tell.
        """
        with self._reading():
            while rows := self._chunk(EVENTS, {"topic": topic, "after": after_seq}):
                for _, previous, fields in rows:
                    yield previous, msgspec.json.decode(fields)
                after_seq = rows[-1][0]

    def _chunk(self, query: str, values: dict[str, Any]) -> list[Any]:
        return self._db.read_chunk(query, values, rows=CHUNK_ROWS, size=CHUNK_BYTES)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite.ReadError as error:
            raise ReadError(str(error)) from error
        except msgspec.MsgspecError as error:
            raise ReadError(f"{self._db.where} cannot be read: {error}") from error


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
