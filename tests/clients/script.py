"""The script: what a client does with a gateway, step by step, and what it must see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.clients.driver import Driver, FillSeen, Made, OrderSeen, Wish

CLIENT_ID = 7
ACCOUNT = "DU0000000"
# The paper gateway starts AAPL at 190 and lets no price go further than a third: these rest for ever.
FAR_BELOW, FURTHER_BELOW = 100.0, 90.5
# More than a million USD can carry, at any price.
TOO_MANY = 1_000_000
# More than is on offer at one price step, less than the account can carry.
LARGE = 1000
WORDS_FOR_REJECTED = ("Inactive", "Cancelled")

StepResult = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """An order whose placeOrder has parts that others do not have, so that all that follows stands elsewhere."""

    extras: dict[str, Any] = field(default_factory=dict)
    legs: tuple[Made, ...] = ()
    limit_price: float = FAR_BELOW
    since: int = 0  # server version
    refused: int = 0  # error code of a kind of order that the paper gateway does not trade


UNUSUAL = {
    "plain fields": Unusual(
        extras={
            "tif": "GTC",
            "outsideRth": True,
            "displaySize": 50,
            "discretionaryAmt": 0.25,
            "ocaGroup": "group",
            "ocaType": 2,
            "modelCode": "model",
            "minQty": 10,
        }
    ),
    "algo": Unusual(
        extras={
            "algoStrategy": "Adaptive",
            "algoParams": [Made("TagValue", {"tag": "adaptivePriority", "value": "Patient"})],
        }
    ),
    "condition": Unusual(
        extras={
            "conditions": [
                Made(
                    "PriceCondition",
                    {"conId": 265598, "exch": "SMART", "isMore": True, "price": 512.5, "triggerMethod": 2},
                )
            ],
            "conditionsCancelOrder": True,
        }
    ),
    "scale": Unusual(
        extras={
            "scaleInitLevelSize": 20,
            "scaleSubsLevelSize": 10,
            "scalePriceIncrement": 0.5,
            "scaleProfitOffset": 1.5,
            "scaleInitPosition": 30,
        }
    ),
    "hedge": Unusual(extras={"hedgeType": "P", "hedgeParam": "2.5"}),
    "combination": Unusual(
        # One AAPL less two MSFT costs some -600.
        limit_price=-900.25,
        legs=(
            Made("ComboLeg", {"conId": 265598, "ratio": 1, "action": "BUY", "exchange": "SMART"}),
            Made("ComboLeg", {"conId": 272093, "ratio": 2, "action": "SELL", "exchange": "SMART"}),
        ),
        extras={"smartComboRoutingParams": [Made("TagValue", {"tag": "NonGuaranteed", "value": "1"})]},
    ),
    "delta neutral": Unusual(
        extras={
            "orderType": "VOL",
            "volatility": 0.4,
            "volatilityType": 2,
            "deltaNeutralOrderType": "MKT",
            "deltaNeutralConId": 8314,
        },
        refused=387,
    ),
    "pegged to benchmark": Unusual(
        extras={"orderType": "PEG BENCH", "referenceContractId": 8314, "peggedChangeAmount": 0.1}, refused=387
    ),
    "pegged to mid": Unusual(
        extras={"orderType": "PEG MID", "midOffsetAtWhole": 0.01, "midOffsetAtHalf": 0.02}, since=170, refused=387
    ),
}


class Script:
    """Plays the steps in order with one client.

    Args:
        driver: The client.
        port: Where the gateway listens.
        expected_version: What client and gateway must agree on.
        messages: Messages of every kind and version, for the client's own decoder.
    """

    def __init__(
        self,
        driver: Driver,
        port: int,
        *,
        expected_version: int,
        messages: list[dict[str, Any]],
    ) -> None:
        self._driver = driver
        self._port = port
        self._expected_version = expected_version
        self._messages = messages
        self._orders: dict[str, OrderSeen] = {}  # what later steps look at again, by orderRef

    def play(self) -> Iterator[StepResult]:
        """Play every step; one that fails does not keep the later ones from running, a failed connect does."""
        for name, step in self.steps():
            started = time.monotonic()
            detail = ""
            try:
                step()
            except Exception as error:  # noqa: BLE001 - whatever a client does wrong is the step's result
                detail = f"{type(error).__name__}: {error}"
            ms = round((time.monotonic() - started) * 1000)
            yield {"step": name, "ok": not detail, "ms": ms, "detail": detail}
            if detail and name == CONNECT:
                return

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Return the steps by name, in order."""
        return [
            (CONNECT, self._connect),
            ("sync", self._driver.sync),
            ("contract details", self._contract_details),
            ("current time", self._current_time),
            ("account values", self._account_values),
            ("account summary", self._account_summary),
            ("positions, none yet", self._no_positions),
            ("market order fills, with commission", self._market_order),
            ("positions after the fill", self._position_after_fill),
            ("partial fills", self._partial_fill),
            ("limit order rests", self._rest),
            ("change, seen after a reconnect", self._change),
            ("cancel", self._cancel),
            ("rejected: margin (201)", self._reject_margin),
            ("rejected: no such contract (200)", self._reject_contract),
            ("rejected: price off the tick (110)", self._reject_tick),
            ("rejected: used order id (103)", self._reject_used_id),
            ("cancel of nothing (10147, 10148)", self._cancel_nothing),
            ("what if", self._what_if),
            ("orders with unusual parts come back", self._unusual),
            ("global cancel", self._global_cancel),
            ("reconnect: open orders", self._reconnect_open_orders),
            ("reconnect: executions", self._reconnect_executions),
            ("reconnect: completed orders", self._reconnect_completed_orders),
            ("its decoder reads every reply", self._decode),
            ("the client had no complaint", self._no_complaint),
        ]

    # ------------------------------------------------------------ looking around

    def _connect(self) -> None:
        self._driver.connect(self._port, CLIENT_ID)
        equal("server version", self._driver.server_version(), self._expected_version)
        equal("accounts", self._driver.accounts(), [ACCOUNT])

    def _reconnect(self) -> None:
        self._driver.disconnect()
        self._connect()
        self._driver.sync()

    def _contract_details(self) -> None:
        (details,) = self._driver.contract_details("AAPL")
        equal("contract id", details.con_id, 265598)
        equal("contract", (details.symbol, details.exchange, details.currency), ("AAPL", "SMART", "USD"))
        equal("tick", details.min_tick, 0.01)
        true("the contract has a long name", details.long_name)

    def _current_time(self) -> None:
        # Whole seconds, cut off.
        true("the gateway's clock is this machine's", -2 < self._driver.current_time() - time.time() < 2)

    def _account_values(self) -> None:
        values = self._driver.account_values()
        equal("NetLiquidation", float(values["NetLiquidation"]), 1_000_000.0)
        equal("AccountType", values["AccountType"], "INDIVIDUAL")

    def _account_summary(self) -> None:
        equal(
            "summary",
            {key: float(value) for key, value in self._driver.account_summary().items()},
            {"NetLiquidation": 1_000_000.0, "TotalCashValue": 1_000_000.0},
        )

    def _no_positions(self) -> None:
        equal("positions", self._driver.positions(), {})

    # ------------------------------------------------------------ fills

    def _market_order(self) -> None:
        order_id = self._driver.place(Wish(order_ref="market"))
        order = self._until_filled(order_id)
        equal("filled and remaining", (order.filled, order.remaining), (100, 0))
        (fill,) = order.fills
        equal("fill", (fill.side, fill.shares, fill.cumulative), ("BOT", 100, 100))
        equal("commission", fill.commission, 1.0)
        true("a price near 190", 150 < fill.price < 230)
        self._check_fill_belongs(fill, order)
        self._orders["market"] = order

    def _position_after_fill(self) -> None:
        equal("positions", self._driver.positions(), {"AAPL": 100})

    def _partial_fill(self) -> None:
        order_id = self._driver.place(Wish(order_ref="large", quantity=LARGE, symbol="MSFT"))
        order = self._until_filled(order_id)
        true("more than one fill", len(order.fills) > 1)
        cumulative = 0.0
        for fill in order.fills:
            cumulative += fill.shares
            equal("cumulative quantity", fill.cumulative, cumulative)
            self._check_fill_belongs(fill, order)
        equal("sum of the fills", cumulative, LARGE)
        true("it was Submitted in between", "Submitted" in order.statuses)
        equal("filled and remaining", (order.filled, order.remaining), (LARGE, 0))

    def _until_filled(self, order_id: int) -> OrderSeen:
        def done() -> bool:
            order = self._driver.order(order_id)
            paid = all(fill.commission is not None for fill in order.fills)
            return order.status == "Filled" and bool(order.fills) and paid

        self._driver.wait("Filled, and a commission for every fill", done)
        return self._driver.order(order_id)

    def _check_fill_belongs(self, fill: FillSeen, order: OrderSeen) -> None:
        true("a permanent id", order.perm_id > 0)
        equal(
            "ids of the fill",
            (fill.order_id, fill.perm_id, fill.order_ref),
            (order.order_id, order.perm_id, order.order_ref),
        )

    # ------------------------------------------------------------ a resting order

    def _rest(self) -> None:
        order = self._driver.order(self._place_resting("resting"))
        equal("filled and remaining", (order.filled, order.remaining), (0, 100))
        self._orders["resting"] = order

    def _earlier(self, order_ref: str) -> OrderSeen:
        if order_ref not in self._orders:
            raise AssertionError(f"the step that places '{order_ref}' has failed")
        return self._orders[order_ref]

    def _place_resting(self, order_ref: str, symbol: str = "AAPL") -> int:
        order_id = self._driver.place(Wish(order_ref=order_ref, limit_price=FAR_BELOW, symbol=symbol))
        self._until_status(order_id, "Submitted")
        self._driver.wait("a permanent id", lambda: self._driver.order(order_id).perm_id)
        return order_id

    def _until_status(self, order_id: int, *statuses: str) -> None:
        self._driver.wait(" or ".join(statuses), lambda: self._driver.order(order_id).status in statuses)

    def _change(self) -> None:
        before = self._earlier("resting")
        self._driver.change(before.order_id, Wish(order_ref="resting", limit_price=FURTHER_BELOW, quantity=50))
        self._reconnect()
        (order,) = self._driver.open_orders()
        equal("ids", (order.order_id, order.perm_id), (before.order_id, before.perm_id))
        equal("orderRef", order.order_ref, "resting")
        equal("price and quantity", (order.limit_price, order.quantity), (FURTHER_BELOW, 50))
        equal("status", order.status, "Submitted")

    def _cancel(self) -> None:
        order_id = self._earlier("resting").order_id
        self._driver.cancel(order_id)
        self._until_status(order_id, "Cancelled")
        self._until_code(order_id, 202)
        equal("open orders", self._driver.open_orders(), [])

    # ------------------------------------------------------------ what the gateway refuses

    def _reject_margin(self) -> None:
        order_id = self._driver.place(Wish(order_ref="too many", quantity=TOO_MANY))
        self._until_code(order_id, 201)
        self._until_status(order_id, *WORDS_FOR_REJECTED)
        equal("fills", self._driver.order(order_id).fills, [])

    def _reject_contract(self) -> None:
        order_id = self._driver.place(Wish(order_ref="nothing", symbol="NO.SUCH.SYMBOL.HERE"))
        self._until_code(order_id, 200)

    def _reject_tick(self) -> None:
        order_id = self._driver.place(Wish(order_ref="off the tick", limit_price=FAR_BELOW + 0.001))
        self._until_code(order_id, 110)

    def _reject_used_id(self) -> None:
        # Cancelled in another connection, so the client does not know that the id is used.
        used_id = self._earlier("resting").order_id
        self._reconnect()
        self._driver.place(Wish(order_ref="again", limit_price=FAR_BELOW), used_id)
        self._until_code(used_id, 103)

    def _cancel_nothing(self) -> None:
        filled_id = self._earlier("market").order_id
        unknown = filled_id + 10_000
        self._driver.cancel(unknown)
        self._until_code(unknown, 10147)
        self._driver.cancel(filled_id)
        self._until_code(filled_id, 10148)

    def _until_code(self, order_id: int, code: int) -> None:
        self._driver.wait(f"error {code}", lambda: code in self._driver.codes(order_id))
        equal("codes", self._driver.codes(order_id), [code])

    def _what_if(self) -> None:
        preview = self._driver.preview(Wish(order_ref="what if", symbol="IBM"))
        true("the margin would grow", preview.init_margin_change > 0)
        true(
            "before and change add up",
            abs(preview.init_margin_before + preview.init_margin_change - preview.init_margin_after) < 0.02,
        )
        equal("commission", preview.commission, 1.0)
        equal("open orders", self._driver.open_orders(), [])

    def _unusual(self) -> None:
        version = self._driver.server_version()
        placed = {}
        for name, unusual in UNUSUAL.items():
            if version < unusual.since:
                continue
            try:
                order_id = self._place_unusual(name, unusual)
            except Exception as error:
                raise AssertionError(f"{name}: {type(error).__name__}: {error}") from error
            if not unusual.refused:
                placed[order_id] = name
        self._reconnect()
        equal("order references", {o.order_id: o.order_ref for o in self._driver.open_orders()}, placed)
        for order_id, name in placed.items():
            for part, value in UNUSUAL[name].extras.items():
                told = shown(self._driver.told(order_id, part))
                true(f"{name}: {part} is told as {told}", all(text in told for text in given(value)))

    def _place_unusual(self, name: str, unusual: Unusual) -> int:
        order_id = self._driver.place(
            Wish(order_ref=name, limit_price=unusual.limit_price, legs=unusual.legs, extras=unusual.extras)
        )
        if unusual.refused:
            # Read to its end all the same: the gateway says what it does not trade, not that it cannot read it.
            self._until_code(order_id, unusual.refused)
        else:
            self._until_status(order_id, "PreSubmitted", "Submitted")
        return order_id

    def _global_cancel(self) -> None:
        order_ids = [self._place_resting(f"global {symbol}", symbol) for symbol in ("AAPL", "MSFT", "SPY")]
        self._driver.cancel_everything()
        for order_id in order_ids:
            self._until_status(order_id, "Cancelled")
            self._until_code(order_id, 202)
        equal("open orders", self._driver.open_orders(), [])

    # ------------------------------------------------------------ after a reconnect

    def _reconnect_open_orders(self) -> None:
        order_id = self._place_resting("left open")
        left = self._driver.order(order_id)
        self._reconnect()
        (order,) = self._driver.open_orders()
        equal(
            "open order",
            (order.order_id, order.perm_id, order.order_ref, order.limit_price, order.quantity, order.status),
            (order_id, left.perm_id, "left open", FAR_BELOW, 100, "Submitted"),
        )
        self._driver.cancel(order_id)
        self._until_status(order_id, "Cancelled")

    def _reconnect_executions(self) -> None:
        (expected,) = self._earlier("market").fills
        self._driver.wait("the commission", lambda: self._commission_of(expected.exec_id) is not None)
        fills = {fill.exec_id: fill for fill in self._driver.executions()}
        equal("the fill of the market order", fills[expected.exec_id], expected)

    def _commission_of(self, exec_id: str) -> float | None:
        return next((fill.commission for fill in self._driver.executions() if fill.exec_id == exec_id), None)

    def _reconnect_completed_orders(self) -> None:
        by_perm_id = {order.perm_id: order for order in self._driver.completed_orders()}
        filled = by_perm_id[self._earlier("market").perm_id]
        equal("the filled one", (filled.order_ref, filled.status, filled.filled), ("market", "Filled", 100))
        cancelled = by_perm_id[self._earlier("resting").perm_id]
        equal("the cancelled one", (cancelled.order_ref, cancelled.status), ("resting", "Cancelled"))
        equal("its price", cancelled.limit_price, FURTHER_BELOW)
        references = [order.order_ref for order in by_perm_id.values() if order.status == "Cancelled"]
        true("those of the global cancel", {"global AAPL", "global MSFT", "global SPY"} <= set(references))

    # ------------------------------------------------------------ the client itself

    def _decode(self) -> None:
        low, high = self._driver.offers
        mine = [message for message in self._messages if low <= message["version"] <= high]
        true("messages of the lowest and the highest version", mine)
        for message in mine:
            version, name, fields = message["version"], message["name"], message["fields"]
            called = self._driver.decode(version, fields)
            true(f"{name} at version {version} is reported", called)
            # A layout that has slipped by a field has other things where these should be.
            told = " ".join(shown(argument) for _, arguments in called for argument in arguments)
            missing = [text for text in message["must_show"] if text not in told]
            equal(f"what {name} at version {version} lacks", missing, [])

    def _no_complaint(self) -> None:
        equal("complaints", self._driver.complaints(), [])
        self._driver.disconnect()


CONNECT = "connect"


def equal(what: str, actual: object, wanted: object) -> None:
    """Fail unless two things are equal.

    Raises:
        AssertionError: They are not.
    """
    if actual != wanted:
        raise AssertionError(f"{what}: {actual!r}, should be {wanted!r}")


def true(what: str, value: object) -> None:
    """Fail unless something holds.

    Raises:
        AssertionError: It does not.
    """
    if not value:
        raise AssertionError(f"not so: {what}")


def given(value: object) -> list[str]:
    """Return the texts of which a field's value consists."""
    if isinstance(value, Made):
        return [text for each in value.values.values() for text in given(each)]
    return [text for each in value for text in given(each)] if isinstance(value, list) else [str(value)]


def shown(value: object, depth: int = 4) -> str:
    """Return what an object of a client holds, as text; an order holds lists of objects that hold enums."""
    held = getattr(value, "__dict__", None)
    if held and depth:
        return " ".join(shown(each, depth - 1) for each in held.values())
    if isinstance(value, list | tuple) and depth:
        return " ".join(shown(each, depth - 1) for each in value)
    return str(value)
