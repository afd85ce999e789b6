"""What a person accepts: the executor has to confirm it, and whoever asks is told the truth."""

from typing import Any

import pytest
from msgspec import structs

from orderfuse.bus.codec import DecodeError
from orderfuse.bus.control import MAX_TOLD, AcceptRequest
from services.breaker.inputs import FromControl, Tick
from services.wire.dispatch import Accept
from services.wire.standing import Drift, ForeignOrder
from tests.unit.breaker.harness import now_of, rig, trading


def position_break(actual, *, expected=0.0, con_id=1, **more):
    return Drift(con_id=con_id, symbol="SPY", expected=expected, actual=actual, **more)


def foreign(perm_id=77, *, client_id=99, ib_order_id=5):
    contract: dict[str, Any] = {"con_id": 1, "symbol": "SPY", "sec_type": "STK", "currency": "USD"}
    whose: dict[str, Any] = {"perm_id": perm_id, "client_id": client_id, "ib_order_id": ib_order_id}
    return ForeignOrder(**whose, **contract, action="BUY", quantity=100.0, order_type="LMT")


def with_breaks(*standing):
    made = trading()
    made.executor.drift = standing
    made.executor.lease()
    return made


def test_an_accepted_position_break_is_answered_once_the_executor_has_it_no_more():
    r = with_breaks(
        position_break(5.0, sec_type="OPT", expiry="20261218", strike=200.0, right="C", currency="USD"),
        position_break(3.0, con_id=2),
    )
    assert r.ask("accept", what="drift", con_id=1, reason="a split", who="ann@desk") is None, "it waits"
    (message,) = r.sent(Accept)
    assert (message.reason, message.who, [each.con_id for each in message.drift]) == ("a split", "ann@desk", [1])
    r.executor.drift = r.executor.drift[1:]
    r.executor.lease()
    r.poll()
    reply = r.replies["t"]
    assert reply["ok"]
    (accepted,) = reply["accepted"]
    assert accepted == {
        "account": "DU1",
        "con_id": 1,
        "symbol": "SPY",
        "expected": 0.0,
        "actual": 5.0,
        "sec_type": "OPT",
        "currency": "USD",
        "expiry": "20261218",
        "strike": 200.0,
        "right": "C",
    }
    assert [each["con_id"] for each in r.ask("status")["drift"]] == [2]


def test_who_accepted_what_and_why_is_in_the_journal_before_the_executor_hears_of_it():
    r = with_breaks(position_break(5.0, sec_type="STK", currency="USD"))
    request = AcceptRequest(id=1, what="drift", reason="bought by hand", who="ann@desk")
    batch = r.stage.step(FromControl("t", request), now_of(r.clock))
    (made,) = batch.decisions
    assert (made.op, made.scope, made.who) == ("accept", "system", "ann@desk")
    assert made.reason == "position break: SPY STK USD (1): 5 instead of 0: bought by hand"
    assert batch.sync
    assert [type(each.message) for each in batch.dispatch] == [Accept]


def test_the_log_has_who_accepted_what_and_why_once_the_executor_has_done_it():
    r = with_breaks(position_break(5.0, sec_type="STK", currency="USD"))
    r.ask("accept", what="drift", reason="bought by hand", who="ann@desk")
    r.executor.drift = ()
    r.executor.lease()
    batch = r.stage.step(Tick(), now_of(r.clock))
    (line,) = batch.notes
    assert line == "position break: SPY STK USD (1): 5 instead of 0: accepted by ann@desk: bought by hand"


def test_all_that_differs_is_accepted_together():
    r = with_breaks(position_break(5.0), position_break(3.0, con_id=2))
    r.ask("accept", what="drift", reason="x")
    r.executor.drift = ()
    r.executor.lease()
    r.poll()
    assert [each["con_id"] for each in r.replies["t"]["accepted"]] == [1, 2]


def test_fills_meanwhile_change_nothing_and_another_difference_is_not_accepted():
    r = with_breaks(position_break(5.0))
    r.ask("accept", what="drift", reason="x")
    r.executor.drift = (position_break(25.0, expected=20.0),)
    r.executor.lease()
    r.poll()
    assert "t" not in r.replies, "the same difference still stands"
    r.executor.drift = (position_break(26.0, expected=20.0),)
    r.executor.lease()
    r.poll()
    assert (r.replies["t"]["ok"], r.replies["t"]["code"]) == (False, "stale")


