"""A global cancel is owed until it is done, given up or ended."""

from services.wire.dispatch import EndGlobalCancel, GlobalCancel, Welcome
from services.wire.feedback import AllCancelled
from tests.unit.breaker.harness import Executor, Rig, open_by_rejections, trading


def owed(r):
    return [(each["what"], each["scope"], each["standing"]) for each in r.ask("status")["owed"]]


def tripped(**settings):
    r = trading(**settings)
    r.ask("trip", reason="stop", cancel="all", envelope="trip")
    return r


def test_nothing_is_owed_without_one():
    assert owed(trading()) == []


def test_it_is_owed_until_the_executor_says_that_ib_lists_none_of_the_orders():
    r = tripped()
    (sent,) = r.sent(GlobalCancel)
    assert owed(r) == [("global_cancel", "system", "owed")]
    r.executor.tell(AllCancelled(number=sent.number))
    assert owed(r) == [("global_cancel", "system", "done")]
    assert r.sent(EndGlobalCancel) == []


def test_an_executor_that_joins_later_is_told_of_it_under_the_same_number():
    r = tripped()
    (first,) = r.sent(GlobalCancel)
    r.wait(3.1, leases=False)
    r.executor = Executor(r, executor_id="exec-2", peer=b"peer-2")
    r.executor.join()
    assert r.sent(Welcome)[-1].owed == first.number
    assert [message.number for message in r.sent(GlobalCancel)] == [first.number] * 2
    assert r.sent(GlobalCancel)[-1].left_ms < first.left_ms


def test_a_breaker_that_starts_again_goes_on_owing_it():
    r = tripped()
    (first,) = r.sent(GlobalCancel)
    again = Rig(r.settings, r.clock, r.history)
    again.executor = Executor(again)
    assert owed(again) == [("global_cancel", "system", "owed")]
    again.executor.join()
    assert again.sent(GlobalCancel) == [first]


def test_after_ten_minutes_it_is_given_up_and_status_says_so():
    r = tripped()
    (sent,) = r.sent(GlobalCancel)
    r.wait(599.9, step=1)
    assert owed(r) == [("global_cancel", "system", "owed")]
    r.wait(0.2)
    assert owed(r) == [("global_cancel", "system", "given_up")]
    assert [message.number for message in r.sent(EndGlobalCancel)] == [sent.number]
    r.executor.join()
    assert r.sent(Welcome)[-1].owed == 0
    assert len(r.sent(GlobalCancel)) == 1


def test_a_reset_ends_it_and_says_so():
    r = tripped()
    reply = r.ask("reset", reason="go")
    assert "not sent again" in reply["note"]
    assert owed(r) == [("global_cancel", "system", "ended")]
    assert len(r.sent(EndGlobalCancel)) == 1


def test_a_reset_of_another_circuit_ends_nothing():
    r = tripped()
    r.submit("a-1")
    assert "note" not in r.ask("reset", reason="go", scope="strategy:alpha")
    assert owed(r) == [("global_cancel", "system", "owed")]


def test_it_ends_when_its_circuit_is_open_no_longer():
    r = trading(on_trip="cancel_all")
    open_by_rejections(r)
    assert owed(r) == [("global_cancel", "system", "owed")]
    r.wait(301, step=1)
    assert r.state()["state"] == "HALF_OPEN"
    assert owed(r) == [("global_cancel", "system", "ended")]


def test_a_later_one_takes_its_place_with_a_higher_number():
    r = tripped()
    r.ask("trip", reason="again", cancel="all", envelope="trip")
    first, second = r.sent(GlobalCancel)
    assert second.number > first.number
    r.executor.tell(AllCancelled(number=first.number))
    assert owed(r) == [("global_cancel", "system", "owed")]


def test_a_wall_clock_that_jumps_changes_nothing_for_a_breaker_that_runs():
    for days in (40, -40):
        r = tripped()
        r.clock.jump_wall(days * 86_400)
        r.wait(599, step=1)
        assert owed(r) == [("global_cancel", "system", "owed")]
        r.wait(2)
        assert owed(r) == [("global_cancel", "system", "given_up")]


def test_over_a_restart_the_time_goes_by_the_wall_clock_and_never_beyond_ten_minutes():
    for days, standing in ((-40, "owed"), (40, "given_up")):
        r = tripped()
        r.clock.jump_wall(days * 86_400)
        again = Rig(r.settings, r.clock, r.history)
        again.executor = Executor(again)
        again.executor.join()
        again.wait(590, step=1)
        assert owed(again) == [("global_cancel", "system", standing)]
        again.wait(11, step=1)
        assert owed(again) == [("global_cancel", "system", "given_up")]


def test_a_circuit_that_closed_and_opened_again_owes_nothing_of_its_earlier_life():
    r = tripped()
    r.circuit().reset()
    r.circuit().trip("once more", latch=True)
    r.poll()
    assert r.state()["state"] == "OPEN"
    assert owed(r) == [("global_cancel", "system", "ended")]


def test_that_it_is_done_is_heard_once():
    r = tripped()
    (sent,) = r.sent(GlobalCancel)
    r.executor.tell(AllCancelled(number=sent.number))
    syncs = r.syncs
    r.executor.tell(AllCancelled(number=sent.number))
    assert r.syncs == syncs, "nothing is saved anew"
