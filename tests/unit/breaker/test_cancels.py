"""Cancels pass in every state of the breaker and of the order; requests are idempotent."""

import pytest

from services.breaker.deadlines import OF_ORDERS
from services.breaker.refusals import KEPT_AT_ONCE
from services.wire.dispatch import CancelOrder
from tests.unit.breaker.harness import BUY, Executor, open_by_rejections, rig, trading, wall_ns_of


def answers(r, request_id):
    return [
        (event["kind"], event["code"], event.get("again", False))
        for event in r.events
        if event.get("request_id") == request_id
    ]


def sent(r):
    return [(message.order_id, message.request_id) for message in r.sent(CancelOrder)]


def heartbeat(r, cancel_after_ms, strategy_id="alpha"):
    r.say(kind="heartbeat", strategy_id=strategy_id, sent_ns=wall_ns_of(r.clock), cancel_after_ms=cancel_after_ms)


def test_a_cancel_of_a_waiting_order_ends_it_as_blocked():
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-2")
    r.cancel("o-2", "c-1")
    assert answers(r, "c-1") == [("request_passed", "queued", False)]
    assert (r.last("o-2")["kind"], r.last("o-2")["code"]) == ("blocked", "cancelled")
    r.executor.accepted("o-1")
    assert r.placed() == ["o-1"]


@pytest.mark.parametrize("tripped", [False, True])
def test_a_cancel_of_an_order_beyond_the_breaker_goes_to_the_executor_in_every_state(tripped):
    r = trading()
    r.submit("out")
    r.submit("working")
    r.executor.accepted("working")
    r.submit("unknown")
    r.executor.unknown("unknown")
    if tripped:
        r.ask("trip", reason="stop")
    for number, order_id in enumerate(("out", "working", "unknown")):
        r.cancel(order_id, f"c-{number}")
        assert answers(r, f"c-{number}") == [("request_passed", "sent", False)]
    assert sent(r) == [("out", "c-0"), ("working", "c-1"), ("unknown", "c-2")]
    r.executor.cancelled("working", request_id="c-1")
    assert r.last("working")["request_id"] == "c-1"


def test_a_cancel_goes_ahead_of_every_waiting_order():
    r = trading(window=2)
    r.submit("o-1")
    r.submit("o-2")
    r.submit("o-3")
    r.cancel("o-1", "c-1")
    r.executor.accepted("o-2")
    kinds = [
        type(message).__name__ for _, message in r.dispatched if type(message).__name__ in ("Place", "CancelOrder")
    ]
    assert kinds == ["Place", "Place", "CancelOrder", "Place"]


def test_a_cancel_of_an_order_with_its_end_is_refused():
    r = trading()
    r.submit("o-1")
    r.executor.filled("o-1")
    r.cancel("o-1", "c-1")
    assert answers(r, "c-1") == [("request_refused", "done", False)]


def test_a_cancel_of_somebody_elses_order_is_refused():
    r = trading()
    r.submit("o-1", "alpha")
    r.cancel("o-1", "c-1", "beta")
    assert answers(r, "c-1") == [("request_refused", "not_yours", False)]
    assert sent(r) == []


@pytest.mark.long
def test_a_cancel_that_is_faster_than_its_order_is_remembered_for_an_hour():
    r = trading()
    r.cancel("o-1", "c-1")
    r.cancel("o-2", "c-2")
    assert answers(r, "c-1") == [("request_passed", "remembered", False)]
    r.wait(3599, step=1)
    r.submit("o-1")
    assert (r.last("o-1")["kind"], r.last("o-1")["code"]) == ("blocked", "cancelled")
    r.wait(1, step=1)
    r.executor.join()
    r.submit("o-2")
    assert r.last("o-2")["kind"] == "passed"
    assert set(r.history.cancels.values()) == {None}


def test_a_remembered_cancel_is_of_its_strategy_only():
    r = trading()
    r.cancel("o-1", "c-1", "beta")
    r.submit("o-1", "alpha")
    assert r.last("o-1")["kind"] == "passed"


