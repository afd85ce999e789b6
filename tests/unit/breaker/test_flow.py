"""The way of an order through the breaker: decided once, at its turn, inside the window and its time to live."""

from typing import Any

import pytest

from orderfuse.bus.events import Commission
from services.breaker.deadlines import OF_ORDERS
from services.wire.dispatch import Place
from tests.unit.breaker.harness import BUY, STOCK, rig, trading


def test_an_order_is_passed_and_what_becomes_of_it_is_told_in_order():
    r = trading()
    r.submit("o-1", order=BUY, account="DU1", protect=True, ttl_ms=3000)
    (place,) = r.sent(Place)
    assert (place.order_id, place.strategy_id, place.account) == ("o-1", "alpha", "DU1")
    assert (place.contract, place.order, place.protect) == (STOCK, BUY, True)
    assert place.fence == r.stage.core.fence
    assert (place.scope, place.ttl_left_ms) == ("strategy:alpha", 3000)
    r.executor.written("o-1")
    r.executor.accepted("o-1")
    r.executor.filled("o-1", shares=40)
    r.executor.filled("o-1", shares=60, cum=100)
    assert r.kinds("o-1") == ["passed", "accepted", "filled", "filled"]
    assert [event["done"] for event in r.about("o-1") if event["kind"] == "filled"] == [False, True]
    assert [event["seq"] for event in r.about("o-1")] == [1, 2, 3, 4]
    assert r.stage.core.orders == {}


def test_unset_fields_and_infinite_defaults_are_not_handed_on():
    r = trading()
    r.submit("o-1", order={**BUY, "auxPrice": 1.7976931348623157e308, "minQty": 2**31 - 1, "tif": None})
    assert r.sent(Place)[0].order == BUY


def test_the_ninth_order_waits_until_ib_has_answered_one():
    r = trading()
    for number in range(9):
        r.submit(f"o-{number}")
    assert r.placed() == [f"o-{number}" for number in range(8)]
    assert r.kinds("o-8") == []
    r.executor.written("o-0")
    assert len(r.placed()) == 8, "written is not answered"
    r.executor.accepted("o-3", status="PreSubmitted")
    assert r.placed()[8:] == ["o-8"]


@pytest.mark.parametrize("answer", ["accepted", "filled", "rejected", "cancelled", "not_placed", "expired", "unknown"])
def test_every_answer_frees_a_place_in_the_window(answer):
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-2")
    getattr(r.executor, answer)("o-1")
    assert r.placed() == ["o-1", "o-2"]


def test_no_order_is_handed_over_before_the_executor_has_its_lease():
    r = rig()
    r.executor.hello()
    r.submit("o-0")
    assert r.last("o-0")["code"] == "condition"
    r.executor.joined()
    r.submit("o-1")
    assert r.kinds("o-1") == []
    r.executor.lease()
    assert r.placed() == ["o-1"]


def test_an_order_waits_when_the_lease_has_run_out_after_half_a_second():
    r = trading()
    r.clock.advance(0.5)
    r.submit("o-1")
    assert r.kinds("o-1") == []
    r.executor.lease()
    assert r.kinds("o-1") == ["passed"]
    r.clock.advance(0.5, ns=-1)
    r.submit("o-2")
    assert r.kinds("o-2") == ["passed"]


def test_strategies_are_served_in_turn_so_that_a_flood_delays_nobody():
    r = trading(window=1, max_orders_per_second=1000)
    for number in range(500):
        r.submit(f"flood-{number}", "flood")
    r.submit("calm-0", "calm")
    r.submit("calm-1", "calm")
    for order_id, strategy_id in (("flood-0", "flood"), ("calm-0", "calm"), ("flood-1", "flood"), ("calm-1", "calm")):
        r.executor.accepted(order_id, strategy_id)
    assert r.placed() == ["flood-0", "calm-0", "flood-1", "calm-1", "flood-2"]


def test_at_exactly_its_time_to_live_an_order_still_passes():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=1000)
    r.wait(1.0)
    assert r.kinds("o-2") == []
    r.executor.accepted("o-1")
    assert r.kinds("o-2") == ["passed"]
    assert r.sent(Place)[-1].ttl_left_ms == 0


