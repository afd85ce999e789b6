"""Every message that the gateway can send, at every version that it can agree on, for the clients' own decoders."""

from __future__ import annotations

from typing import Any

from services.paper.wire.framing import SERVER_VERSION_MAX, SERVER_VERSION_MIN, SERVER_VERSION_SKIPPED
from services.paper.wire.layouts import REPLIES

VERSIONS = [
    version for version in range(SERVER_VERSION_MIN, SERVER_VERSION_MAX + 1) if version != SERVER_VERSION_SKIPPED
]

# Values that are found nowhere else in the message, so that a field in the wrong place is seen.
_VALUES: dict[str, Any] = {
    "orderId": "512",
    "reqId": "613",
    "id": "512",
    "code": "399",
    "permId": "770077",
    "clientId": "17",
    "conId": "265598",
    "symbol": "AAPL",
    "secType": "STK",
    "exchange": "SMART",
    "currency": "USD",
    "localSymbol": "AAPL",
    "tradingClass": "NMS",
    "account": "DU0000000",
    "accounts": "DU0000000",
    "action": "BUY",
    "totalQuantity": "123",
    "orderType": "LMT",
    "lmtPrice": "187.25",
    "orderRef": "its-ref",
    "status": "Submitted",
    "commission": "1.25",
    "cashQty": "4321.5",
    "minTradeQty": "11",
    "minCompeteSize": "12",
    "competeAgainstBestOffset": "0.13",
    "midOffsetAtWhole": "0.14",
    "midOffsetAtHalf": "0.15",
    "filledQuantity": "45",
    "completedTime": "20261122 10:00:00 UTC",
    "completedStatus": "Filled Size: 45",
    "filled": "45",
    "remaining": "78",
    "avgFillPrice": "187.21",
    "execId": "0000e0d5.67000000.01.01",
    "time": "20261122  10:00:00",
    "side": "BOT",
    "shares": "45",
    "price": "187.19",
    "cumQty": "46",
    "avgPrice": "187.21",
    "lastLiquidity": "2",
    "position": "45",
    "avgCost": "187.22",
    "marketPrice": "187.3",
    "marketValue": "8428.5",
    "averageCost": "187.22",
    "minTick": "0.0125",
    "longName": "Its Long Name",
    "stockType": "ITS-TYPE",
    "suggestedSizeIncrement": "1234",
    "secIds": [{"tag": "ISIN", "value": "US0378331005"}],
    "marketDataType": "1",
    "tickType": "1",
    "size": "100",
}
_MUST_SHOW = {
    "openOrder": ("512", "265598", "its-ref", "187.25", "770077", "Submitted", "1.25", "4321.5", "0.15"),
    "completedOrder": ("265598", "its-ref", "187.25", "770077", "45", "Filled Size: 45", "0.15"),
    "execDetails": ("512", "265598", "0000e0d5.67000000.01.01", "187.19", "46", "187.21", "its-ref"),
    "contractDetails": ("265598", "0.0125", "Its Long Name", "US0378331005", "ITS-TYPE", "1234"),
}
# Values that only newer versions carry. IBKR's own client reads a size at 163 as well, and throws it away.
_SINCE = {("openOrder", "0.15"): 170, ("completedOrder", "0.15"): 170, ("contractDetails", "1234"): 164}


def every_message() -> list[dict[str, Any]]:
    """Return the messages: name, version, fields, and what a client must show of it."""
    return [_message(name, version) for version in VERSIONS for name in REPLIES]


def _message(name: str, version: int) -> dict[str, Any]:
    values = _VALUES | {"time": "1795341600"} if name == "currentTime" else _VALUES
    return {
        "name": name,
        "version": version,
        "fields": REPLIES[name].encode(version, values),
        "must_show": [text for text in _MUST_SHOW.get(name, ()) if version >= _SINCE.get((name, text), 0)],
    }
