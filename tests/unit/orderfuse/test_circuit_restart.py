"""A circuit over a restart. Numbers are those of the specified cases."""

import json
from datetime import timedelta
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderfuse.circuit import CircuitBreakerConfig, TradingCircuitBreaker, Transition
from tests.clocks import STARTED_AT, ManualClock
from tests.unit.orderfuse.breakers import CLOSED, HALF_OPEN, OPEN, fail

pytestmark = pytest.mark.long


def first_life(**fields):
    # Begun long after the monotonic clock, which then starts anew with the machine.
    clock = ManualClock(monotonic_ns=10**15)
    return TradingCircuitBreaker(CircuitBreakerConfig(**fields), clock=clock), clock


def restart(breaker, clock, *, down_secs=0, config=None):
    """Another process on a rebooted machine; by the wall clock it was down that long."""
    carried = msgpack.unpackb(msgpack.packb(json.loads(json.dumps(breaker.snapshot()))))
    clock = ManualClock(wall=clock.utcnow() + timedelta(seconds=down_secs), monotonic_ns=77)
    return TradingCircuitBreaker.restore(carried, config or breaker.config, clock=clock), clock


def half_open_life(**fields):
    breaker, clock = first_life(**fields)
    breaker.trip("test")
    clock.advance(300)
    assert breaker.poll() is HALF_OPEN
    return breaker, clock


def test_a_closed_circuit_is_the_same_after_a_restart():  # case 43
    breaker, clock = first_life()
    fail(breaker, 3)
    breaker.admit("o-1")
    breaker.record_success("unknown")
    again, _ = restart(breaker, clock)
    assert again.get_state() == breaker.get_state()
    assert again.failures == breaker.failures
    assert again.snapshot() == breaker.snapshot()


def test_an_open_circuit_is_the_same_and_waits_the_rest_of_its_wait():  # cases 43 and 49
    breaker, clock = first_life()
    fail(breaker, 5)
    clock.advance(100)
    again, clock = restart(breaker, clock, down_secs=50)
    assert again.get_state() == breaker.get_state()
    assert again.opened_at == STARTED_AT
    clock.advance(150, ns=-1)
    assert not again.admit("o-1")
    clock.advance(ns=1)
    assert again.admit("o-1").generation == 3


def test_a_latched_circuit_is_latched_after_a_restart():  # case 43
    breaker, clock = first_life()
    breaker.trip("a person said so", latch=True)
    again, clock = restart(breaker, clock, down_secs=10**7)
    assert again.get_state() == breaker.get_state()
    clock.advance(10**6)
    assert again.is_trading_allowed() == (False, "OPEN: a person said so")


def test_a_half_open_circuit_is_the_same_after_a_restart():  # case 43
    breaker, clock = half_open_life()
    breaker.admit("a")
    breaker.admit("b")
    breaker.record_success("a")
    again, _ = restart(breaker, clock)
    assert again.get_state() == breaker.get_state()
    assert again.admit("c").trial
    assert not again.admit("d").allowed
    assert again.record_success("b") is HALF_OPEN
    assert again.record_success("c") is CLOSED
    assert again.generation == breaker.generation + 1


def test_four_failures_a_restart_and_one_more_open():  # case 44
    breaker, clock = first_life()
    fail(breaker, 4)
    clock.advance(30)
    again, clock = restart(breaker, clock, down_secs=20)
    clock.advance(10)
    assert again.record_failure() is OPEN


def test_failures_go_on_ageing_while_the_process_is_down():  # case 44
    breaker, clock = first_life()
    fail(breaker, 4)
    again, clock = restart(breaker, clock, down_secs=60)
    assert len(again.failures) == 4
    clock.advance(ns=1)
    assert again.record_failure() is CLOSED


def test_the_row_goes_on_after_a_restart():
    breaker, clock = first_life(consecutive_failure_threshold=3)
    for _ in range(2):
        breaker.record_failure()
        clock.advance(61)
    again, _ = restart(breaker, clock)
    assert again.record_failure() is OPEN
    assert again.get_state()["reason"] == "3 failures in a row"


