"""IB's codes and the texts that go with them, for faults that name a code only."""

from __future__ import annotations

from services.paper.wire.framing import clean_text

# Answers that IB gives before it books an order: the order never gets a permanent id, and no status follows.
BEFORE_BOOKING = frozenset({100, 103, 104, 105, 109, 110, 200, 320, 321, 387, 434, 10147, 10148})

_US_FARM, _HISTORY_FARM, _DEFINITIONS_FARM = "usfarm", "ushmds", "secdefil"

# {order_id} is put in where an order is meant.
TEXTS = {
    103: "Duplicate order id",
    104: "Cannot modify a filled order.",
    105: "Order being modified does not match original order.",
    110: "The price does not conform to the minimum price variation for this contract.",
    135: "Can't find order with id = {order_id}",
    161: "Cancel attempted when order is not in a cancellable state. Order permId =0",
    200: "No security definition has been found for the request",
    201: "Order rejected - reason:rejected on command",
    202: "Order Canceled - reason:",
    203: "The security is not available or allowed for this account.",
    321: "Error validating request.-'bW' : cause - rejected on command",
    399: "Order Message:\nBUY\nWarning: your order will not be placed at the exchange until the next opening.",
    404: "Order held while securities are located.",
    434: "The order size cannot be zero.",
    481: "Order size was reduced.",
    1100: "Connectivity between IBKR and Trader Workstation has been lost.",
    1101: "Connectivity between IBKR and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IBKR and Trader Workstation has been restored - data maintained.",
    1300: "TWS socket port has been reset and this connection is being dropped.",
    2103: f"Market data farm connection is broken:{_US_FARM}",
    2104: f"Market data farm connection is OK:{_US_FARM}",
    2105: f"HMDS data farm connection is broken:{_HISTORY_FARM}",
    2106: f"HMDS data farm connection is OK:{_HISTORY_FARM}",
    2107: f"HMDS data farm connection is inactive but should be available upon demand.{_HISTORY_FARM}",
    2108: f"Market data farm connection is inactive but should be available upon demand.{_US_FARM}",
    2109: "Order Event Warning: Attribute 'Outside Regular Trading Hours' is ignored based on the order type.",
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    2157: f"Sec-def data farm connection is broken:{_DEFINITIONS_FARM}",
    2158: f"Sec-def data farm connection is OK:{_DEFINITIONS_FARM}",
    10147: "OrderId {order_id} that needs to be cancelled is not found.",
    10148: "OrderId {order_id} that needs to be cancelled can not be cancelled, state: Filled.",
    10197: "No market data during competing live session",
    10349: "Order TIF was set to DAY based on order preset.",
}


def text_for(code: int, text: str) -> str:
    """Return the text given, else IB's own for the code."""
    return clean_text(text or TEXTS.get(code, f"Error {code} on command"))
