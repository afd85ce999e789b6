"""Replaces: through the gates of a submit, one at a time, and the order lives on whatever becomes of them."""

from typing import Any

import pytest

from orderfuse.bus.events import Cancelled, Filled, Replaced, ReplaceFailed
from services.breaker.inputs import Undeliverable
from services.breaker.replacing import must_arrive
from services.wire.dispatch import ReplaceOrder
from services.wire.feedback import Working
from tests.unit.breaker.harness import BUY, open_by_rejections, trading, wall_ns_of


def working(**settings):
    r = trading(**settings)
    r.submit("o-1")
    r.executor.accepted("o-1")
    return r


def replace(r, request_id="r-1", revision=1, *, order_id="o-1", strategy_id="alpha", ago=0.0, ttl_ms=5000, **changes):
    r.say(
        kind="replace",
        request_id=request_id,
        order_id=order_id,
        strategy_id=strategy_id,
        sent_ns=wall_ns_of(r.clock) - round(ago * 10**9),
        revision=revision,
        ttl_ms=ttl_ms,
        order={**BUY, **changes},
    )
    answers = [event for event in r.events if event.get("request_id") == request_id]
    return answers[-1] if answers else None


def ids(order_id="o-1"):
    return {"order_id": order_id, "strategy_id": "alpha"}


def answers(r, request_id="r-1"):
    return [event["kind"] for event in r.events if event.get("request_id") == request_id]


def test_a_replace_passes_is_handed_over_and_changes_the_order_when_ib_says_so():
    r = working()
    assert replace(r, lmtPrice=11.0)["kind"] == "request_passed"
    (sent,) = r.sent(ReplaceOrder)
    assert (sent.order["lmtPrice"], sent.revision, sent.request_id) == (11.0, 1, "r-1")
    assert sent.fence == r.stage.core.fence
    assert r.stage.core.out == {"o-1~1"}, "it takes a place in the window"
    r.executor.tell(Replaced(**ids(), request_id="r-1"), "success")
    assert r.last("o-1")["kind"] == "replaced"
    assert r.stage.core.out == set()
    assert r.stage.core.orders["o-1"].order["lmtPrice"] == 11.0


def test_a_replace_that_failed_leaves_the_order_as_it_was_and_working():
    r = working()
    replace(r, lmtPrice=11.0)
    r.executor.tell(ReplaceFailed(**ids(), request_id="r-1", ib_code=110, reason="tick"), "neutral")
    record = r.stage.core.orders["o-1"]
    assert (record.state, record.order["lmtPrice"], record.change) == ("working", BUY["lmtPrice"], None)
    assert r.state()["failures"] == 0


def test_a_resent_replace_gets_its_answer_again_and_is_handed_over_once():
    r = working()
    replace(r, lmtPrice=11.0)
    assert replace(r, lmtPrice=11.0)["again"] is True
    assert len(r.sent(ReplaceOrder)) == 1


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("unknown_order", {"order_id": "nobody"}),
        ("not_yours", {"strategy_id": "beta"}),
        ("invalid", {"action": "SELL"}),
        ("invalid", {"orderType": "MKT"}),
        ("invalid", {"lmtPrise": 3.0}),
        ("invalid", {"totalQuantity": 0}),
        ("invalid", {"ago": -5.0}),
        ("invalid", {"outsideRth": True}),
        ("expired", {"ago": 6.0, "lmtPrice": 11.0}),
    ],
)
def test_what_cannot_be_a_change_of_this_order_is_refused(code, fields):
    r = working()
    refused = replace(r, **fields)
    assert (refused["kind"], refused["code"]) == ("request_refused", code)
    assert r.sent(ReplaceOrder) == []


def test_only_what_ib_has_confirmed_is_changed():
    r = trading(window=1)
    r.submit("o-1")
    assert replace(r)["code"] == "not_confirmed"
    r.submit("o-2")
    assert replace(r, "r-2", order_id="o-2")["code"] == "queued"
    r.wait(6)
    assert replace(r, "r-3")["code"] == "not_confirmed"
    r.executor.tell(Cancelled(**ids(), filled=0, remaining=100, reason=""), "neutral")
    assert replace(r, "r-4")["code"] == "done"


def test_one_change_at_a_time_and_no_revision_twice():
    r = working()
    replace(r, revision=2, lmtPrice=11.0)
    assert replace(r, "r-2", 3, lmtPrice=12.0)["code"] == "busy"
    r.executor.tell(Replaced(**ids(), request_id="r-1"), "success")
    assert replace(r, "r-3", 2, lmtPrice=12.0)["code"] == "revision"
    assert replace(r, "r-4", 3, lmtPrice=12.0)["kind"] == "request_passed"


