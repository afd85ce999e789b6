"""What people do: trip, reset, and what becomes of working orders."""

import pytest

from orderfuse.bus.codec import convert
from orderfuse.bus.control import ResetRequest
from orderfuse.stopfile import DEFAULT_REASON
from services.breaker.inputs import StopSeen
from services.wire.dispatch import CancelOrder, Fence, GlobalCancel
from tests.unit.breaker.harness import Executor, now_of, open_by_rejections, portrait, rig, trading


def with_working_orders(**settings):
    """A working and a protective order of alpha, one of beta, one of alpha not answered yet."""
    r = trading(**settings)
    r.submit("a-working")
    r.submit("a-stop", protect=True)
    r.submit("b-working", "beta")
    for order_id, strategy_id in (("a-working", "alpha"), ("a-stop", "alpha"), ("b-working", "beta")):
        r.executor.accepted(order_id, strategy_id)
    r.submit("a-out")
    return r


def cancelled(r):
    return sorted(message.order_id for message in r.sent(CancelOrder))


def test_a_trip_latches_blocks_what_waits_and_answers_when_the_fence_is_confirmed():
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-2")
    fence = r.stage.core.fence
    assert r.ask("trip", reason="I see smoke", who="ann@desk") is None
    assert r.stage.core.fence == r.sent(Fence)[-1].fence == fence + 1
    state = r.state()
    assert (state["state"], state["latched"], state["reason"]) == ("OPEN", True, "I see smoke")
    assert r.last("o-2")["code"] == "latched"
    assert r.history.decisions[-1].who == "ann@desk"
    r.executor.fenced(fence)
    assert r.replies == {}, "an older fence confirms nothing"
    r.executor.fenced(written=["o-1"])
    reply = r.replies["t"]
    assert (reply["ok"], reply["fenced"], reply["written"], reply["cancelling"]) == (True, True, ["o-1"], [])
    assert reply["generation"] == state["generation"]
    assert r.state()["fenced"] is True


def test_without_a_confirmation_the_reply_comes_half_a_second_after_the_trip():
    r = trading()
    r.submit("o-1")
    r.clock.advance(0.2)
    r.ask("trip", reason="stop")
    r.clock.advance(0.5, ns=-1)
    r.poll()
    assert r.replies == {}
    r.clock.advance(ns=1)
    r.poll()
    assert (r.replies["t"]["fenced"], r.replies["t"]["written"]) == (False, ["o-1"])


def test_a_lease_that_still_runs_over_a_new_hello_is_waited_for():
    r = trading()
    r.executor.hello()
    r.ask("trip", reason="stop")
    assert r.replies == {}
    r.wait(0.5)
    assert r.replies["t"]["fenced"] is False


def test_right_after_a_start_a_trip_waits_for_the_lease_that_an_earlier_breaker_may_have_given():
    r = trading()
    r.clock.advance(0.1)
    r.start()
    r.ask("trip", reason="stop")
    r.clock.advance(0.5, ns=-1)
    r.poll()
    assert r.replies == {}
    r.clock.advance(ns=1)
    r.poll()
    assert r.replies["t"]["fenced"] is False


def test_without_an_executor_the_reply_comes_at_once():
    r = rig()
    r.clock.advance(0.5)
    reply = r.ask("trip", reason="stop")
    assert (reply["ok"], reply["fenced"], reply["written"]) == (True, False, [])


def test_each_trip_is_answered_when_its_own_fence_is_confirmed_or_a_later_one():
    r = trading()
    r.ask("trip", envelope="one", reason="stop")
    r.ask("trip", envelope="two", reason="stop", scope="strategy:alpha")
    r.ask("trip", envelope="three", reason="stop", scope="strategy:beta")
    first, _, third = r.sent(Fence)[-3:]
    r.executor.fenced(first.fence)
    assert (r.replies["one"]["fenced"], "two" in r.replies) == (True, False)
    r.executor.fenced(third.fence)
    assert r.replies["two"]["fenced"] is r.replies["three"]["fenced"] is True


def test_a_trip_while_open_latches_takes_the_reason_and_raises_the_fence_without_a_transition():
    r = trading()
    open_by_rejections(r)
    generation, fence = r.state()["generation"], r.stage.core.fence
    r.ask("trip", reason="stay down")
    assert r.stage.core.fence == fence + 1
    state = r.state()
    assert (state["generation"], state["latched"], state["reason"]) == (generation, True, "stay down")
    r.wait(400)
    assert r.state()["state"] == "OPEN"


