"""A gateway that does not answer the question for the time: it trips at once, and an answer ends it."""

from services.wire.dispatch import CancelOrder
from tests.unit.breaker.harness import rig, trading


def failures(r):
    return r.circuit().get_state()["failure_count"]


def hear(r, *, silent):
    r.executor.silent = silent
    r.executor.lease()


def test_silence_trips_at_once_and_is_named_alone():
    r = trading()
    hear(r, silent=True)
    assert r.state()["state"] == "OPEN"
    assert r.state()["conditions"] == ["broker_silent"]
    assert "broker_silent: 127.0.0.1:4010 does not answer" in r.state()["reason"]
    assert r.state()["latched"] is False
    r.submit("o-1")
    assert (r.last("o-1")["kind"], r.last("o-1")["code"]) == ("blocked", "condition")


def test_open_lasts_at_least_as_long_as_the_silence():
    r = trading()
    hear(r, silent=True)
    r.wait(400)
    assert r.state()["state"] == "OPEN"
    hear(r, silent=False)
    assert r.state()["conditions"] == []
    assert r.state()["state"] == "HALF_OPEN"


def test_the_answer_ends_it_and_the_looking_up_behind_it_is_no_loss_of_the_connection():
    r = trading()
    hear(r, silent=True)
    r.executor.usable, r.executor.planned = False, True
    hear(r, silent=False)
    assert r.state()["conditions"] == ["broker_disconnected"]
    r.wait(1)
    r.executor.usable, r.executor.planned = True, False
    r.executor.lease()
    assert r.state()["conditions"] == []
    assert failures(r) == 0


def test_a_silent_gateway_that_was_given_up_is_disconnected_as_well():
    r = trading()
    hear(r, silent=True)
    r.executor.connected = False
    r.executor.lease()
    assert set(r.state()["conditions"]) == {"broker_silent", "broker_disconnected"}
    r.executor.connected = True
    hear(r, silent=False)
    assert r.state()["conditions"] == []


def test_a_gateway_that_is_silent_from_the_start_blocks_and_is_no_incident():
    r = rig()
    r.executor.silent = True
    r.executor.join()
    r.wait(30)
    assert set(r.state()["conditions"]) == {"broker_silent", "broker_disconnected"}
    assert (r.state()["state"], failures(r)) == ("CLOSED", 0)
    hear(r, silent=False)
    assert (r.state()["conditions"], r.state()["state"], failures(r)) == ([], "CLOSED", 0)
    hear(r, silent=True)
    assert r.state()["state"] == "OPEN", "now that it has answered, silence is an incident"


def test_after_a_reset_the_same_silence_blocks_on_but_trips_no_second_time():
    r = trading()
    hear(r, silent=True)
    assert r.ask("reset", reason="we know")["state"] == "CLOSED"
    r.wait(30)
    assert (r.state()["state"], r.state()["conditions"]) == ("CLOSED", ["broker_silent"])
    hear(r, silent=False)
    hear(r, silent=True)
    assert r.state()["state"] == "OPEN"


def test_cancels_that_were_wanted_in_the_silence_go_when_it_ends():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    hear(r, silent=True)
    r.cancel("o-1", "c-1")
    sent = len(r.sent(CancelOrder))
    hear(r, silent=False)
    assert [message.order_id for message in r.sent(CancelOrder)[sent:]] == ["o-1"]


def test_an_order_without_an_answer_for_five_seconds_is_unknown_and_one_failure():
    r = trading()
    r.submit("o-1")
    r.executor.written("o-1")
    r.wait(4.75, step=0.25)
    r.clock.advance(0.25, ns=-1)
    r.executor.lease()
    r.poll()
    assert r.kinds("o-1") == ["passed"]
    assert failures(r) == 0
    r.clock.advance(ns=1)
    r.poll()
    assert r.kinds("o-1") == ["passed", "unknown"]
    assert failures(r) == 1
    assert r.ask("status")["unknown"] == ["o-1"]
    r.executor.unknown("o-1", outcome="failure")
    assert failures(r) == 1, "the executor's own doubt about it counts no second time"


def test_five_orders_without_an_answer_open():
    r = trading()
    for number in range(5):
        r.submit(f"o-{number}")
        r.executor.written(f"o-{number}")
    r.wait(5)
    assert r.state()["state"] == "OPEN"
    assert len(r.ask("status")["unknown"]) == 5