def test_orders_out_are_still_out_and_know_their_generation():  # case 45
    breaker, clock = first_life()
    breaker.admit("earlier")
    breaker.trip("test")
    clock.advance(300)
    for n in range(3):
        breaker.admit(f"t-{n}")
        breaker.record_success(f"t-{n}")
    present = breaker.admit("present")
    again, _ = restart(breaker, clock)
    assert again.admit("present") == present
    again.record_failure("earlier")
    assert again.get_state()["late"] == 1
    assert again.get_state()["failures"] == 0
    again.record_failure("present")
    assert again.get_state()["failures"] == 1


def test_a_restarted_closed_circuit_counts_a_success_of_an_order_out():
    breaker, clock = first_life(consecutive_failure_threshold=2)
    breaker.admit("o-1")
    breaker.record_failure()
    again, clock = restart(breaker, clock)
    again.record_success("o-1")
    clock.advance(61)
    assert again.record_failure() is CLOSED


def test_the_deadlines_of_trials_run_on():  # case 45
    breaker, clock = half_open_life()
    breaker.admit("a")
    clock.advance(10)
    breaker.admit("b")
    again, clock = restart(breaker, clock, down_secs=5)
    again.record_success("a")
    clock.advance(25, ns=-1)
    assert again.poll() is HALF_OPEN
    clock.advance(ns=1)
    assert again.poll() is OPEN
    assert again.record_success("b") is OPEN
    assert again.get_state()["late"] == 1


def test_what_became_due_while_down_happens_at_the_first_look():
    breaker, clock = first_life()
    breaker.trip("test")
    again, clock = restart(breaker, clock, down_secs=1000)
    heard: list[Transition] = []
    again.on_transition = heard.append
    assert again.state is OPEN
    assert again.poll() is HALF_OPEN
    assert [t.at for t in heard] == [clock.utcnow()]


def test_a_wall_clock_set_back_makes_no_wait_longer_than_the_whole_one():  # case 49
    breaker, clock = first_life()
    breaker.trip("test")
    clock.advance(100)
    again, clock = restart(breaker, clock, down_secs=-3600)
    assert again.admit("o-1").retry_at == clock.utcnow() + timedelta(seconds=300)
    clock.advance(300, ns=-1)
    assert again.poll() is OPEN
    clock.advance(ns=1)
    assert again.poll() is HALF_OPEN


def test_a_wall_clock_set_forward_ends_the_wait():  # case 49
    breaker, clock = first_life()
    breaker.trip("test")
    again, _ = restart(breaker, clock, down_secs=3600)
    assert again.poll() is HALF_OPEN


def test_with_the_wall_clock_set_back_a_failure_is_new_and_a_deadline_whole():  # case 49
    breaker, clock = first_life()
    fail(breaker, 2)
    clock.advance(59)
    fail(breaker, 2)
    again, clock = restart(breaker, clock, down_secs=-3600)
    clock.advance(60)
    assert again.record_failure() is OPEN

    breaker, clock = half_open_life()
    breaker.admit("a")
    again, clock = restart(breaker, clock, down_secs=-3600)
    clock.advance(30, ns=-1)
    assert again.poll() is HALF_OPEN
    clock.advance(ns=1)
    assert again.poll() is OPEN


@pytest.mark.parametrize("jump_secs", [-3600, 3600])
def test_a_wall_clock_that_jumped_before_the_restart_bends_nothing(jump_secs):
    breaker, clock = first_life()
    fail(breaker, 5)
    clock.jump_wall(jump_secs)
    clock.advance(100)
    again, clock = restart(breaker, clock)
    clock.advance(200, ns=-1)
    assert again.poll() is OPEN
    clock.advance(ns=1)
    assert again.poll() is HALF_OPEN


