"""Reading back what the executor's journal has."""

from __future__ import annotations

from typing import Any

import msgspec

from services.executor.account.position_breaks import Baseline, LegFill
from services.executor.core import JournalUnread
from services.executor.global_cancel import OwedCancel
from services.executor.orders.records import Execution, OrderRecord
from services.gateway.reports import UNNAMED, Traits
from services.runtime import sqlite
from services.runtime.sqlite import Database, JournalError
from services.wire.standing import ForeignOrder

# The columns that `Traits` are read from, and where they stand.
_TRAITS = "sec_type, currency, expiry, strike, option_right"
_NAMED = "LEFT JOIN contracts USING (con_id)"


class ReadError(sqlite.ReadError, JournalUnread):
    """The disk does not tell."""


class History:
    """What was committed. Each question may raise a `ReadError`: the disk does not tell."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def account(self) -> str:
        """The account whose orders are here; empty before the first connection."""
        return self._meta("account")

    @property
    def highest_ib_order_id(self) -> int:
        """The highest of IB's order ids ever used or promised; they never go back."""
        return int(self._meta("highest_ib_order_id"))

    def fences(self) -> dict[str, int]:
        """The highest value of the fence that was taken, of each scope."""
        return dict(self._read("SELECT scope, fence FROM fences"))

    def owed_cancel(self) -> OwedCancel | None:
        """The global cancel that is owed."""
        return msgspec.json.decode(self._meta("owed_cancel", "null"), type=OwedCancel | None)

    def open_orders(self) -> list[OrderRecord]:
        """The orders that have not ended, or of a change of which something is still to be heard."""
        rows = self._read("SELECT record FROM orders WHERE ended = 0 ORDER BY ib_order_id")
        return [read_order(row[0]) for row in rows]

    def find_order(self, *, order_id: str = "", perm_id: int = 0, ib_order_id: int = 0) -> OrderRecord | None:
        """The order with this id; one of the three is given."""
        if order_id:
            rows = self._read("SELECT record FROM orders WHERE order_id = ?", (order_id,))
        elif perm_id:
            rows = self._read("SELECT record FROM orders WHERE perm_id = ? AND perm_id != 0", (perm_id,))
        else:
            rows = self._read("SELECT record FROM orders WHERE ib_order_id = ?", (ib_order_id,))
        return read_order(rows[0][0]) if rows else None

    def find_executions(self, order_id: str) -> list[Execution]:
        """The executions of this order, corrected ones too."""
        return [_execution(row) for row in self._read("SELECT * FROM executions WHERE order_id = ?", (order_id,))]

    def find_execution(self, exec_id: str) -> Execution | None:
        """The execution with this id."""
        rows = self._read("SELECT * FROM executions WHERE exec_id = ?", (exec_id,))
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
        return bool(self._read("SELECT 1 FROM accepted WHERE number = ?", (number,)))

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
        rows = self._read("SELECT base, con_id, symbol, shares FROM fills WHERE base = ?", (base,))
        return LegFill(*rows[0]) if rows else None

    def feedback_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Journaled feedback with a number above `seq`, in order."""
        rows = self._read("SELECT seq, payload FROM feedback WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit))
        return [(row[0], row[1]) for row in rows]

    def feedback_of(self, order_id: str) -> list[tuple[int, bytes]]:
        """Journaled feedback about one order, in order."""
        rows = self._read("SELECT seq, payload FROM feedback WHERE order_id = ? ORDER BY seq", (order_id,))
        return [(row[0], row[1]) for row in rows]

    def feedback_range(self) -> tuple[int, int]:
        """The first number that is still here, and the last one given. Without any: one past the last, and it."""
        last = int((self._read("SELECT seq FROM sqlite_sequence WHERE name = 'feedback'") or [(0,)])[0][0])
        first = self._read("SELECT min(seq) FROM feedback")[0][0]
        return (int(first) if first is not None else last + 1, last)

    def _read(self, question: str, about: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.read(question, about)
        except sqlite.ReadError as error:
            raise ReadError(str(error)) from error

    def _meta(self, key: str, default: str | None = None) -> str:
        value = self._db.meta(key)
        if value is None:
            value = default
        if value is None:
            raise JournalError(f"{self._db.where} has no {key}: it is no journal of an executor, or it is damaged.")
        return str(value)


def read_order(blob: bytes) -> OrderRecord:
    """Read an order as it stands in the journal.

    Raises:
        ReadError: it is damaged.
    """
    try:
        return msgspec.json.decode(blob, type=OrderRecord)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise ReadError(f"an order in the executor's journal is damaged: {error}") from error


def _traits(said: list[Any]) -> Traits:
    return Traits(*said) if said[0] is not None else UNNAMED


def _execution(row: tuple[Any, ...]) -> Execution:
    return Execution(row[0], row[1], row[2], row[3], bool(row[4]), bool(row[5]))