def test_a_trip_of_one_strategy_stops_it_and_nobody_else():
    r = trading(window=1)
    r.submit("b-1", "beta")
    r.submit("a-1", "alpha")
    r.submit("b-2", "beta")
    r.ask("trip", scope="strategy:alpha", reason="bug")
    assert (r.last("a-1")["code"], r.last("a-1")["scope"]) == ("latched", "strategy:alpha")
    assert r.kinds("b-2") == []
    r.executor.accepted("b-1", "beta")
    assert r.kinds("b-2") == ["passed"]
    assert r.state()["state"] == "CLOSED"


def test_a_strategy_that_has_not_traded_yet_can_be_tripped():
    r = trading()
    r.ask("trip", scope="strategy:new", reason="not today")
    r.submit("n-1", "new")
    assert r.last("n-1")["code"] == "latched"


def test_a_trip_of_a_strategy_beyond_the_limit_is_refused():
    r = trading(max_strategies=1)
    r.submit("o-1")
    assert r.ask("trip", scope="strategy:two", reason="x")["code"] == "not_allowed"


# What becomes of working orders.


@pytest.mark.parametrize(
    ("cancel", "expected"),
    [
        ("none", []),
        ("ours", ["a-out", "a-working", "b-working"]),
        ("ours_with_protective", ["a-out", "a-stop", "a-working", "b-working"]),
        ("all", ["a-out", "a-stop", "a-working", "b-working"]),
        (None, []),
    ],
)
def test_who_trips_says_what_is_cancelled(cancel, expected):
    r = with_working_orders()
    r.ask("trip", reason="stop", **({"cancel": cancel} if cancel else {}))
    assert cancelled(r) == expected
    assert len(r.sent(GlobalCancel)) == (cancel == "all")
    r.executor.fenced()
    assert sorted(r.replies["t"]["cancelling"]) == expected


@pytest.mark.parametrize(("on_trip", "expected"), [("keep", []), ("cancel", ["a-out", "a-working", "b-working"])])
def test_on_trip_is_what_happens_when_nobody_says_otherwise(on_trip, expected):
    r = with_working_orders(on_trip=on_trip)
    r.ask("trip", reason="stop")
    assert cancelled(r) == expected, "each once"


def test_none_said_by_hand_wins_over_the_setting():
    r = with_working_orders(on_trip="cancel")
    r.ask("trip", reason="stop", cancel="none")
    assert cancelled(r) == []


def test_an_automatic_trip_cancels_by_the_setting_and_leaves_protective_orders_alone():
    r = with_working_orders(on_trip="cancel")
    r.executor.tripped(1300, "port")
    assert cancelled(r) == ["a-out", "a-working", "b-working"]
    assert r.sent(GlobalCancel) == []


def test_a_strategy_that_trips_alone_takes_no_order_of_others_along():
    r = with_working_orders(on_trip="cancel_all")
    for number in range(5):
        r.submit(f"bad-{number}")
        r.executor.rejected(f"bad-{number}", outcome="malformed")
    assert r.state("strategy:alpha")["state"] == "OPEN"
    assert cancelled(r) == ["a-out", "a-working"]
    assert r.sent(GlobalCancel) == []


def test_cancel_all_by_the_setting_reaches_everything_when_the_system_trips():
    r = with_working_orders(on_trip="cancel_all")
    r.executor.tripped(1300, "port")
    assert len(r.sent(GlobalCancel)) == 1


def test_cancels_of_a_trip_without_an_executor_go_first_when_it_is_back():
    r = with_working_orders()
    r.wait(3.5, leases=False)
    reply = r.ask("trip", reason="stop", cancel="all")
    assert sorted(reply["cancelling"]) == ["a-out", "a-stop", "a-working", "b-working"]
    assert "owed" in reply["note"]
    assert "warning" not in reply, "the latch is on the disk"
    assert cancelled(r) == []
    r.executor = Executor(r, executor_id="exec-2", peer=b"peer-2")
    r.executor.hello()
    assert cancelled(r) == []
    r.executor.joined(known=["a-out"])
    assert cancelled(r) == ["a-out", "a-stop", "a-working", "b-working"]
    assert len(r.sent(GlobalCancel)) == 1


def test_a_trip_says_that_it_cancels_only_what_is_of_its_scope():
    r = with_working_orders()
    r.ask("trip", reason="stop", scope="strategy:beta", cancel="ours")
    assert cancelled(r) == ["b-working"]


# The file STOP.


def stop(r, reason=DEFAULT_REASON):
    r.step(StopSeen(reason, "ann"))
    return r.state()


