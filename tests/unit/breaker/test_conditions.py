"""States of the world: they block while they hold, count when they were short, and trip when they were not."""

from services.breaker.inputs import JournalSeen
from services.wire.dispatch import Welcome
from tests.unit.breaker.harness import Executor, open_by_rejections, rig, trading


def failures(r):
    return r.circuit().get_state()["failure_count"]


def blip(r, secs):
    r.executor.usable = False
    r.executor.lease()
    r.wait(secs)
    r.executor.usable = True
    r.executor.lease()


def test_at_the_start_everything_is_blocked_by_conditions_that_never_count_nor_trip():
    r = rig()
    r.wait(20)
    r.submit("o-1")
    event = r.last("o-1")
    assert (event["code"], event["state"], event["scope"]) == ("condition", "CLOSED", "system")
    assert set(r.state()["conditions"]) == {"executor_silent", "broker_disconnected"}
    assert r.state()["trading_allowed"] is False
    r.executor.join()
    r.submit("o-2")
    assert r.kinds("o-2") == ["passed"]
    assert r.state()["state"] == "CLOSED"
    assert failures(r) == 0


def test_a_gateway_that_was_never_there_blocks_without_an_incident():
    r = rig()
    r.executor.usable = False
    r.executor.join()
    r.wait(30)
    assert r.state()["conditions"] == ["broker_disconnected"]
    assert (r.state()["state"], failures(r)) == ("CLOSED", 0)
    r.executor.usable = True
    r.executor.lease()
    assert failures(r) == 0
    blip(r, 1)
    assert failures(r) == 1, "now that it has been there, a loss is an incident"


def test_a_loss_shorter_than_five_seconds_blocks_and_counts_as_one_failure_when_it_ends():
    r = trading()
    r.executor.usable = False
    r.executor.lease()
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"
    assert r.state()["trading_allowed"] is False
    r.wait(4.9)
    assert (r.state()["state"], failures(r)) == ("CLOSED", 0)
    r.executor.usable = True
    r.executor.lease()
    assert (r.state()["state"], failures(r)) == ("CLOSED", 1)
    assert r.state()["trading_allowed"] is True


def test_five_short_losses_in_a_minute_open():
    r = trading()
    for _ in range(5):
        blip(r, 1)
        r.wait(1)
    assert r.state()["state"] == "OPEN"


def test_a_loss_of_exactly_five_seconds_trips_and_counts_as_nothing_else():
    r = trading()
    r.executor.usable = False
    r.executor.lease()
    r.wait(4.75, step=0.25)
    r.clock.advance(0.25, ns=-1)
    r.executor.lease()
    r.poll()
    assert r.state()["state"] == "CLOSED"
    r.clock.advance(ns=1)
    r.poll()
    assert r.state()["state"] == "OPEN"
    assert "broker_disconnected" in r.state()["reason"]
    assert r.state()["latched"] is False
    assert failures(r) == 0


def test_a_loss_that_is_seen_late_trips_also_if_its_end_is_the_first_that_is_heard():
    r = trading()
    r.executor.usable = False
    r.executor.lease()
    r.clock.advance(2.9)
    r.executor.lease()
    r.clock.advance(2.2)
    r.executor.usable = True
    r.executor.lease()
    assert r.state()["state"] == "OPEN"


def test_open_does_not_end_while_a_condition_holds_and_half_opens_when_it_is_over():
    r = trading()
    r.executor.usable = False
    r.executor.lease()
    r.wait(400)
    assert r.state()["state"] == "OPEN"
    assert r.state()["retry_at"] is None
    r.executor.usable = True
    r.executor.lease()
    assert r.state()["state"] == "HALF_OPEN"


def test_after_a_reset_the_same_loss_blocks_on_but_trips_no_second_time():
    r = trading()
    r.executor.usable = False
    r.executor.lease()
    r.wait(6)
    assert r.ask("reset", reason="we know")["state"] == "CLOSED"
    r.wait(30)
    assert r.state()["state"] == "CLOSED"
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"
    r.executor.usable = True
    r.executor.lease()
    assert failures(r) == 0
    blip(r, 6)
    assert r.state()["state"] == "OPEN", "the next loss is another one"


