"""The tables against a real gateway's bytes, and against ib_insync's own encoder and decoder."""

from __future__ import annotations

import dataclasses
import math
import struct
from typing import Any

import ib_insync
import pytest
from ib_insync.client import Client
from ib_insync.decoder import Decoder

from services.paper.market.exchange import ACCOUNT_ID, Exchange
from services.paper.market.orders import read_ticket
from services.paper.market.updates import OpenOrderTold
from services.paper.server.render import open_order, render
from services.paper.wire.layouts import REPLIES, REPLIES_BY_ID, REQUESTS
from services.paper.wire.order_layouts import COMPLETED_ORDER, OPEN_ORDER, PLACE_ORDER
from tests.unit.paper.captured import COMPLETED_ORDER_164, OPEN_ORDER_173
from tests.unit.paper.tickets import ticket

VERSIONS = [157, 159, 160, 162, 163, 164, 166, 169, 170, 173, 176]


class Wrapper:
    """Takes every call that ib_insync's decoder makes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.ib = ib_insync.IB()

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append((name, args))


def decode_by_ib_insync(version: int, texts: list[str]) -> tuple[str, tuple[Any, ...]]:
    wrapper = Wrapper()
    decoder = Decoder(wrapper, version)
    failures = []
    decoder.logger = type("Log", (), {"exception": lambda _self, text: failures.append(text)})()
    decoder.interpret(list(texts))
    assert not failures, failures
    (call,) = wrapper.calls
    return call


class SentByIbInsync(Client):
    """ib_insync's client with its socket replaced by a list."""

    def __init__(self, version: int) -> None:
        super().__init__(Wrapper())
        self.sent: list[list[str]] = []
        self._serverVersion = version

    def isConnected(self) -> bool:  # noqa: N802 - ib_insync's name
        return True

    def sendMsg(self, msg: str) -> None:  # noqa: N802 - ib_insync's name
        self.sent.append(msg.split("\0")[:-1])


def placed_by_ib_insync(version: int, contract: ib_insync.Contract, order: ib_insync.Order) -> dict[str, Any]:
    client = SentByIbInsync(version)
    client.placeOrder(5, contract, order)
    values, left_over = PLACE_ORDER.decode(version, client.sent[0])
    assert left_over == 0
    return values


# ---------------------------------------------------------------- a real gateway's bytes


def captured_values() -> dict[str, Any]:
    return {
        "orderId": 5,
        "conId": 265598,
        "symbol": "AAPL",
        "secType": "STK",
        "exchange": "SMART",
        "currency": "USD",
        "localSymbol": "AAPL",
        "tradingClass": "NMS",
        "action": "BUY",
        "totalQuantity": "100",
        "orderType": "MKT",
        "account": "DU1234567",
        "clientId": 100,
        "permId": 600745656,
        "sharesAllocation": "600745656.0/DU1234567/100",
        "status": "PreSubmitted",
    }


def test_open_order_at_173_is_the_captured_136_fields():
    assert OPEN_ORDER.encode(173, captured_values()) == OPEN_ORDER_173
    assert len(OPEN_ORDER_173) == 136


def test_completed_order_at_164_is_the_captured_96_fields():
    values = captured_values() | {
        "totalQuantity": "0",
        "permId": 1824933227,
        "status": "Filled",
        "filledQuantity": "100",
        "completedTime": "20230306 12:28:30 America/Los_Angeles",
        "completedStatus": "Filled Size: 100",
    }
    assert COMPLETED_ORDER.encode(164, values) == COMPLETED_ORDER_164
    assert len(COMPLETED_ORDER_164) == 96


@pytest.mark.parametrize("layout", [OPEN_ORDER, COMPLETED_ORDER], ids=lambda layout: layout.name)
def test_the_captured_messages_decode_and_encode_to_themselves(layout):
    version, captured = (173, OPEN_ORDER_173) if layout is OPEN_ORDER else (164, COMPLETED_ORDER_164)
    values, left_over = layout.decode(version, captured)
    assert left_over == 0
    assert layout.encode(version, values) == captured


