"""Case 54: whatever happens in whatever order, the breaker agrees with a model that is too simple to be wrong.

The model knows no due times, stores nothing precomputed and forgets nothing: it walks through every single
millisecond, asks at each whether something has to happen, and counts from full lists. Time is in whole
milliseconds, so each sequence meets the exact edges again and again.
"""

import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from orderfuse.circuit import CircuitBreakerConfig, TradingCircuitBreaker, Transition
from tests.clocks import STARTED_AT, ManualClock

pytestmark = pytest.mark.long

ORDER_IDS = st.sampled_from([f"o-{n}" for n in range(8)])
CONDITIONS = st.sampled_from(["feed", "margin"])
# Each duration of the configs, one less and one more, and stretches in which several things become due.
MILLISECONDS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 20, 21, 40, 60])


@dataclass
class Rules:
    threshold: int
    window: int
    wait: int
    tries: int
    deadline: int
    row: int | None
    multiplier: int
    cap: int

    def as_config(self):
        return CircuitBreakerConfig(
            failure_threshold=self.threshold,
            failure_window_secs=self.window / 1000,
            open_timeout_secs=self.wait / 1000,
            half_open_max_tries=self.tries,
            half_open_timeout_secs=self.deadline / 1000,
            consecutive_failure_threshold=self.row,
            open_timeout_multiplier=self.multiplier,
            open_timeout_max_secs=self.cap / 1000,
        )


@dataclass
class Order:
    order_id: str
    generation: int
    trial: bool
    admitted_at: int
    outcome: str | None = None