def test_an_executor_that_does_not_confirm_is_told_of_and_nothing_hangs():
    r = with_breaks(position_break(5.0))
    r.ask("accept", what="drift", reason="x")
    r.wait(0.6)
    assert "t" not in r.replies, "the lease of before has run out only now"
    r.wait(0.2)
    assert r.replies["t"]["code"] == "not_allowed"
    assert "not confirmed" in r.replies["t"]["error"]
    r.ask("accept", what="drift", reason="x")
    first, second = (message.number for message in r.sent(Accept))
    assert second > first


def test_another_executor_without_the_difference_has_confirmed_nothing():
    r = with_breaks(position_break(5.0))
    r.ask("accept", what="drift", reason="x")
    r.executor.drift, r.executor.executor_id = (), "exec-2"
    r.executor.join()
    r.poll()
    assert r.replies["t"]["code"] == "not_allowed"


@pytest.mark.parametrize("what", ["drift", "foreign"])
def test_without_an_executor_nothing_is_accepted_and_it_says_why(what):
    r = rig()
    reply = r.ask("accept", what=what, reason="x")
    assert reply["code"] == "not_allowed"
    assert "no executor is there" in reply["error"]
    assert not r.sent(Accept)


def test_what_is_not_there_cannot_be_accepted():
    r = with_breaks()
    assert r.ask("accept", what="drift", reason="x")["error"] == "there is no drift"
    assert r.ask("accept", what="foreign", reason="x")["error"] == "IB lists no open order of others"
    r.executor.drift = (position_break(5.0),)
    r.executor.lease()
    reply = r.ask("accept", what="drift", con_id=7, reason="x")
    assert (reply["code"], reply["error"]) == (
        "bad_request",
        "there is no drift of contract 7; there is one of: SPY (1)",
    )
    assert r.ask("accept", what="foreign", con_id=1, reason="x")["code"] == "bad_request"
    assert not r.sent(Accept)


def test_only_what_stands_just_as_it_was_seen_is_accepted():
    r = with_breaks(position_break(5.0), position_break(3.0, con_id=2), position_break(1.0, con_id=3))
    seen = [
        {"con_id": 1, "expected": 0.0, "actual": 4.0},
        {"con_id": 2, "expected": 0, "actual": 3, "symbol": "whatever status says beside"},
    ]
    assert r.ask("accept", what="drift", seen=seen, reason="x") is None
    (message,) = r.sent(Accept)
    assert [each.con_id for each in message.drift] == [2]
    r.executor.drift = (position_break(5.0), position_break(1.0, con_id=3))
    r.executor.lease()
    r.poll()
    assert [each["con_id"] for each in r.replies["t"]["accepted"]] == [2]


def test_what_stands_no_more_as_it_was_seen_is_stale():
    r = with_breaks(position_break(5.0))
    for actual, expected in ((6.0, 0.0), (5.0, 1.0), (6.0, 1.0)):
        seen = [{"con_id": 1, "expected": expected, "actual": actual}]
        reply = r.ask("accept", what="drift", seen=seen, reason="x")
        assert reply["code"] == "stale", seen
        assert "look at the status again" in reply["error"]
    seen = [{"con_id": 1, "expected": 0.0, "actual": 5.0}]
    assert r.ask("accept", what="drift", con_id=2, seen=seen, reason="x")["code"] == "stale"
    r.executor.drift = ()
    r.executor.lease()
    assert r.ask("accept", what="drift", seen=seen, reason="x")["code"] == "stale"
    assert not r.sent(Accept)


@pytest.mark.parametrize("seen", [[], [{"con_id": 1}], [3], [{"con_id": 1, "expected": 0, "actual": "five"}], "all"])
def test_what_was_seen_and_cannot_be_read_is_refused_and_never_taken_for_all(seen):
    r = with_breaks(position_break(5.0))
    try:
        reply = r.ask("accept", what="drift", seen=seen, reason="x")
    except DecodeError:
        pass
    else:
        assert reply["code"] == "bad_request"
        assert reply["error"].startswith("in seen: ")
    assert not r.sent(Accept)


