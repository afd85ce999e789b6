"""Brackets: a single unit until IB has it, an order for each leg afterwards."""

import pytest

from orderfuse.bus.events import Cancelled, Filled, Invalid, NotPlaced, Rejected
from services.wire.dispatch import CancelOrder, Place
from tests.unit.breaker.harness import Rig, open_by_rejections, trading

STOP = {"action": "SELL", "totalQuantity": 100, "orderType": "STP", "auxPrice": 9.0}
TARGET = {"action": "SELL", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 12.0}
LEGS = [{"order_id": "target", "order": TARGET}, {"order_id": "stop", "order": STOP}]
UNIT = ("entry", "target", "stop")


def bracket(r, **fields):
    r.submit("entry", **{"attached": LEGS, **fields})


def of(order_id):
    return {"order_id": order_id, "strategy_id": "alpha"}


def fill(r, order_id, shares=100.0, *, done=True):
    numbers = {"shares": shares, "price": 10.0, "cum_qty": shares, "avg_price": 10.0, "remaining": 100 - shares}
    r.executor.tell(Filled(**of(order_id), exec_id=f"e-{order_id}", done=done, **numbers), "success")


def cancels(r):
    return [message.order_id for message in r.sent(CancelOrder)]


def test_a_bracket_is_handed_over_in_one_message_and_takes_one_place():
    r = trading(window=1)
    bracket(r)
    (place,) = r.sent(Place)
    assert [leg.order_id for leg in place.attached] == ["target", "stop"]
    assert r.stage.core.out == {"entry"}
    assert [r.kinds(order_id) for order_id in UNIT] == [["passed"]] * 3


@pytest.mark.parametrize("how", ["trip", "expire", "cancel"])
def test_what_is_decided_of_the_parent_is_decided_of_every_leg(how):
    r = trading(window=1)
    r.submit("before")
    bracket(r, ttl_ms=1000)
    if how == "trip":
        r.ask("trip", reason="stop")
    elif how == "expire":
        r.wait(1.5)
    else:
        r.cancel("entry", "c-1")
    kind = "expired" if how == "expire" else "blocked"
    assert [[event["kind"] for event in r.decisions(order_id)] for order_id in UNIT] == [[kind]] * 3


def test_a_waiting_leg_is_not_cancelled_by_itself():
    r = trading(window=1)
    r.submit("before")
    bracket(r)
    r.cancel("stop", "c-1")
    (answer,) = [event for event in r.events if event.get("request_id") == "c-1"]
    assert (answer["kind"], answer["code"]) == ("request_refused", "attached")


@pytest.mark.parametrize(
    ("legs", "complaint"),
    [
        ([{"order_id": "target", "order": {**TARGET, "lmtPrise": 1}}], "attached[0] (target)"),
        ([{"order_id": "entry", "order": TARGET}], "attached[0].order_id 'entry' was used before"),
        ([LEGS[0], LEGS[0]], "attached[1].order_id 'target' was used before"),
        ([{"order_id": "older", "order": TARGET}], "attached[0].order_id 'older' was used before"),
    ],
)
def test_one_wrong_leg_makes_the_whole_bracket_invalid(legs, complaint):
    r = trading()
    r.submit("older")
    bracket(r, attached=legs)
    assert r.last("entry")["kind"] == "invalid"
    assert complaint in r.last("entry")["reason"]
    assert r.placed() == ["older"]


def test_a_bracket_that_the_executor_refuses_ends_whole():
    r = trading()
    bracket(r)
    r.executor.tell(NotPlaced(**of("entry"), code="fenced"), "neutral")
    assert [r.last(order_id)["kind"] for order_id in UNIT] == ["not_placed"] * 3
    assert r.state()["failures"] == 0


def test_an_invalid_leg_found_by_the_executor_ends_the_bracket_whole():
    r = trading()
    bracket(r)
    r.executor.tell(Invalid(**of("entry"), reason="the attached order stop: no"), "neutral")
    assert [r.last(order_id)["kind"] for order_id in UNIT] == ["invalid"] * 3


def test_what_is_proven_of_the_parent_alone_ends_no_leg():
    r = trading()
    bracket(r)
    r.wait(6)
    r.executor.tell(NotPlaced(**of("entry"), code="reconciled"), "neutral")
    assert r.last("stop")["kind"] == "unknown"


def test_an_executor_that_never_received_it_ends_it_whole():
    r = trading()
    bracket(r)
    r.executor.join(known=[])
    assert [r.last(order_id)["code"] for order_id in UNIT] == ["undelivered"] * 3


def test_a_bracket_without_an_answer_is_one_failure():
    r = trading()
    bracket(r)
    r.wait(6)
    assert [r.last(order_id)["kind"] for order_id in UNIT] == ["unknown"] * 3
    assert r.state()["failures"] == 1


def test_refused_legs_count_once_and_a_success_of_the_parent_does_not_hide_them():
    r = trading()
    bracket(r)
    r.executor.accepted("entry")
    for leg in ("target", "stop"):
        r.executor.tell(Rejected(**of(leg), ib_code=201, reason="no"), "failure")
    assert r.state()["failures"] == 1


