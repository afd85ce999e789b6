"""What the ledger remembers of an order, and what a step of it brings. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from services.executor.account.position_breaks import LegFill
from services.gateway.reports import OrderReport
from services.wire.feedback import Fact, Outcome
from services.wire.standing import DUST

# Quantities are sums of decimal numbers: beyond this many places there is only binary dust.
DECIMALS = 8
# How an order ended. `not_placed`: the intent was journaled, but nothing of it left this process. `settled`: a
# person said how, which the breaker knows; whatever IB says of it is news.
Ended = Literal["", "filled", "cancelled", "rejected", "not_placed", "settled"]
_BY_IB = frozenset[Ended]({"filled", "cancelled", "rejected"})
# What each end may become, `""` being that the order lives: whatever IB tells wins over what was concluded or said by a
# person; of two of its own ends only a fill wins, which may be told behind any other, and is told anew when corrected.
_BECOMES: dict[Ended, frozenset[Ended]] = {
    "": frozenset({*_BY_IB, "not_placed", "settled"}),
    "filled": frozenset({"", "filled"}),
    "cancelled": frozenset({"", "filled"}),
    "rejected": frozenset({"", "filled"}),
    "not_placed": frozenset({"", *_BY_IB}),
    "settled": frozenset({"", *_BY_IB}),
}


@dataclass(slots=True)
class Change:
    """A replace that was on its way to IB and has no answer yet.

    `terms`: what can be seen of it in IB's own list: quantity, prices, time in force.
    """

    request_id: str
    revision: int
    terms: dict[str, Any]


@dataclass(slots=True)
class Twin:
    """Another order that lives, or lived, at IB under our reference.

    A change that IB took while it was away from its own servers can become a second order beside the first
    (nautilus_trader issue 4564).

    Attributes:
        ends_with: how much IB says was filled when it was over; None: it is not.
        executed: the sum of its executions.
        bases: the executions, without their revisions.
    """

    perm_id: int
    ib_order_id: int
    ends_with: float | None = None
    executed: float = 0.0
    bases: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether IB has called it over and all of its fills are known."""
        return self.ends_with is not None and self.executed >= self.ends_with - DUST


@dataclass(slots=True)
class OrderRecord:
    """What is known of one order, and all of it that a restart needs.

    Attributes:
        tif: its time in force as it was asked for; empty is DAY.
        answered: IB has said anything about it.
        counted: the outcome that the circuits have got; a success after a failure never counts.
        cancel_asked, cancel_sent: somebody wants it cancelled; the cancel has left for IB.
        cancel_left: a cancel of ours has left for IB at any time: whatever was said of it since, an end is its doing.
        cancel_request_id, later_cancels: the requests that wait for what becomes of the cancel, the first one apart.
        answered_cancel: the request that was answered last. A breaker that died before it took the answer asks again.
        legs: how many orders of a bracket were written behind this one, its parent.
        denied: IB has answered its cancel, over this connection, with having no such order.
        protect: it protects a position, so that no automatic cancel takes it.
        cancel_why: why orderfuse itself wants it cancelled; empty if a strategy or a person does.
        adopting: IB's lists have to tell first what has become of it; until then reports about it are held back.
        filled_before: what was filled by executions that IB listed no more when the order was found there.
        oca_group: the group of which IB keeps one: a fill of a member ends the others.
        kin_over: why IB may end it by itself: what has become of its OCA group, or of its bracket.
        reduced: IB has cut its quantity by itself (code 481).
        twins: other orders at IB under our reference.
    """

    order_id: str
    strategy_id: str
    ib_order_id: int
    quantity: float
    tif: str = ""
    combo: bool = False
    placed_ns: int = 0
    perm_id: int = 0
    answered: bool = False
    accepted: bool = False
    counted: Literal["", "success", "failure", "neutral"] = ""
    status: str = ""
    ended: Ended = ""
    cancel_asked: bool = False
    cancel_sent: bool = False
    cancel_left: bool = False
    cancel_request_id: str | None = None
    later_cancels: tuple[str, ...] = ()
    answered_cancel: str | None = None
    # The parent, of a bracket's leg.
    parent: str = ""
    legs: int = 0
    denied: bool = False
    protect: bool = False
    cancel_why: str = ""
    adopting: bool = False
    filled_before: float = 0.0
    revision: int = 0
    change: Change | None = None
    oca_group: str = ""
    kin_over: str = ""
    reduced: bool = False
    twins: tuple[Twin, ...] = ()

    def end(self, how: Ended) -> None:
        """The order has come to this end, or lives after all: the one place that says so."""
        assert how in _BECOMES[self.ended], f"{self.order_id} was {self.ended or 'not over'}, and is to be {how!r}"
        self.ended = how

    @property
    def living_twins(self) -> list[Twin]:
        """The others under its reference that IB has not called over, or whose fills are not known."""
        return [twin for twin in self.twins if not twin.over]

    @property
    def twins_lack_fills(self) -> bool:
        """Whether IB has called another one over, and not all of its fills are known."""
        return any(twin.ends_with is not None and not twin.over for twin in self.twins)


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution as it stands. A correction has the same base and a higher revision.

    Attributes:
        counts: False for the leg of a combo: only the combo's own executions fill the order.
        commission: its commission has been told.
    """

    exec_id: str
    order_id: str
    shares: float
    price: float
    counts: bool = True
    commission: bool = False


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """An execution's id without its revision, and the revision: `0000e0d5.6596b0d2.01.01` has revision 1."""
    base, dot, revision = exec_id.rpartition(".")
    if not dot or not base or not revision.isdigit():
        return exec_id, 0
    return base, int(revision)


class History(Protocol):
    """Where orders are found that have left the memory."""

    def find_order(self, *, order_id: str = "", perm_id: int = 0, ib_order_id: int = 0) -> OrderRecord | None:
        """The order with this id; one of the three is given."""

    def find_executions(self, order_id: str) -> list[Execution]:
        """The executions of this order."""

    def find_execution(self, exec_id: str) -> Execution | None:
        """The execution with this id."""


@dataclass(slots=True)
class Effects:
    """What a step brings: facts in their order, and what the journal must keep together with them.

    Attributes:
        look_up: IB must be asked for its open orders, executions and completed orders.
        held: reports about an order that is not known here, and its id if that is.
        fills: what executions move positions by.
        notes: for the log.
        alarms: for the log, where a person should look.
    """

    facts: list[tuple[Fact, Outcome | None]] = field(default_factory=list)
    orders: dict[str, OrderRecord] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    fills: list[LegFill] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    look_up: bool = False
    held: list[tuple[OrderReport, str]] = field(default_factory=list)

    def tell(self, record: OrderRecord, fact: Fact, outcome: Outcome | None = None) -> None:
        """A fact about an order, whose record has changed with it."""
        self.facts.append((fact, outcome))
        self.keep(record)

    def keep(self, record: OrderRecord) -> None:
        """The record has changed."""
        self.orders[record.order_id] = record
