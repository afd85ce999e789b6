"""What counts as what: success, failure, unknown, and whose circuit it counts in."""

import pytest

from services.wire.dispatch import Fence
from services.wire.feedback import Working
from tests.unit.breaker.harness import accepted, filled, open_by_rejections, trading

pytestmark = pytest.mark.long


def half_open(**settings):
    """HALF_OPEN in `system` and in `strategy:alpha`, 300 s after five rejections, the fence confirmed."""
    r = trading(**settings)
    open_by_rejections(r)
    r.executor.fenced()
    r.wait(300)
    assert r.state()["state"] == r.state("strategy:alpha")["state"] == "HALF_OPEN"
    return r


def failures(r, scope="system"):
    return r.circuit(scope).get_state()["failure_count"]


def test_five_rejections_open_raise_the_fence_and_answer_what_waits():
    r = trading(window=6)
    fence = r.stage.core.fence
    for number in range(6):
        r.submit(f"bad-{number}")
    r.submit("b-1", "beta")
    r.submit("waits", "gamma")
    for number in range(4):
        r.executor.rejected(f"bad-{number}")
        r.submit(f"next-{number}", "delta")
    assert r.state()["state"] == "CLOSED"
    waiting = [e for e in ("b-1", "waits", "next-3") if not r.kinds(e)]
    r.submit("last", "delta")
    syncs = r.syncs
    r.executor.rejected("bad-4")
    assert r.state()["state"] == r.state("strategy:alpha")["state"] == "OPEN"
    assert r.syncs > syncs, "a trip is on disk before it is told"
    # Both circuits opened, and every trip of any scope raises the fence.
    assert r.stage.core.fence == r.sent(Fence)[-1].fence == fence + 2
    assert r.history.fence == r.stage.core.fence
    assert r.state()["fenced"] is False
    for order_id in {*waiting, "last"} - set(r.placed()):
        assert (r.last(order_id)["kind"], r.last(order_id)["code"]) == ("blocked", "circuit_open")
        assert r.last(order_id)["scope"] == "system"
    r.submit("o-1", "omega")
    assert r.last("o-1")["code"] == "circuit_open"
    assert r.last("o-1")["retry_at"] == "2025-01-06T14:35:00+00:00"
    assert (r.last("o-1")["failures"], r.last("o-1")["state"]) == (5, "OPEN")


def test_a_blocked_order_takes_no_slot_and_what_we_refuse_ourselves_is_no_failure():
    r = trading()
    open_by_rejections(r)
    before = failures(r), failures(r, "strategy:alpha")
    for number in range(20):
        r.submit(f"o-{number}")
        r.submit(f"old-{number}", ago=10)
    assert (failures(r), failures(r, "strategy:alpha")) == before


def test_the_breaker_half_opens_by_the_timer_without_traffic_at_exactly_300_seconds():
    r = trading()
    open_by_rejections(r)
    r.wait(300, step=0.25)
    at = r.state()
    assert at["state"] == "HALF_OPEN"
    r = trading()
    open_by_rejections(r)
    r.wait(299.75, step=0.25)
    r.clock.advance(0.25, ns=-1)
    r.executor.lease()
    r.poll()
    assert r.state()["state"] == "OPEN"
    r.clock.advance(ns=1)
    r.poll()
    assert r.state()["state"] == "HALF_OPEN"


def test_half_open_lets_three_trials_out_and_answers_the_rest_at_once():
    r = half_open()
    for number in range(10):
        r.submit(f"o-{number}")
    assert [r.last(f"o-{number}")["kind"] for number in range(10)] == ["passed"] * 3 + ["blocked"] * 7
    assert all(r.last(f"o-{number}")["trial"] for number in range(3))
    assert {r.last(f"o-{number}")["code"] for number in range(3, 10)} == {"half_open_full"}
    assert r.state()["trading_allowed"] is False


