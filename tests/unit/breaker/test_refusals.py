"""What is refused and not kept on disk: it is answered alike when it comes again, and never passes."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.breaker.publisher import RESERVE_AHEAD
from services.breaker.refusals import FEW, KEPT_AT_ONCE, MOST_OF_ALL, MOST_OF_ONE, Budget, Refusals, Refused
from tests.unit.breaker.harness import SECOND, rig, trading, wall_ns_of

pytestmark = pytest.mark.long

MINUTE = 60


def send(r, order_id, sent_ns, strategy_id="alpha", **fields):
    r.submit(order_id, strategy_id, sent_ns=sent_ns, **fields)


def kept(r):
    return sum(len(events) for topic, events in r.history.events.items() if topic.startswith("order/"))


def test_what_comes_too_fast_is_numbered_and_not_kept_and_a_resend_gets_the_same_answer():
    r = trading(max_orders_per_second=2)
    for number in range(4):
        r.submit(f"o-{number}")
    refused = r.last("o-3")
    assert refused["code"] == "rate_limit"
    assert "o-3" not in r.history.records
    assert refused["seq"] not in [event["seq"] for event in r.history.events["order/alpha/"]]
    r.wait(2)
    r.submit("o-3")
    again = [event for event in r.events if event["order_id"] == "o-3"][1:]
    assert [event["kind"] for event in again] == ["duplicate", "blocked"]
    assert (again[1]["again"], again[1]["code"], again[1]["reason"]) == (True, "rate_limit", refused["reason"])
    assert "o-3" not in r.placed()


def test_another_order_under_a_refused_id_latches_as_under_any_other():
    r = trading(max_orders_per_second=1)
    r.submit("o-0")
    r.submit("o-1")
    assert r.last("o-1")["code"] == "rate_limit"
    r.wait(1.1)
    r.submit("o-1", protect=True)
    assert r.last("o-1")["conflict"]
    assert r.circuit("strategy:alpha").get_state()["latched"]


def test_a_refused_id_is_free_again_when_no_copy_of_it_can_be_under_way():
    r = trading(max_orders_per_second=1)
    r.submit("o-0")
    r.submit("o-1", ttl_ms=3000)
    r.wait(2.9)
    r.submit("o-1", ttl_ms=3000)
    assert r.kinds("o-1")[-1] == "blocked"
    r.wait(0.3)
    r.submit("o-1", ttl_ms=3000)
    assert r.last("o-1")["kind"] == "passed"


def test_a_copy_whose_stamp_is_ahead_of_the_clock_never_passes_either():
    r = trading(max_orders_per_second=1)
    r.submit("o-0")
    sent_ns = wall_ns_of(r.clock) + SECOND * 9 // 10
    for _ in range(60):
        send(r, "o-1", sent_ns, ttl_ms=3000)
        r.wait(0.1)
    assert r.kinds("o-1")[-1] == "expired"
    assert "o-1" not in r.placed()


def test_the_legs_of_a_refused_bracket_are_taken_too():
    r = trading(max_orders_per_second=1)
    r.submit("o-0")
    leg = {"action": "SELL", "totalQuantity": 100, "orderType": "STP", "auxPrice": 9.0}
    r.submit("o-1", attached=[{"order_id": "leg", "order": leg}])
    assert (r.last("o-1")["code"], r.last("leg")["code"]) == ("rate_limit", "rate_limit")
    r.wait(1.1)
    r.submit("leg")
    assert r.last("leg")["conflict"]
    assert "leg" not in r.placed()


def test_who_has_had_too_much_refused_is_refused_until_the_last_copy_is_too_old(monkeypatch):
    monkeypatch.setattr("services.breaker.refusals.MOST_OF_ONE", 10)
    r = trading(max_orders_per_second=1)
    r.submit("o-0", ttl_ms=3_600_000)
    for number in range(10):
        r.submit(f"r-{number}", ttl_ms=2000)
    r.wait(1.5)
    r.submit("one-more", ttl_ms=2000)
    assert (r.last("one-more")["code"], r.last("one-more")["kind"]) == ("queue_full", "blocked")
    r.submit("b-0", "beta")
    assert r.kinds("b-0") == ["passed"], "nobody else hears of it"
    r.wait(1.0)
    r.submit("one-more", ttl_ms=2000, ago=1.0)
    assert r.last("one-more")["kind"] == "blocked", "it found no room to be remembered, so all of them are refused"
    r.wait(2.5)
    r.submit("good")
    assert r.kinds("good") == ["passed"]


def test_a_restart_refuses_what_was_sent_before_it_by_who_had_something_refused_and_by_nobody_else():
    r = trading(max_orders_per_second=2)
    before = wall_ns_of(r.clock)
    for number in range(4):
        send(r, f"o-{number}", before, ttl_ms=60_000)
    r.submit("b-0", "beta")
    r.wait(0.5)
    r.start()
    r.executor.join()
    send(r, "o-3", before, ttl_ms=60_000)
    assert (r.last("o-3")["code"], r.last("o-3")["kind"]) == ("rate_limit", "blocked")
    send(r, "b-1", before, "beta", ttl_ms=60_000)
    assert r.kinds("b-1") == ["passed"]
    r.submit("o-4")
    assert r.kinds("o-4") == ["passed"]


def test_a_blocked_loop_fills_neither_disk_nor_memory():
    r = trading()
    r.ask("trip", scope="strategy:alpha", reason="stop it")
    r.submit("warm-up")
    for step in range(MINUTE * 10):
        for number in range(5):
            r.submit(f"o-{step}-{number}")
        r.wait(0.1)
    rows = sum(len(blob) for blob in r.history.records.values())
    events = sum(len(msgspec.json.encode(event)) for event in r.history.events["order/alpha/"])
    assert rows + events < 1_000_000
    assert len(r.stage.answers.refusals._refused) <= 50 * 6
    assert r.stage.core.orders == {}


def test_the_first_refusals_of_a_program_are_kept_and_a_retry_each_second_always_is():
    budget = Budget()
    assert [budget.spend("a", 0) for _ in range(KEPT_AT_ONCE + 2)] == [True] * KEPT_AT_ONCE + [False] * 2
    assert budget.spend("b", 0)
    assert all(budget.spend("c", second * SECOND) for second in range(100_000))


def test_each_owner_has_its_own_share_and_a_few_are_always_remembered():
    refusals = Refusals()
    for number in range(MOST_OF_ONE + 100):
        refusals.add(f"a-{number}", Refused("a", "a", b"", b""), 10, 0)
    assert not refusals.has_room("a", "a", 0)
    assert refusals.has_room("b", "b", 0)
    for owner in range(10):
        for number in range(MOST_OF_ONE):
            refusals.add(f"{owner}-{number}", Refused(f"o-{owner}", f"o-{owner}", b"", b""), 10, 0)
    for number in range(900):
        assert refusals.has_room("c", "c", 0), "ten that have all they can get leave much"
        refusals.add(f"c-{number}", Refused("c", "c", b"", b""), 10, 0)
    for owner in range(10, 100):
        for number in range(MOST_OF_ONE):
            refusals.add(f"{owner}-{number}", Refused(f"o-{owner}", f"o-{owner}", b"", b""), 10, 0)
    assert len(refusals._refused) <= MOST_OF_ALL + 100 * FEW
    for number in range(FEW):
        assert refusals.has_room("b", "b", 0), number
        refusals.add(f"b-{number}", Refused("b", "b", b"", b""), 10, 0)
    refusals.poll(11)
    assert not refusals._refused
    assert refusals.has_room("a", "a", 11)


# What a strategy does, and what becomes of the breaker meanwhile.
STEPS = st.lists(
    st.one_of(
        *(st.tuples(st.just("submit"), st.just(number)) for number in range(5)),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 0.9, 1.1])),
        st.tuples(st.just("trip"), st.just(0)),
        st.tuples(st.just("reset"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("others"), st.integers(1, 4)),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=300, deadline=None)
def test_a_refused_order_never_passes_however_often_it_comes_again(steps):
    r = rig(max_orders_per_second=2, queue_limit=2, max_strategies=2, window=1)
    r.executor.join()
    sent: Any = {}
    for number, (step, value) in enumerate(steps):
        match step:
            case "submit":
                # Some are stamped ahead of the clock, and some live so short that they get too old meanwhile.
                ahead_ns = value % 2 * (SECOND * 9 // 10)
                sent_ns = sent.setdefault(value, wall_ns_of(r.clock) + ahead_ns)
                send(r, f"o-{value}", sent_ns, ttl_ms=1200 if value < 2 else 60_000)
            case "wait":
                r.wait(value)
            case "restart":
                r.wait(0.01)
                r.start()
                r.executor.join()
            case "others":
                for other in range(value):
                    r.submit(f"x-{number}-{other}", f"x-{number}-{other}", sender="pid 1")
            case _:
                r.ask(step, reason="x")
        mine = [event for event in r.events if event["strategy_id"] == "alpha"]
        refused = {event["order_id"] for event in mine if event["kind"] in ("blocked", "expired")}
        assert not refused & set(r.placed())


def test_numbers_of_what_is_not_kept_are_not_reserved_beyond_the_clock():
    """A journal that is lost is followed by one that begins by the clock: it must not begin below what was told."""
    r = trading(max_orders_per_second=1)
    now_ms = wall_ns_of(r.clock) // 1_000_000
    r.stage.core.publisher.jump(now_ms)
    for number in range(50):
        r.submit(f"o-{number}")
    told = r.last("o-49")["seq"]
    assert told <= r.history.seqs["order/alpha/"] <= told + RESERVE_AHEAD
    r.wait(60)
    for number in range(50, 200):
        r.submit(f"o-{number}")
    assert told + 10 * RESERVE_AHEAD < r.history.seqs["order/alpha/"] <= wall_ns_of(r.clock) // 1_000_000


def test_what_was_refused_again_stands_as_long_as_its_later_copy():
    those = Refusals()
    for until_ns in (10, 20):
        those.add("o-1", Refused("pid 1", "alpha", b"", b"{}"), until_ns, now_ns=0)
    those.poll(15)
    assert those.find("o-1") is not None
    those.poll(21)
    assert those.find("o-1") is None
