"""IB's codes under the id of an order, as tables: a new code is a new row, never a new `if`.

`malformed_codes` has those by which IB calls the order wrong.

Sources: IB's pages of message codes (https://interactivebrokers.github.io/tws-api/message_codes.html and the newer one
in IBKR Campus), and what clients of IB have met ("not on IB's page"). Where the breaker's own table differs, that one
decides.

In the tables of orders stands every code that can come under the id of an order. Codes about quotes, market depth,
history, scanners, news, accounts and contracts carry the id of such a request, and ours never has that of an order;
so do the errors that IB's own client libraries raise about their requests. They are left out. Pure.
"""

from __future__ import annotations

from services.gateway.codes import malformed_codes
from services.gateway.codes.meanings import CodeRule, Group, Meaning, code_rules

_REJECTED = CodeRule(Meaning.REJECTED, "failure")
_DOUBT = CodeRule(Meaning.DOUBT, "failure")
_DOUBT_OF_STRATEGY = CodeRule(Meaning.DOUBT, "malformed")
_BYTES_LOST = CodeRule(Meaning.DOUBT, "failure", bytes_lost=True)
_CANCEL_FAILED = CodeRule(Meaning.CANCEL_FAILED)
_ORIGINAL_LIVES = CodeRule(Meaning.ORIGINAL_LIVES)

# For an order that IB has not confirmed yet, and for everything that the tables of changes and cancels do not name.
NEW_GROUPS = (
    *malformed_codes.GROUPS,
    Group(
        _REJECTED,
        "keep inside the precaution, or change it in TWS",
        {
            109: "the price is beyond the precaution's percentage",
            163: "the price is beyond the precaution's percentage",
            164: "there is no quote to check the precaution's percentage with",
            382: "the price is beyond the precaution's number of ticks",
            383: "the quantity is beyond the precaution's size",
            451: "the order's value or size is beyond the precaution's limit (not on IB's page)",
        },
    ),
    Group(
        _REJECTED,
        "read the reason in the event",
        {
            154: "trading in the contract is halted",
            201: "the broker or the venue refuses the order",
            415: "an earlier request for quotes is not done",
            423: "the committed size of the cross order is gone",
            438: "the program is locked",
            445: "the request for quotes is not valid any more",
        },
    ),
    Group(
        _REJECTED,
        "ask IB for the permission, or do not trade this contract with this account",
        {
            203: "the contract is not for this account",
            426: "no account has enough shares; a cash account may not go short",
            460: "there is no permission to trade this (not on IB's page)",
            10345: "this may not be traded",
        },
    ),
    Group(
        _REJECTED,
        "wait; IB tells in its bulletins",
        {
            395: "IB has problems and takes no OCA groups",
            396: "IB has problems and takes market and limit orders only",
            397: "IB has problems and takes market and limit orders only",
        },
    ),
    # A duplicate id hits whatever lives under it, a server's error says nothing about what the server did before it.
    # Looked up by orderRef, never sent again.
    Group(
        _DOUBT,
        "if it stays `unknown`, look in TWS and settle it with `orderfuse resolve`",
        {
            103: "the order id was used before",
            122: "there is no request for the order",
            133: "the order could not be submitted",
            308: "TWS has no room for another page of orders",
            320: "the server could not read the request",
            322: "the server could not process the request",
            323: "the server had an error",
            357: "the client is too old",
        },
    ),
    Group(
        _BYTES_LOST,
        "if it stays `unknown`, look in TWS and settle it with `orderfuse resolve`",
        {
            504: "there is no connection",
            512: "the order could not be sent",
            515: "the cancel could not be sent",
            588: "the message could not be encoded",
            10328: "the connection was lost, and the order's data could not be found out",
        },
    ),
    # IB asks in a window of TWS, or warns in words that leave open whether it has taken the order.
    Group(
        _DOUBT_OF_STRATEGY,
        "look in TWS whether a window asks about the order; switch that question off",
        {
            10018: "a warning about orders and EV, which IB's page does not explain",
            10019: "a warning about trades and EV, which IB's page does not explain",
            10239: "accounts do not fit the risk score of the allocation",
            10285: "the client is too old for fractions",
            10287: "the order of a cryptocurrency is not confirmed",
            10288: "a market order of a cryptocurrency is to be confirmed",
            10310: "whether the order was solicited is to be said",
            10331: "a stop order is to be confirmed",
            10332: "the risk of a cryptocurrency is to be confirmed",
            10334: "the account of an omnibus order is to be confirmed",
            10335: "the presets contradict each other",
            10347: "the contract is hard to sell again",
        },
    ),
    # Errors of a cancel or a change. While neither is under way they only raise doubt: an order may live that they
    # speak of. First those in which IB's books and ours differ, then those that ask for what the order does not allow.
    Group(
        _DOUBT,
        "if it stays `unknown`, look in TWS and settle it with `orderfuse resolve`",
        {
            104: "a filled order cannot be changed",
            105: "the change is about another order",
            134: "the order could not be changed",
            135: "there is no order with this id",
            136: "the order cannot be cancelled",
            161: "the order is in no state to be cancelled",
            329: "the type of the order cannot be changed",
            10147: "the order to cancel was not found",
            10148: "the order cannot be cancelled in its state",
            10326: "the OCA group cannot be changed",
            10327: "the type of the OCA group cannot be changed",
        },
    ),
    Group(
        _DOUBT_OF_STRATEGY,
        "cancel it and send another one instead of changing it",
        {
            137: "a VWAP order can be cancelled until three minutes before its start",
            422: "account and clearing cannot be changed",
            440: "the algo cannot be changed",
            444: "the combo is not acknowledged yet, and cannot be changed",
            462: "the time in force cannot be changed (not on IB's page)",
            10241: "an order for an amount of cash cannot be changed through the API",
            10242: "an order for fractions cannot be changed through the API",
            10308: "whether it is posted to an ATS cannot be changed",
            10341: "the parent cannot be changed",
        },
    ),
    Group(
        CodeRule(Meaning.CANCELLED, "failure"),  # neutral if we asked, or it ended by itself: the ledger knows
        "read the reason in the event",
        {202: "the order was cancelled"},
    ),
    Group(CodeRule(Meaning.REDUCED), "nothing", {481: "the quantity was reduced"}),
    Group(
        CodeRule(Meaning.NOTICE),
        "nothing",
        {
            131: "sweep-to-fill and the displayed size are ignored here",
            399: "a message about the order, such as being held until the open",
            404: "shares to sell short are being located; the order is held",
            492: "a warning (not on IB's page)",
            2102: "the order is still being processed",
            2109: "outside regular hours is ignored for this order",
            2111: "the times of the algo were moved to the next day",
            2130: "the contract is priced with a factor",
            2161: "the price was capped (not on IB's page)",
            2168: "eTradeOnly is not supported any more",
            2169: "firmQuoteOnly is not supported any more",
            2174: "a time without a zone (not on IB's page)",
            10233: "the preset for cash orders was used",
            10349: "the time in force was set by a preset (not on IB's page)",
        },
    ),
    Group(
        CodeRule(Meaning.NOTICE),
        "if TWS holds such orders back, tick *Bypass Redirect Order warning for Stock API Orders*, or route SMART",
        {
            10311: "the order goes directly to one venue, which may cost more",
            10329: "the order goes directly to one venue",
        },
    ),
    Group(
        CodeRule(Meaning.NOTICE),
        "if the order then waits for an answer in a window of TWS, switch that message off",
        {2137: "the order turns the position over"},
    ),
    # No further order can do better.
    Group(
        CodeRule(Meaning.REJECTED, "failure", trip=True),
        "set `ib.account`, or allow trading through the API; then reset",
        {
            435: "the account is missing",
            436: "account, group or profile is missing",
            10015: "the API may not trade",
        },
    ),
    # Our pacing is broken; whether IB took this message is open.
    Group(
        CodeRule(Meaning.DOUBT, "failure", trip=True),
        "stop whatever else sends to this gateway, or lower `ib.messages_per_second`; then reset",
        {100: "more messages in a second than IB takes"},
    ),
    Group(
        CodeRule(Meaning.DOUBT, "failure", trip=True, bytes_lost=True),
        "update TWS or IB Gateway; then reset",
        {503: "the gateway is too old"},
    ),
)