def test_three_successful_trials_close():
    r = half_open()
    generation = r.state()["generation"]
    for number in range(3):
        r.submit(f"o-{number}")
        r.executor.accepted(f"o-{number}")
    assert r.state()["state"] == r.state("strategy:alpha")["state"] == "CLOSED"
    assert r.state()["generation"] == generation + 1
    assert r.state()["failures"] == 0


def test_a_failed_trial_opens_at_once_for_a_full_wait_and_later_successes_change_nothing():
    r = half_open()
    for number in range(3):
        r.submit(f"o-{number}")
    fence = r.stage.core.fence
    r.executor.rejected("o-1")
    assert r.state()["state"] == "OPEN"
    assert r.stage.core.fence > fence
    r.executor.accepted("o-0")
    r.executor.accepted("o-2")
    assert r.state()["state"] == "OPEN"
    assert r.kinds("o-0") == ["passed", "accepted"], "what IB says is told all the same"
    r.wait(299.9)
    assert r.state()["state"] == "OPEN"
    r.wait(0.1)
    assert r.state()["state"] == "HALF_OPEN"


def test_a_trial_that_was_never_sent_gives_its_slot_back():
    r = half_open()
    for number in range(3):
        r.submit(f"o-{number}")
    r.executor.not_placed("o-0", code="lease")
    r.executor.cancelled("o-1", outcome="neutral")
    assert r.state()["half_open_tries"] == 0
    r.submit("o-3")
    r.submit("o-4")
    r.submit("o-5")
    assert [r.last(f"o-{n}")["kind"] for n in (3, 4, 5)] == ["passed", "passed", "blocked"]


def test_an_end_that_means_nothing_to_the_circuits_gives_the_slot_back_too():
    r = half_open()
    for number in range(3):
        r.submit(f"o-{number}")
    r.executor.cancelled("o-0", outcome=None)
    r.submit("o-3")
    assert r.kinds("o-3") == ["passed"]


def test_an_unanswered_trial_opens_at_the_acknowledgement_deadline():
    r = half_open()
    r.submit("o-0")
    r.wait(5)
    assert r.kinds("o-0") == ["passed", "unknown"]
    assert r.state()["state"] == "OPEN"


def test_a_stop_that_rests_as_a_trial_is_a_success_after_two_seconds():
    r = half_open()
    for number in range(3):
        r.submit(f"o-{number}")
        r.executor.accepted(f"o-{number}", status="PreSubmitted")
    r.wait(2)
    assert r.state()["state"] == "CLOSED"


# Whose failure it is.


def test_a_malformed_order_counts_for_its_strategy_only():
    r = trading()
    open_by = [r.submit(f"o-{n}") or r.executor.rejected(f"o-{n}", outcome="malformed", code=110) for n in range(5)]
    assert len(open_by) == 5
    assert r.state("strategy:alpha")["state"] == "OPEN"
    assert r.state()["state"] == "CLOSED"
    assert failures(r) == 0
    r.submit("b-1", "beta")
    assert r.kinds("b-1") == ["passed"]


def test_a_malformed_trial_returns_the_systems_slot():
    r = half_open()
    for number in range(3):
        r.submit(f"b-{number}", "beta")
    r.executor.rejected("b-0", "beta", outcome="malformed")
    assert r.state()["state"] == "HALF_OPEN"
    r.submit("b-3", "beta")
    assert r.kinds("b-3") == ["passed"]


def test_a_strategy_that_is_alone_counts_in_full():
    r = trading()
    open_by_rejections(r)
    assert r.state()["state"] == "OPEN"


def test_beside_a_strategy_that_succeeds_one_strategy_cannot_open_the_system_alone():
    r = trading(window=64)
    for number in range(20):
        r.submit(f"a-{number}")
    r.submit("b-1", "beta")
    r.executor.accepted("b-1", "beta")
    for number in range(20):
        r.executor.rejected(f"a-{number}")
    assert r.state("strategy:alpha")["state"] == "OPEN"
    assert r.state()["state"] == "CLOSED"
    assert r.circuit().get_state()["failures"] == 4
    r.submit("b-2", "beta")
    assert r.kinds("b-2") == ["passed"]
    r.executor.rejected("b-2", "beta")
    assert r.state()["state"] == "OPEN", "a second strategy's failure is the fifth"