def test_what_the_book_tells_of_a_plain_market_order_is_what_a_real_gateway_told():
    exchange = Exchange(1, 0.0)
    first = exchange.place(ticket(5, client_id=100), 0.0)[0]
    assert isinstance(first, OpenOrderTold)
    _, values = render(first, ACCOUNT_ID)
    perm_id = str(first.order.perm_id)
    expected = [text.replace("600745656", perm_id).replace("DU1234567", ACCOUNT_ID) for text in OPEN_ORDER_173]
    assert OPEN_ORDER.encode(173, values) == expected


@pytest.mark.parametrize(
    ("version", "counts"),
    [(157, (110, 128, 96, 31)), (176, (115, 136, 101, 31)), (178, (114, 135, 100, 32))],
)
def test_the_long_messages_have_the_known_number_of_fields(version, counts):
    layouts = (PLACE_ORDER, OPEN_ORDER, COMPLETED_ORDER, REPLIES["execDetails"])
    assert tuple(len(layout.encode(version, {})) for layout in layouts) == counts


# ---------------------------------------------------------------- replies against ib_insync's decoder

NUMBERS = {
    "orderId": "5",
    "reqId": "6",
    "permId": "77",
    "clientId": "7",
    "conId": "265598",
    "filled": "1",
    "remaining": "2",
    "code": "201",
    "id": "5",
    "position": "3",
    "avgCost": "1.5",
    "marketPrice": "2",
    "marketValue": "6",
    "averageCost": "2",
    "shares": "1",
    "price": "1.5",
    "cumQty": "1",
    "avgPrice": "1.5",
    "commission": "1",
    "tickType": "1",
    "size": "100",
    "minTick": "0.01",
    "time": "20261122  10:00:00",
    "totalQuantity": "100",
    "marketDataType": "1",
}


@pytest.mark.parametrize("version", [157, 163, 164, 176])
@pytest.mark.parametrize("name", sorted(REPLIES))
def test_every_reply_is_understood_by_ib_insync(name, version):
    layout = REPLIES[name]
    values = {**NUMBERS, "account": ACCOUNT_ID, "status": "Submitted", "secIds": [{"tag": "ISIN", "value": "US"}]}
    if name == "currentTime":
        values["time"] = "1700000000"
    texts = layout.encode(version, values)
    method, args = decode_by_ib_insync(version, texts)
    assert method
    assert layout.decode(version, texts)[1] == 0
    if name == "openOrder":
        order_id, contract, order, state = args
        assert (order_id, contract.conId, order.permId, state.status) == (5, 265598, 77, "Submitted")
    if name == "contractDetails":
        assert args[1].contract.conId == 265598
        assert args[1].secIdList == [ib_insync.TagValue("ISIN", "US")]


def test_every_reply_has_an_id_of_its_own():
    assert len(REPLIES) == len(REPLIES_BY_ID)


# ---------------------------------------------------------------- requests against ib_insync's encoder


@pytest.mark.parametrize("version", VERSIONS)
def test_every_request_of_ib_insync_is_read_to_its_last_field(version):
    client = SentByIbInsync(version)
    stock = ib_insync.Stock("AAPL", "SMART", "USD", conId=265598)
    combo = ib_insync.Contract(
        secType="BAG", comboLegs=[ib_insync.ComboLeg(conId=1, ratio=2, action="BUY", exchange="X")]
    )
    client.startApi()
    client.reqPositions()
    client.cancelPositions()
    client.reqOpenOrders()
    client.reqAllOpenOrders()
    client.reqAutoOpenOrders(True)
    client.reqCompletedOrders(False)
    client.reqAccountUpdates(True, "DU0000000")
    client.reqAccountUpdatesMulti(3, "DU0000000", "", False)
    client.cancelAccountUpdatesMulti(3)
    client.reqAccountSummary(4, "All", "NetLiquidation")
    client.cancelAccountSummary(4)
    client.reqExecutions(5, ib_insync.ExecutionFilter())
    client.cancelOrder(6)
    client.reqGlobalCancel()
    client.reqContractDetails(7, stock)
    client.reqMktData(8, stock, "", False, False, [])
    client.reqMktData(8, combo, "233", True, False, [])
    client.cancelMktData(8)
    client.reqMarketDataType(3)
    client.reqCurrentTime()
    client.reqIds(1)
    client.reqManagedAccts()
    client.setServerLogLevel(2)
    client.placeOrder(9, stock, ib_insync.MarketOrder("BUY", 1))
    served = set()
    for texts in client.sent:
        layout = REQUESTS[int(texts[0])]
        _, left_over = layout.decode(version, texts)
        assert left_over == 0, layout.name
        served.add(layout.message_id)
    assert served == set(REQUESTS)


