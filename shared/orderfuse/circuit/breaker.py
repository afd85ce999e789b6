"""The circuit breaker for orders: a ledger that is asked before each order and told its outcome afterwards. Pure.

The pattern is the Circuit Breaker of the Azure Architecture Center
(https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker). It was written for calls: one
asks, waits, and gets an answer or an exception. The answer to an order comes later on another socket,
perhaps twice, perhaps never, and a wrong "not filled" costs money. So this breaker wraps nothing:
`admit(order_id)` now, `record_success(order_id)` or `record_failure(order_id)` later. What the pattern asks
an implementer to consider, and what became of it here:

* Exception handling: the breaker answers with a `Verdict` and raises nothing on the way of an order; who
  prefers an exception raises `CircuitBreakerOpenException` from it.
* Types of exceptions: what counts as success, failure or neither is decided outside, from the broker's
  codes. This class takes outcomes; a fault that lasts is a condition (`hold`, `release`), a grave one a
  `trip`.
* Inappropriate timeouts: nothing here waits. An order that is never answered is reported as a failure by
  its owner. Only a trial has a deadline of its own, since a lost one would keep HALF_OPEN waiting for ever.
* Monitoring and logging: every change goes to `on_transition` and stands in `take_transitions`, `get_state` says
  the rest. No log is written here.
* Recoverability: OPEN lasts a set time, growing if wished; every threshold is a setting.
* Testing failed operations: no probe is sent. HALF_OPEN lets a few real orders through, because a harmless
  question to the gateway proves that it answers, not that it takes orders. It waits for them without end:
  no traffic proves neither health nor sickness.
* Manual override: `trip(reason, latch=True)` and `reset()`.
* Concurrency: an object belongs to one thread, takes no lock and never blocks; many orders may be out at
  once, and an outcome moves only the generation that admitted its order.
* Resource differentiation: one object guards one scope. The pipeline has one for each strategy and one for
  all of them.
* Accelerated circuit breaking: an answer that says enough by itself is a `trip`, at once and uncounted.
* Several regions or partitions: there is one broker and one account. Two breakers on them would each see
  half of the failures, so the pipeline refuses a second one.
* Replaying failed requests: never. A price that was right a minute ago is wrong now, and an order that
  seemed to fail may have been executed. A blocked order is gone; its strategy decides anew.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self, assert_never

from orderfuse.circuit.announcer import Announcer
from orderfuse.circuit.clock import SystemClock
from orderfuse.circuit.config import CircuitBreakerConfig, secs_to_ns
from orderfuse.circuit.failures import FailureHistory
from orderfuse.circuit.snapshot import (
    MAX_CONDITIONS,
    MAX_ORDERS_OUT,
    SavedCircuit,
    SavedCondition,
    SavedFailure,
    SavedOrder,
    UnreadableSnapshotError,
    from_wall_ns,
    read_snapshot,
    salvage_generation,
    to_wall_ns,
)
from orderfuse.circuit.types import CircuitState, Clock, Transition, TransitionCause, Verdict

_NEVER_NS = 2**63 - 1
_SYSTEM_CLOCK = SystemClock()


class TradingCircuitBreaker:
    """Stops automated trading after failures, and lets it come back by a few trial orders.

    CLOSED admits every order. Failures, a grave fault or a person open it; OPEN admits none. After
    `open_timeout_secs` comes HALF_OPEN, which admits at most `half_open_max_tries` trial orders: as many
    successes close the circuit, one failure or one trial without an outcome opens it again.

    Every method first does what time has made due, with or without traffic; what is found late counts from
    when it was due. So call `poll()` every now and then, if only to have changes announced in time.
    Attributes only read. Decisions compare whole nanoseconds of the clock's monotonic time.

    One object belongs to one thread. It takes no lock: a second thread that calls in can lose an outcome.
    That is the price of an admission in CLOSED that costs a dictionary entry and does not read the clock.

    Memory is bounded: at most `failure_threshold` failures, 100,000 orders out, 1,000 conditions and 100 transitions
    that nobody has taken. The length of ids, names and reasons is the caller's to bound.

    Args:
        config: When to open and when to close; copied.
        clock: Where time comes from.

    Attributes:
        scope: What this breaker guards; only copied into each `Transition`.
    """

    __slots__ = (
        "_announcer",
        "_blocked",
        "_cap_ns",
        "_clock",
        "_closed_since_ns",
        "_conditions",
        "_config",
        "_due_ns",
        "_failures",
        "_generation",
        "_half_open_tries",
        "_latched",
        "_late",
        "_monotonic_ns",
        "_open_reason",
        "_open_until_ns",
        "_opened_at",
        "_orders",
        "_retry_at",
        "_slots_succeeded",
        "_state",
        "_ticket",
        "_trial_deadlines",
        "_trial_ns",
        "_unconditional",
        "_unknown_ids",
        "_wait_ns",
        "scope",
    )

    def __init__(self, config: CircuitBreakerConfig, *, clock: Clock = _SYSTEM_CLOCK) -> None:
        # A copy, so that nobody changes the rules of a running circuit; making it checks every field again.
        self._config = replace(config)
        self._clock = clock
        self._monotonic_ns = clock.monotonic_ns
        self._announcer = Announcer()
        self.scope = "system"

        self._trial_ns = secs_to_ns(config.half_open_timeout_secs)
        self._wait_ns = secs_to_ns(config.open_timeout_secs)
        self._cap_ns = secs_to_ns(config.open_timeout_max_secs)

        self._state = CircuitState.CLOSED
        self._generation = 1
        self._ticket = _ticket(self._generation, trial=False)
        self._closed_since_ns = self._monotonic_ns()
        self._failures = FailureHistory(config)
        self._conditions: dict[str, str] = {}

        self._open_reason: str | None = None
        self._latched = False
        self._opened_at: datetime | None = None
        self._open_until_ns = _NEVER_NS
        self._retry_at: datetime | None = None

        self._half_open_tries = 0
        self._slots_succeeded = 0
        self._trial_deadlines: dict[str, int] = {}

        # In the order of admission, so that those of earlier generations stand first.
        self._orders: dict[str, Verdict] = {}
        self._late = 0
        self._unknown_ids = 0
        self._prepare_answers()

    # What orders ask and tell.

    def admit(self, order_id: str) -> Verdict:
        """Whether the order `order_id` may be sent now; if so, it is out until its outcome is recorded.

        An order that is out and asks again gets the verdict that it has and takes no second slot. Only where
        nothing may pass, in OPEN or while a condition holds, it is told so and stays out as before.
        """
        # The two answers that need no thought come first: they are what nearly every order gets.
        if self._unconditional is not None:
            if len(self._orders) < MAX_ORDERS_OUT:
                return self._orders.setdefault(order_id, self._unconditional)
        elif self._blocked is not None and self._monotonic_ns() < self._due_ns:
            return self._blocked
        return self._consider(order_id)

    def record_success(self, order_id: str | None = None) -> CircuitState:
        """The order `order_id` is in the market; without an id, some order is. Returns the state after it."""
        # Nothing can be due in an unconditional CLOSED, so the usual success leaves the clock alone.
        if self._unconditional is not None and order_id is not None:
            verdict = self._orders.pop(order_id, None)
            if verdict is self._unconditional:
                self._failures.row = 0
            else:
                self._count_idle_outcome(verdict)
            return self._state
        now_ns = self._let_time_pass()
        if self._takes_outcome(order_id):
            self._succeed(now_ns, has_slot=order_id is not None)
        self._announcer.announce()
        return self._state

    def record_failure(self, order_id: str | None = None) -> CircuitState:
        """The order `order_id` failed or was not answered; without an id, something did.

        Returns the state after it.
        """
        now_ns = self._let_time_pass()
        if self._takes_outcome(order_id):
            self._fail("trial_failed", "a trial order failed", now_ns)
        self._announcer.announce()
        return self._state

    def record_neutral(self, order_id: str) -> CircuitState:
        """The order `order_id` ended without telling anything: it never left us, or its strategy cancelled it.

        Its slot is free again and no count moves. Returns the state after it.
        """
        self._let_time_pass()
        self._takes_outcome(order_id)
        return self._state

    # What people and the world tell.

    def trip(self, reason: str, latch: bool = False) -> CircuitState:
        """Open at once, and with `latch` until `reset`. Returns the state after it.

        While OPEN there is no transition and the wait stays as it was; `latch` then latches and takes the
        new reason.
        """
        now_ns = self._let_time_pass()
        if self._state is not CircuitState.OPEN:
            self._latched = latch
            self._move(CircuitState.OPEN, "trip", reason, now_ns)
        elif latch:
            self._latched = True
            self._open_reason = reason
            self._prepare_answers()
        self._announcer.announce()
        return self._state

    def hold(self, name: str, reason: str) -> CircuitState:
        """A fault lasts from now on: until `release(name)` no order is admitted and OPEN does not end.

        It counts as no failure and opens nothing; the caller does, when it has lasted long enough. A name
        that holds already takes the new reason. A new name beyond the 1,000th latches the circuit instead,
        because a fault must not be dropped. Returns the state after it.
        """
        self._let_time_pass()
        if name not in self._conditions and len(self._conditions) >= MAX_CONDITIONS:
            return self.trip(f"more than {MAX_CONDITIONS} conditions; the next: {name}: {reason}", latch=True)
        self._conditions[name] = reason
        self._prepare_answers()
        return self._state

    def release(self, name: str) -> CircuitState:
        """The fault is over. Returns the state after it; a name that does not hold changes nothing.

        Where OPEN's wait ended while conditions held, HALF_OPEN begins when the last of them is released.
        """
        now_ns = self._let_time_pass()
        if self._conditions.pop(name, None) is not None:
            if not self._conditions and self._state is CircuitState.OPEN:
                self._open_until_ns = max(self._open_until_ns, now_ns)
            self._prepare_answers()
            self._let_time_pass()
        return self._state

    def reset(self) -> None:
        """Close by hand, from any state: counts, backoff and latch are cleared; conditions go on holding.

        Orders that are out come along into the new generation: their failures count against the new start.
        """
        now_ns = self._let_time_pass()
        self._latched = False
        self._wait_ns = secs_to_ns(self._config.open_timeout_secs)
        if self._state is CircuitState.CLOSED:
            self._failures.clear()
        else:
            self._move(CircuitState.CLOSED, "reset", "reset", now_ns)
        self._orders = dict.fromkeys(self._orders, self._ticket)
        self._announcer.announce()

    # What anyone may look at.

    def poll(self) -> CircuitState:
        """Do what time has made due, and return the state."""
        self._let_time_pass()
        return self._state

    def take_transitions(self) -> list[Transition]:
        """What has happened since the last call, the oldest first; of more than 100, the latest 100.

        For who would rather ask than be called by `on_transition`; each of the two tells everything.
        """
        self._let_time_pass()
        return self._announcer.take()

    def is_trading_allowed(self) -> tuple[bool, str | None]:
        """Whether the next order would be admitted, and a reason for people; takes no slot."""
        self._let_time_pass()
        verdict = self._judge()
        return verdict.allowed, verdict.reason

    def get_state(self) -> dict[str, Any]:
        """The circuit for people and monitors, as plain values.

        `state` (its name), `failures` (how many in the window; in OPEN, as at the trip), `failure_count`
        (since the last CLOSED), `opened_at` and `retry_at` (ISO 8601 texts in UTC, or None),
        `half_open_tries`, `latched`, `generation`, `conditions` (the names that hold), `reason` (why it is
        OPEN, else None), `late` (outcomes of orders of an earlier generation) and `unknown_ids` (outcomes of
        orders that are not out). The last two are never cleared.
        """
        self._let_time_pass()
        retry_at = self._known_retry_at()
        return {
            "state": self._state.name,
            "failures": len(self.failures),
            "failure_count": self._failures.count,
            "opened_at": None if self._opened_at is None else self._opened_at.isoformat(),
            "half_open_tries": self._half_open_tries,
            "latched": self._latched,
            "generation": self._generation,
            "conditions": list(self._conditions),
            "reason": self._open_reason,
            "retry_at": None if retry_at is None else retry_at.isoformat(),
            "late": self._late,
            "unknown_ids": self._unknown_ids,
        }

    @property
    def config(self) -> CircuitBreakerConfig:
        """A copy of the config; changing it changes nothing."""
        return replace(self._config)

    @property
    def state(self) -> CircuitState:
        """The state as of the last call; `poll()` also does what has become due since."""
        return self._state

    @property
    def generation(self) -> int:
        """The number of this life of the state: 1 at a first start, one more with each transition."""
        return self._generation

    @property
    def due_ns(self) -> int | None:
        """When time alone changes something next, in the clock's monotonic nanoseconds; None: never.

        That is a transition, or a failure that leaves the window. Who has many breakers polls those that are due.
        """
        due_ns = self._due_ns
        oldest = next(iter(self._failures), None)
        if oldest is not None and self._state is not CircuitState.OPEN:
            due_ns = min(due_ns, oldest[0] + secs_to_ns(self._config.failure_window_secs) + 1)
        return None if due_ns == _NEVER_NS else due_ns

    @property
    def failures(self) -> list[datetime]:
        """When the failures in the window happened (aware, UTC), oldest first; in OPEN, as at the trip."""
        if self._state is CircuitState.OPEN:
            return [at for _, at in self._failures]
        return self._failures.in_window(self._monotonic_ns())

    @property
    def opened_at(self) -> datetime | None:
        """When the circuit opened last (aware, UTC); None while CLOSED."""
        return self._opened_at

    @property
    def half_open_tries(self) -> int:
        """Successful trials of this round; 0 in other states than HALF_OPEN."""
        return self._half_open_tries

    @property
    def on_transition(self) -> Callable[[Transition], object] | None:
        """Gets each `Transition`, in order, after the breaker has moved completely; it may call back in.

        What it raises is swallowed and counted in `listener_errors`: no listener may stop a stop.
        """
        return self._announcer.listener

    @on_transition.setter
    def on_transition(self, listener: Callable[[Transition], object] | None) -> None:
        self._announcer.listener = listener

    @property
    def listener_errors(self) -> int:
        """How often `on_transition` raised."""
        return self._announcer.errors

    # Over a restart.

    def snapshot(self) -> dict[str, Any]:
        """Everything that `restore` needs, as plain values that JSON and msgpack carry.

        Moments are wall-clock stamps, reckoned back from now by the monotonic clock: a wall clock that
        jumped during the run has bent none of them.
        """
        now_ns = self._let_time_pass()
        ahead_ns = to_wall_ns(self._clock.utcnow()) - now_ns
        deadlines = {order_id: at_ns + ahead_ns for order_id, at_ns in self._trial_deadlines.items()}
        return SavedCircuit(
            state=self._state,
            generation=self._generation,
            latched=self._latched,
            cause=self._open_reason,
            conditions=[SavedCondition(name, reason) for name, reason in self._conditions.items()],
            failures=[SavedFailure(at_ns + ahead_ns, to_wall_ns(at)) for at_ns, at in self._failures],
            failure_count=self._failures.count,
            row=self._failures.row,
            wait_ns=self._wait_ns,
            closed_since_ns=self._closed_since_ns + ahead_ns,
            opened_at_ns=None if self._opened_at is None else to_wall_ns(self._opened_at),
            open_until_ns=self._open_until_ns + ahead_ns if self._state is CircuitState.OPEN else None,
            half_open_tries=self._half_open_tries,
            slots_succeeded=self._slots_succeeded,
            orders=[
                SavedOrder(order_id, verdict.generation, verdict.trial, deadlines.get(order_id))
                for order_id, verdict in self._orders.items()
            ],
            late=self._late,
            unknown_ids=self._unknown_ids,
        ).to_plain()

    @classmethod
    def restore(cls, snapshot: object, config: CircuitBreakerConfig, *, clock: Clock = _SYSTEM_CLOCK) -> Self:
        """The breaker as it was at `snapshot()`, after the time that has gone by. It raises for no `snapshot`.

        `config` and `clock` are as for a new one.

        What cannot be read becomes OPEN and latched, and so does None: a first start, with nothing saved,
        calls the class instead. If the wall clock says that less than no time has passed, none has; if more
        than the whole wait, the whole wait. Conditions hold on until they are released.
        """
        breaker = cls(config, clock=clock)
        try:
            saved = read_snapshot(snapshot)
        except UnreadableSnapshotError as unreadable:
            breaker._begin_latched(unreadable, salvage_generation(snapshot))
        else:
            breaker._resume(saved)
        return breaker

    def _begin_latched(self, unreadable: UnreadableSnapshotError, generation: int) -> None:
        self._generation = max(self._generation, generation)
        self._latched = True
        reason = f"the saved state cannot be read: {unreadable}"
        self._move(CircuitState.OPEN, "trip", reason, self._monotonic_ns())
        # A start is no transition.
        self._announcer.forget()

    def _resume(self, saved: SavedCircuit) -> None:
        now_ns = self._monotonic_ns()
        wall_ns = to_wall_ns(self._clock.utcnow())
        self._state = saved.state
        self._generation = saved.generation
        self._ticket = _ticket(self._generation, trial=self._state is CircuitState.HALF_OPEN)
        self._closed_since_ns = now_ns - max(0, wall_ns - saved.closed_since_ns)
        self._conditions = {condition.name: condition.reason for condition in saved.conditions}
        self._open_reason = saved.cause
        self._latched = saved.latched
        self._wait_ns = saved.wait_ns
        self._late = saved.late
        self._unknown_ids = saved.unknown_ids
        if saved.opened_at_ns is not None:
            self._opened_at = from_wall_ns(saved.opened_at_ns)
        if saved.open_until_ns is not None:
            rest_ns = min(max(0, saved.open_until_ns - wall_ns), saved.wait_ns)
            self._open_until_ns = now_ns + rest_ns
            self._retry_at = from_wall_ns(wall_ns + rest_ns)
        self._resume_failures(saved, now_ns, wall_ns)
        self._resume_orders(saved, now_ns, wall_ns)
        self._prepare_answers()

    def _resume_failures(self, saved: SavedCircuit, now_ns: int, wall_ns: int) -> None:
        # Sorted once more, because ages that the wall clock would make negative have all become none.
        seen = sorted((now_ns - max(0, wall_ns - f.seen_ns), f.at_ns) for f in saved.failures)
        for seen_ns, at_ns in seen:
            self._failures.add(seen_ns, from_wall_ns(at_ns))
        self._failures.count = saved.failure_count
        self._failures.row = saved.row

    def _resume_orders(self, saved: SavedCircuit, now_ns: int, wall_ns: int) -> None:
        for order in saved.orders:
            present = order.generation == self._generation
            self._orders[order.order_id] = self._ticket if present else _ticket(order.generation, order.trial)
            if order.deadline_ns is not None:
                rest_ns = min(max(0, order.deadline_ns - wall_ns), self._trial_ns)
                self._trial_deadlines[order.order_id] = now_ns + rest_ns
        # A config with fewer tries must leave one to be made: without it nothing would close the circuit.
        highest = self._config.half_open_max_tries - 1
        self._half_open_tries = min(saved.half_open_tries, highest)
        self._slots_succeeded = min(saved.slots_succeeded, highest)

    # Time and state: one function lets time pass, one moves the state, one prepares what follows from it.

    def _let_time_pass(self) -> int:
        """Make and announce every move that is due, each as of its own time; returns the present time.

        At most three follow one another: OPEN ends, or a trial's deadline opens and that OPEN ends as well.
        Then no trial is out, and HALF_OPEN waits.
        """
        now_ns = self._monotonic_ns()
        while now_ns >= self._due_ns:
            while now_ns >= self._due_ns:
                self._make_due_move(self._due_ns)
            # Only now: a listener may call back in, may take its time, and meets a state that is up to date.
            self._announcer.announce()
            now_ns = self._monotonic_ns()
        if self._state is not CircuitState.OPEN:
            self._failures.forget_old(now_ns)
        return now_ns

    def _make_due_move(self, due_ns: int) -> None:
        if self._state is CircuitState.OPEN:
            self._move(CircuitState.HALF_OPEN, "wait_over", "the wait is over", due_ns)
        else:
            secs = self._config.half_open_timeout_secs
            self._fail("trial_lost", f"a trial order had no outcome within {secs:g}s", due_ns)

    def _move(self, state: CircuitState, cause: TransitionCause, reason: str, at_ns: int) -> None:
        """The only way from one state to another; takes along everything that belongs to a state."""
        previous = self._state
        at = self._wall_time(at_ns)
        self._state = state
        self._generation += 1
        self._ticket = _ticket(self._generation, trial=state is CircuitState.HALF_OPEN)
        self._half_open_tries = 0
        self._slots_succeeded = 0
        self._trial_deadlines.clear()
        match state:
            case CircuitState.OPEN:
                self._failures.forget_old(at_ns)
                self._wait_ns = self._next_wait_ns(previous, at_ns)
                self._open_until_ns = at_ns + self._wait_ns
                self._opened_at = at
                self._retry_at = at + timedelta(microseconds=self._wait_ns // 1000)
                self._open_reason = reason
            case CircuitState.HALF_OPEN:
                self._open_reason = None
            case CircuitState.CLOSED:
                self._closed_since_ns = at_ns
                self._failures.clear()
                self._opened_at = None
                self._open_reason = None
            case _:
                assert_never(state)
        self._prepare_answers()
        retry_at = self._known_retry_at()
        done = Transition(self.scope, previous, state, reason, self._generation, at_ns, at, retry_at, cause)
        self._announcer.add(done)

    def _prepare_answers(self) -> None:
        """Work out, once for all orders to come, what `admit` says and when time changes it."""
        self._due_ns = self._next_due_ns()
        self._blocked = self._blocking_verdict()
        may_pass = self._state is CircuitState.CLOSED and self._blocked is None
        self._unconditional = self._ticket if may_pass else None

    def _next_due_ns(self) -> int:
        match self._state:
            case CircuitState.CLOSED:
                return _NEVER_NS
            case CircuitState.OPEN:
                return _NEVER_NS if self._latched or self._conditions else self._open_until_ns
            case CircuitState.HALF_OPEN:
                return min(self._trial_deadlines.values(), default=_NEVER_NS)
            case _:
                assert_never(self._state)

    def _blocking_verdict(self) -> Verdict | None:
        """What every order is told while nothing may pass; None if some may."""
        if self._state is CircuitState.OPEN:
            reason = f"OPEN: {self._open_reason}"
        elif self._conditions:
            name, why = next(iter(self._conditions.items()))
            reason = f"{self._state.name}: condition {name} holds: {why}"
        else:
            return None
        return Verdict(False, reason, self._generation, retry_at=self._known_retry_at())

    def _known_retry_at(self) -> datetime | None:
        known = self._state is CircuitState.OPEN and not self._latched and not self._conditions
        return self._retry_at if known else None

    def _next_wait_ns(self, previous: CircuitState, at_ns: int) -> int:
        """How long an OPEN that begins now lasts: longer at each reopening, until CLOSED has lasted."""
        base_ns = secs_to_ns(self._config.open_timeout_secs)
        wait_ns = self._wait_ns
        if previous is CircuitState.HALF_OPEN:
            # As a ratio of whole numbers: a float would lose nanoseconds of a long wait.
            numerator, denominator = self._config.open_timeout_multiplier.as_integer_ratio()
            wait_ns = wait_ns * numerator // denominator
        elif at_ns - self._closed_since_ns >= self._cap_ns:
            wait_ns = base_ns
        # The cap ends a growth; it never makes a wait shorter than the one that was asked for.
        return max(base_ns, min(wait_ns, self._cap_ns))

    def _wall_time(self, at_ns: int) -> datetime:
        """What the wall clock said, or would have said, at a moment that is not after now."""
        return self._clock.utcnow() - timedelta(microseconds=(self._monotonic_ns() - at_ns) // 1000)

    # Orders that are not answered at first sight.

    def _consider(self, order_id: str) -> Verdict:
        now_ns = self._let_time_pass()
        if self._blocked is None and order_id in self._orders:
            return self._orders[order_id]
        verdict = self._judge()
        if verdict.allowed:
            self._make_room()
            self._orders[order_id] = verdict
            if verdict.trial:
                self._trial_deadlines[order_id] = now_ns + self._trial_ns
                self._due_ns = self._next_due_ns()
        return verdict

    def _judge(self) -> Verdict:
        """What an order that is not out would be told now; changes nothing."""
        if self._blocked is not None:
            return self._blocked
        if self._state is CircuitState.HALF_OPEN:
            slots = len(self._trial_deadlines) + self._slots_succeeded
            if slots >= self._config.half_open_max_tries:
                return Verdict(False, "HALF_OPEN: all trials are out", self._generation)
        elif len(self._orders) >= MAX_ORDERS_OUT and not self._has_old_orders():
            reason = f"CLOSED: {MAX_ORDERS_OUT} orders are out without an outcome"
            return Verdict(False, reason, self._generation)
        return self._ticket

    def _has_old_orders(self) -> bool:
        return next(iter(self._orders.values())).generation != self._generation

    def _make_room(self) -> None:
        # Orders of earlier generations may be forgotten: their outcomes move nothing, known or not.
        if len(self._orders) >= MAX_ORDERS_OUT:
            present = self._generation
            self._orders = {i: v for i, v in self._orders.items() if v.generation == present}

    # Outcomes.

    def _takes_outcome(self, order_id: str | None) -> bool:
        """Whether an outcome counts in this generation; its order is out no more, whether or not it does."""
        if order_id is None:
            return True
        verdict = self._orders.pop(order_id, None)
        if verdict is None or verdict.generation != self._generation:
            self._count_idle_outcome(verdict)
            return False
        if self._trial_deadlines.pop(order_id, None) is not None:
            self._due_ns = self._next_due_ns()
        return True

    def _count_idle_outcome(self, verdict: Verdict | None) -> None:
        if verdict is None:
            self._unknown_ids += 1
        else:
            self._late += 1

    def _succeed(self, at_ns: int, *, has_slot: bool) -> None:
        match self._state:
            case CircuitState.CLOSED:
                self._failures.row = 0
            case CircuitState.OPEN:
                pass  # One order came through; that does not say that the fault is gone.
            case CircuitState.HALF_OPEN:
                self._half_open_tries += 1
                self._slots_succeeded += has_slot
                if self._half_open_tries >= self._config.half_open_max_tries:
                    reason = f"{self._half_open_tries} trial orders succeeded"
                    self._move(CircuitState.CLOSED, "trials_succeeded", reason, at_ns)
            case _:
                assert_never(self._state)

    def _fail(self, trial_cause: TransitionCause, trial_reason: str, at_ns: int) -> None:
        """A failure. `trial_cause`, `trial_reason`: what it is where it is that of a trial."""
        self._failures.count += 1
        match self._state:
            case CircuitState.CLOSED:
                self._failures.add(at_ns, self._wall_time(at_ns))
                self._failures.row += 1
                broken_rule = self._failures.broken_rule()
                if broken_rule is not None:
                    self._move(CircuitState.OPEN, "failures", broken_rule, at_ns)
            case CircuitState.OPEN:
                pass  # Counted for people; the failures stay as they were at the trip.
            case CircuitState.HALF_OPEN:
                self._failures.add(at_ns, self._wall_time(at_ns))
                self._move(CircuitState.OPEN, trial_cause, trial_reason, at_ns)
            case _:
                assert_never(self._state)


def _ticket(generation: int, trial: bool) -> Verdict:
    """What every order gets that this generation admits."""
    return Verdict(True, "HALF_OPEN: Testing recovery" if trial else None, generation, trial)