def test_the_neighbours_success_protects_for_exactly_the_window():
    def run(secs):
        r = trading(window=64)
        r.submit("b-1", "beta")
        r.executor.accepted("b-1", "beta")
        for number in range(5):
            r.submit(f"a-{number}")
        for number in range(4):
            r.executor.accepted(f"a-{number}", status="PreSubmitted")
        r.executor.accepted("a-4", status="PreSubmitted")
        r.wait(secs - 0.5, step=0.25)
        for number in range(5, 10):
            r.submit(f"a-{number}")
        r.wait(0.5, step=0.25)
        return r

    r = run(60)
    for number in range(5, 10):
        r.executor.rejected(f"a-{number}")
    assert r.state()["state"] == "CLOSED"
    r = run(60)
    r.clock.advance(ns=1)
    for number in range(5, 10):
        r.executor.rejected(f"a-{number}")
    assert r.state()["state"] == "OPEN"


def test_a_status_that_is_told_again_is_no_new_success_of_the_neighbour():
    r = trading(window=64)
    r.submit("b-1", "beta")
    r.executor.accepted("b-1", "beta")
    r.wait(60.1)
    r.executor.working("b-1", "Submitted", "beta")
    open_by_rejections(r)
    assert r.state()["state"] == "OPEN"


def test_after_a_reset_a_strategy_may_count_anew():
    r = trading(window=64)
    r.submit("b-1", "beta")
    r.executor.accepted("b-1", "beta")
    for number in range(8):
        r.submit(f"a-{number}")
    for number in range(4):
        r.executor.rejected(f"a-{number}")
    assert failures(r) == 4
    r.ask("reset", reason="looked")
    assert failures(r) == 0
    for number in range(4, 8):
        r.executor.rejected(f"a-{number}")
    assert failures(r) == 4


# Success.


def test_submitted_is_a_success_and_presubmitted_only_after_it_stood_for_two_seconds():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1", status="PreSubmitted")
    record = r.stage.core.orders["o-1"]
    assert record.settled == ""
    r.wait(2, step=0.25)
    assert record.settled == "success"
    r.submit("o-2")
    r.executor.accepted("o-2", status="PreSubmitted")
    r.wait(1.75, step=0.25)
    r.clock.advance(0.25, ns=-1)
    r.poll()
    assert r.stage.core.orders["o-2"].settled == ""
    r.clock.advance(ns=1)
    r.poll()
    assert r.stage.core.orders["o-2"].settled == "success"


def test_no_status_counts_by_itself_however_long_it_stands():
    r = trading()
    for number, status in enumerate(("Submitted", "Filled", "PreSubmitted", "Inactive", "PendingSubmit")):
        r.submit(f"o-{number}")
        r.executor.tell(accepted(f"o-{number}", status=status))
        r.executor.tell(Working(order_id=f"o-{number}", strategy_id="alpha", status=status))
    r.wait(10)
    assert {record.settled for record in r.stage.core.orders.values()} == {""}
    assert len(r.circuit().snapshot()["orders"]) == 5, (
        "they are out in the circuits until the executor says what counts"
    )


def test_a_fill_counts_as_the_executor_says_and_a_last_one_frees_its_slot_in_any_case():
    r = trading()
    for number in range(2):
        r.submit(f"o-{number}")
    r.executor.tell(filled("o-0", shares=40))
    assert r.stage.core.orders["o-0"].settled == ""
    r.executor.tell(filled("o-0", shares=60, cum=100))
    r.executor.tell(filled("o-1"), "success")
    assert [r.history.find_order(f"o-{number}").settled for number in range(2)] == ["neutral", "success"]
    assert r.circuit().snapshot()["orders"] == []


