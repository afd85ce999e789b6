"""The order in which the gates are asked: where two would refuse, the earlier one's reason is told."""

import pytest

from orderfuse.bus.events import Replaced
from services.breaker.dead_man import SILENT_REASON
from tests.unit.breaker.harness import BUY, trading
from tests.unit.breaker.test_dead_man import heartbeat
from tests.unit.breaker.test_replace import replace

AHEAD = -10.0


def fall_silent(r):
    heartbeat(r, 100)
    r.wait(0.5)


def refused(r, order_id="late", **fields):
    r.submit(order_id, **{"ttl_ms": 60_000, **fields})
    told = r.last(order_id)
    return told["kind"], told.get("code"), told["reason"]


def test_a_clock_that_is_ahead_is_told_first_and_leaves_the_cancel_that_came_before_as_it_was():
    r = trading()
    r.submit("first")
    r.cancel("late", "c-1")
    assert refused(r, ago=AHEAD)[0] == "invalid"
    r.cancel("later", "c-2")
    assert refused(r, "later")[2] == "its cancel came before it"


def test_that_its_cancel_came_before_it_is_told_of_a_silent_strategy_too():
    r = trading()
    r.cancel("late", "c-1")
    fall_silent(r)
    assert refused(r)[2] == "its cancel came before it"


def test_silence_is_told_before_the_pace_and_an_order_of_who_is_silent_is_not_counted_in_it():
    r = trading(max_orders_per_second=1)
    fall_silent(r)
    for number in range(3):
        assert refused(r, f"late-{number}")[2] == SILENT_REASON
    assert r.circuit("strategy:alpha").get_state()["failures"] == 0


def test_of_a_submit_and_of_a_replace_the_pace_is_told_before_a_full_queue():
    r = trading(window=1, queue_limit=1, max_orders_per_second=3)
    r.submit("works")
    r.executor.accepted("works")
    r.submit("out")
    r.submit("waits", ttl_ms=60_000)
    assert replace(r, order_id="works", lmtPrice=11.0)["code"] == "rate_limit"
    assert refused(r)[1] == "rate_limit"
    r.wait(1.1)
    assert replace(r, "r-2", order_id="works", lmtPrice=11.0)["code"] == "queue_full"
    assert refused(r, "later")[1] == "queue_full"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"order_id": "none", "revision": 1}, "unknown_order"),
        ({"strategy_id": "beta", "order_id": "ended"}, "not_yours"),
        ({"order_id": "ended", "revision": 1}, "done"),
        ({"order_id": "waits", "revision": 1}, "queued"),
        ({"order_id": "out", "revision": 1}, "not_confirmed"),
        ({"order_id": "going", "revision": 1}, "cancelling"),
        ({"order_id": "changing", "revision": 1}, "busy"),
        ({"order_id": "changed", "revision": 1, "action": "SELL"}, "revision"),
        ({"order_id": "changed", "revision": 3, "action": "SELL"}, "invalid"),
        ({"order_id": "none", "ago": AHEAD}, "invalid"),
        ({"order_id": "none", "totalQuantity": -1}, "invalid"),
    ],
)
def test_of_a_replace_the_message_is_asked_before_the_order_and_that_before_its_change(fields, code):
    r = trading(window=2, max_orders_per_second=100)
    for order_id in ("ended", "going", "changed", "changing"):
        r.submit(order_id)
        r.executor.accepted(order_id)
    r.executor.filled("ended")
    assert replace(r, "first", 2, order_id="changed", lmtPrice=11.0)["kind"] == "request_passed"
    r.executor.tell(Replaced(order_id="changed", strategy_id="alpha", request_id="first"), "success")
    r.cancel("going", "c-1")
    assert replace(r, "second", 2, order_id="changing", lmtPrice=11.0)["kind"] == "request_passed"
    r.submit("out")
    r.submit("waits", ttl_ms=60_000)
    assert replace(r, "asked", **{"revision": 2, "lmtPrice": 12.0, **fields})["code"] == code


def test_a_wrong_field_is_told_before_a_wrong_clock_of_a_submit_and_of_a_replace():
    r = trading()
    assert "totalQuantity" in refused(r, ago=AHEAD, order={**BUY, "totalQuantity": -1})[2]
    assert "totalQuantity" in replace(r, order_id="none", ago=AHEAD, totalQuantity=-1)["reason"]


def test_who_fell_silent_is_told_so_before_its_cancel_that_is_under_way():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.cancel("o-1", "c-1")
    fall_silent(r)
    answer = replace(r, lmtPrice=11.0)
    assert (answer["code"], answer["reason"]) == ("cancelled", SILENT_REASON)


def test_at_its_turn_an_order_that_is_too_old_has_expired_also_while_nothing_may_pass():
    r = trading(window=1)
    r.submit("out")
    r.submit("late", ttl_ms=1000)
    r.clock.advance(1.5)
    # The next input finds it too old, and the circuit OPEN.
    r.ask("trip", reason="stop")
    assert r.last("late")["kind"] == "expired"
