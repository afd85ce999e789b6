"""ib_insync and ib_async: one is the other's continuation, and both have the same names."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

from tests.clients.driver import STEP_SECS, Details, FillSeen, Made, OrderSeen, Preview, TimeoutOfStep, Wish

LOOK_AGAIN_SECS = 0.02


class AsyncioDriver:
    """Drives the library's blocking interface.

    Args:
        module: What to import.
        package: What was installed, for its version.
    """

    def __init__(self, module: str, package: str) -> None:
        # eventkit asks for the thread's loop at import, and Python no longer makes one by itself.
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._library: Any = importlib.import_module(module)
        self.client_version = version(package)
        client = self._library.Client
        self.offers = (client.MinClientVersion, client.MaxClientVersion)
        self._complaints = Complaints(module)
        self._ib: Any = None
        self._codes: dict[int, list[int]] = defaultdict(list)

    def connect(self, port: int, client_id: int) -> None:
        # A new object each time: the old one keeps the trades of its connection after disconnect().
        self._ib = self._library.IB()
        self._ib.RequestTimeout = STEP_SECS
        self._codes.clear()
        self._ib.errorEvent += self._on_error
        self._ib.connect("127.0.0.1", port, clientId=client_id, timeout=STEP_SECS)

    def _on_error(self, request_id: int, code: int, *_: object) -> None:
        self._codes[request_id].append(code)

    def disconnect(self) -> None:
        # It closes its half of the connection before it returns; nothing else frees the client id.
        self._ib.disconnect()

    def server_version(self) -> int:
        return int(self._ib.client.serverVersion())

    def accounts(self) -> list[str]:
        return list(self._ib.managedAccounts())

    def sync(self) -> None:
        # connect() has done it, and has logged an error for every answer that did not end.
        late = [text for text in self._complaints.texts if "timed out" in text]
        if late:
            raise TimeoutOfStep("; ".join(late))

    def contract_details(self, symbol: str) -> list[Details]:
        return [
            Details(
                con_id=found.contract.conId,
                symbol=found.contract.symbol,
                exchange=found.contract.exchange,
                currency=found.contract.currency,
                min_tick=found.minTick,
                long_name=found.longName,
            )
            for found in self._ib.reqContractDetails(self._stock(symbol))
        ]

    def _stock(self, symbol: str) -> Any:
        return self._library.Stock(symbol, "SMART", "USD")

    def current_time(self) -> float:
        return float(self._ib.reqCurrentTime().timestamp())

    def account_values(self) -> dict[str, str]:
        return {value.tag: value.value for value in self._ib.accountValues()}

    def account_summary(self) -> dict[str, str]:
        wanted = ("NetLiquidation", "TotalCashValue")
        return {value.tag: value.value for value in self._ib.accountSummary() if value.tag in wanted}

    def positions(self) -> dict[str, float]:
        return {held.contract.symbol: held.position for held in self._ib.reqPositions()}

    def place(self, wish: Wish, order_id: int | None = None) -> int:
        order = self._order_for(wish)
        if order_id is not None:
            order.orderId = order_id
        contract = self._stock(wish.symbol)
        if wish.legs:
            contract = self._library.Bag(
                symbol=wish.symbol, exchange="SMART", currency="USD", comboLegs=self._made(wish.legs)
            )
        return int(self._ib.placeOrder(contract, order).order.orderId)

    def _order_for(self, wish: Wish) -> Any:
        extras = {name: self._made(value) for name, value in wish.extras.items()}
        common = {"action": wish.action, "totalQuantity": wish.quantity, "orderRef": wish.order_ref}
        if wish.limit_price is None:
            return self._library.Order(**{**common, "orderType": "MKT", **extras})
        return self._library.Order(**{**common, "orderType": "LMT", "lmtPrice": wish.limit_price, **extras})

    def _made(self, value: Any) -> Any:
        """Make what the script describes, also inside of lists."""
        if isinstance(value, Made):
            return getattr(self._library, value.kind)(**value.values)
        return [self._made(each) for each in value] if isinstance(value, list | tuple) else value

    def change(self, order_id: int, wish: Wish) -> None:
        trade = self._trade(order_id)
        trade.order.lmtPrice = wish.limit_price
        trade.order.totalQuantity = wish.quantity
        self._ib.placeOrder(trade.contract, trade.order)
        # The library has written "Modify" into the trade's log; the gateway's answer is the next entry.
        self.wait("the change is acknowledged", lambda: trade.log[-1].message != "Modify")

    def cancel(self, order_id: int) -> None:
        trade = next((found for found in self._ib.trades() if found.order.orderId == order_id), None)
        if trade is not None and not trade.isDone():
            self._ib.cancelOrder(trade.order)
        else:
            # Above this level the library refuses to ask what it thinks is pointless.
            self._ib.client.cancelOrder(order_id, "")

    def cancel_everything(self) -> None:
        self._ib.reqGlobalCancel()

    def preview(self, wish: Wish) -> Preview:
        state = self._ib.whatIfOrder(self._stock(wish.symbol), self._order_for(wish))
        return Preview(
            init_margin_before=float(state.initMarginBefore),
            init_margin_change=float(state.initMarginChange),
            init_margin_after=float(state.initMarginAfter),
            commission=float(state.commission),
        )

    def order(self, order_id: int) -> OrderSeen:
        return _order_seen(self._trade(order_id))

    def _trade(self, order_id: int) -> Any:
        return next(trade for trade in self._ib.trades() if trade.order.orderId == order_id)

    def told(self, order_id: int, name: str) -> object:
        return getattr(self._trade(order_id).order, name)

    def codes(self, order_id: int) -> list[int]:
        return self._codes[order_id]

    def open_orders(self) -> list[OrderSeen]:
        # Not openTrades(): for ib_insync an order is open as long as it is Inactive.
        return [_order_seen(trade) for trade in self._ib.reqOpenOrders()]

    def completed_orders(self) -> list[OrderSeen]:
        return [_order_seen(trade) for trade in self._ib.reqCompletedOrders(apiOnly=False)]

    def executions(self) -> list[FillSeen]:
        self._ib.reqExecutions()
        return [_fill_seen(fill) for fill in self._ib.fills()]

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        end = time.monotonic() + STEP_SECS
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutOfStep(f"not within {STEP_SECS:g} s: {what}")
            # An update that comes while the library still prepares to wait for it goes unnoticed, hence no long waits.
            self._ib.waitOnUpdate(min(left, LOOK_AGAIN_SECS))

    def decode(self, version: int, fields: list[str]) -> list[tuple[str, tuple[object, ...]]]:
        calls = Calls()
        self._library.decoder.Decoder(calls, version).interpret(fields)
        return calls.made

    def complaints(self) -> list[str]:
        return self._complaints.texts


class Calls:
    """Takes the place of a wrapper: notes whatever the decoder calls."""

    def __init__(self) -> None:
        self.made: list[tuple[str, tuple[object, ...]]] = []
        # What the decoder reads, beside calling.
        self.ib = SimpleNamespace(TimezoneTWS="")
        self.defaultTimezone = UTC

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: self.made.append((name, (*arguments, *named.values())))


class Complaints(logging.Handler):
    """Collects what a library logs as an exception, and what its start-up sync misses.

    An ordinary rejection is logged as an error too, but without a traceback.
    """

    def __init__(self, logger_name: str) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        logging.getLogger(logger_name).addHandler(self)
        # The library logs its errors for people as well; the table is enough here.
        logging.getLogger(logger_name).propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what means that a message was lost."""
        text = record.getMessage()
        if record.exc_info or "timed out" in text:
            cause = record.exc_info[1] if record.exc_info else ""
            self.texts.append(f"{text[:300]} {cause!r}")


def _order_seen(trade: Any) -> OrderSeen:
    order, status = trade.order, trade.orderStatus
    statuses = [entry.status for entry in trade.log]
    if not statuses or statuses[-1] != status.status:
        statuses.append(status.status)
    # A completed order is told without its size; what was filled stands in a field of its own.
    filled = order.filledQuantity if trade.isDone() and not status.filled and order.filledQuantity < 1e9 else None
    return OrderSeen(
        order_id=order.orderId,
        perm_id=order.permId,
        order_ref=order.orderRef,
        limit_price=float(order.lmtPrice or 0),
        quantity=order.totalQuantity,
        statuses=statuses,
        filled=status.filled if filled is None else filled,
        remaining=status.remaining,
        fills=[_fill_seen(fill) for fill in trade.fills],
    )


def _fill_seen(fill: Any) -> FillSeen:
    execution, report = fill.execution, fill.commissionReport
    return FillSeen(
        exec_id=execution.execId,
        order_id=execution.orderId,
        perm_id=execution.permId,
        order_ref=execution.orderRef,
        side=execution.side,
        shares=execution.shares,
        price=execution.price,
        cumulative=execution.cumQty,
        commission=report.commission if report.execId else None,
    )