def test_a_resent_request_gets_the_same_answer_again_and_does_nothing():
    r = trading()
    r.submit("o-1")
    r.cancel("o-1", "c-1")
    r.executor.filled("o-1")
    r.cancel("o-1", "c-1")
    assert answers(r, "c-1") == [("request_passed", "sent", False), ("request_passed", "sent", True)]
    assert sent(r) == [("o-1", "c-1")]


def test_a_request_id_used_for_another_order_is_refused_and_is_no_answer_to_it():
    r = trading()
    r.submit("o-1")
    r.submit("o-2")
    r.cancel("o-1", "c-1")
    r.cancel("o-2", "c-1")
    r.cancel("o-1", "c-1", "beta")
    told = [(e["order_id"], e["strategy_id"], e["kind"]) for e in r.events if e.get("request_id") == "c-1"]
    assert told == [
        ("o-1", "alpha", "request_passed"),
        ("o-2", "alpha", "request_refused"),
        ("o-1", "beta", "request_refused"),
    ]
    assert sent(r) == [("o-1", "c-1")]


def test_a_cancel_without_an_executor_is_kept_and_goes_first_when_it_is_back():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.wait(3.1, leases=False)
    r.cancel("o-1", "c-1")
    assert answers(r, "c-1") == [("request_passed", "kept", False)]
    assert sent(r) == []
    r.executor = Executor(r, executor_id="exec-2", peer=b"peer-2")
    r.executor.join()
    assert sent(r) == [("o-1", "c-1")]


def test_a_wanted_cancel_is_sent_again_when_the_gateway_is_back():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.usable = False
    r.executor.lease()
    r.cancel("o-1", "c-1")
    r.executor.usable = True
    r.executor.lease()
    assert sent(r) == [("o-1", "c-1")] * 2


def test_a_cancel_that_ib_refused_is_not_asked_again_by_itself():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.cancel("o-1", "c-1")
    r.executor.cancel_failed("o-1", "c-1")
    assert r.last("o-1")["kind"] == "cancel_failed"
    r.executor.join()
    assert sent(r) == [("o-1", "c-1")]


def test_a_cancel_while_nothing_trades_is_answered():
    r = rig()
    r.cancel("o-1", "c-1")
    assert answers(r, "c-1") == [("request_passed", "remembered", False)]


def test_an_order_cancelled_before_it_was_written_is_not_placed_and_no_failure():
    r = trading()
    r.submit("o-1")
    r.cancel("o-1", "c-1")
    r.executor.not_placed("o-1", code="cancelled")
    assert (r.last("o-1")["kind"], r.last("o-1")["code"]) == ("not_placed", "cancelled")
    assert r.circuit().get_state()["failure_count"] == 0


def test_a_broken_cancel_is_refused_where_its_id_can_be_read():
    r = trading()
    r.say(kind="cancel", request_id="c-1", order_id="o-1", strategy_id="alpha")
    assert answers(r, "c-1") == [("request_refused", "invalid", False)]
    assert "sent_ns" in r.last("o-1")["reason"]


def test_a_replace_is_refused_honestly_and_again():
    r = trading()
    r.submit("o-1")
    for _ in range(2):
        r.say(
            kind="replace",
            request_id="r-1",
            order_id="o-1",
            strategy_id="alpha",
            sent_ns=wall_ns_of(r.clock),
            revision=1,
            order=BUY,
        )
    assert answers(r, "r-1") == [
        ("request_refused", "not_confirmed", False),
        ("request_refused", "not_confirmed", True),
    ]


# The dead man's switch.


def test_a_strategy_that_falls_silent_for_longer_than_it_said_has_its_orders_cancelled_but_not_its_stops():
    r = trading()
    heartbeat(r, 1000)
    for order_id, strategy_id in (("a-1", "alpha"), ("b-1", "beta")):
        r.submit(order_id, strategy_id)
        r.executor.accepted(order_id, strategy_id)
    r.submit("a-stop", protect=True)
    r.executor.accepted("a-stop")
    r.wait(1.0)
    assert sent(r) == []
    r.wait(0.1)
    assert sent(r) == [("a-1", None)]
    r.wait(5)
    assert sent(r) == [("a-1", None)], "once"


