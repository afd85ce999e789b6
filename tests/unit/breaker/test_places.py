"""Who has a place among the strategies: whoever fills them is refused, and nobody else."""

import pytest

from services.breaker.circuits.scopes import Unreadable
from tests.unit.breaker.harness import BUY, Executor, Rig, trading, wall_ns_of

ATTACKER, HONEST, ANOTHER = "pid 1", "pid 2", "pid 3"


def filled(r, order_id, strategy_id, sender=HONEST):
    """An honest strategy trades, and then rests."""
    r.submit(order_id, strategy_id, sender=sender)
    r.executor.filled(order_id, strategy_id)


def conflicting(r, number, *, of=None):
    """A strategy of a name that was never heard sends one id with two contents, which latches it."""
    name, order_id = f"x-{number}", of or f"x-{number}"
    if not of:
        r.submit(order_id, name, sender=ATTACKER)
        r.executor.filled(order_id, name)
    r.submit(order_id, name, sender=ATTACKER, protect=True)


def places(r):
    return set(r.stage.core.scopes.strategies)


@pytest.mark.parametrize("of", [None, "h-0"], ids=["ids that passed", "an id of another"])
def test_names_with_a_conflicting_id_each_shut_out_nobody_else(of):
    r = trading(max_strategies=10)
    filled(r, "h-0", "honest")
    for number in range(200):
        conflicting(r, number, of=of)
    assert "honest" in places(r), "it was there before, and rests"
    r.submit("h-1", "honest", sender=HONEST)
    assert r.kinds("h-1") == ["passed"]
    for number in range(4):
        r.submit(f"n-{number}", f"new-{number}", sender=ANOTHER)
        assert r.kinds(f"n-{number}") == ["passed"]


@pytest.mark.parametrize("of", [None, "h-0"], ids=["ids that passed", "an id of another"])
def test_they_do_not_after_a_restart_and_a_reset_either(of):
    r = trading(max_strategies=10)
    filled(r, "h-0", "honest")
    for number in range(50):
        conflicting(r, number, of=of)
    r.start()
    r.executor.join()
    r.ask("reset", reason="go on")
    r.submit("h-1", "honest", sender=HONEST)
    assert r.kinds("h-1") == ["passed"]
    for number in range(4):
        filled(r, f"n-{number}", f"new-{number}", sender=ANOTHER)
        assert "passed" in r.kinds(f"n-{number}")


def test_a_program_with_more_names_than_places_has_its_own_make_room():
    r = trading(max_strategies=4)
    filled(r, "h-0", "honest")
    for number in range(20):
        filled(r, f"x-{number}", f"x-{number}", sender=ATTACKER)
    assert places(r) == {"honest", "x-17", "x-18", "x-19"}


def test_a_newcomer_takes_from_who_has_more_and_what_waited_there_is_answered():
    r = trading(max_strategies=4, window=1)
    r.submit("o-0", "first", sender=ATTACKER)
    for number in range(1, 4):
        r.submit(f"o-{number}", f"x-{number}", sender=ATTACKER)
    r.submit("h-0", "honest", sender=HONEST)
    assert r.last("o-1")["code"] == "too_many_strategies"
    assert "another program" in r.last("o-1")["reason"]
    r.submit("o-9", "x-9", sender=ATTACKER)
    assert r.last("o-9")["code"] == "too_many_strategies", "who fills the table is refused"
    r.executor.accepted("o-0", "first")
    r.executor.accepted("o-2", "x-2")
    r.executor.accepted("o-3", "x-3")
    assert r.kinds("h-0") == ["passed"]


def test_orders_at_ib_keep_their_place_whoever_needs_it():
    r = trading(max_strategies=2)
    for number in range(2):
        r.submit(f"o-{number}", f"x-{number}", sender=ATTACKER)
        r.executor.accepted(f"o-{number}", f"x-{number}")
    r.submit("h-0", "honest", sender=HONEST)
    assert r.last("h-0")["code"] == "too_many_strategies"
    r.executor.cancelled("o-0", "x-0")
    r.submit("h-1", "honest", sender=HONEST)
    assert r.kinds("h-1") == ["passed"]


def test_a_circuit_that_made_room_comes_back_open_latched_and_can_be_reset_while_it_rests():
    r = trading(max_strategies=2)
    conflicting(r, 0)
    filled(r, "a-0", "a", sender=ATTACKER)
    filled(r, "b-0", "b", sender=ATTACKER)
    assert "x-0" not in places(r)
    r.start()
    r.executor.join()
    r.submit("x-0-again", "x-0", sender=ATTACKER)
    assert r.last("x-0-again")["code"] == "latched"
    filled(r, "c-0", "c", sender=ATTACKER)
    filled(r, "d-0", "d", sender=ATTACKER)
    assert "x-0" not in places(r)
    assert r.ask("reset", scope="strategy:x-0", reason="looked at it")["state"] == "CLOSED"
    r.submit("x-0-last", "x-0", sender=ATTACKER)
    assert r.kinds("x-0-last") == ["passed"]


