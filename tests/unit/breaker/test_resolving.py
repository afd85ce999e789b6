"""What others tell the breaker: how an unknown order ended, failures and conditions that it can't see."""

from typing import Any

import pytest

from orderfuse.bus.events import Accepted, Cancelled, Filled, Unknown
from services.wire.dispatch import Settle
from tests.unit.breaker.harness import open_by_rejections, trading


def with_unknown(**settings):
    r = trading(**settings)
    r.submit("o-1")
    r.wait(6)
    assert r.last("o-1")["kind"] == "unknown"
    return r


def resolve(r, how, order_id="o-1", **fields):
    return r.ask("resolve", order_id=order_id, reason="seen in TWS", who="ann@desk", **{"as": how, **fields})


def ids():
    return {"order_id": "o-1", "strategy_id": "alpha"}


@pytest.mark.parametrize("how", ["not_placed", "cancelled"])
def test_an_unknown_order_ends_as_a_person_says(how):
    r = with_unknown()
    reply = resolve(r, how)
    assert reply["ok"]
    assert reply["event"]["kind"] == how
    assert "ann@desk" in reply["event"]["reason"]
    assert r.last("o-1")["seq"] == reply["event"]["seq"]
    assert r.ask("status")["unknown"] == []
    assert [message.order_id for message in r.sent(Settle)] == ["o-1"]
    made = r.history.decisions[-1]
    assert (made.op, made.who) == ("resolve", "ann@desk")
    assert r.state()["failures"] == 1, "its failure counted when it became unknown, and only then"


def test_a_fill_that_a_person_has_seen_is_one_event_and_the_end():
    r = with_unknown()
    event = resolve(r, "filled", shares=100, price=190.5)["event"]
    assert (event["kind"], event["done"], event["cum_qty"], event["avg_price"]) == ("filled", True, 100, 190.5)
    assert r.kinds("o-1") == ["passed", "unknown", "filled"]


def test_a_part_that_was_filled_leaves_the_rest_cancelled():
    r = with_unknown()
    event = resolve(r, "filled", shares=40, price=190.5)["event"]
    assert (event["kind"], event["filled"], event["remaining"]) == ("cancelled", 40, 60)
    assert r.kinds("o-1") == ["passed", "unknown", "filled", "cancelled"]


def test_what_ib_says_later_still_wins_and_counts_nothing_twice():
    r = with_unknown()
    seq = resolve(r, "filled", shares=100, price=190.5)["event"]["seq"]
    numbers: dict[str, Any] = {"shares": 100, "price": 190.4, "cum_qty": 100, "avg_price": 190.4, "remaining": 0}
    r.executor.tell(Filled(**ids(), exec_id="e1", done=True, **numbers))
    last = r.last("o-1")
    assert (last["exec_id"], last["cum_qty"], last["supersedes"]) == ("e1", 100, seq)


def test_an_order_called_not_placed_that_lives_after_all_is_told_to_live():
    r = with_unknown()
    seq = resolve(r, "not_placed")["event"]["seq"]
    r.executor.tell(Accepted(**ids(), ib_order_id=1, perm_id=7, status="Submitted"))
    assert (r.last("o-1")["kind"], r.last("o-1")["supersedes"]) == ("accepted", seq)
    r.executor.tell(Cancelled(**ids(), filled=0, remaining=100, reason=""), "neutral")
    assert r.last("o-1")["kind"] == "cancelled"


@pytest.mark.parametrize(
    ("how", "fields", "complaint"),
    [
        ("filled", {}, "needs shares and price"),
        ("filled", {"shares": 101, "price": 1.0}, "only 100 are left"),
        ("cancelled", {"shares": 1}, "belong to as = 'filled'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(how, fields, complaint):
    r = with_unknown()
    reply = resolve(r, how, **fields)
    assert (reply["ok"], reply["code"]) == (False, "bad_request")
    assert complaint in reply["error"]
    assert r.last("o-1")["kind"] == "unknown"


def test_only_an_unknown_order_is_settled_by_hand():
    r = trading()
    r.submit("o-1")
    reply = resolve(r, "cancelled")
    assert (reply["code"], "is out" in reply["error"]) == ("not_allowed", True)
    assert "there is no order" in resolve(r, "cancelled", "nobody")["error"]


def test_an_order_that_ib_has_had_was_placed():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1", "alpha")
    r.stage.core.orders["o-1"].state = "unknown"
    assert "it was placed" in resolve(r, "not_placed")["error"]


def test_an_executor_that_was_away_is_told_when_it_is_back():
    r = with_unknown()
    r.executor.is_in = False
    r.wait(4)
    resolve(r, "cancelled")
    assert r.sent(Settle) == []
    r.executor.in_doubt = ["o-1", "o-2"]
    r.executor.join(known=["o-1"])
    assert [message.order_id for message in r.sent(Settle)] == ["o-1"]


def report(r, what="condition", name="feed_stale:ES", **fields):
    return r.ask("report", what=what, name=name, reason="no tick", who="ann@desk", **fields)


def test_a_reported_failure_counts_in_its_scope_alone():
    r = trading()
    r.submit("o-1")
    for _ in range(5):
        assert report(r, "failure", "slow", scope="strategy:alpha")["conditions"] == []
    assert r.state("strategy:alpha")["state"] == "OPEN"
    assert r.state()["failures"] == 0
    assert r.history.decisions[-1].op == "report"


def test_a_reported_condition_trips_at_once_holds_and_ends_when_it_is_said_to():
    r = trading()
    assert report(r, reporter="watcher")["conditions"] == ["feed_stale:ES"]
    state = r.state()
    assert (state["state"], state["latched"]) == ("OPEN", False)
    assert "no tick (reported by watcher)" in state["reason"]
    r.wait(400)
    assert r.state()["state"] == "OPEN", "its reporter fell silent, which ends nothing"
    assert report(r, holds=False)["conditions"] == []
    assert r.state()["state"] == "HALF_OPEN"


def test_a_second_report_of_the_same_condition_trips_no_second_time():
    r = trading()
    report(r)
    r.ask("reset", reason="we know")
    report(r)
    assert r.state()["state"] == "CLOSED"
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"


@pytest.mark.parametrize("name", ["broker_silent", "executor_silent", "journal_failed"])
def test_what_the_breaker_sees_itself_is_not_reported(name):
    r = trading()
    assert report(r, name=name)["code"] == "not_allowed"
    assert r.state()["state"] == "CLOSED"


def test_reports_are_bounded_and_their_circuit_must_exist():
    r = trading()
    for number in range(20):
        assert report(r, name=f"c-{number}")["ok"]
    assert report(r, name="one-more")["code"] == "not_allowed"
    assert report(r, name="c-3", holds=False)["ok"]
    assert report(r, scope="strategy:nobody")["code"] == "bad_request"


def test_a_trial_that_a_person_settles_gives_its_slot_back():
    r = trading()
    open_by_rejections(r)
    r.wait(300)
    for number in range(3):
        r.submit(f"t-{number}")
    about: dict[str, Any] = {"order_id": "t-0", "strategy_id": "alpha"}
    r.executor.tell(Accepted(**about, ib_order_id=1, perm_id=7, status="PreSubmitted"))
    r.executor.tell(Unknown(**about))
    r.submit("before")
    assert r.last("before")["code"] == "half_open_full"
    assert resolve(r, "cancelled", "t-0")["ok"]
    r.submit("after")
    assert r.last("after")["kind"] == "passed"
