"""The three long messages: placeOrder, openOrder and completedOrder, as data.

The value after a ``=`` is what a real gateway sends for a field that the order does not use. Versions:
160 postToAts, 162 autoCancelParent, 166 advancedErrorOverride, 169 manualOrderTime, 170 the size and offset
fields at the end, 177 without faProfile. `duration` came with 158, a version that is never negotiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from services.paper.wire.framing import UNSET_DOUBLE, Field, Item, Layout, Repeated, When, fields

_NO_NUMBER = {"", "0", "2147483647", "9223372036854775807"}


def filled_in(value: Any) -> bool:
    """Tell whether a text is not empty or a list has entries."""
    return bool(value)


def flagged(value: Any) -> bool:
    """Tell whether a boolean field is on."""
    return str(value) in ("1", "true", "True")


def equals(*wanted: str) -> Callable[[Any], bool]:
    """Return a test for one of some words."""
    return lambda value: value in wanted


def positive_number(value: Any) -> bool:
    """Tell whether a number is given and above zero; the protocol's words for "unset" are not a number."""
    if str(value) in _NO_NUMBER:
        return False
    try:
        return 0 < float(value) < float(UNSET_DOUBLE)
    except ValueError:
        return False


def infinite(value: Any) -> bool:
    """Tell whether a number is the protocol's infinity, in the spelling of either client family."""
    return value in ("Infinity", "Infinite", math.inf)


CONTRACT_DESCRIPTION = fields(
    "conId=0 symbol secType lastTradeDateOrContractMonth strike=0 right=? multiplier exchange currency"
    " localSymbol tradingClass"
)
CONTRACT_REQUEST = fields(
    "conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange primaryExchange"
    " currency localSymbol tradingClass"
)
TAG_VALUES = fields("tag value")
COMBO_LEG = fields("conId=0 ratio=0 action exchange openClose=0 shortSaleSlot=0 designatedLocation exemptCode=-1")

_COMBO: tuple[Item, ...] = (
    Repeated("comboLegs", COMBO_LEG),
    Repeated("orderComboLegs", fields("price")),
    Repeated("smartComboRoutingParams", TAG_VALUES),
)
_SCALE = When(
    "scalePriceIncrement",
    positive_number,
    fields(
        "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset=0 scaleInitPosition"
        " scaleInitFillQty scaleRandomPercent=0"
    ),
)
_HEDGE = When("hedgeType", filled_in, fields("hedgeParam"))
_DELTA_NEUTRAL_CONTRACT: tuple[Item, ...] = (
    Field("deltaNeutralContract", "0"),
    When(
        "deltaNeutralContract",
        flagged,
        fields("deltaNeutralContractConId=0 deltaNeutralContractDelta=0 deltaNeutralContractPrice=0"),
    ),
)
_ALGO: tuple[Item, ...] = (
    Field("algoStrategy"),
    When("algoStrategy", filled_in, (Repeated("algoParams", TAG_VALUES),)),
)
_PEG_BENCH = When(
    "orderType",
    equals("PEG BENCH", "PEGBENCH"),
    fields(
        "referenceContractId=0 isPeggedChangeAmountDecrease=0 peggedChangeAmount=0 referenceChangeAmount=0"
        " referenceExchangeId"
    ),
)
# What follows the kind and the conjunction, by kind of condition.
_CONDITION_KINDS = {
    "1": "isMore price conId exch triggerMethod",  # price
    "3": "isMore time",
    "4": "isMore percent",  # margin cushion
    "5": "secType exch symbol",  # an execution
    "6": "isMore volume conId exch",
    "7": "isMore changePercent conId exch",
}
_CONDITIONS: tuple[Item, ...] = (
    Repeated(
        "conditions",
        (
            *fields("condType conjunction"),
            *(When("condType", equals(kind), fields(names)) for kind, names in _CONDITION_KINDS.items()),
        ),
    ),
    When("conditions", filled_in, fields("conditionsIgnoreRth=0 conditionsCancelOrder=0")),
)