def test_a_bracket_is_one_trial():
    r = trading()
    open_by_rejections(r)
    r.wait(300)
    bracket(r)
    for number in range(3):
        r.submit(f"t-{number}")
    assert [r.last(f"t-{number}")["kind"] for number in range(3)] == ["passed", "passed", "blocked"]


def test_an_automatic_cancel_takes_the_parent_and_not_its_legs_one_by_one():
    r = trading()
    bracket(r)
    for order_id in UNIT:
        r.executor.accepted(order_id)
    r.ask("trip", reason="stop", cancel="ours")
    assert cancels(r) == ["entry"]


@pytest.mark.parametrize("shares", [40, 100])
def test_no_automatic_cancel_takes_away_what_protects_a_fill(shares):
    r = trading()
    bracket(r)
    for order_id in UNIT:
        r.executor.accepted(order_id)
    fill(r, "entry", shares, done=shares == 100)
    r.ask("trip", reason="stop", cancel="ours")
    assert cancels(r) == []
    r.executor.fenced()
    r.ask("trip", reason="all of it", cancel="ours_with_protective")
    assert "stop" in cancels(r)


def test_a_leg_is_cancelled_when_its_strategy_asks():
    r = trading()
    bracket(r)
    for order_id in UNIT:
        r.executor.accepted(order_id)
    r.cancel("target", "c-1")
    assert cancels(r) == ["target"]
    r.executor.tell(Cancelled(**of("target"), filled=0, remaining=100, reason="", request_id="c-1"), "neutral")
    assert r.last("entry")["kind"] == "accepted"


def test_a_leg_that_is_found_at_ib_while_its_parent_waits_goes_along_and_the_executor_decides():
    r = trading(window=1)
    r.submit("before")
    bracket(r, ttl_ms=60_000)
    # An earlier life of this id, of which a breaker before had not told.
    r.executor.accepted("stop")
    assert r.stage.core.orders["stop"].state == "working"
    r.executor.accepted("before")
    assert r.placed() == ["before", "entry"]
    r.executor.not_placed("entry")
    assert r.last("entry")["kind"] == r.last("target")["kind"] == "not_placed"
    assert r.stage.core.out == set()


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "of more answers than are kept"])
@pytest.mark.parametrize("how", ["expire", "cancel"])
def test_a_leg_that_is_found_at_ib_does_not_end_with_its_parent_that_waits(how, kept):
    r = trading(window=1)
    r.submit("before")
    bracket(r, ttl_ms=2000)
    r.executor.written("stop")
    r.wait(1.9)
    for number in range(0 if kept else 400):
        r.submit(f"bad-{number}", order={"action": "BUY"})
    if how == "expire":
        r.wait(0.2)
    else:
        r.cancel("entry", "c-1")
    ended = ["expired" if how == "expire" else "blocked"]
    assert [[event["kind"] for event in r.decisions(order_id)] for order_id in UNIT] == [ended, ended, []]
    r.executor.accepted("stop")
    assert r.kinds("stop") == ["accepted"]
    assert r.stage.core.orders["stop"].state == "working"


def test_a_leg_that_fails_at_ib_while_its_parent_waits_counts_nowhere_and_leaves_nothing_of_the_parent_on_disk():
    r = trading(window=1)
    r.submit("before")
    bracket(r)
    r.executor.rejected("stop")
    assert r.circuit().get_state()["failure_count"] == 0
    assert "entry" not in r.history.records
    r.start()
    r.executor.join(known=["before"])
    r.executor.accepted("before")
    assert set(r.stage.core.orders) == {"before"}
    bracket(r)
    assert r.kinds("entry") == ["invalid"], "its leg is at IB"


def test_a_bracket_that_waited_while_its_leg_failed_at_ib_gives_its_slot_back():
    r = trading(window=1)
    r.submit("before")
    bracket(r)
    r.executor.rejected("stop")
    r.executor.accepted("before")
    assert r.placed() == ["before", "entry"]
    r.executor.filled("entry")
    assert r.circuit().snapshot()["orders"] == r.circuit("strategy:alpha").snapshot()["orders"] == []


def test_the_legs_of_a_bracket_with_a_wrong_clock_are_as_invalid_as_their_parent():
    r = trading()
    bracket(r, ago=-60.0)
    assert [r.kinds(order_id) for order_id in UNIT] == [["invalid"]] * 3
    assert "ahead of the breaker's clock" in r.last("stop")["reason"]
    assert r.stage.core.orders == {}


def test_the_legs_of_a_bracket_are_in_their_parents_place_after_a_restart_too():
    r = trading(window=2)
    bracket(r)
    again = Rig(r.settings, r.clock, r.history)
    assert again.stage.core.out == {"entry"}
    again.wait(6, leases=False)
    assert [again.last(order_id)["kind"] for order_id in UNIT] == ["unknown"] * 3
    assert again.stage.core.out == set()
