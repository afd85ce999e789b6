"""An order as a client asks for it, as the book keeps it, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.paper.market.instruments import Instrument
from services.paper.wire.framing import UNSET_LONG, DecodeError, fields
from services.paper.wire.order_layouts import CONTRACT_REQUEST, OPEN_ORDER, PLACE_ORDER, flagged

MAX_ORDER_ID = 2**31 - 1


class Status(StrEnum):
    """The words of orderStatus that the gateway sends."""

    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"


LIVE = frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED})


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One placeOrder, read and typed. Prices that were not given are None."""

    client_id: int
    order_id: int
    contract: Mapping[str, Any]
    action: str
    quantity: float
    order_type: str
    limit_price: float | None
    aux_price: float | None
    tif: str
    oca_group: str
    account: str
    order_ref: str
    transmit: bool
    parent_id: int
    what_if: bool
    duration_secs: int | None
    good_till: str
    echo: Mapping[str, Any] | None
    trail_stop: float | None = None  # where a trailing stop begins; None: a trail's length from the market
    trail_percent: float | None = None
    limit_offset: float | None = None  # of a trailing stop limit, from its stop price
    oca_type: int = 0  # what a fill does to the rest of its group; 0: what 1 does


@dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """One order of the book. `ticket` is the latest version of what the client asked for."""

    ticket: Ticket
    instrument: Instrument
    perm_id: int
    sequence: int
    status: Status = Status.PRE_SUBMITTED
    filled: float = 0.0
    paid: float = 0.0  # sum of shares * price of all fills
    last_price: float = 0.0
    triggered: bool = False
    held: bool = False  # not transmitted yet, or waiting for its parent
    waiting_token: int = 0
    expires_at: float | None = None
    done_at: float = 0.0
    done_text: str = ""
    commission: float = 0.0
    slice_size: float | None = None  # at most so many are filled at one price step
    trail_stop: float | None = None  # where the stop of a trailing order is now
    children: list[Order] | None = None
    twin: bool = False  # it has the order id of an older one
    shown: Status | None = None  # while it is held back: what it is told to be
    why_held: str = ""
    cancelling: bool = False  # a cancel is under way
    unknown: bool = False  # not acknowledged yet: the gateway does not know it when it is asked
    vanished: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Return (client id, order id), under which the client knows it."""
        return self.ticket.client_id, self.ticket.order_id

    @property
    def live(self) -> bool:
        """Tell whether it can still be filled."""
        return self.status in LIVE

    @property
    def told_status(self) -> Status:
        """Return what clients are told that it is."""
        return self.shown or self.status

    @property
    def remaining(self) -> float:
        """Return what is not filled yet."""
        return self.ticket.quantity - self.filled

    @property
    def limit_price(self) -> float:
        """Return its limit now: for a trailing one that follows from its stop."""
        ticket = self.ticket
        if self.trail_stop is not None and ticket.limit_offset is not None:
            return self.trail_stop + self.sign * ticket.limit_offset
        return ticket.limit_price or 0.0

    @property
    def average_price(self) -> float:
        """Return the mean price of its fills, 0 without any."""
        return self.paid / self.filled if self.filled else 0.0

    @property
    def sign(self) -> int:
        """Return 1 for a buy, -1 for a sale."""
        return 1 if self.ticket.action == "BUY" else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill, as it stood when it happened. `at` is wall-clock seconds."""

    exec_id: str
    order: Order
    at: float
    shares: float
    price: float
    cumulative: float
    average_price: float
    commission: float
    realized_pnl: float | None


# ---------------------------------------------------------------- reading a placeOrder

