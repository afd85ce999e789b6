"""One order of a strategy, from its decision to its end."""

from __future__ import annotations

import time
import weakref
from collections import deque
from typing import TYPE_CHECKING

from msgspec import structs

from orderfuse.bus.events import (
    Accepted,
    AnyOrderEvent,
    Blocked,
    Cancelled,
    Commission,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    Passed,
    Rejected,
    RequestPassed,
)
from orderfuse.bus.orders import Submit
from orderfuse.circuit import CircuitBreakerOpenException, CircuitState
from orderfuse.errors import OrderBlocked, OrderError, OrderExpired, OrderInvalid

if TYPE_CHECKING:
    from orderfuse.client.sync import OrderClient

Decision = Passed | Blocked | Expired | Invalid
End = Filled | Cancelled | Rejected | NotPlaced | Expired | Invalid

# Events kept per order; an order in thousands of pieces keeps its latest.
MAX_EVENTS = 1000
# The blocks that are a circuit's doing; the others are limits and cancels.
_CIRCUIT_CODES = frozenset({"circuit_open", "latched", "half_open_full", "condition", "not_reducing"})


class OrderHandle:
    """An order that was passed, and what becomes of it. Made by `OrderClient.submit`.

    Attributes:
        order_id: the order.
        ttl_ms: how old it might be at its turn, in milliseconds.
        decision: the breaker's decision; with `submit` returned, a Passed.
        end: how it ended (a Filled with `done`, Cancelled, Rejected, NotPlaced, Expired, Invalid); None: not yet.
        attached: the legs of its bracket, orders of their own once it has passed.
    """

    def __init__(self, client: OrderClient, submitted: Submit) -> None:
        self.order_id = submitted.order_id
        self.ttl_ms = submitted.ttl_ms
        self.decision: Decision | None = None
        self.end: End | None = None
        self.attached: tuple[OrderHandle, ...] = tuple(
            OrderHandle(client, structs.replace(submitted, order_id=leg.order_id, order=leg.order, attached=()))
            for leg in submitted.attached
        )
        self._client = client
        self._submitted = submitted
        self._events: deque[AnyOrderEvent] = deque(maxlen=MAX_EVENTS)
        self._broker_has_it = False

    def __repr__(self) -> str:
        how = self.end or (self._events[-1] if self._events else None)
        return f"<OrderHandle {self.order_id}: {type(how).__name__.lower() if how else 'no decision'}>"

    @property
    def passed(self) -> Passed:
        """The event that passed it.

        Raises:
            OrderError: it has not been passed.
        """
        if not isinstance(self.decision, Passed):
            raise OrderError(f"{self.order_id} was not passed: {self.decision}")
        return self.decision

    @property
    def events(self) -> tuple[AnyOrderEvent, ...]:
        """What has been heard of it so far, at most the latest 1,000. Reading it does not wait for more."""
        return tuple(self._events)

    def wait(self, timeout: float | None = None) -> End:
        """Wait until the order has ended, and return how.

        An order that rests in the market has no end; one that is `unknown` gets one when IB or a person says how it
        ended.

        Raises:
            TimeoutError: not ended after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left_s = 1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            self._client.pump(left_s)
            if self.end is not None:
                return self.end
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{self!r} has not ended after {timeout:g} s")

    def cancel(self, *, timeout: float | None = None) -> RequestPassed:
        """Ask for it to be cancelled, and return once the breaker has taken the request; `wait` tells how it ended.

        Args:
            timeout: give up after so many seconds; default 10.

        Raises:
            BreakerUnavailable: no breaker within a second; nothing was sent.
            CancelRefused: the breaker says no.
            OrderUnacknowledged: no answer; the cancel may have been taken or not.
        """
        if timeout is None:
            return self._client.cancel(self.order_id)
        return self._client.cancel(self.order_id, timeout=timeout)

    def is_for(self, submitted: Submit) -> bool:
        """Whether this order has passed and `submitted` is it once more. For the client.

        Raises:
            OrderInvalid: the id is the same and the content differs; sending it would latch the circuit.
        """
        mine, names = self._submitted, ("account", "attached", "contract", "order", "protect")
        if any(getattr(mine, name) != getattr(submitted, name) for name in names):
            text = f"order_id {self.order_id!r} was already used with other content"
            raise OrderInvalid(text, order_id=self.order_id)
        return isinstance(self.decision, Passed)

    def take(self, event: AnyOrderEvent) -> None:
        """Note an `event` of this order. For the client."""
        if event.again and any(_same_fact(event, earlier) for earlier in self._events):
            return
        self._events.append(event)
        if self.decision is None and isinstance(event, Passed | Blocked | Expired | Invalid):
            self.decision = event
        if isinstance(event, Accepted | Filled | Commission | Rejected):
            self._broker_has_it = True
        if self._is_end(event):
            self.end = event  # type: ignore[assignment]
        elif event.supersedes is not None:
            self.end = None

    def _is_end(self, event: AnyOrderEvent) -> bool:
        if isinstance(event, Filled):
            return event.done
        if isinstance(event, Invalid) and event.conflict and self.decision is not event:
            # The answer to another message with the same id.
            return False
        if isinstance(event, Invalid | Expired):
            # Once IB has it, this is the answer to another message with the same id, not the end of this one.
            return not self._broker_has_it
        return isinstance(event, Cancelled | Rejected | NotPlaced)


class HeldHandles:
    """The handles that somebody still holds, by order_id.

    No WeakValueDictionary: it forgets by a Python callback, and an exception that a signal handler raises
    while one runs (KeyboardInterrupt, SystemExit) is lost, so that a ctrl-C would do nothing.
    """

    # Looked through for dead ones when it has grown to this, and again whenever what was left has doubled.
    FIRST_LOOK = 64

    def __init__(self) -> None:
        self._handles: dict[str, weakref.ref[OrderHandle]] = {}
        self._look_at = self.FIRST_LOOK

    def __len__(self) -> int:
        return len(self._handles)

    def get(self, order_id: str) -> OrderHandle | None:
        """The order's handle, if somebody holds it."""
        found = self._handles.get(order_id)
        return found() if found is not None else None

    def put(self, handle: OrderHandle) -> None:
        """Know this handle for as long as somebody holds it."""
        self._handles[handle.order_id] = weakref.ref(handle)
        if len(self._handles) >= self._look_at:
            self._handles = {at: held for at, held in self._handles.items() if held() is not None}
            self._look_at = max(self.FIRST_LOOK, 2 * len(self._handles))