def test_a_nanosecond_after_its_time_to_live_an_order_is_expired():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=1000)
    r.wait(1.0)
    r.clock.advance(ns=1)
    r.executor.accepted("o-1")
    assert r.kinds("o-2") == ["expired"]
    assert r.last("o-2")["age_ms"] == 1000
    assert r.placed() == ["o-1"]


def test_a_waiting_order_expires_by_the_timer_also_behind_others_of_its_strategy():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=60_000)
    r.submit("o-3", ttl_ms=200)
    r.wait(0.2)
    assert r.kinds("o-3") == []
    r.clock.advance(ns=1)
    r.poll()
    assert r.kinds("o-3") == ["expired"]
    assert r.kinds("o-2") == []


def test_the_age_at_arrival_counts():
    r = trading()
    r.submit("o-1", ago=5.0)
    r.submit("o-2", ago=5.000001)
    assert r.kinds("o-1") == ["passed"]
    assert r.kinds("o-2") == ["expired"]


def test_a_wall_clock_that_jumps_ages_no_waiting_order():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=1000)
    r.clock.jump_wall(3600)
    r.wait(0.9)
    r.executor.accepted("o-1")
    assert r.kinds("o-2") == ["passed"]


def test_an_order_sent_more_than_the_skew_ahead_is_invalid_and_exactly_the_skew_is_not():
    r = trading()
    r.submit("o-1", ago=-1.0)
    r.submit("o-2", ago=-1.000001)
    assert r.kinds("o-1") == ["passed"]
    assert r.kinds("o-2") == ["invalid"]
    assert r.last("o-2")["reason"] == (
        "sent_ns is 1000.001 ms ahead of the breaker's clock, allowed are 1000 ms (breaker.max_clock_skew_ms): "
        "the sender's clock and the breaker's differ, set them right"
    )


def test_a_wall_clock_set_back_refuses_what_was_sent_before_it_and_holds_up_nothing_else():
    r = trading(window=1)
    r.submit("out")
    r.submit("waits", ttl_ms=2000)
    r.clock.jump_wall(-3600)
    r.submit("late", ago=-3600)
    assert "sent_ns is 3600000 ms ahead of the breaker's clock" in r.last("late")["reason"]
    r.wait(1.9)
    r.executor.accepted("out")
    assert r.kinds("waits") == ["passed"]
    r.executor.accepted("waits")
    r.submit("after")
    assert r.kinds("after") == ["passed"]
    numbers = [event["seq"] for event in r.events if event["kind"] != "state"]
    assert numbers == sorted(set(numbers)), "numbers of events go on, whatever the clock says"


def test_an_order_refused_for_its_clock_stays_refused_when_the_same_bytes_come_again_later():
    r = trading()
    sent_ns = 1_736_173_800 * 10**9 + 1_100_000_000
    r.submit("o-1", sent_ns=sent_ns)
    r.wait(0.5)
    r.submit("o-1", sent_ns=sent_ns)
    assert r.kinds("o-1") == ["invalid", "duplicate", "invalid"]
    assert r.placed() == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"order": {**BUY, "totalQuantity": 0}}, "totalQuantity"),
        ({"order": {**BUY, "action": "HOLD"}}, "action"),
        ({"order": {**BUY, "orderRef": "x"}}, "orderRef"),
        ({"order": {**BUY, "faGroup": "all"}}, "faGroup"),
        ({"order": {**BUY, "nonsense": 1}}, "nonsense"),
        ({"contract": {}}, "contract"),
        ({"contract": {**STOCK, "typo": 1}}, "typo"),
        ({"ttl_ms": 0}, "ttl_ms"),
        ({"ttl_ms": 3_600_001}, "ttl_ms"),
        ({"sent_ns": -1}, "sent_ns"),
        ({"attached": [{"order_id": "c-1", "order": {**BUY, "action": "HOLD"}}]}, "attached[0] (c-1)"),
        ({"protect": "yes"}, "protect"),
    ],
)
def test_what_is_no_valid_order_is_invalid_names_the_field_and_moves_nothing(fields, named):
    r = trading()
    r.submit("o-1", **fields)
    assert r.kinds("o-1") == ["invalid"]
    assert named in r.last("o-1")["reason"]
    assert r.placed() == []
    assert r.circuit().get_state()["failure_count"] == 0
    r.submit("o-1")
    assert r.kinds("o-1") == ["invalid", "passed"], "an invalid message takes no id"