_SAYS = {code: says for group in NEW_GROUPS for code, says in group.says.items()}


def said(*codes: int) -> dict[int, str]:
    """What IB says by these codes, as in the table of new orders."""
    return {code: _SAYS[code] for code in codes}


# The change was refused; what IB had before goes on. So it does after a code by which IB calls the new terms wrong.
CHANGE_MALFORMED = CodeRule(Meaning.ORIGINAL_LIVES, "malformed")
MODIFY_GROUPS = (
    Group(
        _ORIGINAL_LIVES,
        "correct the change, or try it once more when the order is confirmed",
        said(103, 104, 105, 110, 134, 321, 444, 2102),
    ),
    Group(
        _ORIGINAL_LIVES,
        "keep inside the precaution, or change it in TWS",
        said(109, 163, 164, 382, 383, 451),
    ),
    Group(
        _ORIGINAL_LIVES,
        "cancel it and send another one instead of changing it",
        said(329, 422, 440, 462, 10241, 10242, 10308, 10326, 10327, 10341),
    ),
)

CANCEL_GROUPS = (
    # Unknown there, filled, or in a state that cannot be cancelled.
    Group(
        _CANCEL_FAILED,
        "if the order still works, cancel it once more",
        said(104, 134, 135, 136, 137, 161, 321, 444, 2102, 10147, 10148),
    ),
    Group(
        CodeRule(Meaning.CANCEL_FAILED, bytes_lost=True),
        "if the order still works, cancel it once more",
        said(512, 515),
    ),
)

# The answers to a cancel that say that IB holds no order under this id, not even one that it lists nowhere.
NO_SUCH_ORDER = frozenset({135, 10147})

NEW = code_rules(NEW_GROUPS)
MODIFY = code_rules(MODIFY_GROUPS)
CANCEL = code_rules(CANCEL_GROUPS)