@dataclass
class Model:
    rules: Rules
    now: int = 0
    state: str = "CLOSED"
    generation: int = 1
    latched: bool = False
    conditions: list = field(default_factory=list)
    orders: list = field(default_factory=list)
    failed_at: list = field(default_factory=list)
    seen_at_trip: int = 0
    failure_count: int = 0
    outcomes_in_row: list = field(default_factory=list)
    idless_tries: int = 0
    reopenings: int = 0
    closed_at: int = 0
    opened_at: int = 0
    opened_at_for_people: int | None = None
    late: int = 0
    unknown: int = 0
    transitions: list = field(default_factory=list)

    # Time.

    def walk(self, milliseconds):
        for _ in range(milliseconds):
            self.now += 1
            self.look_at_the_time()

    def look_at_the_time(self):
        if self.state == "OPEN" and not self.latched and not self.conditions:
            if self.now - self.opened_at >= self.present_wait():
                self.go("HALF_OPEN")
        elif any(self.now - o.admitted_at >= self.rules.deadline for o in self.trials_out()):
            self.count_failure()

    def present_wait(self):
        return min(self.rules.wait * self.rules.multiplier**self.reopenings, max(self.rules.cap, self.rules.wait))

    def go(self, state):
        previous, self.state = self.state, state
        self.generation += 1
        self.idless_tries = 0
        if state == "OPEN":
            if previous == "HALF_OPEN":
                self.reopenings += 1
            elif self.now - self.closed_at >= max(self.rules.cap, self.rules.wait):
                self.reopenings = 0
            self.opened_at = self.opened_at_for_people = self.now
            self.seen_at_trip = self.failures_in_window()
        if state == "CLOSED":
            self.closed_at = self.now
            self.opened_at_for_people = None
            self.clear()
        self.transitions.append((previous, state, self.generation, self.now))

    def clear(self):
        self.failed_at = []
        self.failure_count = 0
        self.outcomes_in_row = []

    # Orders.

    def out(self, order_id):
        found = [o for o in self.orders if o.order_id == order_id and o.outcome is None]
        assert len(found) <= 1
        return found[0] if found else None

    def trials(self):
        """Those of this round; there are none outside HALF_OPEN."""
        return [o for o in self.orders if o.trial and o.generation == self.generation]

    def trials_out(self):
        return [o for o in self.trials() if o.outcome is None]

    def slots(self):
        return len([o for o in self.trials() if o.outcome in (None, "success")])

    def may_take_one(self):
        return self.state == "CLOSED" or (self.state == "HALF_OPEN" and self.slots() < self.rules.tries)

    def admit(self, order_id):
        """(allowed, generation, trial)."""
        if self.state == "OPEN" or self.conditions:
            return False, self.generation, False
        order = self.out(order_id)
        if order is None:
            if not self.may_take_one():
                return False, self.generation, False
            order = Order(order_id, self.generation, self.state == "HALF_OPEN", self.now)
            self.orders.append(order)
        return True, order.generation, order.trial

    def outcome(self, order_id, what):
        if order_id is not None:
            order = self.out(order_id)
            if order is None:
                self.unknown += 1
                return
            order.outcome = what
            if order.generation != self.generation:
                order.outcome = "late"
                self.late += 1
                return
        if what == "failure":
            self.count_failure()
        elif what == "success":
            self.idless_tries += order_id is None
            self.outcomes_in_row.append("success")
            if self.state == "HALF_OPEN" and self.tries() >= self.rules.tries:
                self.go("CLOSED")

    def tries(self):
        if self.state != "HALF_OPEN":
            return 0
        return self.idless_tries + len([o for o in self.trials() if o.outcome == "success"])

    def count_failure(self):
        self.failure_count += 1
        if self.state == "OPEN":
            return
        self.failed_at.append(self.now)
        self.outcomes_in_row.append("failure")
        full = self.failures_in_window() >= self.rules.threshold
        row = self.rules.row is not None and self.outcomes_in_row[-self.rules.row :] == ["failure"] * self.rules.row
        if self.state == "HALF_OPEN" or full or row:
            self.go("OPEN")

    def failures_in_window(self):
        recent = [at for at in self.failed_at if self.now - at <= self.rules.window]
        return min(len(recent), self.rules.threshold)

    # People, the world, the machine.

    def trip(self, latch):
        if self.state != "OPEN":
            self.latched = latch
            self.go("OPEN")
        self.latched = self.latched or latch

    def release(self, name):
        if name in self.conditions:
            self.conditions.remove(name)
            self.look_at_the_time()

    def reset(self):
        self.latched = False
        self.reopenings = 0
        if self.state != "CLOSED":
            self.go("CLOSED")
        self.reopenings = 0
        self.clear()
        for order in self.orders:
            if order.outcome is None:
                order.generation, order.trial = self.generation, False

    def restart(self, down):
        """While it is down nothing happens; what lies in the future then is taken as now.

        A failure that has left the window is gone for good, even if the wall clock goes back.
        """
        counted = self.seen_at_trip if self.state == "OPEN" else self.failures_in_window()
        self.failed_at = self.failed_at[len(self.failed_at) - counted :]
        self.now += down
        self.failed_at = [min(at, self.now) for at in self.failed_at]
        self.closed_at = min(self.closed_at, self.now)
        self.opened_at = min(self.opened_at, self.now)
        for order in self.orders:
            order.admitted_at = min(order.admitted_at, self.now)
        self.look_at_the_time()

    def as_state(self):
        opened_at = self.opened_at_for_people
        knows_retry = self.state == "OPEN" and not self.latched and not self.conditions
        return {
            "state": self.state,
            "failures": self.seen_at_trip if self.state == "OPEN" else self.failures_in_window(),
            "failure_count": self.failure_count,
            "opened_at": None if opened_at is None else wall(opened_at).isoformat(),
            "half_open_tries": self.tries(),
            "latched": self.latched,
            "generation": self.generation,
            "conditions": self.conditions,
            "retry_at": wall(self.opened_at + self.present_wait()).isoformat() if knows_retry else None,
            "late": self.late,
            "unknown_ids": self.unknown,
        }


def wall(at):
    return STARTED_AT + timedelta(milliseconds=at)