def test_the_file_stop_latches_the_system_at_once_and_cancels_by_the_setting_a_second_later():
    r = with_working_orders(on_trip="cancel")
    state = stop(r, "smoke")
    assert (state["state"], state["latched"], state["reason"]) == ("OPEN", True, "smoke")
    made = r.history.decisions[-1]
    assert (made.op, made.reason, made.who) == ("stop", "smoke", "ann")
    r.submit("o-1")
    assert r.last("o-1")["code"] == "latched"
    r.wait(0.95, step=0.05)
    assert cancelled(r) == [], "a request may follow the file, and says what is to be cancelled"
    r.wait(0.1, step=0.05)
    assert cancelled(r) == ["a-out", "a-working", "b-working"]


def test_a_request_that_follows_the_file_says_what_is_cancelled_and_the_setting_says_nothing():
    r = with_working_orders(on_trip="cancel")
    stop(r)
    r.ask("trip", reason="stop", cancel="none")
    r.wait(2)
    assert cancelled(r) == []


def test_a_request_about_one_strategy_is_not_the_one_that_the_file_waits_for():
    r = with_working_orders(on_trip="cancel")
    stop(r)
    r.ask("trip", reason="stop", cancel="none", scope="strategy:beta")
    r.wait(2)
    assert cancelled(r) == ["a-out", "a-working", "b-working"]


def test_a_file_after_which_a_person_resets_at_once_cancels_nothing():
    r = with_working_orders(on_trip="cancel")
    stop(r)
    r.ask("reset", reason="a mistake")
    r.wait(2)
    assert cancelled(r) == []


def test_the_first_line_of_the_file_may_come_a_moment_after_the_file_and_is_the_reason():
    r = trading()
    generation = stop(r)["generation"]
    state = stop(r, "smoke")
    assert (state["reason"], state["generation"]) == ("smoke", generation)


def test_a_file_behind_a_trip_leaves_the_reason_that_a_person_gave():
    r = trading()
    r.ask("trip", reason="I see smoke")
    syncs = r.syncs
    assert stop(r, "more smoke")["reason"] == "I see smoke"
    assert (r.history.decisions[-1].op, r.syncs) == ("stop", syncs + 1), "that somebody made it is on disk all the same"


def test_the_log_has_one_line_of_the_file_its_own_where_no_state_tells_of_it():
    r = trading()
    batch = r.stage.step(StopSeen("smoke", "ann"), now_of(r.clock))
    assert [each.fields["reason"] for each in batch.publications if each.topic == "state/system/"] == ["smoke"]
    assert batch.notes == []
    batch = r.stage.step(StopSeen("fire", "ann"), now_of(r.clock))
    assert [each for each in batch.publications if each.topic == "state/system/"] == []
    assert batch.notes == ["the file STOP is there too: fire"]


def test_a_reset_that_would_be_refused_is_known_before_the_file_is_removed():
    r = trading()
    generation = stop(r)["generation"]
    late, right = (
        convert({"op": "reset", "id": 1, "reason": "go on", "generation": each}, ResetRequest)
        for each in (generation - 1, generation)
    )
    r.wait(1)
    r.clock.advance(secs=100)
    before = portrait(r.stage)
    assert not r.stage.is_in_generation_of(late)
    assert r.stage.is_in_generation_of(right)
    assert portrait(r.stage) == before, "the question changes nothing, not even the time"


# Reset.


def test_a_reset_closes_from_every_state_and_clears_the_counts():
    r = trading()
    open_by_rejections(r)
    generation = r.state()["generation"]
    reply = r.ask("reset", reason="fixed", generation=generation)
    assert (reply["ok"], reply["state"], reply["generation"]) == (True, "CLOSED", generation + 1)
    assert (r.state()["failures"], r.state()["failure_count"]) == (0, 0)
    assert r.state("strategy:alpha")["state"] == "OPEN", "each scope for itself"
    r.ask("reset", reason="fixed", scope="strategy:alpha")
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]
    r.ask("trip", reason="x")
    assert r.ask("reset", reason="y")["state"] == "CLOSED"
    assert r.state()["latched"] is False


def test_a_reset_with_an_older_generation_is_refused_and_changes_nothing():
    r = trading()
    open_by_rejections(r)
    generation = r.state()["generation"]
    r.ask("trip", reason="more")
    r.ask("reset", reason="x")
    r.ask("trip", reason="again")
    reply = r.ask("reset", reason="late", generation=generation)
    assert (reply["ok"], reply["code"]) == (False, "stale")
    assert r.state()["latched"] is True