def conditions() -> list[ib_insync.OrderCondition]:
    return [
        ib_insync.PriceCondition(price=190.5, conId=265598, exch="SMART").And(),
        ib_insync.TimeCondition(time="20261122 10:00:00").Or(),
        ib_insync.MarginCondition(percent=30, isMore=False),
        ib_insync.ExecutionCondition(secType="STK", exch="SMART", symbol="AAPL"),
        ib_insync.VolumeCondition(volume=1000, conId=265598, exch="SMART"),
        ib_insync.PercentChangeCondition(changePercent=1.5, conId=265598, exch="SMART"),
    ]


LEGS = [
    ib_insync.ComboLeg(conId=1, ratio=1, action="BUY", exchange="SMART"),
    ib_insync.ComboLeg(conId=2, ratio=2, action="SELL", exchange="SMART", openClose=1, exemptCode=-1),
]
STOCK = ib_insync.Stock("AAPL", "SMART", "USD")
ORDERS: dict[str, tuple[ib_insync.Contract, dict[str, Any]]] = {
    "plain": (STOCK, {"orderRef": "r1"}),
    "conditions": (STOCK, {"conditions": conditions(), "conditionsIgnoreRth": True}),
    "algo": (STOCK, {"algoStrategy": "Adaptive", "algoParams": [ib_insync.TagValue("adaptivePriority", "Normal")]}),
    "hedge": (STOCK, {"hedgeType": "B", "hedgeParam": "0.5"}),
    "scale": (
        STOCK,
        {
            "scaleInitLevelSize": 10,
            "scaleSubsLevelSize": 5,
            "scalePriceIncrement": 0.05,
            "scalePriceAdjustValue": 0.1,
            "scalePriceAdjustInterval": 3,
            "scaleProfitOffset": 0.2,
            "scaleAutoReset": True,
            "scaleInitPosition": 4,
            "scaleInitFillQty": 2,
            "scaleRandomPercent": True,
        },
    ),
    "delta neutral order": (
        STOCK,
        {
            "deltaNeutralOrderType": "LMT",
            "deltaNeutralAuxPrice": 1.5,
            "deltaNeutralConId": 55,
            "deltaNeutralClearingAccount": "A",
            "deltaNeutralOpenClose": "O",
            "deltaNeutralShortSaleSlot": 1,
        },
    ),
    "delta neutral contract": (
        ib_insync.Stock(
            "AAPL",
            "SMART",
            "USD",
            deltaNeutralContract=ib_insync.DeltaNeutralContract(conId=9, delta=0.5, price=10.0),
        ),
        {},
    ),
    "combination": (
        ib_insync.Contract(secType="BAG", symbol="AAPL", exchange="SMART", currency="USD", comboLegs=LEGS),
        {
            "orderComboLegs": [ib_insync.OrderComboLeg(price=1.5), ib_insync.OrderComboLeg(price=2.5)],
            "smartComboRoutingParams": [ib_insync.TagValue("NonGuaranteed", "1")],
        },
    ),
    "pegged to benchmark": (
        STOCK,
        {
            "orderType": "PEG BENCH",
            "referenceContractId": 8,
            "isPeggedChangeAmountDecrease": True,
            "peggedChangeAmount": 0.1,
            "referenceChangeAmount": 0.2,
            "referenceExchangeId": "ISLAND",
        },
    ),
    "pegged to best": (
        STOCK,
        {"orderType": "PEG BEST", "minCompeteSize": 200, "competeAgainstBestOffset": 0.05},
    ),
    "pegged to best up to mid": (
        STOCK,
        {
            "orderType": "PEG BEST",
            "minCompeteSize": 200,
            "competeAgainstBestOffset": math.inf,
            "midOffsetAtWhole": 0.01,
            "midOffsetAtHalf": 0.02,
        },
    ),
    "pegged to mid": (STOCK, {"orderType": "PEG MID", "midOffsetAtWhole": 0.01, "midOffsetAtHalf": 0.02}),
    "IBKRATS": (ib_insync.Stock("AAPL", "IBKRATS", "USD"), {"minTradeQty": 5}),
    "adjusted stop": (
        STOCK,
        {
            "orderType": "TRAIL",
            "trailStopPrice": 180.5,
            "trailingPercent": 1.5,
            "adjustedOrderType": "STP",
            "triggerPrice": 170.0,
            "adjustedStopPrice": 160.0,
        },
    ),
    "extras": (
        STOCK,
        {
            "outsideRth": True,
            "hidden": True,
            "minQty": 10,
            "allOrNone": True,
            "displaySize": 50,
            "goodAfterTime": "20261122 10:00:00",
            "modelCode": "m",
            "notHeld": True,
            "cashQty": 1000.0,
            "usePriceMgmtAlgo": True,
        },
    ),
}
# What a version does not carry in openOrder, or in placeOrder.
SINCE_170 = ("minTradeQty", "minCompeteSize", "competeAgainstBestOffset", "midOffsetAtWhole", "midOffsetAtHalf")


