"""Who has a place among the strategies: whoever fills them is refused, and nobody else."""

import pytest

from tests.breaker.harness import trading

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


def test_ten_thousand_names_of_nonsense_leave_a_newcomer_its_events():
    r = trading()
    r.submit("o-0", "first", sender=HONEST)
    topics = len(r.stage.core.bulletin.topics)
    rows = len(r.history.seqs)
    for number in range(10_100):
        if number % 3 == 0:
            r.submit(f"bad-{number}", f"n-{number}", sender=ATTACKER, order={"action": "BUY"})
        elif number % 3 == 1:
            r.cancel(f"none-{number}", f"r-{number}", f"n-{number}")
        else:
            r.say(kind="submit", order_id=f"bad-{number}", strategy_id=f"n-{number}", contract=7)
    assert len(r.stage.core.bulletin.topics) == topics
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
