"""IBKR's own client, of 2020 (`ibapi`) and of today (`nautilus-ibapi`): requests here, callbacks in a thread."""

# ruff: noqa: ARG002, N802, N803 - a callback has the client's name and arguments, used or not

# IB's own client is in an environment of its own, which mypy does not see.
# mypy: disable-error-code="import-not-found, misc"
from __future__ import annotations

import importlib
import inspect
import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.decoder import Decoder
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.server_versions import MAX_CLIENT_VER, MIN_CLIENT_VER
from ibapi.wrapper import EWrapper

from tests.clients.driver import STEP_SECS, Details, FillSeen, Made, OrderSeen, Preview, TimeoutOfStep, Wish

# The reader looks every second whether it is still wanted.
READER_SECS = 3.0
# The client's word for "no value" in a floating-point field is the largest one there is.
UNSET_ABOVE = 1e300
# Where the client keeps what the script may ask for; OrderCancel is only in the newer version.
MODULES = {
    "ComboLeg": "ibapi.contract",
    "OrderCancel": "ibapi.order_cancel",
    "PriceCondition": "ibapi.order_condition",
    "TagValue": "ibapi.tag_value",
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the two versions differ."""

    error_code_at: int  # index of the code among the arguments of error()
    commission_callback: str
    commission_field: str
    number: Callable[[int], object]  # what a quantity is given as
    cancel_options: bool  # whether cancelling takes an object with further options
    bytes_fields: bool  # whether the decoder is handed the message id apart from the other fields
    corrections: dict[str, object]  # defaults of its Order that no gateway accepts any more


IBAPI_9 = Dialect(1, "commissionReport", "commission", float, False, False, {"eTradeOnly": "", "firmQuoteOnly": ""})
IBAPI_10 = Dialect(2, "commissionAndFeesReport", "commissionAndFees", Decimal, True, True, {})


class App(EWrapper, EClient):
    """The client as its documentation says to use it: wrapper and client in one, `run` in a thread."""

    def __init__(self, dialect: Dialect) -> None:
        EWrapper.__init__(self)
        EClient.__init__(self, self)
        self.changed = threading.Condition()
        self.crash: str = ""
        self.next_id = 0
        self.account_names: list[str] = []
        self.server_time = 0.0
        self.ended: set[tuple[str, int]] = set()
        self.values: dict[str, str] = {}
        self.summary: dict[str, str] = {}
        self.held: dict[str, float] = {}
        self.details: list[Details] = []
        self.orders: dict[int, OrderSeen] = {}
        self.told_open: list[int] = []
        self.told: dict[int, Any] = {}
        self.completed: list[OrderSeen] = []
        self.fills: dict[str, FillSeen] = {}
        self.commissions: dict[str, float] = {}
        self.codes: dict[int, list[int]] = defaultdict(list)
        self.previews: dict[int, Preview] = {}
        self._dialect = dialect
        setattr(self, dialect.commission_callback, self._on_commission)

    def note(self) -> None:
        """Wake whoever waits for something to change."""
        with self.changed:
            self.changed.notify_all()

    def _end(self, what: str, request_id: int = 0) -> None:
        self.ended.add((what, request_id))
        self.note()

    # The names and signatures below are the client's.

    def error(self, reqId: int, *arguments: Any) -> None:
        self.codes[reqId].append(arguments[self._dialect.error_code_at - 1])
        self.note()

    def nextValidId(self, orderId: int) -> None:
        self.next_id = orderId
        self.note()

    def managedAccounts(self, accountsList: str) -> None:
        self.account_names = [name for name in accountsList.split(",") if name]
        self.note()

    def currentTime(self, time: int) -> None:
        self.server_time = float(time)
        self._end("currentTime")

    def updateAccountValue(self, key: str, val: str, currency: str, accountName: str) -> None:
        self.values[key] = val

    def accountDownloadEnd(self, accountName: str) -> None:
        self._end("account")

    def accountSummary(self, reqId: int, account: str, tag: str, value: str, currency: str) -> None:
        self.summary[tag] = value

    def accountSummaryEnd(self, reqId: int) -> None:
        self._end("summary", reqId)

    def position(self, account: str, contract: Contract, position: Any, avgCost: float) -> None:
        self.held[contract.symbol] = float(position)

    def positionEnd(self) -> None:
        self._end("positions")

    def contractDetails(self, reqId: int, contractDetails: Any) -> None:
        contract = contractDetails.contract
        self.details.append(
            Details(
                con_id=contract.conId,
                symbol=contract.symbol,
                exchange=contract.exchange,
                currency=contract.currency,
                min_tick=contractDetails.minTick,
                long_name=contractDetails.longName,
            )
        )

    def contractDetailsEnd(self, reqId: int) -> None:
        self._end("details", reqId)

    def openOrder(self, orderId: int, contract: Contract, order: Any, orderState: Any) -> None:
        if order.whatIf:
            self.previews[orderId] = Preview(
                init_margin_before=float(orderState.initMarginBefore),
                init_margin_change=float(orderState.initMarginChange),
                init_margin_after=float(orderState.initMarginAfter),
                commission=float(getattr(orderState, self._dialect.commission_field)),
            )
        else:
            seen = self.orders.setdefault(orderId, OrderSeen(order_id=orderId))
            seen.perm_id = order.permId
            seen.order_ref = order.orderRef
            seen.limit_price = _price(order.lmtPrice)
            seen.quantity = float(order.totalQuantity)
            self.told_open.append(orderId)
            self.told[orderId] = order
        self.note()

    def openOrderEnd(self) -> None:
        self._end("open orders")

    def orderStatus(self, orderId: int, status: str, filled: Any, remaining: Any, *_: object) -> None:
        seen = self.orders.setdefault(orderId, OrderSeen(order_id=orderId))
        seen.statuses.append(status)
        seen.filled, seen.remaining = float(filled), float(remaining)
        self.note()

    def completedOrder(self, contract: Contract, order: Any, orderState: Any) -> None:
        self.completed.append(
            OrderSeen(
                perm_id=order.permId,
                order_ref=order.orderRef,
                limit_price=_price(order.lmtPrice),
                quantity=float(order.totalQuantity),
                statuses=[orderState.status],
                filled=float(order.filledQuantity),
            )
        )

    def completedOrdersEnd(self) -> None:
        self._end("completed orders")

    def execDetails(self, reqId: int, contract: Contract, execution: Any) -> None:
        fill = FillSeen(
            exec_id=execution.execId,
            order_id=execution.orderId,
            perm_id=execution.permId,
            order_ref=execution.orderRef,
            side=execution.side,
            shares=float(execution.shares),
            price=execution.price,
            cumulative=float(execution.cumQty),
            commission=self.commissions.get(execution.execId),
        )
        known = self.fills.setdefault(fill.exec_id, fill)
        if known is fill and fill.order_id in self.orders:
            self.orders[fill.order_id].fills.append(fill)
        self.note()

    def execDetailsEnd(self, reqId: int) -> None:
        self._end("executions", reqId)

    def _on_commission(self, report: Any) -> None:
        commission = getattr(report, self._dialect.commission_field)
        self.commissions[report.execId] = commission
        if report.execId in self.fills:
            self.fills[report.execId].commission = commission
        self.note()


class CallbackDriver:
    """Drives the client from one thread while its own reports in another.

    Args:
        package: What was installed, for its version.
        dialect: Which of the two versions it is.
    """

    def __init__(self, package: str, dialect: Dialect) -> None:
        self.client_version = version(package)
        self.offers = (MIN_CLIENT_VER, MAX_CLIENT_VER)
        self._dialect = dialect
        self._app = App(dialect)
        self._thread: threading.Thread | None = None
        self._request_id = 1_000_000  # far from order ids, since errors name either
        self._lost: list[str] = []
        handler = Complaints(self._lost)
        logging.getLogger("ibapi").addHandler(handler)
        logging.getLogger("ibapi").propagate = False

    def connect(self, port: int, client_id: int) -> None:
        self._app = app = App(self._dialect)
        app.connect("127.0.0.1", port, client_id)
        self._thread = threading.Thread(target=self._run, args=(app,), daemon=True)
        self._thread.start()
        self.wait("nextValidId", lambda: app.next_id and app.account_names)

    def _run(self, app: App) -> None:
        try:
            app.run()
        except Exception as error:  # noqa: BLE001 - the thread would die silently
            app.crash = f"the client's message loop ended: {error!r}"
            self._lost.append(app.crash)
            app.note()

    def disconnect(self) -> None:
        reader, thread = self._app.reader, self._thread
        self._app.disconnect()
        # While its reader still waits on the socket, closing it does not reach the gateway.
        for each in (reader, thread):
            if each is not None:
                each.join(READER_SECS)
                if each.is_alive():
                    raise TimeoutOfStep(f"not within {READER_SECS:g} s: the client's threads end")

    def server_version(self) -> int:
        return int(self._app.serverVersion())

    def accounts(self) -> list[str]:
        return self._app.account_names

    def sync(self) -> None:
        self.open_orders()
        self.completed_orders()
        self.executions()
        self.positions()
        self.account_values()

    def contract_details(self, symbol: str) -> list[Details]:
        request_id = self._next_request()
        self._app.details.clear()
        self._app.reqContractDetails(request_id, self._stock(symbol))
        self._until_end("details", request_id)
        return self._app.details

    def _next_request(self) -> int:
        self._request_id += 1
        return self._request_id

    def _stock(self, symbol: str) -> Contract:
        contract = Contract()
        contract.symbol = symbol
        contract.secType = "STK"
        contract.exchange = "SMART"
        contract.currency = "USD"
        return contract

    def _until_end(self, what: str, request_id: int = 0) -> None:
        self.wait(f"the end of {what}", lambda: (what, request_id) in self._app.ended)
        self._app.ended.discard((what, request_id))

    def current_time(self) -> float:
        self._app.reqCurrentTime()
        self._until_end("currentTime")
        return self._app.server_time

    def account_values(self) -> dict[str, str]:
        self._app.reqAccountUpdates(True, "")
        self._until_end("account")
        return self._app.values

    def account_summary(self) -> dict[str, str]:
        request_id = self._next_request()
        self._app.reqAccountSummary(request_id, "All", "NetLiquidation,TotalCashValue")
        self._until_end("summary", request_id)
        self._app.cancelAccountSummary(request_id)
        return self._app.summary

    def positions(self) -> dict[str, float]:
        self._app.held.clear()
        self._app.reqPositions()
        self._until_end("positions")
        return self._app.held

    def place(self, wish: Wish, order_id: int | None = None) -> int:
        if order_id is None:
            order_id = self._app.next_id
            self._app.next_id += 1
        # Known from the moment it is placed, so that a fill finds it whatever comes first.
        self._app.orders.setdefault(order_id, OrderSeen(order_id=order_id))
        contract = self._stock(wish.symbol)
        if wish.legs:
            contract.secType = "BAG"
            contract.comboLegs = _made(wish.legs)
        self._app.placeOrder(order_id, contract, self._order_for(wish))
        return order_id

    def _order_for(self, wish: Wish) -> Order:
        order = Order()
        order.action = wish.action
        order.totalQuantity = self._dialect.number(wish.quantity)
        order.orderType = "MKT" if wish.limit_price is None else "LMT"
        if wish.limit_price is not None:
            order.lmtPrice = wish.limit_price
        order.orderRef = wish.order_ref
        for name, value in {**self._dialect.corrections, **wish.extras}.items():
            setattr(order, name, _made(value))
        return order

    def change(self, order_id: int, wish: Wish) -> None:
        self._app.placeOrder(order_id, self._stock(wish.symbol), self._order_for(wish))
        self.wait(
            "the change is acknowledged", lambda: self._app.orders[order_id].limit_price == (wish.limit_price or 0.0)
        )

    def cancel(self, order_id: int) -> None:
        self._app.cancelOrder(order_id, *self._cancel_options())

    def cancel_everything(self) -> None:
        self._app.reqGlobalCancel(*self._cancel_options())

    def _cancel_options(self) -> tuple[object, ...]:
        return (_made(Made("OrderCancel", {})),) if self._dialect.cancel_options else ()

    def preview(self, wish: Wish) -> Preview:
        order = self._order_for(wish)
        order.whatIf = True
        order_id = self._app.next_id
        self._app.next_id += 1
        self._app.placeOrder(order_id, self._stock(wish.symbol), order)
        self.wait("the preview", lambda: order_id in self._app.previews)
        return self._app.previews[order_id]

    def order(self, order_id: int) -> OrderSeen:
        return self._app.orders[order_id]

    def told(self, order_id: int, name: str) -> object:
        return getattr(self._app.told[order_id], name)

    def codes(self, order_id: int) -> list[int]:
        return self._app.codes[order_id]

    def open_orders(self) -> list[OrderSeen]:
        self._app.told_open.clear()
        self._app.reqOpenOrders()
        self._until_end("open orders")
        return [self._app.orders[order_id] for order_id in self._app.told_open]

    def completed_orders(self) -> list[OrderSeen]:
        self._app.completed.clear()
        self._app.reqCompletedOrders(False)
        self._until_end("completed orders")
        return self._app.completed

    def executions(self) -> list[FillSeen]:
        request_id = self._next_request()
        self._app.reqExecutions(request_id, ExecutionFilter())
        self._until_end("executions", request_id)
        return list(self._app.fills.values())

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        app = self._app
        with app.changed:
            app.changed.wait_for(lambda: condition() or app.crash, STEP_SECS)
        if not condition():
            raise TimeoutOfStep(app.crash or f"not within {STEP_SECS:g} s: {what}")

    def decode(self, version: int, fields: list[str]) -> list[tuple[str, tuple[object, ...]]]:
        calls = Calls()
        texts = tuple(text.encode() for text in fields)
        decoder = Decoder(calls, version)
        if self._dialect.bytes_fields:
            decoder.interpret(texts[1:], int(texts[0]))
        else:
            decoder.interpret(texts)
        return calls.made

    def complaints(self) -> list[str]:
        return self._lost


class Calls(EWrapper):
    """A wrapper that notes whatever the decoder calls."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[str, tuple[object, ...]]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name == "made":
            return super().__getattribute__(name)
        return lambda *arguments: self.made.append((name, arguments))


class Complaints(logging.Handler):
    """Collects what the client logs as an error: a message that it drops is one."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        cause = repr(record.exc_info[1]) if record.exc_info else ""
        self._texts.append(f"{record.getMessage()[:300]} {cause}".strip())


def _made(value: Any) -> Any:
    """Make what the script describes, also inside of lists."""
    if isinstance(value, Made):
        kind = getattr(importlib.import_module(MODULES[value.kind]), value.kind)
        accepted = inspect.signature(kind).parameters
        made = kind(**{name: given for name, given in value.values.items() if name in accepted})
        for name in value.values.keys() - accepted:
            setattr(made, name, value.values[name])
        return made
    return [_made(each) for each in value] if isinstance(value, list | tuple) else value


def _price(value: float) -> float:
    return 0.0 if value > UNSET_ABOVE else value