def test_a_resting_circuit_is_reset_while_a_long_queue_is_answered_though_it_takes_the_place_of_who_waits():
    r = trading(max_strategies=4, window=1, max_orders_per_second=10_000)
    filled(r, "z-0", "z")
    r.submit("z-0", "z", sender=HONEST, protect=True)
    r.submit("out", "first", sender=ATTACKER)
    waiting = [(f"x-{number}-{each}", f"x-{number}") for number in (1, 2, 3) for each in range(60)]
    for order_id, strategy_id in waiting:
        r.submit(order_id, strategy_id, sender=ATTACKER)
    assert "z" not in places(r)
    r.ask("trip", envelope="a", reason="stop")
    assert r.stage.has_more_to_do()
    assert r.ask("reset", scope="strategy:z", reason="looked")["state"] == "CLOSED"
    left = {"x-1", "x-2", "x-3"} - places(r)
    assert len(left) == 1
    assert [r.kinds(order_id) for order_id, _ in waiting] == [["blocked"]] * 180
    codes = {
        strategy_id: {r.last(order_id)["code"] for order_id, of in waiting if of == strategy_id}
        for _, strategy_id in waiting
    }
    assert {name for name, found in codes.items() if "too_many_strategies" in found} == left


def test_the_change_of_an_order_that_has_ended_is_answered_if_its_strategy_loses_its_place_before_its_turn():
    r = trading(max_strategies=251, window=300, max_orders_per_second=10_000)
    r.submit("a-0", "a", sender=HONEST)
    r.executor.accepted("a-0", "a")
    names = [f"x-{number}" for number in range(250)]
    for name in names:
        r.submit(f"{name}-0", name, sender=HONEST)
        r.executor.filled(f"{name}-0", name)
    r.wait(1, leases=False)
    for name in names:
        r.submit(f"{name}-1", name, sender=HONEST)
    fields = {"request_id": "r-1", "order_id": "a-0", "strategy_id": "a", "revision": 1}
    r.say(kind="replace", sent_ns=wall_ns_of(r.clock), order={**BUY, "lmtPrice": 11.0}, sender=HONEST, **fields)
    assert r.kinds("a-0") == ["passed", "accepted"], "it waits: no lease runs"
    r.ask("trip", envelope="a", reason="stop")
    r.executor.cancelled("a-0", "a")
    r.submit("n-1", "new", sender=ANOTHER)
    assert "a" not in places(r)
    r.wait(1)
    assert r.kinds("a-0")[2:] == ["cancelled", "request_refused"]


def test_who_was_tripped_by_a_person_is_seen_by_everybody_until_a_reset():
    r = trading(max_strategies=2)
    r.ask("trip", scope="strategy:bad", reason="stop it")
    r.start()
    r.executor.join()
    for number in range(5):
        filled(r, f"o-{number}", f"x-{number}")
    assert r.circuit("strategy:bad") is not None
    assert r.circuit("strategy:bad").get_state()["latched"]
    r.ask("reset", scope="strategy:bad", reason="looked at it")
    filled(r, "p-0", "p-0", sender=ANOTHER)
    assert r.circuit("strategy:bad") is None


@pytest.mark.long
def test_ten_thousand_names_of_nonsense_leave_a_newcomer_its_events():
    r = trading()
    r.submit("o-0", "first", sender=HONEST)
    topics = len(r.stage.core.publisher.topics)
    rows = len(r.history.seqs)
    for number in range(10_100):
        if number % 3 == 0:
            r.submit(f"bad-{number}", f"n-{number}", sender=ATTACKER, order={"action": "BUY"})
        elif number % 3 == 1:
            r.cancel(f"none-{number}", f"r-{number}", f"n-{number}")
        else:
            r.say(kind="submit", order_id=f"bad-{number}", strategy_id=f"n-{number}", contract=7)
    assert len(r.stage.core.publisher.topics) == topics
    assert len(r.history.seqs) == rows
    r.submit("h-0", "newcomer", sender=HONEST)
    r.executor.filled("h-0", "newcomer")
    told = [fields for topic, fields in r.topics if topic == "order/newcomer/"]
    assert [fields["kind"] for fields in told] == ["passed", "filled"]
    assert told[1]["seq"] == told[0]["seq"] + 1


