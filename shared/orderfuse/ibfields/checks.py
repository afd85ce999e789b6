"""The fields of IB's contracts and orders: which there are, their types, and which a strategy may not set.

Names and types are those of `ib_insync.Contract` and `ib_insync.Order` (0.9.86; a test holds the tables
against them), so that users find what they know, and algos, combos and conditions come for free. Checking
here, at the door, means that nothing which IB would misread ever waits in a queue or costs a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from orderfuse.text import plain, wrong_value

# The words that ib_insync and the official clients use for "not set".
UNSET_INTEGER = 2**31 - 1
UNSET_DOUBLE = 1.7976931348623157e308

# A field of the wire ends with NUL and a tag/value list is written `tag=value;`: a text that contains
# these characters would turn into other fields, so control characters are refused everywhere.
Text = Annotated[str, Meta(max_length=1024, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Tag = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f=;]*\Z")]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 2)]
# Both bounds: msgspec lets an infinite number pass a one-sided bound and NaN pass none.
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
Quantity = Annotated[float, Meta(gt=0, le=1e12)]

# Fields by which the change of an order can be seen in IB's own list of open orders.
TERMS = ("totalQuantity", "lmtPrice", "auxPrice", "tif")


class _Fields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A map of IB's fields. Field names are IB's own."""


class ComboLeg(_Fields, frozen=True, kw_only=True):
    """One leg of a combo (`ib_insync.ComboLeg`)."""

    conId: Annotated[int, Meta(ge=1, le=2**31 - 2)]  # noqa: N815 - IB's name
    ratio: Annotated[int, Meta(ge=1, le=2**31 - 2)]
    action: Literal["BUY", "SELL"]
    exchange: Text
    openClose: Int32 = 0  # noqa: N815 - IB's name
    shortSaleSlot: Int32 = 0  # noqa: N815 - IB's name
    designatedLocation: Text = ""  # noqa: N815 - IB's name
    exemptCode: Int32 = -1  # noqa: N815 - IB's name


class DeltaNeutralContract(_Fields, frozen=True, kw_only=True):
    """`ib_insync.DeltaNeutralContract`."""

    conId: Int32 = 0  # noqa: N815 - IB's name
    delta: Number = 0.0
    price: Number = 0.0


class TagValue(_Fields, frozen=True, kw_only=True):
    """One parameter of an algo, a combo's routing or an option list (`ib_insync.TagValue`)."""

    tag: Tag
    value: Tag


class OrderComboLeg(_Fields, frozen=True, kw_only=True):
    """The price of one leg (`ib_insync.OrderComboLeg`). Without one, that leg has no price of its own."""

    price: Number = 0.0


class SoftDollarTier(_Fields, frozen=True, kw_only=True):
    """`ib_insync.SoftDollarTier`."""

    name: Text = ""
    val: Text = ""
    displayName: Text = ""  # noqa: N815 - IB's name


Conjunction = Literal["a", "o"]


class PriceCondition(_Fields, frozen=True, kw_only=True, tag_field="condType", tag=1):
    """`ib_insync.PriceCondition`."""

    conjunction: Conjunction = "a"
    isMore: bool = True  # noqa: N815 - IB's name
    price: Number = 0.0
    conId: Int32 = 0  # noqa: N815 - IB's name
    exch: Text = ""
    triggerMethod: Int32 = 0  # noqa: N815 - IB's name


class TimeCondition(_Fields, frozen=True, kw_only=True, tag_field="condType", tag=3):
    """`ib_insync.TimeCondition`."""

    conjunction: Conjunction = "a"
    isMore: bool = True  # noqa: N815 - IB's name
    time: Text = ""


class MarginCondition(_Fields, frozen=True, kw_only=True, tag_field="condType", tag=4):
    """`ib_insync.MarginCondition`."""

    conjunction: Conjunction = "a"
    isMore: bool = True  # noqa: N815 - IB's name
    percent: Int32 = 0


class ExecutionCondition(_Fields, frozen=True, kw_only=True, tag_field="condType", tag=5):
    """`ib_insync.ExecutionCondition`."""

    conjunction: Conjunction = "a"
    secType: Text = ""  # noqa: N815 - IB's name
    exch: Text = ""
    symbol: Text = ""


class VolumeCondition(_Fields, frozen=True, kw_only=True, tag_field="condType", tag=6):
    """`ib_insync.VolumeCondition`."""

    conjunction: Conjunction = "a"
    isMore: bool = True  # noqa: N815 - IB's name
    volume: Int32 = 0
    conId: Int32 = 0  # noqa: N815 - IB's name
    exch: Text = ""