@pytest.mark.parametrize("jump_secs", [-3600, 3600])
@pytest.mark.parametrize(("late_ns", "state"), [(0, OPEN), (1, CLOSED)])
def test_a_wall_clock_that_jumped_before_the_restart_makes_no_failure_older_or_younger(jump_secs, late_ns, state):
    breaker, clock = first_life()
    fail(breaker, 4)
    clock.jump_wall(jump_secs)
    clock.advance(40)
    again, clock = restart(breaker, clock)
    clock.advance(20, ns=late_ns)
    assert again.record_failure() is state


def test_the_growth_of_the_wait_is_remembered_and_forgotten_as_without_a_restart():
    breaker, clock = half_open_life(open_timeout_multiplier=2)
    breaker.record_failure()
    clock.advance(600)
    assert [breaker.record_success() for _ in range(3)] == [HALF_OPEN, HALF_OPEN, CLOSED]
    again, _ = restart(breaker, clock, down_secs=3599)
    again.trip("test")
    assert again.admit("o-1").retry_at - again.opened_at == timedelta(seconds=600)
    again, _ = restart(breaker, clock, down_secs=3600)
    again.trip("test")
    assert again.admit("o-1").retry_at - again.opened_at == timedelta(seconds=300)


def test_a_condition_holds_on_over_a_restart():
    breaker, clock = first_life()
    breaker.trip("test")
    breaker.hold("broker_disconnected", "1100")
    again, clock = restart(breaker, clock, down_secs=1000)
    assert again.get_state() == breaker.get_state()
    assert again.poll() is OPEN
    assert again.release("broker_disconnected") is HALF_OPEN


def test_a_config_with_fewer_trials_leaves_one_to_be_made():
    breaker, clock = half_open_life(half_open_max_tries=3)
    for order_id in "ab":
        breaker.admit(order_id)
        breaker.record_success(order_id)
    again, _ = restart(breaker, clock, config=CircuitBreakerConfig(half_open_max_tries=1))
    assert again.poll() is HALF_OPEN
    assert again.admit("c")
    assert again.record_success("c") is CLOSED


def test_a_config_with_a_lower_threshold_keeps_the_latest_failures():
    breaker, clock = first_life()
    for _ in range(4):
        breaker.record_failure()
        clock.advance(1)
    again, _ = restart(breaker, clock, config=CircuitBreakerConfig(failure_threshold=2))
    assert again.failures == breaker.failures[-2:]
    assert again.record_failure() is OPEN


def test_a_config_with_a_shorter_deadline_shortens_that_of_a_trial_out():
    breaker, clock = half_open_life()
    breaker.admit("a")
    again, clock = restart(breaker, clock, config=CircuitBreakerConfig(half_open_timeout_secs=5))
    clock.advance(5)
    assert again.poll() is OPEN


# What cannot be read.


def assert_latched(breaker):
    allowed, reason = breaker.is_trading_allowed()
    assert not allowed
    assert reason.startswith("OPEN: the saved state cannot be read: ")
    assert breaker.get_state()["latched"] is True
    assert breaker.get_state()["retry_at"] is None


def restored(snapshot):
    return TradingCircuitBreaker.restore(snapshot, CircuitBreakerConfig(), clock=ManualClock())


TORN: tuple[Any, ...] = (None, {}, [], "", "CLOSED", b"\x00", 0, 1.5, True, {"state": "CLOSED"}, object())


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_state_is_open_and_latched(torn):  # case 46
    assert_latched(restored(torn))


def test_a_torn_state_is_opened_by_a_reset_only():  # case 46
    clock = ManualClock()
    breaker = TradingCircuitBreaker.restore({}, CircuitBreakerConfig(), clock=clock)
    clock.advance(10**6)
    assert breaker.poll() is OPEN
    breaker.reset()
    assert breaker.admit("o-1")


def test_a_torn_state_whose_generation_can_be_read_begins_the_next_one():
    heard: list[Transition] = []
    breaker = restored({"generation": 41})
    breaker.on_transition = heard.append
    assert breaker.generation == 42
    assert breaker.poll() is OPEN
    assert heard == []


