"""What the book says happened, in the order in which a real gateway tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.paper.market.orders import Execution, Order, Status


@dataclass(frozen=True, slots=True)
class OpenOrderTold:
    """An openOrder for the owner, with the commission once it is known."""

    order: Order
    status: Status
    with_commission: bool = False


@dataclass(frozen=True, slots=True)
class StatusTold:
    """An orderStatus for the owner."""

    order: Order
    status: Status
    filled: float
    remaining: float
    average_price: float = 0.0
    last_price: float = 0.0
    why_held: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionTold:
    """An unsolicited execDetails for the owner."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class CommissionTold:
    """A commissionReport for the owner."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class ErrorTold:
    """An error for one client, about an order id."""

    client_id: int
    order_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class PreviewTold:
    """The answer to a whatIf: what the order would do to the margin, in USD."""

    order: Order
    init_margin: tuple[float, float]  # before, after
    maint_margin: tuple[float, float]
    equity_with_loan: tuple[float, float]
    commission: float


@dataclass(frozen=True, slots=True)
class Pause:
    """What follows in the script is told so much later."""

    secs: float


@dataclass(frozen=True, slots=True)
class Later:
    """What the book does only when the script has come here; `do` takes wall-clock seconds and returns what is told."""

    do: Callable[[float], Sequence[Step]]


@dataclass(frozen=True, slots=True)
class Cut:
    """A client's connection breaks here; `how` as in the faults."""

    client_id: int
    how: str


Update = OpenOrderTold | StatusTold | ExecutionTold | CommissionTold | ErrorTold | PreviewTold
Step = Update | Pause | Later | Cut


def status_told(order: Order, status: Status) -> StatusTold:
    """Return an orderStatus with the numbers of this moment: the order may be filled further before it is sent."""
    numbers = order.filled, order.remaining, order.average_price, order.last_price
    return StatusTold(order, status, *numbers, why_held=order.why_held)


def order_of(step: Step) -> Order | None:
    """Return the order that a step is about, None for an error, which names its number only."""
    match step:
        case ExecutionTold() | CommissionTold():
            return step.execution.order
        case OpenOrderTold() | StatusTold() | PreviewTold():
            return step.order
        case _:
            return None


def client_told(update: Update) -> int:
    """Return the client that is told."""
    match update:
        case ErrorTold():
            return update.client_id
        case ExecutionTold() | CommissionTold():
            return update.execution.order.ticket.client_id
        case _:
            return update.order.ticket.client_id


def order_ref_of(update: Update) -> str:
    """Return the reference of the order that is told about, "" for an error, which names none."""
    match update:
        case ErrorTold():
            return ""
        case ExecutionTold() | CommissionTold():
            return update.execution.order.ticket.order_ref
        case _:
            return update.order.ticket.order_ref