def test_heartbeats_keep_it_alive_and_zero_ends_the_watch():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    for _ in range(5):
        heartbeat(r, 1000)
        r.wait(0.9)
    heartbeat(r, 0)
    r.wait(10)
    assert sent(r) == []


def test_the_dead_mans_switch_works_while_open():
    r = trading()
    r.submit("o-1", "beta")
    r.executor.accepted("o-1", "beta")
    heartbeat(r, 1000, "beta")
    open_by_rejections(r)
    r.wait(1.1)
    assert sent(r) == [("o-1", None)]


# What is remembered is bounded for each strategy.


@pytest.mark.long
def test_what_one_strategy_has_remembered_is_forgotten_for_nobodys_sake():
    r = trading()
    r.submit("a-0")
    r.submit("b-0", "beta")
    r.cancel("a-1", "c-1")
    for number in range(10_000):
        r.cancel(f"x-{number}", f"f-{number}", "beta")
    for number in range(2_000):
        r.cancel(f"y-{number}", f"g-{number}", f"nobody-{number}")
    r.submit("a-1")
    assert (r.last("a-1")["kind"], r.last("a-1")["code"]) == ("blocked", "cancelled")


def test_a_strategy_whose_share_is_full_is_refused_and_still_has_what_was_promised():
    r = trading()
    r.submit("b-0", "beta")
    for number in range(201):
        r.cancel(f"x-{number}", f"f-{number}", "beta")
    assert answers(r, "f-199") == [("request_passed", "remembered", False)]
    assert answers(r, "f-200") == [("request_refused", "queue_full", False)]
    r.submit("x-0", "beta")
    assert r.last("x-0")["code"] == "cancelled"
    r.submit("x-200", "beta")
    assert [e["kind"] for e in r.decisions("x-200")] == ["passed"], "its cancel was refused, and it was told so"


def test_a_program_whose_strategies_have_sent_no_order_has_one_share_for_all_of_them():
    r = trading()
    r.submit("a-0")
    for number in range(201):
        r.cancel(f"y-{number}", f"g-{number}", f"nobody-{number}", sender="pid 1")
    assert answers(r, "g-200") == [("request_refused", "queue_full", False)]
    r.cancel("a-1", "c-1", sender="pid 1")
    r.cancel("z-1", "c-2", "stranger", sender="pid 2")
    for request_id in ("c-1", "c-2"):
        assert answers(r, request_id) == [("request_passed", "remembered", False)]


def test_a_cancel_that_is_asked_for_again_and_again_goes_to_ib_once_a_second():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    for number in range(500):
        r.cancel("o-1", f"c-{number}")
        assert answers(r, f"c-{number}") == [("request_passed", "sent", False)]
    assert len(r.sent(CancelOrder)) == 1
    r.wait(1.1)
    r.cancel("o-1", "c-500")
    assert len(r.sent(CancelOrder)) == 2
    assert len(r.history.requests) <= 1 + KEPT_AT_ONCE + 3
    reply = r.ask("cancel", order_id="o-1", reason="a person, too")
    assert (reply["ok"], reply["code"]) == (True, "sent")


# -- what becomes of several cancels of one order ----------------------------------------------------------


def three_cancels():
    """The first goes to the executor, the others are answered and wait for the same."""
    rig = trading()
    rig.submit("a")
    rig.executor.accepted("a")
    for request_id in ("r-1", "r-2", "r-3"):
        rig.cancel("a", request_id)
    return rig


def refused(rig, order_id="a"):
    return [event["request_id"] for event in rig.about(order_id) if event["kind"] == "cancel_failed"]


def test_the_end_of_an_order_names_all_cancels_that_asked_for_it():
    rig = three_cancels()
    rig.executor.cancelled("a", request_id="r-1")
    assert (rig.last("a")["request_id"], rig.last("a")["request_ids"]) == ("r-1", ["r-1", "r-2", "r-3"])


