"""What becomes of a strategy's orders when it falls silent."""

import pytest

from orderfuse.bus.orders import Heartbeat
from services.breaker.dead_man import MOST
from services.breaker.inputs import FromOrders, Tick
from services.wire.dispatch import CancelOrder
from tests.unit.breaker.harness import Executor, Rig, settings_of, trading, wall_ns_of


def heartbeat(r, cancel_after_ms=1000, strategy_id="alpha"):
    r.say(kind="heartbeat", strategy_id=strategy_id, sent_ns=wall_ns_of(r.clock), cancel_after_ms=cancel_after_ms)


def guarded(cancel_after_ms=1000):
    """An order works at IB, and its strategy has asked for the dead man's switch."""
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    heartbeat(r, cancel_after_ms)
    return r


def cancelled(r):
    return [message.order_id for message in r.sent(CancelOrder)]


def restarted(r):
    """The breaker process dies and starts again; the executor joins with what it knows."""
    again = Rig(r.settings, r.clock, r.history)
    again.executor = Executor(again)
    again.executor.seq = r.executor.seq
    return again


def test_at_exactly_its_deadline_a_strategy_lives_and_one_millisecond_later_its_orders_are_cancelled():
    r = guarded()
    r.clock.advance(ns=1_000_000_000)
    r.executor.lease()
    r.poll()
    assert cancelled(r) == []
    r.clock.advance(ns=1_000_000)
    r.poll()
    assert cancelled(r) == ["o-1"]


def test_what_still_waits_ends_with_its_strategy_and_is_never_sent():
    r = trading(window=1)
    r.submit("o-1", ttl_ms=60_000)
    r.submit("o-2", ttl_ms=60_000)
    r.submit("b-1", "beta", ttl_ms=60_000)
    heartbeat(r, 1000)
    r.wait(1.1)
    assert cancelled(r) == ["o-1"]
    ended = r.last("o-2")
    assert (ended["kind"], ended["code"], ended["reason"]) == ("blocked", "cancelled", "strategy fell silent")
    r.executor.cancelled("o-1")
    assert r.placed() == ["o-1", "b-1"], "its neighbour trades on"