def _same_fact(event: AnyOrderEvent, earlier: AnyOrderEvent) -> bool:
    """Whether a repeat says what was heard already; number and time are the repeat's own."""
    names = set(event.__struct_fields__) - {"seq", "at_ns", "again"}
    return type(event) is type(earlier) and all(getattr(event, at) == getattr(earlier, at) for at in names)


def refusal_of(decision: Decision) -> OrderError | None:
    """The exception for a decision that is a no; None for `passed`."""
    match decision:
        case Passed():
            return None
        case Blocked():
            return _blocked(decision)
        case Expired():
            text = f"{decision.order_id} was {decision.age_ms} ms old at its turn and was not sent"
            return OrderExpired(text, order_id=decision.order_id, age_ms=decision.age_ms, event=decision)
        case Invalid():
            return OrderInvalid(decision.reason, order_id=decision.order_id, event=decision)


def _blocked(event: Blocked) -> OrderBlocked:
    if event.code not in _CIRCUIT_CODES:
        text = f"{event.order_id} was blocked ({event.code}): {event.reason}"
        return OrderBlocked(text, order_id=event.order_id, code=event.code, reason=event.reason, event=event)
    error = CircuitBreakerOpenException(
        # The exception's text puts a state in front itself.
        event.reason.removeprefix(f"{event.state}: "),
        # A condition can block while the circuit itself is CLOSED; other words are a newer breaker's.
        state=CircuitState.__members__.get(event.state, CircuitState.OPEN),
        failure_count=event.failure_count,
        failures_in_window=event.failures,
    )
    error.order_id, error.code, error.event = event.order_id, event.code, event
    return error