def test_an_order_that_is_being_cancelled_is_not_changed():
    r = working()
    r.cancel("o-1", "c-1")
    assert replace(r)["code"] == "cancelling"


def test_while_open_only_a_lower_quantity_passes():
    r = working()
    open_by_rejections(r)
    assert replace(r, "r-1", 1, lmtPrice=11.0)["code"] == "circuit_open"
    assert replace(r, "r-2", 1, totalQuantity=101)["code"] == "circuit_open"
    assert replace(r, "r-3", 1, totalQuantity=50, lmtPrice=9.0)["code"] == "circuit_open"
    assert replace(r, "r-4", 1, totalQuantity=50)["kind"] == "request_passed"


def test_in_half_open_a_replace_is_a_trial():
    r = working()
    open_by_rejections(r)
    r.wait(300)
    assert r.state()["state"] == "HALF_OPEN"
    for number in range(2):
        r.submit(f"t-{number}")
    assert replace(r, lmtPrice=11.0)["kind"] == "request_passed"
    r.submit("t-3")
    assert r.last("t-3")["code"] == "half_open_full"
    r.executor.tell(ReplaceFailed(**ids(), request_id="r-1", ib_code=201, reason="no"), "failure")
    assert r.state()["state"] == "OPEN"


def test_no_answer_in_time_is_one_failure_and_the_order_works_on():
    r = working()
    replace(r, lmtPrice=11.0)
    r.wait(4.75)
    assert r.state()["failures"] == 0
    r.wait(0.5)
    assert r.state()["failures"] == 1
    assert r.stage.core.out == set()
    assert r.stage.core.orders["o-1"].state == "working"
    assert "unknown" not in r.kinds("o-1")
    r.executor.tell(Replaced(**ids(), request_id="r-1"), "success")
    assert (r.last("o-1")["kind"], r.state()["failures"]) == ("replaced", 1)


def test_a_replace_waits_for_a_place_in_the_window_behind_the_orders_that_came_before():
    r = working(window=1)
    r.submit("o-2")
    r.submit("o-3")
    assert replace(r, lmtPrice=11.0) is None
    r.submit("o-4")
    r.executor.accepted("o-2")
    assert answers(r) == []
    r.executor.accepted("o-3")
    assert answers(r) == ["request_passed"]
    assert "o-4" not in r.placed()


def test_one_who_changes_many_orders_delays_its_own_and_lets_another_have_every_second_place():
    r = working(window=1)
    for number in range(2, 8):
        r.submit(f"o-{number}")
        r.executor.accepted(f"o-{number}")
    r.submit("b-0", strategy_id="beta")
    for number in range(1, 8):
        replace(r, f"r-{number}", order_id=f"o-{number}", lmtPrice=11.0)
    for number in range(1, 4):
        r.submit(f"b-{number}", strategy_id="beta")
    r.executor.accepted("b-0", "beta")
    for number in range(1, 4):
        r.executor.tell(Replaced(**ids(f"o-{number}"), request_id=f"r-{number}"), "success")
        r.executor.accepted(f"b-{number}", "beta")
    passed = [e["order_id"] for e in r.events if e["kind"] in ("passed", "request_passed")]
    assert passed[-7:] == ["o-1", "b-1", "o-2", "b-2", "o-3", "b-3", "o-4"]


def test_replaces_fill_the_queue_of_their_strategy_and_no_others():
    r = working(window=1, queue_limit=2)
    r.submit("b-0", strategy_id="beta")
    assert replace(r, lmtPrice=11.0) is None
    r.submit("o-2")
    r.submit("o-3")
    assert r.last("o-3")["code"] == "queue_full"
    r.submit("b-1", strategy_id="beta")
    assert "blocked" not in r.kinds("b-1")


def test_a_replace_that_waits_too_long_is_refused():
    r = working(window=1)
    r.submit("o-2")
    assert replace(r, lmtPrice=11.0, ttl_ms=1000) is None
    r.wait(1.25)
    assert [event["code"] for event in r.events if event.get("request_id") == "r-1"] == ["expired"]


def test_a_replace_whose_order_ends_while_it_waits_is_refused():
    r = working(window=1)
    r.submit("o-2")
    replace(r, lmtPrice=11.0)
    numbers: dict[str, Any] = {"shares": 100, "price": 10.0, "cum_qty": 100, "avg_price": 10.0, "remaining": 0}
    r.executor.tell(Filled(**ids(), exec_id="e1", done=True, **numbers))
    assert [event["code"] for event in r.events if event.get("request_id") == "r-1"] == ["done"]