# Text that a client sends for a field it does not use. The official clients send the long numbers for some.
_UNUSED = frozenset(
    {
        "",
        "0",
        "0.0",
        "-1",
        "2147483647",
        "None",
        "1.7976931348623157e+308",
        "1.7976931348623157E308",
        UNSET_LONG,
    }
)
# What openOrder repeats from placeOrder as it came. Everything else is rendered from the order itself.
_OWN_FIELDS = {
    item.name
    for item in fields(
        "orderId conId symbol secType lastTradeDateOrContractMonth strike right multiplier exchange currency"
        " localSymbol tradingClass action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account"
        " openClose orderRef parentId whatIf goodTillDate sharesAllocation"
    )
}
_ECHOED = tuple(name for name in OPEN_ORDER.all_names() if name in PLACE_ORDER.all_names() and name not in _OWN_FIELDS)
_ORDER_TYPE_SPELLINGS = {"STPLMT": "STP LMT", "TRAILLMT": "TRAIL LIMIT", "TRAIL LMT": "TRAIL LIMIT"}
CONTRACT_FIELDS = tuple(item.name for item in CONTRACT_REQUEST)


def read_ticket(client_id: int, values: Mapping[str, Any]) -> Ticket:
    """Turn the fields of a placeOrder into a ticket.

    Raises:
        DecodeError: A number is not a number. Whether the order makes sense is decided later, by the rules.
    """
    order_id = read_int(values, "orderId")
    if not -MAX_ORDER_ID <= order_id <= MAX_ORDER_ID:
        raise DecodeError(f"order id {order_id} is out of range")
    try:
        duration = read_optional_float(values, "duration")
        contract = {name: values[name] for name in CONTRACT_FIELDS}
        if values["secType"] == "BAG":
            contract["comboLegs"] = values["comboLegs"]
        return Ticket(
            client_id=client_id,
            order_id=order_id,
            contract=contract,
            action=values["action"],
            quantity=read_optional_float(values, "totalQuantity") or 0.0,
            order_type=_ORDER_TYPE_SPELLINGS.get(values["orderType"], values["orderType"]),
            limit_price=read_optional_float(values, "lmtPrice"),
            aux_price=read_optional_float(values, "auxPrice"),
            tif=values["tif"] or "DAY",
            oca_group=values["ocaGroup"],
            account=values["account"],
            order_ref=values["orderRef"],
            transmit=flagged(values["transmit"]),
            parent_id=read_int(values, "parentId"),
            what_if=flagged(values["whatIf"]),
            duration_secs=None if duration is None else int(duration),
            good_till=values["goodTillDate"],
            echo=_echo(values),
            trail_stop=read_optional_float(values, "trailStopPrice"),
            trail_percent=read_optional_float(values, "trailingPercent"),
            limit_offset=read_optional_float(values, "lmtPriceOffset"),
            oca_type=read_int(values, "ocaType"),
        )
    except DecodeError as error:
        raise DecodeError(str(error), order_id) from None


def _echo(values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Keep what the client used beyond the common fields; most orders use nothing and cost nothing."""
    echo = {}
    for name in _ECHOED:
        value = values.get(name)
        if value and (isinstance(value, list) or value not in _UNUSED):
            # ib_insync writes infinity as a word that it does not read.
            echo[name] = "Infinity" if value == "Infinite" else value
    if "trailStopPrice" in echo:
        echo["trailStopPriceAgain"] = echo["trailStopPrice"]
    return echo or None


def read_int(values: Mapping[str, Any], name: str) -> int:
    """Read a whole number; an empty field is 0.

    Raises:
        DecodeError: It is something else.
    """
    text = values[name]
    try:
        return int(text or 0)
    except ValueError:
        raise DecodeError(f"'{text[:40]}' is no number for '{name}'") from None


def read_optional_float(values: Mapping[str, Any], name: str) -> float | None:
    """Read a number, None for the protocol's ways to say "not set".

    Raises:
        DecodeError: It is something else, or not finite.
    """
    text = values.get(name, "")
    if text == "" or (text in _UNUSED and text not in ("0", "0.0", "-1")):
        return None
    try:
        number = float(text)
    except ValueError:
        raise DecodeError(f"'{text[:40]}' is no number for '{name}'") from None
    if not math.isfinite(number):
        raise DecodeError(f"'{text[:40]}' cannot be used for '{name}'")
    return number


@dataclass(slots=True)
class Refusal:
    """The gateway's no to a request: IB's code and text."""

    code: int
    text: str
    booked: bool = field(default=False)  # the order got a permanent id first, and ends as Inactive
