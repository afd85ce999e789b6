"""What a circuit breaker takes and gives: its states, its answers, its events, its clock. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal, Protocol

from orderfuse.errors import OrderBlocked


class CircuitState(Enum):
    """The three states of a circuit."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one order. It is true in an `if` exactly when the order may go.

    One object answers every order to which the same applies, so compare verdicts by value.

    Attributes:
        allowed: Whether the order may be sent.
        reason: Why not, for people; of a trial order, that it is one; None for an ordinary admission.
        generation: The life of the circuit's state that decided. An outcome moves only its own generation.
        trial: Whether the order tests the recovery in HALF_OPEN.
        retry_at: When OPEN ends (aware, UTC). None where no time is known: latched, or a condition holds.
    """

    allowed: bool
    reason: str | None
    generation: int
    trial: bool = False
    retry_at: datetime | None = None

    def __bool__(self) -> bool:
        # An object is true by default, and `if breaker.admit(order_id):` would then send every blocked order.
        return self.allowed


# What brings a transition about: too many failures; a trial that failed, one without an outcome in its time, or as many
# as were wanted that succeeded; the end of OPEN's wait; a call of `trip` or `reset`.
TransitionCause = Literal["failures", "trial_failed", "trial_lost", "trials_succeeded", "wait_over", "trip", "reset"]


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state, as `on_transition` and `take_transitions` tell it.

    Attributes:
        scope: What the breaker guards, as its owner named it.
        previous: The state before; always the `state` of the transition before.
        state: The state after.
        reason: Why, for people, without the state's name in front.
        generation: The generation that began with this transition.
        at_ns: When it was due, in the clock's monotonic nanoseconds; earlier than now if found late.
        at: The same moment by the wall clock (aware, UTC).
        retry_at: When this OPEN ends (aware, UTC); None in other states, or if no time is known.
        cause: What brought it about, for programs.
    """

    scope: str
    previous: CircuitState
    state: CircuitState
    reason: str
    generation: int
    at_ns: int
    at: datetime
    retry_at: datetime | None
    cause: TransitionCause


class CircuitBreakerOpenException(OrderBlocked):
    """An order or a call was stopped by a circuit that is not closed.

    The breaker itself answers with values and never raises this; it is for callers who prefer an exception.

    Attributes:
        reason: Why the circuit is open, without the state's name in front.
        state: The state that stopped the order.
        failure_count: Failures since the circuit was last CLOSED.
        failures_in_window: Failures inside the window when it opened.
    """

    def __init__(
        self,
        reason: str,
        *,
        state: CircuitState = CircuitState.OPEN,
        failure_count: int = 0,
        failures_in_window: int = 0,
    ) -> None:
        # The reason alone is the argument, so that a copied or unpickled exception reads the same.
        super().__init__(reason)
        self.reason = reason
        self.state = state
        self.failure_count = failure_count
        self.failures_in_window = failures_in_window

    def __str__(self) -> str:
        return f"Circuit breaker OPEN: {self.reason}"


class Clock(Protocol):
    """Where a breaker gets its time from. A test passes one that it moves by hand."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since any fixed moment; never goes back. Every decision is made on this one."""

    def utcnow(self) -> datetime:
        """The wall clock, aware and in UTC. Only for people to read, and for the time between two runs."""