class PercentChangeCondition(_Fields, frozen=True, kw_only=True, tag_field="condType", tag=7):
    """`ib_insync.PercentChangeCondition`."""

    conjunction: Conjunction = "a"
    isMore: bool = True  # noqa: N815 - IB's name
    changePercent: Number = 0.0  # noqa: N815 - IB's name
    conId: Int32 = 0  # noqa: N815 - IB's name
    exch: Text = ""


Condition = (
    PriceCondition | TimeCondition | MarginCondition | ExecutionCondition | VolumeCondition | PercentChangeCondition
)

# A frame holds at most 16 KiB, so lists are short anyway; this bound is only for a clear message.
_Legs = Annotated[list[ComboLeg], Meta(max_length=100)]
_Tags = Annotated[list[TagValue], Meta(max_length=100)]


def _typed(kind: Any, names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), kind)


CONTRACT_FIELDS: dict[str, Any] = {
    **_typed(
        Text,
        "secType symbol lastTradeDateOrContractMonth right multiplier exchange primaryExchange currency"
        " localSymbol tradingClass secIdType secId description issuerId comboLegsDescrip",
    ),
    **_typed(Int32, "conId"),
    **_typed(Number, "strike"),
    **_typed(bool, "includeExpired"),
    "comboLegs": _Legs,
    "deltaNeutralContract": DeltaNeutralContract,
}

ORDER_FIELDS: dict[str, Any] = {
    "action": Literal["BUY", "SELL", "SSHORT", "SLONG"],
    "totalQuantity": Quantity,
    "orderType": Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[^\x00-\x1f\x7f]+\Z")],
    **_typed(
        Text,
        "tif activeStartTime activeStopTime ocaGroup orderRef goodAfterTime goodTillDate rule80A faGroup"
        " faProfile faMethod faPercentage designatedLocation openClose deltaNeutralOrderType"
        " deltaNeutralSettlingFirm deltaNeutralClearingAccount deltaNeutralClearingIntent"
        " deltaNeutralOpenClose deltaNeutralDesignatedLocation scaleTable hedgeType hedgeParam account"
        " settlingFirm clearingAccount clearingIntent algoStrategy algoId modelCode referenceExchangeId"
        " adjustedOrderType extOperator mifid2DecisionMaker mifid2DecisionAlgo mifid2ExecutionTrader"
        " mifid2ExecutionAlgo autoCancelDate shareholder advancedErrorOverride manualOrderTime",
    ),
    **_typed(
        Int32,
        "orderId clientId permId ocaType parentId displaySize triggerMethod minQty origin shortSaleSlot"
        " exemptCode auctionStrategy volatilityType deltaNeutralConId deltaNeutralShortSaleSlot"
        " referencePriceType basisPointsType scaleInitLevelSize scaleSubsLevelSize scalePriceAdjustInterval"
        " scaleInitPosition scaleInitFillQty referenceContractId adjustableTrailingUnit refFuturesConId"
        " parentPermId duration postToAts minTradeQty minCompeteSize",
    ),
    **_typed(
        Number,
        "lmtPrice auxPrice percentOffset trailStopPrice trailingPercent discretionaryAmt nbboPriceCap"
        " startingPrice stockRefPrice delta stockRangeLower stockRangeUpper volatility deltaNeutralAuxPrice"
        " basisPoints scalePriceIncrement scalePriceAdjustValue scaleProfitOffset peggedChangeAmount"
        " referenceChangeAmount triggerPrice adjustedStopPrice adjustedStopLimitPrice adjustedTrailingAmount"
        " lmtPriceOffset cashQty filledQuantity competeAgainstBestOffset midOffsetAtWhole midOffsetAtHalf",
    ),
    **_typed(
        bool,
        "transmit blockOrder sweepToFill outsideRth hidden allOrNone overridePercentageConstraints eTradeOnly"
        " firmQuoteOnly optOutSmartRouting randomizePrice randomizeSize deltaNeutralShortSale"
        " continuousUpdate scaleAutoReset scaleRandomPercent whatIf notHeld solicited"
        " isPeggedChangeAmountDecrease conditionsCancelOrder conditionsIgnoreRth dontUseAutoPriceForHedge"
        " isOmsContainer discretionaryUpToLimitPrice autoCancelParent imbalanceOnly routeMarketableToBbo"
        " usePriceMgmtAlgo",
    ),
    **_typed(_Tags, "algoParams smartComboRoutingParams orderMiscOptions"),
    "orderComboLegs": Annotated[list[OrderComboLeg], Meta(max_length=100)],
    "conditions": Annotated[list[Condition], Meta(max_length=50)],
    "softDollarTier": SoftDollarTier,
}

