"""What is broadcast about the circuits: chained, numbered, repeated, and true."""

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orderfuse.codec import convert
from services.breaker.loop import OPS
from tests.breaker.harness import MS, Executor, open_by_rejections, rig, trading


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


def test_states_are_repeated_every_half_second():
    r = trading()
    r.submit("o-1")
    r.wait(0.5, step=0.02)
    r.repeats.clear()
    start = r.clock.monotonic_ns()
    times = {"system": [], "strategy:alpha": []}
    for _ in range(100):
        r.wait(0.02)
        for state in r.repeats:
            times[state["scope"]].append(r.clock.monotonic_ns() - start)
        r.repeats.clear()
    for at in times.values():
        assert len(at) == 4
        assert all(abs(later - earlier - 500 * MS) <= 20 * MS for earlier, later in pairwise(at))


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
    by_topic = {}
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
    assert r.stage.health_is_due()
    assert not r.stage.health_is_due()
    r.stage.tell_health(dropped={"bad_field": 2, "extra_frames": 1}, journal_lag_ms=1.5, journal_error=None)
    r.flush()
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


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(inputs=st.lists(st.sampled_from(INPUTS), max_size=25))
def test_what_is_broadcast_is_how_the_next_order_is_treated(inputs):
    ordinary = Ordinary()
    for name in inputs:
        ordinary.inputs[name]()
        ordinary.rig.poll()
        ordinary.next_order("beta")


def test_the_topic_that_was_quiet_longest_makes_room_and_never_counts_back(monkeypatch):
    monkeypatch.setattr("services.breaker.bulletin.MAX_TOPICS", 5)
    r = trading(max_strategies=1)
    numbers = []
    for number in range(20):
        name = f"s-{number % 4}"
        r.submit(f"o-{number}", name)
        r.executor.filled(f"o-{number}", name)
        numbers.append([f["seq"] for _, f in r.topics if f.get("strategy_id") == name])
        assert len(r.stage.core.bulletin.topics) <= 5
    assert all(seqs == sorted(set(seqs)) for seqs in numbers)
    assert set(r.history.seqs) == set(r.stage.core.bulletin.topics)


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
    for op in ("trip", "reset"):
        r.stage.on_request(op, convert({"op": op, "id": 1, "reason": "test"}, OPS[op]))
    r.flush()
    told = [state["state"] for state in r.states[before:] if state["scope"] == "system"]
    assert told == ["OPEN", "CLOSED"]
