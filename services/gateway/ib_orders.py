"""From IB's field names, as strategies give them, to the objects that ib_insync sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from services.gateway.fence import (
    ComboLeg,
    Contract,
    DeltaNeutralContract,
    Order,
    OrderComboLeg,
    OrderCondition,
    SoftDollarTier,
    TagValue,
)

_Fields = Mapping[str, Any]


def build_contract(fields: _Fields) -> Any:
    """`ib_insync.Contract` of checked fields."""
    built = dict(fields)
    if "comboLegs" in built:
        built["comboLegs"] = [ComboLeg(**leg) for leg in built["comboLegs"]]
    if "deltaNeutralContract" in built:
        built["deltaNeutralContract"] = DeltaNeutralContract(**built["deltaNeutralContract"])
    return Contract(**built)


def build_order(
    fields: _Fields, *, ib_order_id: int, order_ref: str, account: str, parent_id: int = 0, transmit: bool = True
) -> Any:
    """`ib_insync.Order` of checked fields, with what only the executor may set."""
    # A leg is held back until the last of its bracket is transmitted.
    own = {"parentId": parent_id, "transmit": transmit}
    built = dict(fields)
    for name, build in _NESTED.items():
        if name in built:
            built[name] = build(built[name])
    return Order(**{**built, "orderId": ib_order_id, "orderRef": order_ref, "account": account, **own})


def _tags(pairs: list[_Fields]) -> list[Any]:
    return [TagValue(pair["tag"], pair["value"]) for pair in pairs]


def _conditions(conditions: list[_Fields]) -> list[Any]:
    return [OrderCondition.createClass(fields["condType"])(**fields) for fields in conditions]


_NESTED: dict[str, Callable[[Any], Any]] = {
    "algoParams": _tags,
    "smartComboRoutingParams": _tags,
    "orderMiscOptions": _tags,
    "orderComboLegs": lambda legs: [OrderComboLeg(**leg) for leg in legs],
    "conditions": _conditions,
    "softDollarTier": lambda tier: SoftDollarTier(**tier),
}
