"""Every message of the wire as a `Layout`, by id for what comes in and by name for what goes out."""

from __future__ import annotations

from services.paper.wire.framing import UNSET_DOUBLE, Field, Layout, Repeated, When, fields
from services.paper.wire.order_layouts import (
    COMPLETED_ORDER,
    CONTRACT_REQUEST,
    OPEN_ORDER,
    PLACE_ORDER,
    TAG_VALUES,
    equals,
    flagged,
)

# A contract as replies give it: as in openOrder, but a right that does not apply is empty.
_CONTRACT = fields(
    "conId=0 symbol secType lastTradeDateOrContractMonth strike=0 right multiplier exchange currency"
    " localSymbol tradingClass"
)


def _simple(message_id: int, name: str, text: str) -> Layout:
    return Layout(message_id, name, fields(text))


_FROM_CLIENT = (
    Layout(
        1,
        "reqMktData",
        (
            *fields("version reqId"),
            *CONTRACT_REQUEST,
            When("secType", equals("BAG"), (Repeated("comboLegs", fields("conId ratio action exchange")),)),
            *fields("deltaNeutralContract=0"),
            When(
                "deltaNeutralContract",
                flagged,
                fields("deltaNeutralConId deltaNeutralDelta deltaNeutralPrice"),
            ),
            *fields("genericTickList snapshot regulatorySnapshot mktDataOptions"),
        ),
    ),
    _simple(2, "cancelMktData", "version reqId"),
    PLACE_ORDER,
    Layout(4, "cancelOrder", (*fields("version orderId"), *fields("manualOrderCancelTime", since=169))),
    _simple(5, "reqOpenOrders", "version"),
    _simple(6, "reqAccountUpdates", "version subscribe account"),
    _simple(7, "reqExecutions", "version reqId clientId account time symbol secType exchange side"),
    _simple(8, "reqIds", "version count"),
    Layout(
        9,
        "reqContractDetails",
        (
            *fields("version reqId"),
            *CONTRACT_REQUEST,
            *fields("includeExpired secIdType secId"),
            *fields("issuerId", since=176),
        ),
    ),
    _simple(14, "setServerLogLevel", "version level"),
    _simple(15, "reqAutoOpenOrders", "version autoBind"),
    _simple(16, "reqAllOpenOrders", "version"),
    _simple(17, "reqManagedAccts", "version"),
    _simple(49, "reqCurrentTime", "version"),
    _simple(58, "reqGlobalCancel", "version"),
    _simple(59, "reqMarketDataType", "version marketDataType"),
    _simple(61, "reqPositions", "version"),
    _simple(62, "reqAccountSummary", "version reqId group tags"),
    _simple(63, "cancelAccountSummary", "version reqId"),
    _simple(64, "cancelPositions", "version"),
    _simple(71, "startApi", "version clientId optionalCapabilities"),
    _simple(76, "reqAccountUpdatesMulti", "version reqId account modelCode ledgerAndNLV"),
    _simple(77, "cancelAccountUpdatesMulti", "version reqId"),
    _simple(99, "reqCompletedOrders", "apiOnly"),
)

