"""Every fault that can be played, as data: one struct for each kind, and `KINDS`, the table of them.

A fault says when it strikes, whom, and what happens; nothing here does it. Four families bite in four places:
an `OrderFault` where an order is placed, changed or cancelled (before it is booked, or in what is told of it),
a `MessageFault` where one message leaves, a `RequestFault` where a request or a connection comes in, and an
`Action` whenever its time has come.
"""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from services.paper.fault_families import (
    Action,
    ClientId,
    Code,
    Fault,
    FaultError,
    How,
    MessageFault,
    Millis,
    Money,
    OrderFault,
    Orders,
    Price,
    RequestFault,
    RequestName,
    Size,
    Text,
    Word,
)
from services.paper.fault_texts import BEFORE_BOOKING, TEXTS
from services.paper.orders import MAX_ORDER_ID
from services.paper.wire import SERVER_VERSION_MAX, clean_text

# ---------------------------------------------------------------- orders


class RejectOrders(OrderFault, frozen=True, kw_only=True):
    """An order, change or cancel is refused with a code and a text of IB's."""

    code: Code = 201
    text: Text = ""  # empty: IB's own for this code
    sequence: Literal["error_first", "status_first", "error_only"] = "error_first"
    presubmitted: bool = False  # it is acknowledged first, and rejected after `wait_ms`
    wait_ms: Millis = 0

    @property
    def booked(self) -> bool:
        """Tell whether the order gets a permanent id and a status, as IB has it for this code."""
        return self.code not in BEFORE_BOOKING


class InactiveOrders(OrderFault, frozen=True, kw_only=True):
    """An order becomes Inactive, and no error says why; or (`why_held`) it is told to be held, and lives."""

    on: Literal["new"] = "new"
    why_held: Word = ""  # a list such as child,locate: it can be filled and cancelled, and waits for no price
    status: Literal["Inactive", "PreSubmitted"] = "Inactive"  # what a held one is told to be
    wait_ms: Millis = 0  # a held one works like any other after so long; 0: until it is filled or changed

    def __post_init__(self) -> None:
        """Refuse what only a held order can have.

        Raises:
            FaultError: it is not held.
        """
        if not self.why_held and (self.status != "Inactive" or self.wait_ms):
            raise FaultError("status and wait_ms are of an order that is held; give why_held as well", "why_held")


class WarnOrders(OrderFault, frozen=True, kw_only=True):
    """An error arrives for an order that is fine: 399, 404 (held for `wait_ms`), 10349 (a false cancel)."""

    code: Code = 399
    text: Text = ""
    wait_ms: Millis = 0


class DelayAnswers(OrderFault, frozen=True, kw_only=True):
    """What happens to an order is told late; it happens at once."""

    ms: Millis = 500


class SwallowOrders(OrderFault, frozen=True, kw_only=True):
    """No answer: the message never arrived, or (`booked`) it did and nothing is said of it."""

    booked: bool = False


class CutConnection(OrderFault, frozen=True, kw_only=True):
    """The connection breaks around an order: before it is read, after it is booked, or after a message of it."""

    at: Literal["before", "booked", "openOrder", "orderStatus", "execDetails", "commissionReport"] = "booked"
    how: How = "fin"


class PartialFills(OrderFault, frozen=True, kw_only=True):
    """An order is filled in pieces of at most `size`, one at each price step."""

    size: Annotated[float, Meta(gt=0, le=1e9)] = 1.0


class CorrectFills(OrderFault, frozen=True, kw_only=True):
    """A fill is corrected afterwards: one more execution, its id ending in .02, at another price."""

    price_change: Price = -0.01
    wait_ms: Millis = 0


class FillAfterCancel(OrderFault, frozen=True, kw_only=True):
    """A cancelled order is filled after all, `wait_ms` after Cancelled was told."""

    on: Literal["cancel"] = "cancel"
    wait_ms: Millis = 0


class TwinOrders(OrderFault, frozen=True, kw_only=True):
    """A change becomes a second order: same order id and reference, another permanent id; the first lives on."""

    on: Literal["modify"] = "modify"
    away: bool = False  # only a change that comes between the notices 1100 and 1101 or 1102


class UnknownAtFirst(OrderFault, frozen=True, kw_only=True):
    """An order is acknowledged late; until then it is listed nowhere, and a cancel is answered 10147 and not done."""

    on: Literal["new"] = "new"
    ms: Millis = 500


class VanishOrders(OrderFault, frozen=True, kw_only=True):
    """An order is gone without a status: right after it was acknowledged, or (`on=cancel`) with a 10147."""

    on: Literal["new", "cancel"] = "new"


class UnaskedCancels(OrderFault, frozen=True, kw_only=True):
    """An order is accepted, and cancelled `wait_ms` later although nobody asked; 202 gives `text` as the reason."""

    on: Literal["new"] = "new"
    text: Text = ""
    wait_ms: Millis = 0


