"""IB's codes in reports about no order: the system, and requests of ours. Sources as in `order_codes`. Pure."""

from __future__ import annotations

import re

from services.gateway.codes.meanings import CodeRule, Group, Meaning, code_rules
from services.gateway.codes.order_codes import said

# IB refuses every order of a read-only API with its code 321 and these words.
READ_ONLY = re.compile("read-only|read only|readonly", re.IGNORECASE)

SYSTEM_GROUPS = (
    Group(
        CodeRule(Meaning.DISCONNECTED),
        "wait; it ends by itself, after a weekend with a login",
        {
            1100: "the gateway has lost IB",
            2110: "the gateway has lost IB's server and connects again",
        },
    ),
    Group(
        CodeRule(Meaning.RESTORED),
        "nothing",
        {1101: "IB is back, subscriptions are lost", 1102: "IB is back, subscriptions go on"},
    ),
    Group(
        CodeRule(Meaning.CONNECTION),
        "is TWS or IB Gateway running and logged in, and the port right?",
        {
            502: "nothing to connect to",
            507: "the connection ended in a message",
            509: "the connection cannot be read",
            **said(504),
        },
    ),
    Group(
        CodeRule(Meaning.CONNECTION, trip=True),
        "end the other program with this client id, then reset; never give it another id",
        {326: "the client id is in use"},
    ),
    Group(
        CodeRule(Meaning.CONNECTION, trip=True),
        "set the new port or update the gateway; then reset",
        {1300: "the gateway's port was changed", **said(503)},
    ),
    Group(
        CodeRule(Meaning.NOTICE, trip=True),
        "set `ib.account`, or allow trading through the API; then reset",
        said(435, 436, 10015),
    ),
    Group(
        CodeRule(Meaning.NOTICE, trip=True),
        "stop whatever else sends to this gateway, or lower `ib.messages_per_second`; then reset",
        said(100),
    ),
    Group(
        CodeRule(Meaning.NOTICE),
        "nothing",
        {
            162: "a request for history failed",
            165: "a message about history",
            366: "there is no such request for history",
            501: "there is a connection already",
            2100: "account data is not sent any more",
            2101: "another client has the account data",
            2103: "a farm of market data is broken",
            2104: "a farm of market data is well",
            2105: "a farm of history is broken",
            2106: "a farm of history is well",
            2107: "a farm of history sleeps",
            2108: "a farm of market data sleeps",
            2119: "a farm of market data is being connected",
            2157: "the farm of definitions is broken (not on IB's page)",
            2158: "the farm of definitions is well",
        },
    ),
)

SYSTEM = code_rules(SYSTEM_GROUPS)


def for_system(code: int, text: str) -> CodeRule:
    """What `code` means when it came for no order."""
    if code == 321 and READ_ONLY.search(text):
        return CodeRule(Meaning.NOTICE, trip=True)
    return SYSTEM.get(code, CodeRule(Meaning.NOTICE, known=False))