PLACE_ORDER = Layout(
    3,
    "placeOrder",
    (
        *fields("orderId"),
        *CONTRACT_REQUEST,
        *fields(
            "secIdType secId action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account"
            " openClose origin orderRef transmit parentId blockOrder sweepToFill displaySize triggerMethod"
            " outsideRth hidden"
        ),
        When("secType", equals("BAG"), _COMBO),
        *fields("sharesAllocation discretionaryAmt goodAfterTime goodTillDate faGroup faMethod faPercentage"),
        *fields("faProfile", until=177),
        *fields(
            "modelCode shortSaleSlot designatedLocation exemptCode=-1 ocaType rule80A settlingFirm"
            " allOrNone minQty percentOffset eTradeOnly firmQuoteOnly nbboPriceCap auctionStrategy"
            " startingPrice stockRefPrice delta stockRangeLower stockRangeUpper"
            " overridePercentageConstraints volatility volatilityType deltaNeutralOrderType"
            " deltaNeutralAuxPrice"
        ),
        When(
            "deltaNeutralOrderType",
            filled_in,
            fields(
                "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount"
                " deltaNeutralClearingIntent deltaNeutralOpenClose deltaNeutralShortSale"
                " deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation"
            ),
        ),
        *fields(
            "continuousUpdate referencePriceType trailStopPrice trailingPercent scaleInitLevelSize"
            " scaleSubsLevelSize scalePriceIncrement"
        ),
        _SCALE,
        *fields("scaleTable activeStartTime activeStopTime hedgeType"),
        _HEDGE,
        *fields("optOutSmartRouting clearingAccount clearingIntent notHeld"),
        *_DELTA_NEUTRAL_CONTRACT,
        *_ALGO,
        *fields("algoId whatIf orderMiscOptions solicited randomizeSize randomizePrice"),
        _PEG_BENCH,
        *_CONDITIONS,
        *fields(
            "adjustedOrderType triggerPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice"
            " adjustedTrailingAmount adjustableTrailingUnit extOperator softDollarTierName"
            " softDollarTierValue cashQty mifid2DecisionMaker mifid2DecisionAlgo mifid2ExecutionTrader"
            " mifid2ExecutionAlgo dontUseAutoPriceForHedge isOmsContainer discretionaryUpToLimitPrice"
            " usePriceMgmtAlgo"
        ),
        *fields("duration", since=158),
        *fields("postToAts", since=160),
        *fields("autoCancelParent", since=162),
        *fields("advancedErrorOverride", since=166),
        *fields("manualOrderTime", since=169),
        When("exchange", equals("IBKRATS"), fields("minTradeQty"), since=170),
        When(
            "orderType",
            equals("PEG BEST", "PEGBEST"),
            (
                *fields("minCompeteSize competeAgainstBestOffset"),
                When("competeAgainstBestOffset", infinite, fields("midOffsetAtWhole midOffsetAtHalf")),
            ),
            since=170,
        ),
        When("orderType", equals("PEG MID", "PEGMID"), fields("midOffsetAtWhole midOffsetAtHalf"), since=170),
    ),
)

_MARGINS = (
    "initMarginBefore maintMarginBefore equityWithLoanBefore initMarginChange maintMarginChange"
    " equityWithLoanChange initMarginAfter maintMarginAfter equityWithLoanAfter"
)
MARGIN_FIELDS = tuple(_MARGINS.split())
_SIZE_AND_OFFSETS = fields(
    "minTradeQty minCompeteSize=100 competeAgainstBestOffset=0.02 midOffsetAtWhole midOffsetAtHalf", since=170
)