_OUR_OWN = "it is the executor's own"
_WHOSE_MONEY = "it decides whose money is traded"
_OUTSIDE = "IB would send orders that nobody here accounts for"
_NO_CHECKS = "it switches off IB's own checks"
_NOT_SENT = "ib_insync does not send it, so IB would never see it"

# Why each refused field is refused; `executor.allow_order_fields` opens those in OPENABLE by name.
REFUSED: dict[str, str] = {
    **dict.fromkeys("orderId permId clientId orderRef parentId parentPermId transmit whatIf".split(), _OUR_OWN),
    **dict.fromkeys(
        "account faGroup faProfile faMethod faPercentage modelCode clearingAccount clearingIntent".split(),
        _WHOSE_MONEY,
    ),
    **dict.fromkeys(["hedgeType", "hedgeParam"], _OUTSIDE),
    **dict.fromkeys([name for name in ORDER_FIELDS if name.startswith("deltaNeutral")], _OUTSIDE),
    **dict.fromkeys(["advancedErrorOverride", "overridePercentageConstraints"], _NO_CHECKS),
    **dict.fromkeys(
        "basisPoints basisPointsType autoCancelDate filledQuantity refFuturesConId shareholder imbalanceOnly"
        " routeMarketableToBbo".split(),
        _NOT_SENT,
    ),
}
OPENABLE = frozenset(name for name, why in REFUSED.items() if why not in {_OUR_OWN, _NOT_SENT})

_REQUIRED = ("action", "totalQuantity", "orderType")
_Contract = msgspec.defstruct(
    "Contract", [(name, kind, None) for name, kind in CONTRACT_FIELDS.items()], forbid_unknown_fields=True
)
_Order = msgspec.defstruct(
    "Order",
    [
        (name, kind) if name in _REQUIRED else (name, kind, None)
        for name, kind in sorted(ORDER_FIELDS.items(), key=lambda item: item[0] not in _REQUIRED)
    ],
    forbid_unknown_fields=True,
)


class InvalidFields(ValueError):
    """A contract or order that is never sent to IB. The text names the field, the value and what is allowed."""

    def __init__(self, reason: str) -> None:
        # The name of a field that there is not is its sender's own words.
        super().__init__(plain(reason))


def check_contract(contract: Mapping[str, Any]) -> dict[str, Any]:
    """Return `contract` without unset fields.

    Raises:
        InvalidFields: a field is unknown or has the wrong type, or nothing says what to trade.
    """
    given = _without_unset(contract)
    _convert(given, _Contract, "contract")
    if not (given.get("conId") or given.get("symbol") or given.get("localSymbol") or given.get("secId")):
        raise InvalidFields("contract names nothing to trade: give conId, symbol, localSymbol or secId")
    if not (given.get("conId") or given.get("secType")):
        raise InvalidFields("contract.secType is missing: give it (STK, CASH, FUT, OPT, ...) or a conId")
    return given


def check_order(order: Mapping[str, Any], *, allow: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return `order` without unset fields. `allow` opens refused fields by name.

    Raises:
        InvalidFields: a field is unknown, refused, missing or has the wrong type.
    """
    given = _without_unset(order)
    for name in given:
        if name in REFUSED and name not in allow:
            raise InvalidFields(f"order.{name} must not be set: {REFUSED[name]}")
    _convert(given, _Order, "order")
    return given


def _without_unset(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _inside(value) for name, value in fields.items() if not _is_unset(value)}


def _inside(value: Any) -> Any:
    """The same for what is nested: a leg without a price is written with an unset one by ib_insync too."""
    if isinstance(value, Mapping):
        return _without_unset(value)
    return [_inside(item) for item in value] if isinstance(value, list) else value


def _is_unset(value: Any) -> bool:
    if value is None:
        return True
    return type(value) in (int, float) and value in (UNSET_INTEGER, UNSET_DOUBLE)


def _convert(given: dict[str, Any], kind: Any, what: str) -> None:
    try:
        msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidFields(wrong_value(error, given, what)) from None