def test_a_replace_that_waits_is_refused_when_its_strategy_falls_silent():
    r = trading(window=1)
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.submit("o-2", "beta", ttl_ms=60_000)
    heartbeat(r, 1000)
    fields = {"strategy_id": "alpha", "sent_ns": wall_ns_of(r.clock), "ttl_ms": 60_000, "revision": 1}
    changed = {"action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 11.0}
    r.say(kind="replace", request_id="r-1", order_id="o-1", order=changed, **fields)
    r.wait(1.1)
    answers = [event for event in r.events if event.get("request_id") == "r-1"]
    assert [(event["kind"], event["code"]) for event in answers] == [("request_refused", "cancelled")]


def test_orders_that_protect_and_legs_of_a_filled_parent_stay():
    r = trading()
    r.submit("stop", protect=True)
    r.executor.accepted("stop")
    leg = {"order_id": "leg", "order": {"action": "SELL", "totalQuantity": 100, "orderType": "STP", "auxPrice": 9.0}}
    r.submit("parent", attached=[leg])
    r.executor.filled("parent")
    r.executor.accepted("leg")
    r.submit("entry")
    r.executor.accepted("entry")
    heartbeat(r, 1000)
    r.wait(1.1)
    assert cancelled(r) == ["entry"]


def test_who_fell_silent_is_taken_again_only_after_a_new_heartbeat_or_one_of_nought():
    for back in (1000, 0):
        r = trading()
        heartbeat(r, 1000)
        r.wait(1.1)
        r.submit("o-1")
        assert (r.last("o-1")["kind"], r.last("o-1")["code"]) == ("blocked", "cancelled")
        assert r.last("o-1")["reason"] == "strategy fell silent"
        heartbeat(r, back)
        r.submit("o-2")
        assert r.kinds("o-2") == ["passed"]


def test_an_order_of_a_silent_strategy_moves_no_circuit():
    r = trading()
    heartbeat(r, 1000)
    r.wait(1.1)
    for number in range(10):
        r.submit(f"o-{number}")
    assert r.circuit("strategy:alpha").get_state()["failures"] == 0


def test_a_heartbeat_runs_anew_from_the_start_of_the_breaker():
    r = guarded()
    r.wait(0.9)
    again = restarted(r)
    again.executor.join()
    again.wait(0.95)
    assert cancelled(again) == []
    again.wait(0.2)
    assert cancelled(again) == ["o-1"]


def test_that_a_strategy_has_fallen_silent_survives_a_restart():
    r = trading()
    heartbeat(r, 1000)
    r.wait(1.1)
    again = restarted(r)
    again.executor.join()
    again.submit("o-1")
    assert again.last("o-1")["code"] == "cancelled"
    heartbeat(again)
    again.submit("o-2")
    assert again.kinds("o-2") == ["passed"]


def test_a_heartbeat_of_nought_is_kept_too():
    r = guarded()
    heartbeat(r, 0)
    again = restarted(r)
    again.executor.join()
    again.wait(5)
    assert cancelled(again) == []


def test_a_heartbeat_that_says_the_same_again_is_not_written_again():
    r = trading()
    heartbeat(r, 1000)
    for _ in range(3):
        r.clock.advance(ns=100_000_000)
        assert r.step(FromOrders(Heartbeat(strategy_id="alpha", sent_ns=0, cancel_after_ms=1000))).heartbeats == {}


def test_a_cancel_that_cannot_leave_because_ib_is_away_goes_first_when_it_is_back():
    r = guarded()
    r.executor.usable = False
    r.executor.lease()
    r.wait(1.1)
    r.dispatched.clear()
    r.executor.usable = True
    r.executor.lease()
    assert cancelled(r) == ["o-1"]


def test_that_a_strategy_fell_silent_is_not_forgotten_where_its_circuit_makes_room():
    r = Rig(settings_of(max_strategies=2))
    r.executor = Executor(r)
    r.executor.join()
    heartbeat(r, 1000, "alpha")
    r.wait(1.1)
    for number in range(5):
        r.submit(f"x-{number}", f"other-{number}")
        r.executor.filled(f"x-{number}", f"other-{number}")
    r.submit("o-1", "alpha")
    assert r.last("o-1")["reason"] == "strategy fell silent"


def test_strategies_that_fell_silent_take_no_place_from_others():
    r = Rig(settings_of(max_strategies=2))
    r.executor = Executor(r)
    r.executor.join()
    for number in range(5):
        heartbeat(r, 1000, f"of-another-day-{number}")
    r.wait(1.1)
    r.submit("o-1", "alpha")
    assert r.kinds("o-1") == ["passed"]


def test_a_strategy_with_an_order_at_ib_is_guarded_however_many_others_need_a_place():
    r = Rig(settings_of(max_strategies=2))
    r.executor = Executor(r)
    r.executor.join()
    r.submit("o-1", "alpha")
    r.executor.accepted("o-1", "alpha")
    heartbeat(r, 1000, "alpha")
    for number in range(5):
        r.submit(f"x-{number}", f"other-{number}")
        r.executor.filled(f"x-{number}", f"other-{number}")
    assert cancelled(r) == []
    r.wait(1.1)
    assert cancelled(r) == ["o-1"]


@pytest.mark.long
def test_made_up_names_push_out_no_strategy_that_trades():
    r = guarded(60_000)
    for number in range(MOST + 10):
        heartbeat(r, 1000, f"made-up-{number}")
    r.submit("o-2")
    assert r.kinds("o-2") == ["passed"]
    assert sum(kept is not None for kept in r.history.heartbeats.values()) == MOST
    again = restarted(r)
    again.executor.join()
    again.wait(61)
    assert cancelled(again) == ["o-1"]


def test_how_long_orders_may_outlive_their_strategy_can_be_made_shorter():
    r = guarded(5000)
    r.wait(0.1)
    heartbeat(r, 1000)
    r.wait(1.1)
    assert cancelled(r) == ["o-1"]


def test_many_that_fall_silent_without_an_order_are_one_line_and_one_with_an_order_has_its_own():
    r = guarded()
    for number in range(500):
        heartbeat(r, 1000, f"made-up-{number}")
    r.clock.advance(ns=1_001_000_000)
    notes = [note for note in r.step(Tick()).notes if "fell silent" in note]
    assert notes == [
        "alpha fell silent: its orders are cancelled, except those that protect",
        "made-up-0 and 499 more fell silent without an order",
    ]