def lives():
    """Snapshots of circuits in every state."""
    yield first_life()[0].snapshot()
    breaker, _ = first_life()
    breaker.admit("o-1")
    fail(breaker, 4)
    breaker.hold("a", "one")
    yield breaker.snapshot()
    breaker.record_failure()
    yield breaker.snapshot()
    breaker, _ = half_open_life()
    breaker.admit("a")
    breaker.admit("b")
    breaker.record_success("a")
    yield breaker.snapshot()


def spoilt(snapshot):
    """The snapshot with each single value missing or of another kind."""
    for key in snapshot:
        yield key, {k: v for k, v in snapshot.items() if k != key}
        values: tuple[Any, ...] = (None, -1, 2**70, 1.5, True, "x", [[]], [["x"]], [[1, 2]], [["x", 1, True, 1]], {})
        for value in values:
            if type(value) is not type(snapshot[key]) or value != snapshot[key]:
                yield key, {**snapshot, key: value}


@pytest.mark.parametrize("snapshot", list(lives()))
def test_a_single_wrong_value_never_raises_and_never_admits_more(snapshot):
    good = restored(snapshot)
    for key, bad in spoilt(snapshot):
        breaker = restored(bad)
        if not breaker.get_state()["latched"]:
            # A value that is as good as the saved one: a count, a moment, an empty list.
            assert breaker.state is good.state, key
            assert key in {
                "opened_at_ns", "closed_since_ns", "open_until_ns", "failure_count", "row", "generation",
                "conditions", "failures", "orders", "late", "unknown_ids", "half_open_tries", "latched", "cause",
            }, key  # fmt: skip
        breaker.admit("o-1")
        breaker.record_failure()
        breaker.snapshot()


@pytest.mark.parametrize(
    "contradiction",
    [
        {"latched": True},
        {"half_open_tries": 1},
        {"half_open_tries": 1, "slots_succeeded": 2},
        {"cause": "why"},
        {"opened_at_ns": 1},
        {"open_until_ns": 1},
        {"orders": [["a", 1, False, None], ["a", 1, False, None]]},
        {"orders": [["a", 2, False, None]]},
        {"orders": [["a", 1, True, 5]]},
        {"generation": 2, "orders": [["a", 2, False, None], ["b", 1, False, None]]},
        {"conditions": [["a", "one"], ["a", "two"]]},
        {"v": 2},
        {"wait_ns": 0},
        {"wait_ns": 10**16 + 1},
        {"generation": 0},
        {"failures": [[0, 0]] * 1_000_001},
        {"orders": [[f"o-{n}", 1, False, None] for n in range(100_001)]},
    ],
)
def test_a_state_that_contradicts_itself_is_open_and_latched(contradiction):
    snapshot = first_life()[0].snapshot()
    assert restored(snapshot).get_state()["latched"] is False
    assert_latched(restored({**snapshot, **contradiction}))


def test_a_half_open_state_with_a_trial_without_a_deadline_is_latched():
    breaker, _ = half_open_life()
    breaker.admit("a")
    snapshot = breaker.snapshot()
    assert_latched(restored({**snapshot, "orders": [["a", 3, True, None]]}))


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(garbage=JSON_LIKE)
def test_restore_never_raises_whatever_it_is_given(garbage):
    assert_latched(restored(garbage))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(data=st.data())
def test_restore_never_raises_for_a_snapshot_with_some_garbage_in_it(data):
    snapshot = dict(data.draw(st.sampled_from(list(lives()))))
    for key in data.draw(st.sets(st.sampled_from(sorted(snapshot)), max_size=3)):
        snapshot[key] = data.draw(JSON_LIKE | st.integers(-(2**63), 2**63))
    breaker = restored(snapshot)
    breaker.poll()
    breaker.get_state()
    again = restored(breaker.snapshot())
    assert again.get_state() == restored(breaker.snapshot()).get_state()