def test_an_invalid_order_id_is_answered_where_it_can_be_read():
    r = trading()
    r.submit("has blanks")
    r.submit("o" * 300)
    r.submit("o-1", "no strategy!")
    assert r.kinds("has blanks") == ["invalid"]
    assert r.kinds("o" * 200) == ["invalid"]
    assert [topic for topic, fields in r.topics if fields.get("order_id") == "o-1"] == ["order//"]
    assert r.stage.core.dropped == {"bad_field": 3}


def test_a_field_that_a_setting_opens_is_handed_on():
    r = trading(allow=("faGroup",))
    r.submit("o-1", order={**BUY, "faGroup": "all"})
    assert r.sent(Place)[0].order["faGroup"] == "all"


# Resends.


def test_a_resend_of_a_waiting_order_is_ignored_and_the_first_ones_age_counts():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=1000)
    r.wait(0.8)
    r.submit("o-2", ttl_ms=1000)
    assert r.kinds("o-2") == []
    r.wait(0.3)
    assert r.kinds("o-2") == ["expired"]


def test_a_resend_of_an_ended_order_gets_its_end_again_also_behind_a_commission():
    r = trading()
    r.submit("o-1")
    r.executor.filled("o-1")
    paid: dict[str, Any] = {"exec_id": "e1", "commission": 1.0, "currency": "USD", "realized_pnl": None}
    r.executor.tell(Commission(order_id="o-1", strategy_id="alpha", **paid))
    r.submit("o-1")
    assert r.kinds("o-1")[-4:] == ["duplicate", "passed", "filled", "commission"]


def test_a_resend_of_an_answered_order_gets_its_first_decision_and_its_latest_event_again():
    r = trading()
    r.submit("o-1")
    r.submit("o-1", ttl_ms=1)
    assert r.kinds("o-1") == ["passed", "duplicate", "passed"]
    assert r.last("o-1")["again"] is True
    r.executor.accepted("o-1")
    r.executor.filled("o-1")
    r.submit("o-1")
    assert r.kinds("o-1")[5:] == ["duplicate", "passed", "filled"]
    assert [e.get("again", False) for e in r.about("o-1")[5:]] == [False, True, True]
    assert r.placed() == ["o-1"]


def test_a_blocked_order_is_never_sent_later_however_often_it_comes_again():
    r = rig()
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"
    r.executor.join()
    r.submit("o-1")
    assert r.kinds("o-1") == ["blocked", "duplicate", "blocked"]
    assert r.placed() == []


@pytest.mark.parametrize(
    "change",
    [
        {"order": {**BUY, "totalQuantity": 200}},
        {"contract": {**STOCK, "symbol": "QQQ"}},
        {"account": "DU2"},
        {"protect": True},
    ],
)
def test_the_same_id_with_other_content_is_invalid_latches_its_strategy_and_leaves_the_order_alone(change):
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-1", **change)
    assert r.kinds("o-1") == ["passed", "invalid"]
    assert (r.state("strategy:alpha")["state"], r.state("strategy:alpha")["latched"]) == ("OPEN", True)
    assert r.state()["state"] == "CLOSED"
    assert r.stage.core.orders["o-1"].state == "out"
    r.executor.accepted("o-1")
    assert r.kinds("o-1") == ["passed", "invalid", "accepted"]


def test_a_foreign_id_latches_the_circuit_of_whoever_uses_it_not_of_its_owner():
    r = trading()
    r.submit("o-1", "alpha")
    r.submit("o-1", "beta")
    assert r.state("strategy:beta")["latched"] is True
    assert r.state("strategy:alpha")["state"] == "CLOSED"
    assert [fields["kind"] for topic, fields in r.topics if topic == "order/beta/"] == ["invalid"]


# Limits.


def test_the_fifty_first_order_in_a_second_is_blocked_and_counts_once_a_second_for_its_strategy_only():
    r = trading(window=64)
    for number in range(53):
        r.submit(f"o-{number}")
    assert [r.last(f"o-{number}")["kind"] for number in (49, 50, 52)] == ["passed", "blocked", "blocked"]
    assert r.last("o-50")["code"] == "rate_limit"
    assert r.last("o-50")["scope"] == "strategy:alpha"
    assert r.circuit("strategy:alpha").get_state()["failure_count"] == 1
    assert r.circuit().get_state()["failure_count"] == 0
    r.submit("b-1", "beta")
    assert r.kinds("b-1") == ["passed"]
    r.clock.advance(1.0, ns=-1)
    r.submit("o-late")
    assert r.last("o-late")["code"] == "rate_limit"
    assert r.circuit("strategy:alpha").get_state()["failure_count"] == 1
    r.clock.advance(ns=1)
    r.executor.lease()
    r.submit("o-next")
    assert r.kinds("o-next") == ["passed"]