def test_no_more_than_is_told_may_be_seen():
    one = {"con_id": 1, "expected": 0.0, "actual": 5.0}
    r = with_breaks(position_break(5.0))
    with pytest.raises(DecodeError):
        r.ask("accept", what="drift", seen=[one] * (MAX_TOLD + 1), reason="x")
    r.ask("accept", what="drift", seen=[one] * MAX_TOLD, reason="x")
    assert len(r.sent(Accept)[0].drift) == 1


# -- orders of others -------------------------------------------------------------------------------------


def test_foreign_orders_are_in_the_status_and_stop_nothing_by_themselves():
    r = trading()
    r.executor.foreign = (foreign(), foreign(78, client_id=0, ib_order_id=-2))
    r.executor.lease()
    by_client, by_hand = r.ask("status")["foreign"]
    assert (by_client["account"], by_client["perm_id"], by_client["client_id"]) == ("DU1", 77, 99)
    assert (by_client["by_hand"], by_hand["by_hand"]) == (False, True)
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]
    assert r.state()["conditions"] == []


def test_with_trip_foreign_orders_open_the_circuit_at_once_until_there_are_none():
    r = trading()
    r.executor.foreign, r.executor.foreign_trips = (foreign(),), True
    r.executor.lease()
    state = r.state()
    assert (state["state"], state["latched"], state["conditions"]) == ("OPEN", False, ["foreign_orders"])
    assert "BUY 100 SPY STK USD (1) LMT, client 99, permanent id 77" in state["reason"]
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"
    r.executor.usable, r.executor.foreign, r.executor.foreign_trips = False, (), False
    r.executor.lease()
    assert "foreign_orders" in r.state()["conditions"], "an executor that has not looked yet does not end it"
    r.executor.usable = True
    r.executor.lease()
    assert r.state()["conditions"] == []
    assert r.state()["state"] == "OPEN", "its wait goes on"


def test_accepting_foreign_orders_ends_the_condition():
    r = trading()
    r.executor.foreign, r.executor.foreign_trips = (foreign(),), True
    r.executor.lease()
    r.ask("accept", what="foreign", reason="my hedge")
    (message,) = r.sent(Accept)
    assert [order.perm_id for order in message.foreign] == [77]
    r.executor.foreign, r.executor.foreign_trips = (), False
    r.executor.lease()
    r.poll()
    assert [each["perm_id"] for each in r.replies["t"]["accepted"]] == [77]
    assert r.state()["conditions"] == []
    r.ask("reset", reason="go on")
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]


SEEN = {
    "perm_id": 77,
    "client_id": 99,
    "ib_order_id": 5,
    "action": "BUY",
    "quantity": 100,
    "order_type": "LMT",
    "con_id": 1,
}


@pytest.mark.parametrize("now", [{"quantity": 700.0}, {"action": "SELL"}, {"order_type": "MKT"}, {"con_id": 2}])
def test_an_order_that_is_another_one_than_was_seen_is_not_accepted(now):
    r = trading()
    r.executor.foreign = (structs.replace(foreign(), **now),)
    r.executor.lease()
    assert r.ask("accept", what="foreign", seen=[SEEN], reason="x")["code"] == "stale"
    assert not r.sent(Accept)
    r.executor.foreign = (*r.executor.foreign, foreign(78))
    r.executor.lease()
    r.ask("accept", what="foreign", seen=[SEEN, {**SEEN, "perm_id": 78}], reason="x")
    assert [order.perm_id for order in r.sent(Accept)[0].foreign] == [78]


def test_an_order_that_became_another_one_on_the_way_is_stale_and_not_accepted():
    r = trading()
    r.executor.foreign = (foreign(),)
    r.executor.lease()
    assert r.ask("accept", what="foreign", seen=[SEEN], reason="x") is None
    r.executor.foreign = (structs.replace(foreign(), quantity=700.0),)
    r.executor.lease()
    r.poll()
    assert (r.replies["t"]["ok"], r.replies["t"]["code"]) == (False, "stale")


def test_the_status_says_when_ib_was_last_asked_and_whether_anybody_looks():
    r = trading()
    assert r.ask("status")["gateway"]["drift_at_ns"] == 0
    r.executor.listed = {"drift_at_ns": 7, "foreign_at_ns": 8, "foreign_ignored": True}
    r.executor.lease()
    gateway = r.ask("status")["gateway"]
    assert {key: gateway[key] for key in r.executor.listed} == r.executor.listed
