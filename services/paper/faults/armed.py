"""The armed faults, and which of them are injected now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from services.paper.faults.around_orders import (
    CutConnection,
    InactiveOrders,
    RejectOrders,
    SwallowOrders,
    TwinOrders,
    VanishOrders,
)
from services.paper.faults.families import Action, Fault, MessageFault, OrderFault, RequestFault
from services.paper.faults.kinds import fields_of, kind_of
from services.paper.faults.on_the_wire import RefuseConnections, UnansweredRequests

# A forgotten script that arms in a loop must not grow the gateway for ever.
MAX_ARMED = 1000

_F = TypeVar("_F", bound=Fault)


@dataclass(slots=True)
class _Armed:
    """A fault that waits: how often it is still injected, and from when on."""

    fault: Fault
    left: int
    from_secs: float
    from_orders: int
    until_secs: float | None = None  # once injected, of one that lasts for a time and not for a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a client does to an order, as far as faults choose by it."""

    on: str  # new, modify, cancel
    client_id: int
    order_ref: str
    symbol: str


class TooManyFaultsError(Exception):
    """`MAX_ARMED` faults wait already."""


class ArmedFaults:
    """Keeps the armed faults, asked in the order in which they were armed.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.injected: Counter[str] = Counter()
        self.orders = 0
        # Whether IB is away, as far as the notices 1100, 1101 and 1102 have told.
        self.away = False
        self._clock = clock
        self._armed: dict[type[Fault], list[_Armed]] = {
            family: [] for family in (OrderFault, MessageFault, RequestFault, Action)
        }

    def arm(self, fault: Fault) -> None:
        """Let a fault wait for its moment.

        Raises:
            TooManyFaultsError: Too many wait already.
        """
        if sum(map(len, self._armed.values())) >= MAX_ARMED:
            raise TooManyFaultsError(f"{MAX_ARMED} faults are armed already; use the op 'clear' first")
        armed = _Armed(
            fault,
            getattr(fault, "count", 1),
            self._clock() + fault.after_secs,
            self.orders + fault.after_orders,
        )
        next(queue for family, queue in self._armed.items() if isinstance(fault, family)).append(armed)

    def clear(self) -> int:
        """Disarm everything; return how many faults that were."""
        count = sum(map(len, self._armed.values()))
        for queue in self._armed.values():
            queue.clear()
        return count

    def armed(self) -> list[dict[str, Any]]:
        """Return what waits, for people."""
        return [
            {"kind": kind_of(armed.fault), **fields_of(armed.fault), "left": armed.left}
            for queue in self._armed.values()
            for armed in queue
        ]

    def order_seen(self) -> None:
        """Count a new order, for the faults that wait for a number of them."""
        self.orders += 1

    def for_order(self, operation: Operation) -> list[OrderFault]:
        """Return the faults for what a client does to an order, and use each of them once."""
        return self._inject(
            OrderFault,
            lambda fault: (
                _fits_order(fault, operation) and (self.away or not (isinstance(fault, TwinOrders) and fault.away))
            ),
            _role,
        )

    def for_message(
        self, message: str, client_id: int | None, order_ref: str, *, listed: bool = False
    ) -> list[MessageFault]:
        """Return the faults for a message that is about to leave, `listed` if somebody asked for it."""
        if not self._armed[MessageFault]:
            return []
        return self._inject(
            MessageFault,
            lambda fault: (
                fault.message == message
                and fault.client_id in (None, client_id)
                and order_ref.startswith(fault.order_ref)
                and fault.where in ("anywhere", "list" if listed else "unasked")
            ),
        )

    def for_request(self, request: str, client_id: int) -> UnansweredRequests | None:
        """Return the fault for a request, None for none."""
        return self._inject_one(
            UnansweredRequests, lambda fault: fault.request == request and fault.client_id in (None, client_id)
        )

    def for_connection(self, client_id: int | None) -> RefuseConnections | None:
        """Return the fault for a connection: a new one (None), or one that says its client id."""
        return self._inject_one(
            RefuseConnections,
            lambda fault: (
                (fault.how == "in_use" and fault.client_id in (None, client_id))
                if client_id is not None
                else fault.how != "in_use"
            ),
        )

    def due(self, ready: Callable[[Action], bool] = lambda _: True) -> list[Action]:
        """Return the actions whose time has come and that are `ready`; the others wait on."""
        return self._inject(Action, ready, id) if self._armed[Action] else []

    def _inject_one(self, kind: type[_F], fits: Callable[[_F], bool]) -> _F | None:
        if not self._armed[RequestFault]:
            return None
        injected = self._inject(RequestFault, lambda fault: isinstance(fault, kind) and fits(fault))
        return injected[0] if injected else None  # type: ignore[return-value]

    def _inject(self, family: type[_F], fits: Callable[[_F], bool], role: Callable[[_F], object] = type) -> list[_F]:
        """Use the faults of a family that fit, at most one for each role; a second one waits for its turn."""
        queue = self._armed[family]
        injected: dict[object, _F] = {}
        if not queue:
            return []
        now = self._clock()
        for armed in list(queue):
            fault: _F = armed.fault  # type: ignore[assignment]
            if now < armed.from_secs or self.orders < armed.from_orders:
                continue
            if armed.until_secs is not None and now >= armed.until_secs:
                queue.remove(armed)
                continue
            if role(fault) in injected or not fits(fault):
                continue
            injected[role(fault)] = fault
            self.injected[kind_of(fault)] += 1
            if isinstance(fault, MessageFault) and fault.for_secs:
                armed.until_secs = armed.until_secs or now + fault.for_secs
                continue
            armed.left -= 1
            if armed.left <= 0:
                queue.remove(armed)
        return list(injected.values())


def _role(fault: OrderFault) -> object:
    """Return what a fault is to an order: one decides whether it is booked, others change what is told."""
    match fault:
        case RejectOrders() | InactiveOrders() | SwallowOrders() | CutConnection(at="before"):
            return "decides"
        case VanishOrders(on="cancel"):
            return "decides"
        case _:
            return type(fault)


def _fits_order(fault: OrderFault, operation: Operation) -> bool:
    return (
        fault.on == operation.on
        and operation.order_ref.startswith(fault.order_ref)
        and fault.symbol in ("", operation.symbol)
        and fault.client_id in (None, operation.client_id)
    )