def test_five_seconds_of_flooding_open_the_floods_own_circuit():
    r = trading(window=64, max_orders_per_second=1)
    for second in range(5):
        r.submit(f"a-{second}")
        r.submit(f"b-{second}")
        r.wait(1.0)
    assert r.state("strategy:alpha")["state"] == "OPEN"
    assert r.state()["state"] == "CLOSED"


def test_resends_are_no_flood():
    r = trading(max_orders_per_second=1)
    for _ in range(10):
        r.submit("o-1")
    assert r.circuit("strategy:alpha").get_state()["failure_count"] == 0


def test_an_order_that_finds_the_queue_of_its_strategy_full_is_blocked_at_once():
    r = trading(window=1, queue_limit=2)
    for number in range(4):
        r.submit(f"o-{number}")
    r.submit("b-1", "beta")
    assert r.last("o-3")["code"] == "queue_full"
    assert r.kinds("o-2") == []
    assert r.kinds("b-1") == []


def test_one_strategy_too_many_is_blocked_while_the_others_have_something_to_remember():
    r = trading(max_strategies=2)
    r.submit("a-1", "alpha")
    r.submit("b-1", "beta")
    r.submit("c-1", "gamma")
    assert r.last("c-1")["code"] == "too_many_strategies"
    assert r.placed() == ["a-1", "b-1"]


def test_an_idle_circuit_makes_room_for_another_strategy():
    r = trading(max_strategies=2)
    r.submit("a-1", "alpha")
    r.submit("b-1", "beta")
    r.executor.filled("a-1", "alpha")
    r.submit("c-1", "gamma")
    assert r.kinds("c-1") == ["passed"]
    assert r.circuit("strategy:alpha") is None
    assert r.history.circuits["strategy:alpha"] is None


def test_a_circuit_that_is_forgotten_and_made_anew_in_one_turn_is_saved():
    r = trading(max_strategies=1)
    with r.one_turn():
        for number, strategy_id in enumerate(("alpha", "beta", "alpha")):
            r.submit(f"o-{number}", strategy_id, order={**BUY, "totalQuantity": 1})
            r.executor.not_placed(f"o-{number}", strategy_id, code="fenced")
        r.submit("o-9", "alpha")
    assert r.history.circuits["strategy:alpha"] is not None
    assert r.history.circuits.get("strategy:beta") is None


def test_a_circuit_with_a_failure_rests_while_another_needs_its_place_and_comes_back_as_it_was():
    r = trading(max_strategies=1)
    for number in range(5):
        r.submit(f"a-{number}", "alpha")
        r.executor.rejected(f"a-{number}", "alpha", "malformed")
    r.submit("b-1", "beta")
    assert r.kinds("b-1") == ["passed"]
    assert r.circuit("strategy:alpha") is None
    r.executor.filled("b-1", "beta")
    r.submit("a-5", "alpha")
    assert r.last("a-5")["code"] == "circuit_open"


def test_a_strategy_whose_order_waits_is_not_forgotten():
    r = trading(max_strategies=2, window=1)
    r.submit("b-1", "beta")
    r.submit("a-1", "alpha")
    r.submit("c-1", "gamma")
    assert r.last("c-1")["code"] == "too_many_strategies"
    r.executor.accepted("b-1", "beta")
    assert r.kinds("a-1") == ["passed"]


def test_a_latched_strategy_is_never_forgotten():
    r = trading(max_strategies=1)
    r.ask("trip", scope="strategy:alpha", reason="stop it")
    r.submit("b-1", "beta")
    assert r.last("b-1")["code"] == "too_many_strategies"


def test_a_million_refused_orders_would_leave_nothing_in_memory():
    r = rig(max_orders_per_second=100_000)
    for number in range(2000):
        r.submit(f"o-{number}", ttl_ms=3_600_000)
    assert r.stage.core.orders == {}
    assert [each for each in r.stage.core.deadlines if each.what in OF_ORDERS] == []
    assert len(r.stage.core.queues) == 0