class BreakerAgainstModel(RuleBasedStateMachine):
    @initialize(
        tries=st.integers(1, 3),
        row=st.none() | st.just(4),
        window=st.sampled_from([6, 13, 30]),
        multiplier=st.sampled_from([1, 2]),
        cap=st.sampled_from([5, 15, 40]),
    )
    def begin(self, tries, row, window, multiplier, cap):
        self.model = Model(Rules(3, window, 10, tries, 4, row, multiplier, cap))
        self.clock = ManualClock(monotonic_ns=5)
        self.breaker = TradingCircuitBreaker(self.model.rules.as_config(), clock=self.clock)
        self.heard: list[Transition] = []
        self.breaker.on_transition = self.heard.append
        self.taken: list[Transition] = []

    @rule(milliseconds=MILLISECONDS)
    def time_passes(self, milliseconds):
        self.clock.advance(milliseconds / 1000)
        self.model.walk(milliseconds)

    @rule(order_id=ORDER_IDS)
    def admit(self, order_id):
        verdict = self.breaker.admit(order_id)
        assert (verdict.allowed, verdict.generation, verdict.trial) == self.model.admit(order_id)
        assert not (verdict.allowed and self.model.state == "OPEN")
        self.same_state()

    @rule(order_id=ORDER_IDS | st.none())
    def success(self, order_id):
        state = self.breaker.record_success(order_id)
        self.model.outcome(order_id, "success")
        assert state.name == self.model.state
        self.same_state()

    @rule(order_id=ORDER_IDS | st.none())
    def failure(self, order_id):
        state = self.breaker.record_failure(order_id)
        self.model.outcome(order_id, "failure")
        assert state.name == self.model.state
        self.same_state()

    @rule(order_id=ORDER_IDS)
    def neutral(self, order_id):
        state = self.breaker.record_neutral(order_id)
        self.model.outcome(order_id, "neutral")
        assert state.name == self.model.state
        self.same_state()

    @rule(order_ids=st.lists(ORDER_IDS, min_size=3, unique=True), outcome=st.sampled_from(["success", "failure"]))
    def a_burst_of_orders_and_their_outcomes(self, order_ids, outcome):
        for order_id in order_ids:
            self.admit(order_id)
        for order_id in order_ids:
            self.success(order_id) if outcome == "success" else self.failure(order_id)

    @rule(latch=st.sampled_from([False, False, False, True]))
    def trip(self, latch):
        assert self.breaker.trip("test", latch=latch).name == "OPEN"
        self.model.trip(latch)
        self.same_state()

    @rule(name=CONDITIONS)
    def hold(self, name):
        state = self.breaker.hold(name, "test")
        if name not in self.model.conditions:
            self.model.conditions.append(name)
        assert state.name == self.model.state
        self.same_state()

    @rule(name=CONDITIONS)
    def release(self, name):
        self.model.release(name)
        assert self.breaker.release(name).name == self.model.state
        self.same_state()

    @rule(name=CONDITIONS, milliseconds=MILLISECONDS)
    def hold_for_a_while(self, name, milliseconds):
        self.hold(name)
        self.time_passes(milliseconds)
        self.release(name)

    @rule()
    def reset(self):
        self.breaker.reset()
        self.model.reset()
        self.same_state()

    @rule(down=st.sampled_from([-20, -1, 0, 0, 1, 4, 6, 10, 40]))
    def restart(self, down):
        self.look()
        snapshot = json.loads(json.dumps(self.breaker.snapshot()))
        self.clock = ManualClock(wall=wall(self.model.now + down), monotonic_ns=5)
        self.breaker = TradingCircuitBreaker.restore(snapshot, self.breaker.config, clock=self.clock)
        self.breaker.on_transition = self.heard.append
        assert self.breaker.generation == self.model.generation
        assert self.breaker.state.name == self.model.state
        self.model.restart(down)
        self.look()

    @rule()
    def look(self):
        self.same_state()
        may_trade = not self.model.conditions and self.model.may_take_one()
        assert self.breaker.is_trading_allowed()[0] == may_trade
        assert self.breaker.opened_at == (
            None if self.model.opened_at_for_people is None else wall(self.model.opened_at_for_people)
        )

    def same_state(self):
        state = self.breaker.get_state()
        reason = state.pop("reason")
        assert state == self.model.as_state()
        assert (reason is not None) == (self.model.state == "OPEN")
        self.same_history()
        self.within_bounds()

    def same_history(self):
        self.taken += self.breaker.take_transitions()
        assert self.taken == self.heard
        heard = [(t.previous.name, t.state.name, t.generation, t.at) for t in self.heard]
        assert heard == [(*t[:3], wall(t[3])) for t in self.model.transitions]
        assert [t[0] for t in heard[1:]] == [t[1] for t in heard[:-1]]
        assert [t[2] for t in heard] == list(range(2, len(heard) + 2))

    def within_bounds(self):
        slots = len(self.breaker._trial_deadlines) + self.breaker._slots_succeeded
        assert 0 <= slots <= self.model.rules.tries
        assert slots == (self.model.slots() if self.model.state == "HALF_OPEN" else 0)
        assert list(self.breaker._orders) == [o.order_id for o in self.model.orders if o.outcome is None]
        assert len(list(self.breaker._failures)) <= self.model.rules.threshold

    def teardown(self):
        self.look()


BreakerAgainstModel.TestCase.settings = settings(
    max_examples=400, stateful_step_count=40, deadline=None, derandomize=True, database=None
)
TestBreakerAgainstModel = BreakerAgainstModel.TestCase