def test_a_replace_behind_other_orders_is_refused_at_its_turn_when_its_order_is_long_gone():
    r = working(window=1)
    r.submit("o-2")
    r.submit("o-3")
    assert replace(r, lmtPrice=11.0) is None
    r.executor.filled("o-1")
    assert answers(r) == []
    r.executor.accepted("o-2")
    r.executor.accepted("o-3")
    assert [event["code"] for event in r.events if event.get("request_id") == "r-1"] == ["done"]
    assert r.sent(ReplaceOrder) == []


def test_replaces_count_in_the_rate_of_their_strategy():
    r = working(max_orders_per_second=2)
    assert replace(r, lmtPrice=11.0)["kind"] == "request_passed"
    r.executor.tell(Replaced(**ids(), request_id="r-1"), "success")
    assert replace(r, "r-2", 2, lmtPrice=12.0)["code"] == "rate_limit"


def test_after_a_rejoin_the_executor_is_asked_what_became_of_it_and_nothing_is_sent_anew():
    r = working()
    replace(r, lmtPrice=11.0)
    r.executor.join(known=["o-1"])
    first, again = r.sent(ReplaceOrder)
    assert again.fence < 0 < first.fence, "a fence that never holds"
    assert must_arrive(first)
    assert not must_arrive(again), "that a question did not arrive says nothing of the change"
    assert again.revision == first.revision


def test_a_replace_whose_order_has_ended_is_asked_about_too_and_gets_its_answer():
    r = working()
    replace(r, lmtPrice=11.0)
    r.executor.filled("o-1")
    r.executor.join()
    assert len(r.sent(ReplaceOrder)) == 2
    r.executor.tell(ReplaceFailed(**ids(), request_id="r-1", reason="the order was filled"), "neutral")
    assert r.last("o-1")["kind"] == "replace_failed"
    assert r.stage.core.orders == {}
    assert r.stage.core.out == set()


def test_an_executor_that_says_no_twice_is_heard_once():
    r = working()
    replace(r, lmtPrice=11.0)
    for _ in range(2):
        r.executor.tell(ReplaceFailed(**ids(), request_id="r-1", reason="the lease ran out"), "neutral")
    assert r.kinds("o-1").count("replace_failed") == 1


def test_a_replace_that_ib_answers_in_words_that_nobody_knows_counts_for_the_strategy_alone():
    r = working()
    replace(r, lmtPrice=11.0)
    doubted: dict[str, Any] = {"order_id": "o-1", "strategy_id": "alpha", "doubts": "r-1", "said": "IB says 8001"}
    r.executor.tell(Working(status="Submitted", **doubted), "malformed")
    r.wait(6)
    assert r.circuit().get_state()["failures"] == 0
    assert r.circuit("strategy:alpha").get_state()["failures"] == 1
    assert "replace_failed" not in r.kinds("o-1"), "whether it was done is looked up"


def test_a_resent_replace_that_waits_is_in_the_queue_once():
    r = working(window=1)
    r.submit("o-2")
    assert replace(r, lmtPrice=11.0) is replace(r, lmtPrice=11.0) is None
    r.executor.accepted("o-2")
    assert answers(r) == ["request_passed"]
    assert len(r.sent(ReplaceOrder)) == 1


def test_a_replace_that_cannot_be_handed_over_has_failed_and_counts_as_nothing():
    r = working()
    replace(r, lmtPrice=11.0)
    r.step(Undeliverable("o-1", "the executor was not reachable"))
    told = r.last("o-1")
    assert (told["kind"], told["request_id"], told["reason"]) == (
        "replace_failed",
        "r-1",
        "the executor was not reachable",
    )
    assert r.stage.core.out == set()
    assert r.state()["failures"] == 0
    assert r.stage.core.orders["o-1"].order["lmtPrice"] == BUY["lmtPrice"]
    r.step(Undeliverable("o-1", "said twice"))
    assert r.last("o-1") == told, "there is none any more"


def test_a_replace_that_was_answered_is_neither_late_nor_too_old_any_more():
    r = working(window=1)
    r.submit("o-2")
    assert replace(r, lmtPrice=11.0, ttl_ms=1000) is None
    r.executor.accepted("o-2")
    r.executor.tell(Replaced(**ids(), request_id="r-1"), "success")
    r.wait(6)
    assert answers(r) == ["request_passed", "replaced"]
    assert r.state()["failures"] == 0


def test_an_answer_to_another_request_ends_no_replace_that_is_under_way():
    r = working()
    replace(r, lmtPrice=11.0)
    r.executor.tell(Replaced(**ids(), request_id="of-before"), "success")
    doubted: dict[str, Any] = {**ids(), "doubts": "of-before", "said": "IB says 8001"}
    r.executor.tell(Working(status="Submitted", **doubted), "malformed")
    assert r.stage.core.out == {"o-1~1"}
    assert r.circuit("strategy:alpha").get_state()["failures"] == 0
