"""Everything about an order that can be known before it is sent to IB. Pure.

Some fields are sent by ib_insync only together with others. Setting one alone would be dropped without a
word, and the order would be another one than the strategy meant: such an order is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orderfuse.bus.orders import Submit
from orderfuse.ibfields.checks import InvalidFields, check_contract, check_order
from services.wire.dispatch import Place, ReplaceOrder

# The paper gateway's account, the only one the example strategy may use.
EXAMPLE_STRATEGY, PAPER_ACCOUNT = "example", "DU0000000"

_Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CheckedOrder:
    """An order whose every field IB can take. `contract` and `order` are IB's maps without unset fields."""

    order_id: str
    strategy_id: str
    contract: dict[str, Any]
    order: dict[str, Any]
    protect: bool = False

    @property
    def quantity(self) -> float:
        """`totalQuantity`."""
        return float(self.order["totalQuantity"])

    @property
    def combo(self) -> bool:
        """Whether it is a combo, whose legs are executed beside it."""
        return self.contract.get("secType") == "BAG"


def check(order: Submit | Place | ReplaceOrder, account: str, allow: frozenset[str] = frozenset()) -> CheckedOrder:
    """Check everything about an order that can be known before it is sent, for the executor's `account`.

    Raises:
        InvalidFields: it is never sent; the text says why.
    """
    if isinstance(order, Submit) and order.attached:
        raise InvalidFields("attached orders go through the breaker only: send each order by itself")
    if order.account and order.account != account:
        raise InvalidFields(f"account is {order.account!r}, this executor trades {account!r}: leave it out")
    if order.strategy_id == EXAMPLE_STRATEGY and account != PAPER_ACCOUNT:
        raise InvalidFields(
            f"strategy_id is {EXAMPLE_STRATEGY!r}, which trades only with the paper gateway ({PAPER_ACCOUNT}), "
            f"not with {account}"
        )
    contract = check_contract(order.contract)
    fields = check_order(order.order, allow=allow)
    if fields.get("account", account) != account:
        # Opened by `executor.allow_order_fields` or not: one executor trades one account.
        raise InvalidFields(f"order.account is {fields['account']!r}, this executor trades {account!r}")
    _refuse_unsent(contract, fields)
    protect = not isinstance(order, ReplaceOrder) and order.protect
    return CheckedOrder(order.order_id, order.strategy_id, contract, fields, protect)


# -- fields that are sent only together with others -------------------------------------------------------


def _is_combo(contract: _Fields, _: _Fields) -> bool:
    return contract.get("secType") == "BAG"


def _has_algo(_: _Fields, order: _Fields) -> bool:
    return bool(order.get("algoStrategy"))


def _has_scale(_: _Fields, order: _Fields) -> bool:
    return bool(order.get("scalePriceIncrement", 0) > 0)


def _has_conditions(_: _Fields, order: _Fields) -> bool:
    return bool(order.get("conditions"))


def _of_type(*types: str) -> Callable[[_Fields, _Fields], bool]:
    return lambda _, order: order["orderType"] in types


def _on_ibkr_ats(contract: _Fields, _: _Fields) -> bool:
    return contract.get("exchange") == "IBKRATS"


# (fields of the order, sent only if, said as), read in ib_insync.client.Client.placeOrder.
_SENT_ONLY_WITH: tuple[tuple[str, Callable[[_Fields, _Fields], bool], str], ...] = (
    ("orderComboLegs smartComboRoutingParams", _is_combo, "contract.secType 'BAG'"),
    ("algoParams", _has_algo, "order.algoStrategy"),
    (
        (
            "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset scaleInitPosition"
            " scaleInitFillQty scaleRandomPercent"
        ),
        _has_scale,
        "order.scalePriceIncrement above 0",
    ),
    ("conditionsIgnoreRth conditionsCancelOrder", _has_conditions, "order.conditions"),
    (
        "referenceContractId isPeggedChangeAmountDecrease peggedChangeAmount referenceChangeAmount referenceExchangeId",
        _of_type("PEG BENCH"),
        "order.orderType 'PEG BENCH'",
    ),
    ("minTradeQty", _on_ibkr_ats, "contract.exchange 'IBKRATS'"),
    ("minCompeteSize competeAgainstBestOffset", _of_type("PEG BEST"), "order.orderType 'PEG BEST'"),
    ("midOffsetAtWhole midOffsetAtHalf", _of_type("PEG MID"), "order.orderType 'PEG MID'"),
)


def _refuse_unsent(contract: _Fields, order: _Fields) -> None:
    if contract.get("comboLegs") and not _is_combo(contract, order):
        raise InvalidFields("contract.comboLegs is sent to IB only with contract.secType 'BAG'")
    for names, holds, condition in _SENT_ONLY_WITH:
        for name in names.split():
            if order.get(name) and not holds(contract, order):
                raise InvalidFields(f"order.{name} is sent to IB only with {condition}")