def test_a_reset_of_a_circuit_that_is_due_to_move_meets_the_moved_one():
    r = trading()
    open_by_rejections(r)
    generation = r.state()["generation"]
    r.clock.advance(300)
    assert r.ask("reset", reason="late", generation=generation)["code"] == "stale"


def test_a_reset_of_a_circuit_that_is_not_there_is_a_bad_request():
    assert trading().ask("reset", reason="x", scope="strategy:nobody")["code"] == "bad_request"


def test_a_reset_of_the_system_tells_which_circuits_it_leaves_open():
    r = trading()
    for strategy_id in ("alpha", "beta", "gamma"):
        r.submit(f"{strategy_id}-1", strategy_id)
    assert r.ask("reset", reason="x")["still_open"] == []
    r.ask("trip", reason="y" * 500, scope="strategy:alpha")
    open_by_rejections(r, "beta")
    retry_at = r.state("strategy:beta")["retry_at"]
    assert r.ask("reset", reason="x")["still_open"] == [
        {"scope": "strategy:alpha", "state": "OPEN", "latched": True, "reason": "y" * 117 + "...", "retry_at": None},
        {
            "scope": "strategy:beta",
            "state": "OPEN",
            "latched": False,
            "reason": "5 failures in 60s window",
            "retry_at": retry_at,
        },
    ]
    r.wait(300)
    _, beta = r.ask("reset", reason="x")["still_open"]
    assert (beta["state"], beta["reason"], beta["retry_at"]) == ("HALF_OPEN", None, None)
    assert "still_open" not in r.ask("reset", reason="x", scope="strategy:beta")


def test_a_second_reset_is_no_transition():
    r = trading()
    r.ask("trip", reason="x")
    first = r.ask("reset", reason="y")["generation"]
    assert r.ask("reset", reason="y")["generation"] == first


def test_fifty_orders_out_reset_and_rejected_open_again():
    r = trading(window=64, max_orders_per_second=64)
    for number in range(50):
        r.submit(f"o-{number}")
    r.ask("reset", reason="x")
    for number in range(50):
        r.executor.rejected(f"o-{number}")
    assert r.state()["state"] == "OPEN"


def test_trips_and_resets_are_synced_to_disk():
    r = trading()
    before = r.syncs
    r.ask("trip", reason="x")
    assert r.syncs == before + 1
    r.ask("reset", reason="y")
    assert r.syncs == before + 2
    assert [(made.op, made.scope, made.reason) for made in r.history.decisions] == [
        ("trip", "system", "x"),
        ("reset", "system", "y"),
    ]


def test_status_says_how_everything_stands():
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-2")
    status = r.ask("status")
    assert [circuit["scope"] for circuit in status["circuits"]] == ["system", "strategy:alpha"]
    assert status["executor"] == {"present": True, "account": "DU1", "lease_ms": 500}
    assert status["gateway"] == {
        "connected": True,
        "host": "127.0.0.1",
        "port": 4010,
        "detail": "",
        "drift_at_ns": 0,
        "foreign_at_ns": 0,
        "foreign_ignored": False,
    }
    assert (status["orders_out"], status["unknown"], status["queued"], status["version"]) == (1, [], 1, "test")


def waiting_in_a_long_queue(count=500):
    """One order out, the others behind it."""
    r = trading(window=1, max_orders_per_second=count + 1)
    ids = [f"o-{number}" for number in range(count + 1)]
    for order_id in ids:
        r.submit(order_id)
    return r, ids[1:]


def test_the_fence_leaves_before_a_long_queue_is_answered():
    r, waiting = waiting_in_a_long_queue()
    r.ask("trip", reason="stop")
    assert r.sent(Fence)[-1].fence == r.stage.core.fence
    answered = [order_id for order_id in waiting if r.kinds(order_id)]
    assert 0 < len(answered) < len(waiting)
    while r.stage.has_more_to_do():
        r.poll()
    assert {r.last(order_id)["code"] for order_id in waiting} == {"latched"}


def test_a_reset_right_after_a_trip_lets_nothing_out_that_waited():
    r, waiting = waiting_in_a_long_queue()
    r.ask("trip", reason="stop")
    r.executor.fenced()
    r.ask("reset", "t-2", reason="go on")
    r.executor.accepted("o-0")
    r.poll()
    assert {r.last(order_id)["code"] for order_id in waiting} == {"latched"}
    assert r.placed() == ["o-0"]