def test_what_the_executor_calls_a_success_is_one():
    r = half_open()
    for number in range(3):
        r.submit(f"o-{number}")
        r.executor.accepted(f"o-{number}", status="Inactive")
        r.executor.tell(Working(order_id=f"o-{number}", strategy_id="alpha", status="Inactive"), "success")
    assert r.state()["state"] == "CLOSED"


def test_an_order_rejected_inside_its_two_seconds_of_presubmitted_is_a_failure():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1", status="PreSubmitted")
    r.wait(1.9)
    r.executor.rejected("o-1")
    assert failures(r) == 1
    r.wait(1)
    assert failures(r) == 1


def test_a_rejection_after_a_success_counts_once():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    assert failures(r) == 0
    r.executor.rejected("o-1")
    r.executor.rejected("o-1")
    assert (failures(r), failures(r, "strategy:alpha")) == (1, 1)


def test_a_malformed_after_a_success_counts_for_the_strategy_only():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.rejected("o-1", outcome="malformed")
    assert (failures(r), failures(r, "strategy:alpha")) == (0, 1)


def test_a_rejection_after_a_success_of_an_earlier_generation_moves_nothing():
    r = trading()
    r.submit("o-1", "beta")
    r.executor.accepted("o-1", "beta")
    r.ask("trip", reason="stop")
    r.ask("reset", reason="go")
    r.executor.rejected("o-1", "beta")
    assert failures(r) == 0
    assert failures(r, "strategy:beta") == 1, "its own circuit never moved on"


def test_the_same_holds_for_the_circuit_of_the_strategy():
    r = trading()
    r.submit("o-1", "beta")
    r.executor.accepted("o-1", "beta")
    r.ask("trip", reason="stop", scope="strategy:beta")
    r.ask("reset", reason="go", scope="strategy:beta")
    r.executor.rejected("o-1", "beta")
    assert failures(r, "strategy:beta") == 0
    assert failures(r) == 1


# Unknown.


def test_at_exactly_five_seconds_without_an_answer_an_order_is_unknown_and_counts_once():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=60_000)
    r.wait(4.75, step=0.25)
    r.executor.written("o-1")
    r.clock.advance(0.25, ns=-1)
    r.executor.lease()
    r.poll()
    assert r.kinds("o-1") == ["passed"]
    r.clock.advance(ns=1)
    r.poll()
    assert r.kinds("o-1") == ["passed", "unknown"]
    assert (failures(r), failures(r, "strategy:alpha")) == (1, 1)
    assert r.kinds("o-2") == ["passed"], "what became unknown has left the window"
    assert r.ask("status")["unknown"] == ["o-1"]
    r.executor.lease()
    r.poll()
    assert failures(r) == 1


def test_what_ib_says_later_about_an_unknown_order_is_told_and_changes_no_count():
    r = trading()
    r.submit("o-1")
    r.wait(5)
    r.executor.accepted("o-1")
    r.executor.filled("o-1")
    assert r.kinds("o-1") == ["passed", "unknown", "accepted", "filled"]
    assert r.last("o-1")["done"] is True
    assert "supersedes" not in r.last("o-1")
    assert failures(r) == 1
    assert r.ask("status")["unknown"] == []


def test_an_unknown_order_that_is_rejected_later_counts_no_second_time():
    r = trading()
    r.submit("o-1")
    r.wait(5)
    r.executor.rejected("o-1")
    assert failures(r) == 1


def test_five_unanswered_orders_open():
    r = trading()
    for number in range(5):
        r.submit(f"o-{number}")
    r.wait(5)
    assert r.state()["state"] == "OPEN"
    assert r.stage.core.out == set()