def test_who_sends_nonsense_first_is_answered_on_its_own_topic_and_numbers_never_go_back():
    r = trading()
    for number in range(3):
        r.submit(f"bad-{number}", "new", sender=HONEST, order={"action": "BUY"})
    r.submit("other", "other", sender=ANOTHER, order={"action": "BUY"})
    r.submit("o-0", "new", sender=HONEST)
    told = [fields for topic, fields in r.topics if topic == "order/new/"]
    assert [fields["kind"] for fields in told] == ["invalid", "invalid", "invalid", "passed"]
    seqs = [fields["seq"] for fields in told]
    assert seqs == sorted(set(seqs))


def test_a_program_with_many_names_gets_every_second_place_and_not_more():
    r = trading(window=1)
    r.submit("first", "first", sender=ATTACKER)
    for number in range(6):
        r.submit(f"x-{number}", f"x-{number}", sender=ATTACKER)
    for number in range(3):
        r.submit(f"h-{number}", "honest", sender=HONEST)
    for _ in range(7):
        (order_id,) = r.stage.core.out
        r.executor.accepted(order_id, r.stage.core.orders[order_id].strategy_id)
    assert r.placed() == ["first", "h-0", "x-0", "h-1", "x-1", "h-2", "x-2", "x-3"]


def cannot_be_read(scope):
    raise Unreadable(scope)


def blocked_and_without_a_place(**settings):
    """An order of alpha was blocked, and every place is another's by now."""
    r = trading(max_strategies=1, **settings)
    r.ask("trip", reason="stop")
    r.submit("o-1")
    r.executor.fenced()
    r.ask("reset", reason="go on")
    r.submit("b-1", "beta")
    assert places(r) == {"beta"}
    return r


def test_an_order_that_lives_after_all_has_a_circuit_again_however_many_others_have():
    r = blocked_and_without_a_place()
    r.executor.accepted("o-1")
    assert r.last("o-1")["kind"] == "accepted"
    assert places(r) == {"alpha", "beta"}
    changed = {**BUY, "lmtPrice": 11.0}
    stamps = {"sent_ns": wall_ns_of(r.clock), "revision": 1}
    r.say(kind="replace", request_id="r-1", order_id="o-1", strategy_id="alpha", order=changed, **stamps)
    assert r.last("o-1")["kind"] == "request_passed"


def test_so_has_one_of_which_nobody_knows_any_more_whether_it_is_over():
    r = blocked_and_without_a_place()
    r.executor.unknown("o-1", twin=701)
    assert r.last("o-1")["kind"] == "unknown"
    assert places(r) == {"alpha", "beta"}


def test_a_fill_that_came_while_the_journal_could_not_be_asked_is_told_when_it_comes_again(monkeypatch):
    r = blocked_and_without_a_place()
    before = r.kinds("o-1")
    with monkeypatch.context() as broken:
        broken.setattr(r.history, "find_resting_circuit", cannot_be_read)
        r.executor.filled("o-1", shares=40.0)
    assert r.kinds("o-1") == before
    r.executor.send(r.executor.seq)
    assert (r.last("o-1")["kind"], r.last("o-1")["cum_qty"]) == ("filled", 40.0)
    assert places(r) == {"alpha", "beta"}


@pytest.mark.parametrize("how", ["filled", "cancelled", "rejected"])
def test_the_end_at_ib_of_an_order_that_no_circuit_admitted_is_told_and_takes_no_place(how):
    r = blocked_and_without_a_place()
    getattr(r.executor, how)("o-1")
    assert r.last("o-1")["kind"] == how
    assert places(r) == {"beta"}
    assert r.circuit().get_state()["failure_count"] == 0
    assert r.history.find_order("o-1").has_passed(), "its id is never free again"


def test_it_has_its_place_after_a_restart_too_also_if_the_journal_has_no_circuit_of_its_strategy():
    r = blocked_and_without_a_place()
    r.executor.unknown("o-1", twin=701)
    # As a journal of an earlier version may be.
    r.history.circuits["strategy:alpha"] = None
    again = Rig(r.settings, r.clock, r.history)
    assert places(again) == {"alpha", "beta"}
    again.executor = Executor(again)
    again.executor.seq = r.executor.seq
    again.executor.join(known=["o-1", "b-1"])
    again.executor.accepted("o-1")
    assert again.last("o-1")["kind"] == "accepted"
    assert places(again) == {"alpha", "beta"}


def test_an_order_that_only_waits_for_the_answer_to_its_cancel_keeps_no_place():
    r = trading(max_strategies=1)
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.cancel("o-1", "c-1")
    r.executor.filled("o-1")
    assert list(r.stage.core.orders) == ["o-1"], "it stays in memory until its cancel is answered"
    r.submit("b-1", "beta")
    assert places(r) == {"beta"}
    r.executor.cancel_failed("o-1", "c-1")
    assert r.last("o-1")["kind"] == "cancel_failed"
