"""The state file: what the book must still know after the process was killed.

A journal of JSON lines: whatever has changed at once is appended as one line, a list of rows, before any client is
told of it, so that a kill -9 loses nothing that was told. At the start the last row about a thing counts, and the file
is written anew, atomically. It guards against the death of the process, not of the machine: nothing is synced.
Of orders that are over, the newest stay: who trades for days must not wait for all of them at the next start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from orderfuse.home import why
from services.paper.market.account import Position
from services.paper.market.exchange import Exchange
from services.paper.market.instruments import Instrument
from services.paper.market.orders import LIVE, Execution, Order, Status, Ticket
from services.runtime.crash_points import reach

FORMAT = "orderfuse paper state 2"
# Beyond this, and twice what was left the last time, the journal is written anew.
MIN_REWRITE_BYTES = 64 << 20
# So many orders that are over are kept: writing them anew takes well below the 3 s after which a gateway is silent.
KEEP_DONE = 5_000
_ORDER_FIELDS = (
    "perm_id", "sequence", "filled", "paid", "last_price", "triggered", "held", "expires_at", "done_at",
    "done_text", "commission", "slice_size", "trail_stop",
)  # fmt: skip
# What files of earlier versions do not say.
_LATER_ORDER_FIELDS = ("twin", "shown", "why_held", "vanished")
_EXECUTION_FIELDS = (
    "exec_id", "at", "shares", "price", "cumulative", "average_price", "commission", "realized_pnl",
)  # fmt: skip

# Whoever starts anew has journals that know what the old book held.
_ANEW = "move it away to start anew; what the journals know of it then shows as drift"

_Row = dict[str, Any]


class StateError(Exception):
    """A state file that cannot be used. The text says where and what to do."""


class StateFile:
    """Keeps an exchange's state in a file.

    Args:
        path: The file; made if there is none.
        exchange: Whose state it is.
    """

    def __init__(self, path: Path, exchange: Exchange) -> None:
        self._path = path
        self._exchange = exchange
        self._file: int | None = None
        self._size = self._size_when_new = 0
        self._torn = False
        self._executions_saved = 0
        self._ids_saved: dict[int, int] = {}

    def load(self, now: float) -> int:
        """Fill the exchange from the file, put its live orders to work, and keep the file from now on.

        Args:
            now: Wall-clock seconds.

        Returns:
            How many orders there were.

        Raises:
            StateError: The file is no state file, or cannot be read or written.
        """
        try:
            return self._restore_from(self._read(), now)
        except OSError as error:
            raise StateError(
                f"{self._path} (paper.state_file) cannot be used: {why(error)}; make room on its disk and see that you "
                f"may read and write there, or {_ANEW}"
            ) from error

    def _restore_from(self, rows: list[_Row], now: float) -> int:
        try:
            _restore(self._exchange, rows)
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{self._path} says what cannot be ({error!r}); {_ANEW}") from error
        book = self._exchange.book
        book.changed = {}
        for order in [order for order in book.live.values() if not order.held and order.shown is None]:
            # What the price has reached meanwhile is filled now, and nobody is there to be told.
            self._exchange.activate(order, now)
        self.rewrite()
        return len({row["perm_id"] for row in rows if row["is"] == "order"})

    def save(self) -> None:
        """Append what has changed since the last time.

        Raises:
            OSError: It cannot be written. Then nobody may be told of it; the next call tries again.
        """
        if self._file is None:
            return
        if self._torn:
            self.rewrite()
            return
        rows = list(self._changes())
        if not rows:
            return
        data = _encoded(rows)
        # A full disk may leave half a line; nothing may follow it.
        self._torn = True
        file = self._file
        reach("paper.state.half_line", lambda: _write_all(file, data[: len(data) // 2]))
        _write_all(file, data)
        self._torn = False
        reach("paper.state.saved")
        self._size += len(data)
        if self._size > max(MIN_REWRITE_BYTES, 2 * self._size_when_new):
            self.rewrite()

    def rewrite(self) -> None:
        """Replace the file by one that has everything once."""
        exchange = self._exchange
        exchange.book.changed = {}
        self._executions_saved = exchange.execution_count
        self._ids_saved = exchange.book.highest_ids()
        live = list(exchange.book.live.values())
        orders = live + exchange.book.all_orders()[len(live) :][-KEEP_DONE:]
        kept = {order.perm_id for order in orders}
        data = _encoded(
            [
                {"is": FORMAT},
                {"is": "ids", "highest": self._ids_saved},
                *(_order_row(exchange, order) for order in orders),
                *(_execution_row(each) for each in exchange.executions if each.order.perm_id in kept),
                _account_row(exchange),
            ]
        )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        _write_all(fd, data)
        os.fsync(fd)
        fresh.replace(self._path)
        if self._file is not None:
            os.close(self._file)
        self._file = fd
        self._size = self._size_when_new = len(data)
        self._torn = False

    def close(self) -> None:
        """Save and close the file."""
        self.save()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _changes(self) -> Iterator[_Row]:
        exchange = self._exchange
        ids = exchange.book.highest_ids()
        if ids != self._ids_saved:
            self._ids_saved = ids
            yield {"is": "ids", "highest": ids}
        changed, exchange.book.changed = exchange.book.changed, {}
        for order in (changed or {}).values():
            yield _order_row(exchange, order)
        fresh = exchange.execution_count - self._executions_saved
        if fresh:
            self._executions_saved = exchange.execution_count
            for execution in list(exchange.executions)[-fresh:]:
                yield _execution_row(execution)
            yield _account_row(exchange)

    def _read(self) -> list[_Row]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        # A process that was killed while it wrote has left half a line, of which nobody was told.
        texts = data[: data.rfind(b"\n") + 1].splitlines()
        try:
            rows = [row for text in texts for row in json.loads(text)]
            known = not rows or rows[0]["is"] == FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{self._path} is no state file ({error}); {_ANEW}") from error
        if not known or (data and not rows):
            raise StateError(f"{self._path} is no state file of this version; {_ANEW}")
        return rows


def _restore(exchange: Exchange, said: Iterable[_Row]) -> None:
    # Later rows replace earlier ones about the same thing.
    last: dict[str, dict[Any, _Row]] = {"order": {}, "execution": {}, "account": {}, "ids": {}}
    for row in said:
        if row["is"] in last:
            last[row["is"]][row.get("exec_id") or row.get("perm_id")] = row
    rows = sorted(
        (row for row in last["order"].values() if not row.get("vanished")), key=lambda row: int(row["sequence"])
    )
    done = [row["perm_id"] for row in rows if row["status"] not in LIVE]
    forgotten = set(done[:-KEEP_DONE])
    for row in (row for row in rows if row["perm_id"] not in forgotten):
        order = _order_from(exchange, row)
        exchange.market(order.instrument).walk.move_to(row["price"])
        exchange.book.restore(order)
    by_perm_id = {order.perm_id: order for order in exchange.book.all_orders()}
    for row in last["execution"].values():
        if row["perm_id"] in by_perm_id:
            exchange.executions.append(_execution_from(row, by_perm_id[row["perm_id"]]))
    for row in last["ids"].values():
        exchange.book.restore_ids({int(client): highest for client, highest in row["highest"].items()})
    for row in last["account"].values():
        _restore_account(exchange, row)


def _restore_account(exchange: Exchange, row: _Row) -> None:
    account = exchange.account
    account.cash, account.commissions = row["cash"], row["commissions"]
    for held in row["positions"]:
        instrument = exchange.catalogue.adopt(Instrument(**held["instrument"]))
        numbers = {name: value for name, value in held.items() if name != "instrument"}
        account.positions[instrument.con_id] = Position(instrument, **numbers)


def _order_row(exchange: Exchange, order: Order) -> _Row:
    return {
        "is": "order",
        **{name: getattr(order, name) for name in _ORDER_FIELDS + _LATER_ORDER_FIELDS},
        "status": order.status.value,
        "ticket": _shallow(order.ticket),
        "instrument": _shallow(order.instrument),
        "price": exchange.quote(order.instrument).last,
    }


def _order_from(exchange: Exchange, row: _Row) -> Order:
    ticket = Ticket(**row["ticket"])
    order = Order(
        ticket=ticket,
        instrument=exchange.catalogue.adopt(Instrument(**row["instrument"]), ticket.contract["conId"]),
        perm_id=row["perm_id"],
        sequence=row["sequence"],
        status=Status(row["status"]),
    )
    for name in _ORDER_FIELDS:
        setattr(order, name, row[name])
    for name in _LATER_ORDER_FIELDS:
        setattr(order, name, row.get(name, getattr(order, name)))
    order.shown = Status(order.shown) if order.shown else None
    return order


def _execution_row(execution: Execution) -> _Row:
    fields = {name: getattr(execution, name) for name in _EXECUTION_FIELDS}
    return {"is": "execution", "perm_id": execution.order.perm_id, **fields}


def _execution_from(row: _Row, order: Order) -> Execution:
    return Execution(order=order, **{name: row[name] for name in _EXECUTION_FIELDS})


def _account_row(exchange: Exchange) -> _Row:
    account = exchange.account
    positions = [asdict(position) for position in account.positions.values()]
    return {"is": "account", "cash": account.cash, "commissions": account.commissions, "positions": positions}


def _shallow(thing: Ticket | Instrument) -> _Row:
    """Its fields as they are; `asdict` would copy what stands in them, which takes most of the time."""
    return {each.name: getattr(thing, each.name) for each in fields(thing)}


def _encoded(rows: list[_Row]) -> bytes:
    """One line of the file: what has changed at once, such as a fill and its order. Torn, none of it holds."""
    return json.dumps(rows, separators=(",", ":")).encode() + b"\n"


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
