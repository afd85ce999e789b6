"""What IB reported, as frozen structs: the words of ib_insync end here. Pure.

A report is a raw fact. What it means is decided in `outcomes` and `ledger`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# IB's message with one position.
POSITION_MESSAGE = 61
# The messages whose loss could hide what became of an order; others are only logged.
ORDER_MESSAGES = frozenset({3, 4, 5, 9, 11, 15, 53, 55, 59, 101, 102})


@dataclass(frozen=True, slots=True)
class Traits:
    """What tells a contract from the others of its symbol. `expiry`: a day, or a month; `right`: C or P."""

    sec_type: str = ""
    currency: str = ""
    expiry: str = ""
    strike: float = 0.0
    right: str = ""


# Of what nobody has said anything.
UNNAMED = Traits()


@dataclass(frozen=True, slots=True)
class StatusReport:
    """`orderStatus`. It carries no `orderRef`: it is matched by the permanent id or IB's order id."""

    ib_order_id: int
    status: str
    filled: float
    remaining: float
    perm_id: int
    client_id: int
    why_held: str = ""

    @property
    def locating(self) -> bool:
        """Whether it is held until shares to sell short are found: `whyHeld` is a list, and such an order lives."""
        return "locate" in (word.strip().lower() for word in self.why_held.split(","))


@dataclass(frozen=True, slots=True)
class OpenOrderReport:
    """`openOrder`."""

    ib_order_id: int
    perm_id: int
    client_id: int
    order_ref: str
    account: str
    status: str
    quantity: float
    warning: str = ""
    # Those by which a change can be seen (`orderfuse.ibfields.checks.TERMS`).
    terms: Mapping[str, Any] = field(default_factory=dict)
    # What it is, with IB's field names, for whoever does not know it.
    contract: Mapping[str, Any] = field(default_factory=dict)
    action: str = ""
    order_type: str = ""
    con_id: int = 0
    symbol: str = ""
    traits: Traits = UNNAMED


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """`execDetails`: one fill, or the correction of one."""

    ib_order_id: int
    perm_id: int
    client_id: int
    order_ref: str
    account: str
    exec_id: str
    shares: float
    price: float
    sec_type: str = ""
    con_id: int = 0
    symbol: str = ""
    side: str = ""
    traits: Traits = UNNAMED


@dataclass(frozen=True, slots=True)
class PositionReport:
    """`position`: what the account holds of one contract."""

    account: str
    con_id: int
    symbol: str
    sec_type: str
    quantity: float
    traits: Traits = UNNAMED


@dataclass(frozen=True, slots=True)
class CommissionReport:
    """`commissionReport`. `realized_pnl` is None where IB says nothing."""

    exec_id: str
    commission: float
    currency: str
    realized_pnl: float | None


@dataclass(frozen=True, slots=True)
class CompletedOrderReport:
    """`completedOrder`: an order of today that is over. IB gives neither its order id nor its client id."""

    perm_id: int
    order_ref: str
    account: str
    status: str
    completed_status: str
    # Its last terms without the quantity, which IB tells as what was left or as the whole: either may be meant.
    terms: Mapping[str, Any] = field(default_factory=dict)
    quantities: tuple[float, ...] = ()

    @property
    def filled(self) -> float:
        """How much of it was filled; 0 may mean that IB does not say."""
        return max(self.quantities, default=0.0) - min(self.quantities, default=0.0)


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """`error`. `req_id` is an order's id, a request's id, or -1 for the system."""

    req_id: int
    code: int
    text: str


# What names an order by its reference, its permanent id or its number.
AboutOrder = StatusReport | OpenOrderReport | ExecutionReport | CompletedOrderReport
OrderReport = AboutOrder | CommissionReport | ErrorReport


@dataclass(frozen=True, slots=True)
class NextOrderId:
    """`nextValidId`."""

    ib_order_id: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """`managedAccounts`."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """The last message of a request.

    `what` is `open_orders`, `executions`, `completed_orders`, `positions` or `current_time`.
    """

    what: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that the decoder could not read: something happened at IB that nobody here knows.

    Attributes:
        order_ref: the order that it is about, if that much could be read; None if not.
        order: of `openOrder` whose order it is, as far as that could be read; its terms are not known.
    """

    message_id: int
    text: str
    order_ref: str | None = None
    order: OpenOrderReport | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is gone."""


Report = OrderReport | PositionReport | NextOrderId | Accounts | RequestEnd | Unreadable | Closed


@dataclass(frozen=True, slots=True)
class Heard:
    """A report came over the connection with this number."""

    number: int
    report: Report


@dataclass(frozen=True, slots=True)
class Dialled:
    """The attempt with this number has led to a connection: IB has named accounts and the next order id."""

    number: int


@dataclass(frozen=True, slots=True)
class NotDialled:
    """The attempt with this number has led to nothing, as far as the socket knows.

    Attributes:
        error: what the system said; empty if it said nothing.
        timed_out: nothing came in time.
        reached: somebody had taken the connection.
        version: the version of IB's protocol that the gateway has named; 0: none.
        needed_version: the oldest that we speak.
    """

    number: int
    error: str = ""
    timed_out: bool = False
    reached: bool = False
    version: int = 0
    needed_version: int = 0


# What comes from the gateway's side of the process.
FromGateway = Heard | Dialled | NotDialled