def test_a_doubt_of_the_executor_makes_the_order_unknown_before_its_deadline():
    r = trading(window=1)
    r.submit("o-1")
    r.executor.unknown("o-1", outcome="failure")
    assert r.ask("status")["unknown"] == ["o-1"]
    assert failures(r) == 1
    r.submit("o-2")
    assert r.kinds("o-2") == ["passed"]
    r.executor.accepted("o-2")
    r.wait(6)
    assert r.kinds("o-1") == ["passed", "unknown"], "told once"
    assert failures(r) == 1


def test_a_working_order_in_doubt_is_unknown_until_ib_gives_its_status_again():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.unknown("o-1")
    assert r.ask("status")["unknown"] == ["o-1"]
    assert failures(r) == 0
    r.executor.working("o-1", "Submitted")
    assert r.ask("status")["unknown"] == []
    assert r.kinds("o-1") == ["passed", "accepted", "unknown", "accepted"]


def test_a_doubt_about_a_working_order_settles_nothing():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1", status="PreSubmitted")
    r.executor.unknown("o-1")
    assert failures(r) == 0
    r.executor.rejected("o-1")
    assert failures(r) == 1


# Margin, and what trips.


def test_an_order_refused_for_margin_counts_like_any_rejection():
    r = trading()
    r.submit("o-1")
    r.executor.rejected("o-1", code=201)
    assert (failures(r), failures(r, "strategy:alpha")) == (1, 1)


@pytest.mark.parametrize("code", [100, 1300, 503, 326])
def test_a_grave_word_of_ib_latches_the_system(code):
    r = trading()
    r.executor.tripped(code, "max rate of messages")
    state = r.state()
    assert (state["state"], state["latched"]) == ("OPEN", True)
    assert str(code) in state["reason"]
    r.wait(400)
    assert r.state()["state"] == "OPEN"
    r.submit("o-1")
    assert r.last("o-1")["code"] == "latched"


def test_an_order_that_is_unknown_for_another_reason_says_so_again_and_counts_once():
    rig = trading()
    rig.submit("a")
    rig.wait(5.1)
    assert rig.last("a")["reason"] == "no answer in 5 s"
    rig.executor.unknown("a", reason="IB says that 4 are filled, and lists executions of 0")
    rig.executor.unknown("a", reason="IB says that 4 are filled, and lists executions of 0")
    assert rig.kinds("a") == ["passed", "unknown", "unknown"]
    assert rig.ask("status")["unknown_because"] == {"a": "IB says that 4 are filled, and lists executions of 0"}
    assert rig.circuit().get_state()["failures"] == 1


def test_a_second_order_at_ib_under_its_reference_makes_an_ended_order_unknown():
    rig = trading()
    rig.submit("a")
    rig.executor.accepted("a")
    rig.executor.filled("a")
    end = rig.last("a")
    rig.executor.unknown("a", reason="another order lives", twin=777)
    assert (rig.last("a")["kind"], rig.last("a")["twin"]) == ("unknown", 777)
    assert rig.last("a")["supersedes"] == end["seq"]
    assert rig.ask("status")["unknown"] == ["a"]
    rig.executor.unknown("a", reason="something else")
    rig.executor.cancelled("a", filled=100.0)
    assert rig.kinds("a")[-1] == "cancelled"
    rig.executor.unknown("a", reason="too late")
    assert rig.kinds("a")[-1] == "cancelled"


def test_a_circuit_that_has_as_many_orders_out_as_it_can_know_says_that_it_is_its_limit(monkeypatch):
    monkeypatch.setattr("orderfuse.circuit.breaker.MAX_ORDERS_OUT", 2)
    r = trading()
    for number in range(3):
        r.submit(f"o-{number}")
    blocked = r.last("o-2")
    assert (blocked["code"], blocked["scope"], blocked["state"]) == ("limit", "strategy:alpha", "CLOSED")
    r.executor.accepted("o-0")
    r.submit("o-3")
    assert r.kinds("o-3") == ["passed"]