@pytest.mark.parametrize("version", [157, 176])
@pytest.mark.parametrize("kind", ORDERS)
def test_an_order_of_ib_insync_comes_back_to_it_as_it_was(kind, version):
    contract, settings = ORDERS[kind]
    order = ib_insync.Order(**{"action": "BUY", "totalQuantity": 100, "orderType": "MKT", **settings})
    asked = read_ticket(7, placed_by_ib_insync(version, contract, order))
    exchange = Exchange(1, 0.0)
    # Types that this exchange does not trade still have to come through the codec.
    booked = exchange.place(dataclasses.replace(asked, order_type="MKT"), 0.0)[0]
    assert isinstance(booked, OpenOrderTold)
    booked.order.ticket.order_type = asked.order_type
    _, values = open_order(booked.order, booked.status, ACCOUNT_ID)
    _, (order_id, told_contract, told, _) = decode_by_ib_insync(version, OPEN_ORDER.encode(version, values))
    assert order_id == 5
    for name, value in settings.items():
        if version >= 170 or name not in SINCE_170:
            assert getattr(told, name) == value, name
    assert told_contract.comboLegs == (contract.comboLegs or [])
    assert told_contract.deltaNeutralContract == contract.deltaNeutralContract


def test_what_if_is_found_behind_every_conditional_part():
    contract, settings = ORDERS["combination"]
    crowded = {
        **settings,
        **{name: value for kind in ("scale", "hedge", "algo", "conditions") for name, value in ORDERS[kind][1].items()},
        "deltaNeutralOrderType": "LMT",
        "whatIf": True,
    }
    order = ib_insync.Order(action="BUY", totalQuantity=1, orderType="MKT", **crowded)
    for version in VERSIONS:
        assert read_ticket(7, placed_by_ib_insync(version, contract, order)).what_if


def test_official_spellings_of_unset_are_unset():
    texts = PLACE_ORDER.encode(
        157,
        {
            "orderId": "1",
            "action": "BUY",
            "totalQuantity": "100.0",
            "orderType": "MKT",
            "lmtPrice": "1.7976931348623157e+308",
            "triggerPrice": "1.7976931348623157e+308",
            "cashQty": "1.7976931348623157E308",
            "conditions": [],
        },
    )
    values, _ = PLACE_ORDER.decode(157, texts)
    asked = read_ticket(7, values | {"duration": "2147483647"})
    assert (asked.limit_price, asked.quantity, asked.duration_secs, asked.echo) == (None, 100.0, None, None)


def test_a_frame_of_ib_insync_has_the_length_in_front():
    client = SentByIbInsync(176)
    assert client._prefix(b"abc") == struct.pack(">I", 3) + b"abc"