class SlowCancels(OrderFault, frozen=True, kw_only=True):
    """A cancel takes its time; meanwhile the order can be filled, and another cancel is answered 10148."""

    on: Literal["cancel"] = "cancel"
    ms: Millis = 2000


# ---------------------------------------------------------------- messages, requests, connections


class OmitMessages(MessageFault, frozen=True, kw_only=True):
    """A message never leaves."""


class DuplicateMessages(MessageFault, frozen=True, kw_only=True):
    """A message leaves twice."""


class LateMessages(MessageFault, frozen=True, kw_only=True):
    """A message leaves later, and others overtake it."""

    ms: Millis = 500


class UnansweredRequests(RequestFault, frozen=True, kw_only=True):
    """A request is not answered, or (`late_ms`) late."""

    request: RequestName
    late_ms: Millis = 0  # 0: never


class RefuseConnections(RequestFault, frozen=True, kw_only=True):
    """A connection gets no further: error 326, a FIN, a RST, or silence."""

    how: Literal["in_use", "fin", "rst", "silent"] = "in_use"


# ---------------------------------------------------------------- at a moment


class Notice(Action, frozen=True, kw_only=True):
    """A message of the system, such as 1100, 1102 or 2103. 1300 ends the connections as well."""

    code: Code
    text: Text = ""
    client_id: ClientId | None = None


class Disconnect(Action, frozen=True, kw_only=True):
    """Connections break. The halves of `stop_reading` and `stop_writing` go on after `for_ms`; 0: never."""

    how: How = "rst"
    client_id: ClientId | None = None
    for_ms: Millis = 0


class Restart(Action, frozen=True, kw_only=True):
    """The gateway forgets every connection, is away for `down_ms`, and knows its book again."""

    down_ms: Millis = 0
    roll_back_ids: Orders = 0  # nextValidId is so much lower than it was


class Midnight(Action, frozen=True, kw_only=True):
    """A new day: executions and completed orders are gone."""

    day_orders: bool = False  # orders that are good for the day end as well


class CloseOfDay(Action, frozen=True, kw_only=True):
    """The close: orders that are good for the day end, and completed orders list them. Others work on."""

    reason: Text = ""  # what 202 gives as the reason


class NextId(Action, frozen=True, kw_only=True):
    """The next order id, in the greeting and as the answer to reqIds, is this one."""

    order_id: Annotated[int, Meta(ge=1, le=MAX_ORDER_ID)]
    client_id: ClientId | None = None


class LoggedOut(Action, frozen=True, kw_only=True):
    """Nobody is logged in: an empty list of accounts and no order id, until `active=false` or for `for_ms`."""

    active: bool = True
    for_ms: Millis = 0


class ServerVersion(Action, frozen=True, kw_only=True):
    """Who connects from now on is told at most this version, however old; 0: its own again."""

    version: Annotated[int, Meta(ge=0, le=SERVER_VERSION_MAX)] = 152


class ReadOnly(Action, frozen=True, kw_only=True):
    """The API is read-only, or (`active=false`) no longer."""

    active: bool = True


class MarginValues(Action, frozen=True, kw_only=True):
    """Account values are what is given here, whatever is held; without any they are true again."""

    excess_liquidity: Money | None = None
    available_funds: Money | None = None
    net_liquidation: Money | None = None
    cushion: Money | None = None


class FillOrders(Action, frozen=True, kw_only=True):
    """Working orders are filled, with `away` once their client is gone."""

    order_ref: Text = ""
    symbol: Word = ""
    shares: Size = 0.0  # 0: all that remains
    price: Price | None = None  # default: the limit, else the market
    away: bool = False
    twin: Literal["both", "older", "newer"] = "both"  # of two orders with one order id, see `twin`
    siblings_first: bool = False  # what the fill does to others is told before it, by `wait_ms`
    wait_ms: Millis = 0


class ReduceOrders(Action, frozen=True, kw_only=True):
    """IB lowers the quantity of working orders (481); one that is filled up to it ends."""

    order_ref: Text = ""
    symbol: Word = ""
    quantity: Size = 0.0  # at least what is filled
    ends: Literal["Cancelled", "Filled"] = "Cancelled"


class TradeByHand(Action, frozen=True, kw_only=True):
    """Somebody buys in TWS, or (below 0) sells: at the market, or at `price`, where it may rest."""

    symbol: Word
    shares: Annotated[float, Meta(ge=-1e9, le=1e9)]
    price: Price | None = None
    sec_type: Word = "STK"
    currency: Word = "USD"

    def __post_init__(self) -> None:
        """Refuse what is neither bought nor sold.

        Raises:
            FaultError: it is of 0 shares.
        """
        if self.shares == 0:
            raise FaultError("shares is 0; allowed are numbers from -1e+09 to 1000000000 but 0", "shares")


class MovePrice(Action, frozen=True, kw_only=True):
    """The market moves to a price."""

    symbol: Word
    price: Annotated[float, Meta(gt=0, le=1e9)]
    sec_type: Word = "STK"
    currency: Word = "USD"