def test_a_silent_executor_is_a_condition_after_three_seconds_and_a_trip_after_three_more():
    r = trading()
    r.wait(2.75, step=0.25, leases=False)
    r.clock.advance(0.25, ns=-1)
    r.poll()
    assert r.state()["conditions"] == []
    r.clock.advance(ns=1)
    r.poll()
    assert r.state()["conditions"] == ["executor_silent"]
    assert r.state()["state"] == "CLOSED"
    r.wait(2.9, leases=False)
    assert r.state()["state"] == "CLOSED"
    r.wait(0.1, leases=False)
    assert r.state()["state"] == "OPEN"


def test_an_executor_that_restarts_within_three_seconds_is_no_incident():
    r = trading()
    r.wait(2.5, leases=False)
    r.executor = Executor(r, executor_id="exec-2", peer=b"peer-2")
    r.executor.usable = False
    r.executor.hello()
    r.executor.joined()
    r.wait(2)
    r.executor.usable = True
    r.executor.lease()
    assert (r.state()["state"], failures(r)) == ("CLOSED", 0)
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]


def test_an_executor_that_is_back_after_four_seconds_counts_as_one_failure():
    r = trading()
    r.wait(4, leases=False)
    r.executor = Executor(r, executor_id="exec-2", peer=b"peer-2")
    r.executor.join()
    assert (r.state()["state"], failures(r)) == ("CLOSED", 1)


def test_an_executor_that_only_says_hello_is_silent():
    r = trading()
    for _ in range(8):
        r.executor.hello()
        r.wait(0.5)
    assert "executor_silent" in r.state()["conditions"]
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"
    r.wait(3)
    assert r.state()["state"] == "OPEN"


def test_an_executor_that_dies_right_after_its_first_hello_is_noticed():
    r = rig()
    r.executor.join()
    r.executor.hello()
    r.wait(3.1)
    assert "executor_silent" in r.state()["conditions"]


def test_a_stalled_executor_has_to_say_hello_again():
    r = trading()
    r.wait(3.5, leases=False)
    welcomes = len(r.sent(Welcome))
    r.executor.lease()
    assert "executor_silent" in r.state()["conditions"], "a heartbeat alone does not end it"
    r.executor.join()
    assert len(r.sent(Welcome)) == welcomes + 1
    assert r.state()["conditions"] == []


def test_a_journal_that_cannot_be_written_blocks_and_counts_like_any_condition():
    r = trading()
    r.step(JournalSeen("disk full"))
    r.submit("o-1")
    assert r.last("o-1")["code"] == "condition"
    assert "disk full" in r.last("o-1")["reason"]
    r.wait(1)
    r.step(JournalSeen(None))
    assert failures(r) == 1
    r.step(JournalSeen("disk full"))
    r.wait(5)
    assert r.state()["state"] == "OPEN"


def test_a_condition_while_open_is_named_as_what_must_end_first():
    r = trading()
    open_by_rejections(r)
    r.executor.usable = False
    r.executor.lease()
    r.submit("o-1", "beta")
    assert r.last("o-1")["code"] == "condition"


def test_a_connection_that_the_executor_renews_on_purpose_blocks_and_does_not_count():
    r = trading()
    r.executor.planned = True
    blip(r, 2)
    assert (r.state()["state"], failures(r)) == ("CLOSED", 0)


def test_a_renewal_that_fails_is_an_incident_from_then_on():
    r = trading()
    r.executor.usable, r.executor.planned = False, True
    r.executor.lease()
    r.wait(10)
    assert r.state()["state"] == "CLOSED"
    r.executor.planned = False
    r.executor.lease()
    r.wait(4.9)
    assert r.state()["state"] == "CLOSED"
    r.wait(0.1)
    assert r.state()["state"] == "OPEN"
