"""What is refused before anything is sent to IB: fields that ib_insync would drop, and wrong accounts."""

from __future__ import annotations

from typing import Any

import pytest

from orderfuse import Attached
from orderfuse.ibfields.checks import InvalidFields
from services.gateway.checks import PAPER_ACCOUNT, check
from tests.orders import RESTING, STOCK, place, submit

COMBO = {
    "secType": "BAG",
    "symbol": "SPY",
    "exchange": "SMART",
    "currency": "USD",
    "comboLegs": [{"conId": 1, "ratio": 1, "action": "BUY", "exchange": "SMART"}],
}


def order(**fields: Any) -> dict[str, Any]:
    return {**RESTING, **fields}


def test_an_order_is_taken_with_its_quantity_and_whether_it_is_a_combo() -> None:
    stock = check(place("o-1", 1, protect=True), "DU1")
    assert (stock.quantity, stock.combo, stock.protect) == (100.0, False, True)
    assert check(place("o-2", 1, contract=COMBO), "DU1").combo


TOGETHER: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"orderComboLegs": [{"price": 1.0}]}, COMBO, {}),
    ({"algoParams": [{"tag": "adaptivePriority", "value": "Normal"}]}, STOCK, {"algoStrategy": "Adaptive"}),
    ({"scaleProfitOffset": 0.5}, STOCK, {"scalePriceIncrement": 0.25}),
    ({"conditionsIgnoreRth": True}, STOCK, {"conditions": [{"condType": 3, "time": "20270101 10:00:00"}]}),
    ({"peggedChangeAmount": 0.5}, STOCK, {"orderType": "PEG BENCH"}),
    ({"minTradeQty": 5}, {**STOCK, "exchange": "IBKRATS"}, {}),
    ({"minCompeteSize": 5}, STOCK, {"orderType": "PEG BEST"}),
    ({"midOffsetAtHalf": 0.5}, STOCK, {"orderType": "PEG MID"}),
]


@pytest.mark.parametrize(("fields", "contract", "needed"), TOGETHER)
def test_a_field_that_ib_gets_only_with_another_one_is_refused_alone(
    fields: dict[str, Any], contract: dict[str, Any], needed: dict[str, Any]
) -> None:
    (name,) = fields
    with pytest.raises(InvalidFields, match=rf"order\.{name} is sent to IB only with "):
        check(submit("o-1", order=order(**fields)), "DU1")
    assert check(submit("o-1", order=order(**fields, **needed), contract=contract), "DU1").order[name]


def test_the_legs_of_a_combo_need_a_combo() -> None:
    with pytest.raises(InvalidFields, match=r"contract\.comboLegs is sent to IB only with contract\.secType 'BAG'"):
        check(submit("o-1", contract={**COMBO, "secType": "STK"}), "DU1")


def test_a_script_sends_no_bracket() -> None:
    legs = (Attached(order_id="tp", order=RESTING),)
    with pytest.raises(InvalidFields, match="attached orders go through the breaker only"):
        check(submit("o-1", attached=legs), "DU1")


def test_the_example_strategy_trades_with_the_paper_gateway_only() -> None:
    with pytest.raises(InvalidFields, match="trades only with the paper gateway"):
        check(submit("o-1", strategy_id="example"), "DU1")
    assert check(submit("o-1", strategy_id="example"), PAPER_ACCOUNT).strategy_id == "example"


def test_another_account_is_refused_wherever_it_is_named() -> None:
    with pytest.raises(InvalidFields, match="account is 'DU2', this executor trades 'DU1'"):
        check(submit("o-1", account="DU2"), "DU1")
    opened = frozenset({"account"})
    with pytest.raises(InvalidFields, match=r"order\.account is 'DU2', this executor trades 'DU1'"):
        check(submit("o-1", order=order(account="DU2")), "DU1", opened)
    assert check(submit("o-1", order=order(account="DU1")), "DU1", opened).order["account"] == "DU1"