_FROM_GATEWAY = (
    _simple(1, "tickPrice", "version=6 reqId tickType price size attrMask=0"),
    _simple(2, "tickSize", "version=6 reqId tickType size"),
    _simple(
        3,
        "orderStatus",
        "orderId status filled remaining avgFillPrice=0 permId parentId=0 lastFillPrice=0 clientId whyHeld"
        " mktCapPrice=0",
    ),
    Layout(4, "error", (*fields("version=2 id=-1 code text"), *fields("advancedOrderRejectJson", since=166))),
    OPEN_ORDER,
    _simple(6, "accountValue", "version=2 key value currency account"),
    _simple(
        7,
        "portfolio",
        "version=8 conId=0 symbol secType lastTradeDateOrContractMonth strike=0 right multiplier"
        " primaryExchange currency localSymbol tradingClass position marketPrice marketValue averageCost"
        " unrealizedPNL=0 realizedPNL=0 account",
    ),
    _simple(8, "accountTime", "version=1 time"),
    _simple(9, "nextValidId", "version=1 orderId"),
    Layout(
        10,
        "contractDetails",
        (
            *fields("version=8", until=164),
            *fields(
                "reqId symbol secType lastTradeDateOrContractMonth strike=0 right exchange currency"
                " localSymbol marketName tradingClass conId minTick"
            ),
            *fields("mdSizeMultiplier=100", until=164),
            *fields(
                "multiplier orderTypes validExchanges priceMagnifier=1 underConId=0 longName primaryExchange"
                " contractMonth industry category subcategory timeZoneId tradingHours liquidHours evRule"
                " evMultiplier=0"
            ),
            Repeated("secIds", TAG_VALUES),
            *fields("aggGroup=1 underSymbol underSecType marketRuleIds=26 realExpirationDate stockType"),
            *fields("suggestedSizeIncrement=1", since=163, until=164),
            *fields("minSize=1 sizeIncrement=1 suggestedSizeIncrement=100", since=164),
        ),
    ),
    Layout(
        11,
        "execDetails",
        (
            *fields("reqId=-1 orderId"),
            *_CONTRACT,
            *fields(
                "execId time account executionExchange side shares price permId clientId liquidation=0 cumQty"
                " avgPrice orderRef evRule evMultiplier modelCode lastLiquidity=2"
            ),
            *fields("pendingPriceRevision=0", since=178),
        ),
    ),
    _simple(15, "managedAccounts", "version=1 accounts"),
    _simple(49, "currentTime", "version=1 time"),
    _simple(52, "contractDetailsEnd", "version=1 reqId"),
    _simple(53, "openOrderEnd", "version=1"),
    _simple(54, "accountDownloadEnd", "version=1 account"),
    _simple(55, "execDetailsEnd", "version=1 reqId"),
    _simple(57, "tickSnapshotEnd", "version=1 reqId"),
    _simple(58, "marketDataType", "version=1 reqId marketDataType"),
    Layout(
        59,
        "commissionReport",
        (
            *fields("version=1 execId commission currency"),
            Field("realizedPNL", UNSET_DOUBLE),
            Field("yield", UNSET_DOUBLE),
            *fields("yieldRedemptionDate"),
        ),
    ),
    Layout(61, "position", (*fields("version=3 account"), *_CONTRACT, *fields("position avgCost"))),
    _simple(62, "positionEnd", "version=1"),
    _simple(63, "accountSummary", "version=1 reqId account tag value currency"),
    _simple(64, "accountSummaryEnd", "version=1 reqId"),
    _simple(73, "accountUpdateMulti", "version=1 reqId account modelCode key value currency"),
    _simple(74, "accountUpdateMultiEnd", "version=1 reqId"),
    _simple(81, "tickReqParams", "reqId minTick bboExchange=9c0001 snapshotPermissions=3"),
    COMPLETED_ORDER,
    _simple(102, "completedOrdersEnd", ""),
)

REQUESTS: dict[int, Layout] = {layout.message_id: layout for layout in _FROM_CLIENT}
REPLIES: dict[str, Layout] = {layout.name: layout for layout in _FROM_GATEWAY}
REPLIES_BY_ID: dict[int, Layout] = {layout.message_id: layout for layout in _FROM_GATEWAY}

# Requests of the protocol that are not served: id -> (name, index of the request id; 0: it has none).
UNSERVED: dict[int, tuple[str, int]] = {
    10: ("reqMktDepth", 2),
    11: ("cancelMktDepth", 2),
    12: ("reqNewsBulletins", 0),
    13: ("cancelNewsBulletins", 0),
    18: ("requestFA", 0),
    19: ("replaceFA", 0),
    20: ("reqHistoricalData", 1),
    21: ("exerciseOptions", 2),
    22: ("reqScannerSubscription", 1),
    23: ("cancelScannerSubscription", 2),
    24: ("reqScannerParameters", 0),
    25: ("cancelHistoricalData", 2),
    50: ("reqRealTimeBars", 2),
    51: ("cancelRealTimeBars", 2),
    52: ("reqFundamentalData", 2),
    53: ("cancelFundamentalData", 2),
    54: ("calculateImpliedVolatility", 2),
    55: ("calculateOptionPrice", 2),
    56: ("cancelCalculateImpliedVolatility", 2),
    57: ("cancelCalculateOptionPrice", 2),
    65: ("verifyRequest", 0),
    66: ("verifyMessage", 0),
    67: ("queryDisplayGroups", 2),
    68: ("subscribeToGroupEvents", 2),
    69: ("updateDisplayGroup", 2),
    70: ("unsubscribeFromGroupEvents", 2),
    74: ("reqPositionsMulti", 2),
    75: ("cancelPositionsMulti", 2),
    78: ("reqSecDefOptParams", 1),
    79: ("reqSoftDollarTiers", 1),
    80: ("reqFamilyCodes", 0),
    81: ("reqMatchingSymbols", 1),
    82: ("reqMktDepthExchanges", 0),
    83: ("reqSmartComponents", 1),
    84: ("reqNewsArticle", 1),
    85: ("reqNewsProviders", 0),
    86: ("reqHistoricalNews", 1),
    87: ("reqHeadTimeStamp", 1),
    88: ("reqHistogramData", 1),
    89: ("cancelHistogramData", 1),
    90: ("cancelHeadTimeStamp", 1),
    91: ("reqMarketRule", 0),
    92: ("reqPnL", 1),
    93: ("cancelPnL", 1),
    94: ("reqPnLSingle", 1),
    95: ("cancelPnLSingle", 1),
    96: ("reqHistoricalTicks", 1),
    97: ("reqTickByTickData", 1),
    98: ("cancelTickByTickData", 1),
    100: ("reqWshMetaData", 1),
    101: ("cancelWshMetaData", 1),
    102: ("reqWshEventData", 1),
    103: ("cancelWshEventData", 1),
    104: ("reqUserInfo", 1),
}