class Liquidity(Action, frozen=True, kw_only=True):
    """From now on so many are bid and offered at each price step; 0: any number."""

    symbol: Word
    size: Size = 0.0
    sec_type: Word = "STK"
    currency: Word = "USD"


KINDS: dict[str, type[Fault]] = {
    "reject": RejectOrders,
    "inactive": InactiveOrders,
    "warn": WarnOrders,
    "delay": DelayAnswers,
    "swallow": SwallowOrders,
    "cut": CutConnection,
    "partial": PartialFills,
    "correct": CorrectFills,
    "fill_after_cancel": FillAfterCancel,
    "twin": TwinOrders,
    "unknown_at_first": UnknownAtFirst,
    "vanish": VanishOrders,
    "unasked_cancel": UnaskedCancels,
    "slow_cancel": SlowCancels,
    "omit": OmitMessages,
    "duplicate": DuplicateMessages,
    "late": LateMessages,
    "unanswered": UnansweredRequests,
    "refuse": RefuseConnections,
    "notice": Notice,
    "disconnect": Disconnect,
    "restart": Restart,
    "midnight": Midnight,
    "close": CloseOfDay,
    "next_id": NextId,
    "logged_out": LoggedOut,
    "server_version": ServerVersion,
    "read_only": ReadOnly,
    "margin": MarginValues,
    "fill": FillOrders,
    "reduce": ReduceOrders,
    "trade_by_hand": TradeByHand,
    "price": MovePrice,
    "liquidity": Liquidity,
}
_NAMES = {kind: name for name, kind in KINDS.items()}


def kind_of(fault: Fault) -> str:
    """Return the name of a fault's kind."""
    return _NAMES[type(fault)]


def text_for(code: int, text: str) -> str:
    """Return the text given, else IB's own for the code."""
    return clean_text(text or TEXTS.get(code, f"Error {code} on command"))


# ---------------------------------------------------------------- reading


def make_fault(kind: object, given: Mapping[str, Any], *, as_text: bool = False) -> Fault:
    """Return the fault of a kind with these fields.

    Args:
        kind: A name of `KINDS`.
        given: Values by field.
        as_text: The values are text, as a person types them.

    Raises:
        FaultError: There is no such kind or field, a value is not allowed, or one is missing.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise FaultError(f"kind is {shown(kind)}; {_nearest(str(kind), KINDS)}")
    struct = KINDS[kind]
    hints = get_type_hints(struct, include_extras=True)
    values = {}
    for key, value in given.items():
        if key not in hints:
            known = ", ".join(struct.__struct_fields__)
            raise FaultError(f"unknown: {shown(key)}; {_nearest(key, hints)}; known for {kind}: {known}", key)
        try:
            values[key] = msgspec.convert(value, hints[key], strict=not as_text)
        except msgspec.ValidationError:
            what = allowed(hints[key])
            verb = "are" if "numbers" in what else "is"
            raise FaultError(f"{key} is {shown(value)}; allowed {verb} {what}", key) from None
    missing = [field.name for field in msgspec.structs.fields(struct) if field.required and field.name not in values]
    if missing:
        raise FaultError(f"{kind} needs {missing[0]}: {allowed(hints[missing[0]])}", missing[0])
    return struct(**values)


def fields_of(fault: Fault) -> dict[str, Any]:
    """Return what makes a fault different from the plain one of its kind."""
    return {
        field.name: getattr(fault, field.name)
        for field in msgspec.structs.fields(type(fault))
        if field.required or getattr(fault, field.name) != field.default
    }


def describe_kinds() -> dict[str, dict[str, Any]]:
    """Return the table for people: what each kind does, and which fields it has with what allowed and default."""
    table = {}
    for name, struct in KINDS.items():
        hints = get_type_hints(struct, include_extras=True)
        rows = {
            field.name: allowed(hints[field.name])
            + (" (required)" if field.required else f" (default {shown(field.default)})")
            for field in msgspec.structs.fields(struct)
        }
        table[name] = {"does": (struct.__doc__ or "").strip(), "fields": rows}
    return table


def allowed(hint: Any) -> str:
    """Return what a field of this type may be, in words."""
    if get_origin(hint) in (Union, types.UnionType):
        return allowed(next(part for part in get_args(hint) if part is not type(None)))
    if get_origin(hint) is Literal:
        return " or ".join(get_args(hint))
    if hint is bool:
        return "true or false"
    bare, meta = get_args(hint)
    if bare is str:
        return f"text of at most {meta.max_length} characters"
    low = f"above {meta.gt:g}" if meta.ge is None else f"from {meta.ge:g}"
    noun = "whole numbers" if bare is int else "numbers"
    return f"{noun} {low} to {meta.le:,.0f}".replace(",", "")


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"


def shown(value: object) -> str:
    """Return a value for an error text, short."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