OPEN_ORDER = Layout(
    5,
    "openOrder",
    (
        *fields("orderId"),
        *CONTRACT_DESCRIPTION,
        *fields(
            "action totalQuantity=0 orderType lmtPrice=0.0 auxPrice=0.0 tif=DAY ocaGroup account"
            " openClose origin=0 orderRef clientId permId outsideRth=0 hidden=0 discretionaryAmt=0"
            " goodAfterTime sharesAllocation faGroup faMethod faPercentage"
        ),
        *fields("faProfile", until=177),
        *fields(
            "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot=0 designatedLocation"
            " exemptCode=-1 auctionStrategy=0 startingPrice stockRefPrice delta stockRangeLower"
            " stockRangeUpper displaySize=2147483647 blockOrder=0 sweepToFill=0 allOrNone=0 minQty"
            " ocaType=3 eTradeOnly=0 firmQuoteOnly=0 nbboPriceCap parentId=0 triggerMethod=0 volatility"
            " volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice"
        ),
        When(
            "deltaNeutralOrderType",
            filled_in,
            fields(
                "deltaNeutralConId=0 deltaNeutralSettlingFirm deltaNeutralClearingAccount"
                " deltaNeutralClearingIntent deltaNeutralOpenClose=? deltaNeutralShortSale=0"
                " deltaNeutralShortSaleSlot=0 deltaNeutralDesignatedLocation"
            ),
        ),
        *fields(
            "continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent basisPoints"
            " basisPointsType comboLegsDescrip"
        ),
        *_COMBO,
        *fields("scaleInitLevelSize=2147483647 scaleSubsLevelSize=2147483647 scalePriceIncrement"),
        _SCALE,
        *fields("hedgeType"),
        _HEDGE,
        *fields("optOutSmartRouting=0 clearingAccount clearingIntent=IB notHeld=0"),
        *_DELTA_NEUTRAL_CONTRACT,
        *_ALGO,
        *fields("solicited=0 whatIf=0 status"),
        *(Field(name, UNSET_DOUBLE) for name in MARGIN_FIELDS),
        *fields("commission minCommission maxCommission commissionCurrency warningText"),
        *fields("randomizeSize=0 randomizePrice=0"),
        _PEG_BENCH,
        *_CONDITIONS,
        *fields("adjustedOrderType=None"),
        # The stop price of a trailing order comes a second time, and clients keep this one.
        *(Field(name, UNSET_DOUBLE) for name in ("triggerPrice", "trailStopPriceAgain", "lmtPriceOffset")),
        *(
            Field(name, UNSET_DOUBLE)
            for name in ("adjustedStopPrice", "adjustedStopLimitPrice", "adjustedTrailingAmount")
        ),
        *fields(
            "adjustableTrailingUnit=0 softDollarTierName softDollarTierValue softDollarTierDisplayName"
            " cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0 discretionaryUpToLimitPrice=0"
            " usePriceMgmtAlgo=0"
        ),
        *fields("duration", since=158),
        *fields("postToAts", since=160),
        *fields("autoCancelParent=0", since=162),
        *_SIZE_AND_OFFSETS,
    ),
)

COMPLETED_ORDER = Layout(
    101,
    "completedOrder",
    (
        *CONTRACT_DESCRIPTION,
        *fields(
            "action totalQuantity=0 orderType lmtPrice=0.0 auxPrice=0.0 tif=DAY ocaGroup account"
            " openClose origin=0 orderRef permId outsideRth=0 hidden=0 discretionaryAmt=0 goodAfterTime"
            " faGroup faMethod faPercentage"
        ),
        *fields("faProfile", until=177),
        *fields(
            "modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot=0 designatedLocation"
            " exemptCode=-1 startingPrice stockRefPrice delta stockRangeLower stockRangeUpper"
            " displaySize=2147483647 sweepToFill=0 allOrNone=0 minQty ocaType=3 triggerMethod=0 volatility"
            " volatilityType=0 deltaNeutralOrderType=None deltaNeutralAuxPrice"
        ),
        When(
            "deltaNeutralOrderType",
            filled_in,
            fields(
                "deltaNeutralConId=0 deltaNeutralShortSale=0 deltaNeutralShortSaleSlot=0 deltaNeutralDesignatedLocation"
            ),
        ),
        *fields("continuousUpdate=0 referencePriceType=0 trailStopPrice trailingPercent comboLegsDescrip"),
        *_COMBO,
        *fields("scaleInitLevelSize=2147483647 scaleSubsLevelSize=2147483647 scalePriceIncrement"),
        _SCALE,
        *fields("hedgeType"),
        _HEDGE,
        *fields("clearingAccount clearingIntent=IB notHeld=0"),
        *_DELTA_NEUTRAL_CONTRACT,
        *_ALGO,
        *fields("solicited=0 status randomizeSize=0 randomizePrice=0"),
        _PEG_BENCH,
        *_CONDITIONS,
        Field("trailStopPriceAgain", UNSET_DOUBLE),
        Field("lmtPriceOffset", UNSET_DOUBLE),
        *fields(
            "cashQty=0 dontUseAutoPriceForHedge=1 isOmsContainer=0 autoCancelDate filledQuantity=0"
            " refFuturesConId=2147483647 autoCancelParent=0"
        ),
        Field("shareholder", "Not an insider or substantial shareholder"),
        *fields(
            "imbalanceOnly=0 routeMarketableToBbo=0 parentPermId=9223372036854775807 completedTime completedStatus"
        ),
        *_SIZE_AND_OFFSETS,
    ),
)
