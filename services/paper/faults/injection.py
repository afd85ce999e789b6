"""What faults make of an order, a change or a cancel: the book does what it does, and this is told of it.

Pure like the book. A script is what is told, in its order, with pauses and cuts of the connection in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from services.paper.faults import unsolicited
from services.paper.faults.armed import Operation
from services.paper.faults.around_orders import (
    CorrectFills,
    CutConnection,
    DelayAnswers,
    FillAfterCancel,
    InactiveOrders,
    PartialFills,
    RejectOrders,
    SlowCancels,
    SwallowOrders,
    TwinOrders,
    UnaskedCancels,
    UnknownAtFirst,
    VanishOrders,
    WarnOrders,
)
from services.paper.faults.families import OrderFault
from services.paper.faults.texts import text_for
from services.paper.market.exchange import Exchange
from services.paper.market.matching import Held
from services.paper.market.orders import Order, Refusal, Status, Ticket
from services.paper.market.updates import (
    CommissionTold,
    Cut,
    ErrorTold,
    ExecutionTold,
    Later,
    OpenOrderTold,
    Pause,
    StatusTold,
    Step,
    Update,
)
from services.paper.wire.framing import clean_text

HELD = 404  # shares to borrow are being located
NOT_FOUND = 10147

_F = TypeVar("_F", bound=OrderFault)

_AFTER: dict[str, type[Update]] = {
    "openOrder": OpenOrderTold,
    "orderStatus": StatusTold,
    "execDetails": ExecutionTold,
    "commissionReport": CommissionTold,
}


def operation_of_ticket(exchange: Exchange, ticket: Ticket) -> Operation:
    """Return what a placeOrder is to the faults."""
    old = exchange.find(ticket.client_id, ticket.order_id)
    return Operation(
        on="modify" if old is not None and old.live else "new",
        client_id=ticket.client_id,
        order_ref=ticket.order_ref,
        symbol=ticket.contract["symbol"],
    )


def operation_of_cancel(exchange: Exchange, client_id: int, order_id: int) -> Operation:
    """Return what a cancelOrder is to the faults."""
    order = exchange.find(client_id, order_id)
    return Operation(
        on="cancel",
        client_id=client_id,
        order_ref=order.ticket.order_ref if order else "",
        symbol=order.instrument.symbol if order else "",
    )


def place(exchange: Exchange, ticket: Ticket, faults: Sequence[OrderFault], now: float) -> list[Step]:
    """Take a placeOrder under faults; return the script."""
    partial, held = _first(faults, PartialFills), _first(faults, InactiveOrders)
    twin = _first(faults, TwinOrders) is not None

    def refuse(fault: RejectOrders) -> list[Update]:
        text = _text(fault.code, fault.text, ticket.order_id)
        return exchange.refuse(ticket, Refusal(fault.code, text, booked=fault.booked), now)

    return _play(
        exchange,
        (ticket.client_id, ticket.order_id),
        faults,
        refuse,
        lambda: list(
            exchange.place(
                ticket,
                now,
                slice_size=partial.size if partial else None,
                twin=twin,
                held=Held(Status(held.status), held.why_held) if held and held.why_held else None,
            )
        ),
        now,
    )


def cancel(exchange: Exchange, client_id: int, order_id: int, faults: Sequence[OrderFault], now: float) -> list[Step]:
    """Take a cancelOrder under faults; return the script."""

    def refuse(fault: RejectOrders) -> list[Update]:
        return [ErrorTold(client_id, order_id, fault.code, _text(fault.code, fault.text, order_id))]

    slow = _first(faults, SlowCancels)

    def normal() -> list[Step]:
        order = exchange.find(client_id, order_id)
        if slow is None or order is None or not order.live or order.cancelling:
            return list(exchange.cancel(client_id, order_id, now))
        order.cancelling = True
        return [Pause(slow.ms / 1000), Later(lambda now: unsolicited.confirm_cancel(exchange, order, now))]

    return _play(exchange, (client_id, order_id), faults, refuse, normal, now)


def _first(faults: Sequence[OrderFault], kind: type[_F]) -> _F | None:
    return next((fault for fault in faults if isinstance(fault, kind)), None)


def _play(
    exchange: Exchange,
    key: tuple[int, int],
    faults: Sequence[OrderFault],
    refuse: Callable[[RejectOrders], list[Update]],
    normal: Callable[[], list[Step]],
    now: float,
) -> list[Step]:
    script: list[Step] | None = None
    for fault in faults:
        match fault:
            case RejectOrders():
                script = _rejected(fault, refuse(fault))
            case InactiveOrders(why_held=""):
                script = [*refuse(RejectOrders(text=f"{Status.INACTIVE}"))[1:]]
            case SwallowOrders(booked=False):
                script = []
            case CutConnection(at="before"):
                script = [Cut(key[0], fault.how)]
            case VanishOrders(on="cancel"):
                _vanish(exchange, key)
                script = [ErrorTold(*key, NOT_FOUND, _text(NOT_FOUND, "", key[1]))]
            case _:
                pass
    if script is None:
        script = normal()
    for fault in faults:
        script = _altered(exchange, key, fault, script, now)
    return script


def _rejected(fault: RejectOrders, told: list[Update]) -> list[Step]:
    error, *states = told
    script: list[Step]
    match fault.sequence:
        case "error_first":
            script = [error, *states]
        case "status_first":
            script = [*states, error]
        case "error_only":
            script = [error]
    order = next((update.order for update in states if isinstance(update, StatusTold)), None)
    if fault.presubmitted and order is not None:
        acknowledged = _acknowledged(order)
        script = [*acknowledged, Pause(fault.wait_ms / 1000), *script]
    return script


def _acknowledged(order: Order, why_held: str = "") -> list[Step]:
    return [
        OpenOrderTold(order, Status.PRE_SUBMITTED),
        StatusTold(order, Status.PRE_SUBMITTED, 0.0, order.ticket.quantity, why_held=why_held),
    ]


def _altered(exchange: Exchange, key: tuple[int, int], fault: OrderFault, script: list[Step], now: float) -> list[Step]:
    match fault:
        case DelayAnswers():
            return [Pause(fault.ms / 1000), *script]
        case SwallowOrders():
            return _silent(script)
        case TwinOrders() | PartialFills() | RejectOrders() | SlowCancels():
            return script
        case UnknownAtFirst() | VanishOrders() | UnaskedCancels() | InactiveOrders():
            return _befallen(exchange, key, fault, script)
        case WarnOrders():
            return _warned(exchange, key, fault, script)
        case CutConnection() if fault.at != "before":
            return _cut(key[0], fault, script)
        case CorrectFills():
            return script + _corrected(exchange, fault, script)
        case FillAfterCancel():
            order = exchange.find(*key)
            if order is None or order.status is not Status.CANCELLED:
                return script
            return [*script, Pause(fault.wait_ms / 1000), *exchange.fill_cancelled(order, now)]
        case _:
            return script


def _befallen(
    exchange: Exchange,
    key: tuple[int, int],
    fault: UnknownAtFirst | VanishOrders | UnaskedCancels | InactiveOrders,
    script: list[Step],
) -> list[Step]:
    """Let happen to a new order that is booked what a fault has for it."""
    order = exchange.find(*key)
    if order is None or not order.live:
        return script
    match fault:
        case UnknownAtFirst():
            order.unknown = True
            return [Pause(fault.ms / 1000), Later(lambda _now: unsolicited.acknowledge(order)), *script]
        case VanishOrders(on="new"):
            _vanish(exchange, key)
        case UnaskedCancels():
            reason = clean_text(fault.text)
            return [
                *script,
                Pause(fault.wait_ms / 1000),
                Later(lambda now: unsolicited.cancel(exchange, order, now, reason)),
            ]
        case InactiveOrders() if fault.wait_ms:
            return [*script, Pause(fault.wait_ms / 1000), Later(lambda now: unsolicited.release(exchange, order, now))]
    return script


def _vanish(exchange: Exchange, key: tuple[int, int]) -> None:
    order = exchange.find(*key)
    if order is not None and order.live:
        unsolicited.vanish(exchange, order)


def _silent(script: Iterable[Step]) -> list[Step]:
    """Return what the book still has to do of a script of which nothing is told."""
    silent: list[Step] = []
    for step in script:
        if isinstance(step, Pause):
            silent.append(step)
        elif isinstance(step, Later):
            silent.append(Later(lambda now, do=step.do: _silent(do(now))))  # type: ignore[misc]
    return silent if any(isinstance(step, Later) for step in silent) else []


def _warned(exchange: Exchange, key: tuple[int, int], fault: WarnOrders, script: list[Step]) -> list[Step]:
    client_id, order_id = key
    error = ErrorTold(client_id, order_id, fault.code, _text(fault.code, fault.text, order_id))
    order = exchange.find(client_id, order_id)
    if fault.code == HELD and order is not None:
        return [*_acknowledged(order, "locate"), error, Pause(fault.wait_ms / 1000), *script]
    return [error, Pause(fault.wait_ms / 1000), *script]


def _cut(client_id: int, fault: CutConnection, script: list[Step]) -> list[Step]:
    cut = Cut(client_id, fault.how)
    if fault.at == "booked":
        return [cut, *_silent(script)]
    kind = _AFTER[fault.at]
    at = next((index for index, step in enumerate(script) if isinstance(step, kind)), len(script) - 1)
    return [*script[: at + 1], cut, *_silent(script[at + 1 :])]


def _corrected(exchange: Exchange, fault: CorrectFills, script: Iterable[Step]) -> list[Step]:
    more: list[Step] = []
    for execution in [step.execution for step in script if isinstance(step, ExecutionTold)]:
        price = round(execution.price + fault.price_change, 6)
        more += [Pause(fault.wait_ms / 1000), *exchange.correct(execution, price)]
    return more


def _text(code: int, text: str, order_id: int) -> str:
    return text_for(code, text).replace("{order_id}", str(order_id))
