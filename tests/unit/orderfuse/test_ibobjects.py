"""Objects into maps: what a strategy passes to submit, and what is on the wire."""

from __future__ import annotations

import enum
from collections import namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import ib_insync
import numpy as np
import pytest

from orderfuse.errors import OrderInvalid
from orderfuse.ibfields.checks import check_contract, check_order
from orderfuse.ibfields.objects import fields_of


def test_of_an_object_only_what_differs_from_its_defaults_is_sent() -> None:
    assert fields_of(ib_insync.Stock("AAPL", "SMART", "USD"), "contract") == {
        "secType": "STK",
        "symbol": "AAPL",
        "exchange": "SMART",
        "currency": "USD",
    }
    assert fields_of(ib_insync.LimitOrder("BUY", 10, 190.5, tif="GTC", transmit=False), "order") == {
        "action": "BUY",
        "orderType": "LMT",
        "totalQuantity": 10,
        "lmtPrice": 190.5,
        "tif": "GTC",
        "transmit": False,
    }


def test_nested_objects_and_tag_values_become_maps() -> None:
    order = ib_insync.MarketOrder(
        "BUY",
        1,
        algoStrategy="Adaptive",
        algoParams=[ib_insync.TagValue("adaptivePriority", "Normal")],
        softDollarTier=ib_insync.objects.SoftDollarTier("a", "b"),
        orderComboLegs=[ib_insync.OrderComboLeg(price=1.5), ib_insync.OrderComboLeg()],
    )
    bag = ib_insync.Bag(symbol="SPY", comboLegs=[ib_insync.ComboLeg(1, 2, "BUY", "SMART")])
    assert fields_of(order, "order")["algoParams"] == [{"tag": "adaptivePriority", "value": "Normal"}]
    assert fields_of(order, "order")["softDollarTier"] == {"name": "a", "val": "b"}
    assert fields_of(order, "order")["orderComboLegs"] == [{"price": 1.5}, {}]
    assert fields_of(bag, "contract")["comboLegs"] == [{"conId": 1, "ratio": 2, "action": "BUY", "exchange": "SMART"}]
    check_order(fields_of(order, "order"))
    check_contract(fields_of(bag, "contract"))


CONDITIONS = [
    ib_insync.PriceCondition(price=1.0, conId=1, exch="SMART"),
    ib_insync.TimeCondition(time="20250101 09:30:00"),
    ib_insync.MarginCondition(percent=5),
    ib_insync.ExecutionCondition(symbol="AAPL", secType="STK", exch="SMART"),
    ib_insync.VolumeCondition(volume=1),
    ib_insync.PercentChangeCondition(changePercent=1.0),
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: type(condition).__name__)
def test_a_condition_keeps_the_tag_that_says_which_one_it_is(condition: Any) -> None:
    order = ib_insync.MarketOrder("BUY", 1, conditions=[condition, type(condition)()])
    fields = fields_of(order, "order")
    assert [given["condType"] for given in fields["conditions"]] == [condition.condType] * 2
    check_order(fields)


CONTRACTS = [
    ib_insync.Stock("A", "SMART", "USD"),
    ib_insync.Option("A", "20300118", 100, "C", "SMART"),
    ib_insync.Future("ES", "20300315", "CME"),
    ib_insync.ContFuture("ES", "CME"),
    ib_insync.Forex("EURUSD"),
    ib_insync.Index("SPX", "CBOE"),
    ib_insync.CFD("IBUS30"),
    ib_insync.Commodity("XAUUSD", "SMART"),
    ib_insync.Bond(secIdType="ISIN", secId="US03076KAA60"),
    ib_insync.FuturesOption("ES", "20300315", 4000, "P", "CME"),
    ib_insync.MutualFund(symbol="X"),
    ib_insync.Warrant(conId=1),
    ib_insync.Bag(symbol="A"),
    ib_insync.Crypto("BTC", "PAXOS", "USD"),
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: type(contract).__name__)
def test_every_kind_of_contract_passes_the_door(contract: Any) -> None:
    assert check_contract(fields_of(contract, "contract"))


ORDERS = [
    ib_insync.MarketOrder("BUY", 1),
    ib_insync.LimitOrder("SELL", 1.5, 0.01),
    ib_insync.StopOrder("BUY", 1, 10),
    ib_insync.StopLimitOrder("SELL", 1, 10, 11),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_every_kind_of_order_passes_the_door(order: Any) -> None:
    assert check_order(fields_of(order, "order"))


def test_a_misspelt_attribute_is_refused() -> None:
    order = ib_insync.LimitOrder("BUY", 10, 190.5)
    order.auxPirce = 180.0
    with pytest.raises(OrderInvalid, match=r"order\.auxPirce is no field of LimitOrder"):
        fields_of(order, "order")


class Side(enum.StrEnum):
    BUY = "BUY"


def test_numbers_of_numpy_and_members_of_enums_become_plain_values() -> None:
    fields = fields_of(
        {"action": Side.BUY, "totalQuantity": np.int64(3), "lmtPrice": np.float64(1.5), "hidden": True}, "order"
    )
    assert fields == {"action": "BUY", "totalQuantity": 3, "lmtPrice": 1.5, "hidden": True}
    assert [type(value) for value in fields.values()] == [str, int, float, bool]


@pytest.mark.parametrize(
    "value",
    [Decimal("1.5"), np.float32(1.5), np.array([1.0, 2.0]), pytest.param(object(), id="object()"), {1, 2}, b"x", 1j],
    ids=repr,
)
def test_a_value_that_would_have_to_be_guessed_is_refused(value: Any) -> None:
    with pytest.raises(OrderInvalid, match="totalQuantity"):
        fields_of({"totalQuantity": value}, "order")
    with pytest.raises(OrderInvalid, match="totalQuantity"):
        fields_of(ib_insync.Order(totalQuantity=value), "order")


@pytest.mark.parametrize("given", [None, 7, "AAPL", ib_insync.Stock, [("symbol", "AAPL")]], ids=repr)
def test_what_is_neither_a_map_nor_an_object_with_fields_is_refused(given: Any) -> None:
    with pytest.raises(OrderInvalid, match="contract is a"):
        fields_of(given, "contract")


def test_keys_that_are_no_text_and_endless_nesting_are_refused() -> None:
    with pytest.raises(OrderInvalid, match="key 1"):
        fields_of({1: 2}, "order")
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(OrderInvalid, match="deeper"):
        fields_of({"conditions": endless}, "order")


@dataclass
class OwnOrder:
    action: str
    totalQuantity: float  # noqa: N815 - IB's name
    orderType: str = "MKT"  # noqa: N815 - IB's name
    tags: list[Any] = field(default_factory=list)


def test_a_dataclass_of_ones_own_does_as_well() -> None:
    pair = namedtuple("pair", "tag value")
    assert fields_of(OwnOrder("BUY", 1, tags=[pair("a", "b")]), "order") == {
        "action": "BUY",
        "totalQuantity": 1,
        "tags": [{"tag": "a", "value": "b"}],
    }