def test_a_refusal_is_told_to_all_who_have_asked_and_to_each_once():
    rig = three_cancels()
    rig.executor.cancel_failed("a", "r-1")
    assert refused(rig) == ["r-1", "r-2", "r-3"]
    rig.executor.cancel_failed("a", "r-2")
    assert refused(rig) == ["r-1", "r-2", "r-3"]
    rig.wait(1.1)
    rig.cancel("a", "r-4")
    rig.executor.cancel_failed("a", "r-4")
    assert refused(rig) == ["r-1", "r-2", "r-3", "r-4"]


def test_cancels_of_an_order_that_is_filled_first_are_answered_also_where_the_executor_was_not_asked():
    rig = three_cancels()
    rig.executor.filled("a")
    rig.wait(6.9)
    assert refused(rig) == []
    rig.wait(0.2)
    assert refused(rig) == ["r-1", "r-2", "r-3"]
    assert rig.last("a")["reason"] == "the order was filled first"


@pytest.mark.parametrize("answer", ["cancel_failed", "cancelled", "nothing"])
def test_an_order_that_ended_before_its_cancel_was_answered_leaves_memory_with_the_answer(answer):
    rig = three_cancels()
    rig.executor.filled("a")
    assert list(rig.stage.core.orders) == ["a"]
    if answer == "cancel_failed":
        rig.executor.cancel_failed("a", "r-1")
        assert rig.stage.core.orders == {}
    elif answer == "cancelled":
        rig.executor.cancelled("a", filled=100.0, request_id="r-1")
    rig.wait(7.1)
    assert rig.stage.core.orders == {}
    assert not [each for each in rig.stage.core.deadlines if each.what in OF_ORDERS]


def test_a_strategy_that_cancels_at_each_event_grows_nothing():
    rig = three_cancels()
    for number in range(100):
        rig.cancel("a", f"again-{number}")
    assert len(rig.stage.core.orders["a"].cancels) == 20


def test_what_waits_for_its_answer_is_known_over_a_restart():
    rig = three_cancels()
    rig.start()
    rig.executor = type(rig.executor)(rig)
    rig.executor.join(known=["a"])
    rig.executor.cancelled("a", request_id="r-1")
    assert rig.last("a")["request_ids"] == ["r-1", "r-2", "r-3"]


def test_an_order_that_lives_after_all_is_no_order_that_ended_before_its_cancel():
    rig = three_cancels()
    rig.executor.rejected("a")
    rig.wait(3)
    rig.executor.accepted("a")
    rig.wait(7.1)
    assert refused(rig) == [], "they wait for the order's end, or for IB's no"
    rig.executor.cancelled("a", request_id="r-1")
    assert rig.last("a")["request_ids"] == ["r-1", "r-2", "r-3"]


def test_a_no_to_a_cancel_that_was_not_known_here_is_told_with_the_others():
    rig = three_cancels()
    rig.executor.cancel_failed("a", "of-before")
    assert refused(rig) == ["r-1", "r-2", "r-3", "of-before"]


def test_a_heartbeat_that_ends_a_watch_which_never_began_leaves_nothing():
    r = trading()
    heartbeat(r, 0)
    assert r.history.heartbeats == {}


def test_a_refused_replace_that_comes_again_is_answered_as_it_was_although_the_disk_has_nothing_of_it():
    r = trading()
    fields = {"strategy_id": "alpha", "revision": 1, "order": BUY, "order_id": "nobody"}
    for number in range(KEPT_AT_ONCE + 1):
        r.say(kind="replace", request_id=f"r-{number}", sent_ns=wall_ns_of(r.clock), **fields)
    last = f"r-{KEPT_AT_ONCE}"
    assert r.history.find_request(last) is None
    r.say(kind="replace", request_id=last, sent_ns=wall_ns_of(r.clock), **fields)
    assert answers(r, last) == [("request_refused", "unknown_order", False), ("request_refused", "unknown_order", True)]
