"""What is broadcast about the circuits: chained, numbered, repeated, and true."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.breaker.inputs import Measured
from services.breaker.publisher import MAX_REPEATS_AT_ONCE
from tests.unit.breaker.harness import MS, Executor, open_by_rejections, rig, trading


def changes(r, scope="system"):
    return [state for state in r.states if state["scope"] == scope]


def test_every_change_has_a_number_of_its_own_and_repeats_keep_the_last():
    r = trading()
    r.wait(2)
    open_by_rejections(r)
    r.wait(2)
    seqs = [state["seq"] for state in changes(r)]
    assert seqs == list(range(1, len(seqs) + 1))
    for earlier, later in pairwise(changes(r)):
        volatile = {"seq", "at_ns"}
        assert {k: v for k, v in earlier.items() if k not in volatile} != {
            k: v for k, v in later.items() if k not in volatile
        }
    last = {**changes(r)[-1]}
    repeat = [state for state in r.repeats if state["scope"] == "system"][-1]
    assert repeat == {**last, "repeat": True, "at_ns": repeat["at_ns"]}


def repeated(r, secs, step=0.02):
    """When each state was repeated within this time."""
    r.repeats.clear()
    start = r.clock.monotonic_ns()
    times: Any = {}
    for _ in range(round(secs / step)):
        r.wait(step, step=step)
        for state in r.repeats:
            times.setdefault(state["scope"], []).append(r.clock.monotonic_ns() - start)
        r.repeats.clear()
    return times


def assert_every_half_second(at):
    assert len(at) == 4
    assert all(abs(later - earlier - 500 * MS) <= 20 * MS for earlier, later in pairwise(at))


def test_states_are_repeated_every_half_second_where_something_is_wrong():
    r = trading(circuit={"failure_threshold": 2})
    r.submit("o-1")
    r.executor.rejected("o-1", outcome="malformed")
    r.submit("o-2")
    r.executor.rejected("o-2", outcome="malformed")
    assert r.state("strategy:alpha")["state"] == "OPEN"
    r.submit("b-1", "beta")
    r.ask("report", what="condition", name="tired", reason="x", scope="strategy:beta")
    r.ask("reset", reason="it is closed, and the condition holds", scope="strategy:beta")
    r.wait(0.5, step=0.02)
    assert (r.state("strategy:beta")["state"], r.state("strategy:beta")["conditions"]) == ("CLOSED", ["tired"])
    times = repeated(r, 2)
    assert set(times) == {"system", "strategy:alpha", "strategy:beta"}
    for at in times.values():
        assert_every_half_second(at)


def test_the_state_of_a_strategy_of_which_nothing_is_to_be_said_is_repeated_every_ten_seconds():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.wait(0.5, step=0.02)
    assert_every_half_second(repeated(r, 2)["system"])
    at = repeated(r, 30, step=0.1)["strategy:alpha"]
    assert len(at) == 3
    assert all(abs(later - earlier - 10_000 * MS) <= 100 * MS for earlier, later in pairwise(at))


def test_the_repeats_of_many_are_spread_and_none_is_left_out():
    r = trading(max_strategies=1000, max_orders_per_second=10_000)
    for number in range(200):
        r.submit(f"o-{number}", f"s-{number}")
        r.executor.filled(f"o-{number}", f"s-{number}")
    r.wait(9, step=0.25)
    r.repeats.clear()
    heard: dict[str, Any] = {}
    most = 0
    for _ in range(200):
        r.wait(0.02, step=0.02)
        most = max(most, len(r.repeats))
        for state in r.repeats:
            heard[state["scope"]] = heard.get(state["scope"], 0) + 1
        r.repeats.clear()
    assert {scope for scope in heard if scope != "system"} == {f"strategy:s-{number}" for number in range(200)}
    assert all(times == 1 for scope, times in heard.items() if scope != "system")
    assert most <= MAX_REPEATS_AT_ONCE


def test_the_sign_of_life_comes_in_time_however_many_states_are_due(monkeypatch):
    monkeypatch.setattr("services.breaker.circuits.states.MAX_REPEATS_AT_ONCE", 1)
    r = trading(max_strategies=100)
    for number in range(60):
        r.ask("trip", scope=f"strategy:s-{number}", reason="x")
    r.wait(0.5, step=0.02)
    times = repeated(r, 2)
    assert_every_half_second(times.pop("system"))
    assert len(times) > 20, "the others have what is left"


def test_repeats_are_not_journaled():
    r = trading()
    r.wait(3)
    assert len(r.history.events["state/system/"]) == len(changes(r))


def test_the_states_form_a_chain_and_generations_only_grow():
    r = trading()
    open_by_rejections(r)
    r.wait(300)
    r.submit("t-1")
    r.executor.rejected("t-1")
    r.ask("reset", reason="x")
    r.ask("trip", reason="y")
    told = changes(r)
    names = [state["state"] for state in told]
    assert [b for a, b in zip(["", *names], names, strict=False) if a != b] == [
        "CLOSED",
        "OPEN",
        "HALF_OPEN",
        "OPEN",
        "CLOSED",
        "OPEN",
    ]
    generations = [state["generation"] for state in told]
    assert generations == sorted(generations)
    assert max(generations) == 6


def test_a_strategy_may_not_trade_while_the_system_may_not():
    r = trading()
    r.submit("b-1", "beta")
    r.executor.accepted("b-1", "beta")
    assert r.state("strategy:beta")["trading_allowed"] is True
    r.ask("trip", reason="x")
    assert r.state("strategy:beta")["trading_allowed"] is False
    assert r.state("strategy:beta")["state"] == "CLOSED"
    r.ask("reset", reason="x")
    assert r.state("strategy:beta")["trading_allowed"] is True


def test_the_topic_of_each_strategy_counts_for_itself_without_a_gap():
    r = trading(window=64)
    for number in range(30):
        strategy_id = ("alpha", "beta", "gamma")[number % 3]
        r.submit(f"o-{number}", strategy_id)
        r.executor.accepted(f"o-{number}", strategy_id)
        r.submit(f"o-{number}", strategy_id)
    open_by_rejections(r)
    r.submit("late", "beta")
    by_topic: Any = {}
    for topic, fields in r.topics:
        if not fields.get("repeat"):
            by_topic.setdefault(topic, []).append(fields["seq"])
    assert {"order/alpha/", "order/beta/", "state/system/"} <= set(by_topic)
    for topic, seqs in by_topic.items():
        assert seqs == list(range(1, len(seqs) + 1)), topic


def test_health_sums_what_was_dropped_by_cause_over_all_links():
    r = trading(window=2)
    for number in range(3):
        r.submit(f"o-{number}")
    r.submit("not valid!")
    dropped = {"bad_field": 2, "extra_frames": 1}
    r.step(Measured(dropped, journal_lag_ms=1.5, journal_error=None, journals={}, disk_free=None))
    health = r.topics[-1][1]
    assert health["dropped"] == {"bad_field": 3, "extra_frames": 1}
    assert (health["queued"], health["orders_out"], health["window"], health["unknown"]) == ({"alpha": 1}, 2, 2, 0)
    assert (health["executor_present"], health["gateway_connected"]) == (True, True)


class Ordinary:
    """One more order after each thing that happens, and whether it met what had been told."""

    def __init__(self):
        self.rig = trading(circuit={"failure_threshold": 2, "half_open_max_tries": 2})
        self.number = 0
        self.inputs = {
            "accept": lambda: self.answer("accepted"),
            "reject": lambda: self.answer("rejected", outcome="failure"),
            "malformed": lambda: self.answer("rejected", outcome="malformed"),
            "gateway": self.gateway,
            "trip": lambda: self.rig.ask("trip", reason="x"),
            "trip_alpha": lambda: self.rig.ask("trip", reason="x", scope="strategy:alpha"),
            "reset": lambda: self.rig.ask("reset", reason="x"),
            "reset_alpha": lambda: self.rig.ask("reset", reason="x", scope="strategy:alpha"),
            "short": lambda: self.rig.wait(0.4),
            "long": lambda: self.rig.wait(300, step=1),
            "silence": self.silence,
            "join": lambda: self.rig.executor.join(),
        }

    def next_order(self, strategy_id):
        r = self.rig
        self.number += 1
        order_id = f"o-{self.number}"
        told = next((s for s in reversed(r.states) if s["scope"] == f"strategy:{strategy_id}"), r.state())
        r.submit(order_id, strategy_id, ttl_ms=60_000)
        blocked = r.kinds(order_id) == ["blocked"]
        assert blocked is not told["trading_allowed"], (told, r.about(order_id))
        return order_id

    def answer(self, how, **outcome):
        order_id = self.next_order("alpha")
        if order_id in self.rig.placed():
            getattr(self.rig.executor, how)(order_id, **outcome)

    def gateway(self):
        self.rig.executor.usable = not self.rig.executor.usable
        self.rig.executor.lease()

    def silence(self):
        self.rig.executor.is_in = False
        self.rig.wait(4)


INPUTS = tuple(Ordinary().inputs)


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(inputs=st.lists(st.sampled_from(INPUTS), max_size=25))
def test_what_is_broadcast_is_how_the_next_order_is_treated(inputs):
    ordinary = Ordinary()
    for name in inputs:
        ordinary.inputs[name]()
        ordinary.rig.poll()
        ordinary.next_order("beta")


def test_the_topic_that_was_quiet_longest_makes_room_and_never_counts_back(monkeypatch):
    monkeypatch.setattr("services.breaker.publisher.MAX_TOPICS", 5)
    r = trading(max_strategies=1)
    numbers = []
    for number in range(20):
        name = f"s-{number % 4}"
        r.submit(f"o-{number}", name)
        r.executor.filled(f"o-{number}", name)
        numbers.append([f["seq"] for _, f in r.topics if f.get("strategy_id") == name])
        assert len(r.stage.core.publisher.topics) <= 5
    assert all(seqs == sorted(set(seqs)) for seqs in numbers)
    assert set(r.history.seqs) == set(r.stage.core.publisher.topics)


def test_an_executor_change_does_not_touch_the_numbers():
    r = rig()
    r.executor.join()
    Executor(r, executor_id="exec-2", peer=b"p2").join()
    seqs = [state["seq"] for state in changes(r)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_every_transition_and_every_fence_is_on_disk_before_it_is_told():
    r = trading()

    def synced_by(act):
        before = r.syncs
        act()
        return r.syncs > before

    assert synced_by(lambda: open_by_rejections(r))
    assert synced_by(lambda: r.wait(300))
    assert r.state()["state"] == "HALF_OPEN"

    def trials():
        for number in range(3):
            r.submit(f"t-{number}")
            r.executor.accepted(f"t-{number}")

    assert synced_by(trials)
    assert r.state()["state"] == "CLOSED"
    assert synced_by(r.executor.hello)
    assert not synced_by(r.executor.joined)
    assert not synced_by(lambda: r.submit("o-1")), "an order's way is not worth the wait for the disk"


def test_every_start_raises_the_fence_before_anybody_is_there():
    r = trading()
    fence = r.stage.core.fence
    r.start()
    assert r.stage.core.fence == r.history.fence > fence


def test_a_trip_and_a_reset_in_one_turn_are_both_told():
    r = trading()
    before = len(r.states)
    with r.one_turn():
        for op in ("trip", "reset"):
            r.ask(op, reason="test")
    told = [state["state"] for state in r.states[before:] if state["scope"] == "system"]
    assert told == ["OPEN", "CLOSED"]
