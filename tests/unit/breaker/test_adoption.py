"""Orders that outlived the journal of the executor that placed them."""

from orderfuse.bus.events import CancelFailed, Commission, Filled, Replaced, Unknown
from services.wire.dispatch import CancelOrder, Expect, ExpectedChange, Welcome
from services.wire.feedback import Adopted, AllCancelled, Tripped
from tests.unit.breaker.harness import BUY, STOCK, Executor, Rig, accepted, filled, rig, trading, wall_ns_of


def joined_anew(r, journal_id="journal-2", known=()):
    """Another executor joins, with another journal."""
    r.wait(3.1, leases=False)
    r.executor = Executor(r, executor_id="exec-2", journal_id=journal_id, peer=b"peer-2")
    r.executor.join(known)
    return r.executor


def adopted(order_id, **fields):
    found = {"contract": STOCK, "order": {**BUY}, "ib_order_id": 7, "perm_id": 700, "strategy_id": "adopted", **fields}
    return Adopted(order_id=order_id, **found)


def test_an_executor_with_another_journal_is_told_of_every_order_that_has_no_end():
    r = trading()
    for order_id in ("working", "out", "over"):
        r.submit(order_id, protect=order_id == "working")
    r.executor.accepted("working")
    r.executor.filled("over")
    joined_anew(r)
    told = {message.order_id: message for message in r.sent(Expect)}
    assert set(told) == {"working", "out"}
    working = told["working"]
    assert (working.strategy_id, working.quantity, working.accepted, working.protect) == ("alpha", 100.0, True, True)
    assert (working.ib_order_id, working.perm_id) == (7, 700)
    assert not told["out"].accepted
    assert r.kinds("out") == ["passed"], "another journal proves nothing"


def test_the_executor_that_has_the_journal_is_not():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    joined_anew(r, "journal-1")
    assert r.sent(Expect) == []


def test_a_replace_that_may_have_been_done_is_told_with_what_can_be_seen_of_it():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    changed = {**BUY, "lmtPrice": 11.0}
    fields = {"strategy_id": "alpha", "sent_ns": wall_ns_of(r.clock), "ttl_ms": 60_000, "revision": 2}
    r.say(kind="replace", request_id="r-1", order_id="o-1", order=changed, **fields)
    joined_anew(r)
    (told,) = r.sent(Expect)
    assert (told.change.request_id, told.change.revision) == ("r-1", 2)
    assert told.change.terms == {"totalQuantity": 100, "lmtPrice": 11.0}


def test_a_change_of_an_order_that_was_forgotten_is_known_when_the_executors_journal_is_lost_too():
    r = trading()
    change = ExpectedChange(request_id="r-1", revision=2, terms={"lmtPrice": 11.0})
    r.executor.tell(adopted("o-9", strategy_id="alpha", status="Submitted", change=change))
    joined_anew(r)
    (told,) = r.sent(Expect)
    assert (told.change.request_id, told.change.revision, told.change.terms["lmtPrice"]) == ("r-1", 2, 11.0)
    r.executor.tell(Replaced(order_id="o-9", strategy_id="alpha", request_id="r-1"), "success")
    assert r.last("o-9")["kind"] == "replaced"
    assert r.stage.core.orders["o-9"].order["lmtPrice"] == 11.0


def test_what_the_new_executor_finds_is_told_to_the_strategy_that_placed_it():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    executor = joined_anew(r)
    executor.tell(filled("o-1", "adopted", shares=40.0, cum=40.0), "success")
    executor.tell(Unknown(order_id="o-1", strategy_id="adopted", reason="IB lists it no longer"))
    assert r.kinds("o-1") == ["passed", "accepted", "filled", "unknown"]
    assert r.last("o-1")["strategy_id"] == "alpha"
    assert r.last("o-1")["reason"] == "IB lists it no longer"


def test_a_fill_and_its_commission_are_told_once_whichever_journal_reports_them():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    first = filled("o-1", shares=40.0, cum=40.0)
    cost = Commission(order_id="o-1", strategy_id="alpha", exec_id=first.exec_id, commission=1, currency="USD",
                      realized_pnl=None)  # fmt: skip
    r.executor.tell(first, "success")
    r.executor.tell(cost)
    executor = joined_anew(r)
    for fact in (first, cost, filled("o-1", shares=60.0, cum=100.0)):
        executor.tell(fact, "success" if isinstance(fact, Filled) else None)
    assert r.kinds("o-1") == ["passed", "accepted", "filled", "commission", "filled"]
    assert r.last("o-1")["done"]


def test_that_holds_over_a_restart_of_the_breaker_too():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    first = filled("o-1", shares=40.0, cum=40.0)
    r.executor.tell(first, "success")
    again = Rig(r.settings, r.clock, r.history)
    again.executor = Executor(again, executor_id="exec-2", journal_id="journal-2", peer=b"peer-2")
    again.executor.join()
    again.executor.tell(first, "success")
    assert again.kinds("o-1") == []


def test_an_end_that_was_told_is_not_told_again_and_a_different_one_is():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.cancelled("o-1")
    executor = joined_anew(r)
    executor.cancelled("o-1", "adopted")
    assert r.kinds("o-1") == ["passed", "accepted", "cancelled"]
    executor.cancelled("o-1", "adopted", filled=40.0)
    assert [r.last("o-1")[key] for key in ("kind", "filled")] == ["cancelled", 40.0]
    assert "supersedes" in r.last("o-1")


def test_an_order_that_ended_here_and_lives_at_ib_lives_again():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.cancelled("o-1")
    executor = joined_anew(r)
    executor.tell(accepted("o-1", "adopted"), "success")
    assert r.last("o-1")["kind"] == "accepted"
    assert "supersedes" in r.last("o-1")
    assert r.stage.core.orders["o-1"].state == "working"


def test_what_was_filled_before_is_known_although_no_execution_of_it_is_told():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    executor = joined_anew(r)
    found = accepted("o-1", "adopted")
    executor.tell(type(found)(**{**{f: getattr(found, f) for f in found.__struct_fields__}, "filled_before": 30.0}))
    assert r.last("o-1")["filled_before"] == 30.0
    assert r.stage.core.orders["o-1"].filled == 30.0


# Orders that the breaker does not know either.


def test_an_order_that_nobody_knows_is_told_as_adopted_and_named_in_status():
    r = rig()
    r.executor.join()
    r.executor.tell(adopted("lost-1"))
    r.executor.tell(accepted("lost-1", "adopted"))
    assert r.kinds("lost-1") == ["accepted"]
    assert ("order/adopted/", "accepted") in [(topic, fields["kind"]) for topic, fields in r.topics]
    assert r.ask("status")["adopted"] == ["lost-1"]
    r.executor.filled("lost-1", "adopted")
    assert r.last("lost-1")["done"]
    assert r.ask("status")["adopted"] == []


def test_what_becomes_of_an_adopted_order_moves_no_circuit():
    r = rig()
    r.executor.join()
    for number in range(10):
        r.executor.tell(adopted(f"lost-{number}"))
        r.executor.rejected(f"lost-{number}", "adopted")
    assert r.state()["state"] == "CLOSED"
    assert r.circuit("strategy:adopted") is None


def test_an_adopted_order_survives_a_restart_and_its_id_is_never_placed_again():
    r = rig()
    r.executor.join()
    r.executor.tell(adopted("lost-1"))
    r.executor.tell(accepted("lost-1", "adopted"))
    again = Rig(r.settings, r.clock, r.history)
    again.executor = Executor(again)
    again.executor.seq = r.executor.seq
    again.executor.join()
    again.submit("lost-1")
    assert again.placed() == []
    answer = again.last("lost-1")
    assert (answer["kind"], answer["conflict"]) == ("invalid", True)
    assert "at IB already" in answer["reason"]
    assert not again.circuit("strategy:alpha"), "nobody is to blame"


def test_a_person_can_cancel_an_adopted_order():
    r = rig()
    r.executor.join()
    r.executor.tell(adopted("lost-1"))
    reply = r.ask("cancel", order_id="lost-1", reason="not ours", who="ann")
    assert (reply["ok"], reply["code"]) == (True, "sent")
    (sent,) = r.sent(CancelOrder)
    assert (sent.order_id, sent.request_id) == ("lost-1", reply["request_id"])
    assert [(made.op, made.scope, made.who) for made in r.history.decisions] == [("cancel", "strategy:adopted", "ann")]


def test_a_person_can_cancel_any_order_and_is_told_why_not():
    r = trading()
    assert r.ask("cancel", order_id="nobody", reason="x")["code"] == "bad_request"
    r.submit("o-1")
    r.executor.filled("o-1")
    assert r.ask("cancel", order_id="o-1", reason="x")["code"] == "not_allowed"
    r.submit("o-2")
    r.executor.accepted("o-2")
    reply = r.ask("cancel", order_id="o-2", reason="x")
    r.executor.cancelled("o-2", request_id=reply["request_id"])
    assert r.last("o-2")["request_id"] == reply["request_id"]


def test_nobody_may_submit_or_replace_under_a_reserved_name():
    r = trading()
    for number, name in enumerate(("adopted", "operator")):
        r.submit(f"o-{number}", name)
        assert (r.last(f"o-{number}")["kind"], name in r.last(f"o-{number}")["reason"]) == ("invalid", True)
    r.executor.tell(adopted("lost-1"))
    fields = {"strategy_id": "adopted", "sent_ns": wall_ns_of(r.clock), "revision": 1}
    r.say(kind="replace", request_id="r-1", order_id="lost-1", order={**BUY, "lmtPrice": 11.0}, **fields)
    assert [e["code"] for e in r.events if e.get("request_id") == "r-1"] == ["not_yours"]
    assert r.placed() == []


def test_a_cancel_that_the_executor_cannot_carry_out_is_answered_to_the_strategy():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.cancel("o-1", "c-1")
    # An executor that does not know the order does not know whose it is either.
    fact = CancelFailed(order_id="o-1", strategy_id="", request_id="c-1", ib_code=0, reason="does not know this order")
    r.executor.tell(fact)
    assert (r.last("o-1")["kind"], r.last("o-1")["strategy_id"]) == ("cancel_failed", "alpha")


# The breaker's journal is the one that was lost.


def test_an_executor_whose_journal_is_not_known_here_is_asked_for_its_open_orders_once():
    r = rig()
    r.executor.join()
    assert r.sent(Welcome)[-1].tell_open
    r.executor.join()
    assert not r.sent(Welcome)[-1].tell_open


def lost_after(*told, taken):
    """A breaker whose journal is lost, and an executor that has told all this, up to `taken` to the one before."""
    r = rig()
    for fact in told:
        r.executor.skip(fact)
    r.executor.hello(feedback_taken=taken)
    r.executor.joined()
    r.executor.lease()
    return r


def test_what_an_earlier_breaker_has_taken_is_known_again_and_told_as_a_repeat():
    facts = (accepted("o-1"), filled("o-1", shares=40.0, cum=40.0), filled("o-1", shares=60.0, cum=100.0))
    r = lost_after(*facts, taken=2)
    assert r.sent(Welcome)[-1].feedback_after == 0
    for seq in (1, 2, 3):
        r.executor.send(seq)
    assert [(e["kind"], e.get("again", False)) for e in r.about("o-1")] == [
        ("accepted", True),
        ("filled", True),
        ("filled", False),
    ]
    r.submit("o-1")
    assert r.placed() == [], "its id is used"
    joined_anew(r).tell(facts[1], "success")
    assert r.kinds("o-1").count("filled") == 2, "another journal tells it no second time"


def test_how_an_order_stood_then_is_a_repeat_too():
    r = lost_after(adopted("o-1", strategy_id="alpha", status="Submitted"), accepted("o-2"), taken=1)
    for seq in (1, 2):
        r.executor.send(seq)
    told = [(e["order_id"], e["kind"], e.get("again", False)) for e in r.events]
    assert told == [("o-1", "accepted", True), ("o-2", "accepted", False)]


def test_that_goes_on_over_a_restart_in_the_middle_of_it():
    r = lost_after(accepted("o-1"), filled("o-1"), taken=2)
    r.executor.send(1)
    again = Rig(r.settings, r.clock, r.history)
    again.executor = Executor(again)
    again.executor.seq, again.executor.sent = 2, r.executor.sent
    again.executor.join()
    again.executor.send(2)
    assert [(e["kind"], e.get("again", False)) for e in again.about("o-1")] == [("filled", True)]


def test_a_trip_by_ib_of_an_earlier_life_is_not_played_again():
    r = lost_after(Tripped(ib_code=1300, reason="x"), AllCancelled(number=1), accepted("o-1"), taken=2)
    for seq in (1, 2, 3):
        r.executor.send(seq)
    assert r.state()["state"] == "CLOSED", "this executor has taken no fence that would latch it"
    assert r.kinds("o-1") == ["accepted"]


def test_what_was_taken_after_an_old_copy_of_the_breakers_journal_was_made_is_told_as_a_repeat():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.skip(filled("o-1", shares=40.0, cum=40.0))
    r.executor.skip(filled("o-1", shares=60.0, cum=100.0))
    r.executor.hello(feedback_taken=2)
    assert r.sent(Welcome)[-1].feedback_after == 1, "what it does not know it has to be told"
    r.executor.joined()
    for seq in (2, 3):
        r.executor.send(seq)
    assert [e.get("again", False) for e in r.about("o-1") if e["kind"] == "filled"] == [True, False]


def test_a_greeting_that_knows_of_less_than_was_taken_makes_no_repeats():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.hello(feedback_taken=0)
    assert r.stage.core.retold == {"journal-1": 0}


def test_open_orders_of_a_lost_journal_are_known_told_and_cancelled_under_their_strategy():
    r = rig()
    r.executor.join()
    r.executor.tell(adopted("o-1", strategy_id="alpha", status="Submitted", filled=40.0))
    assert r.kinds("o-1") == ["accepted"]
    assert (r.last("o-1")["strategy_id"], r.last("o-1")["filled_before"]) == ("alpha", 40.0)
    r.cancel("o-1", "c-1")
    assert [message.order_id for message in r.sent(CancelOrder)] == ["o-1"]
    assert r.ask("trip", reason="x", cancel="ours") is None
    r.executor.fenced()
    assert r.replies["t"]["cancelling"] == ["o-1"]


def test_an_open_order_that_is_in_doubt_is_unknown():
    r = rig()
    r.executor.join()
    r.executor.tell(adopted("o-1", strategy_id="alpha", doubtful=True))
    assert r.kinds("o-1") == ["unknown"]
    assert r.ask("status")["unknown"] == ["o-1"]
    reply = r.ask("resolve", order_id="o-1", reason="seen", **{"as": "cancelled"})
    assert reply["ok"]


def test_an_end_that_is_all_that_is_known_of_an_order_keeps_its_id():
    r = rig()
    r.executor.join()
    r.executor.cancelled("o-1", filled=40.0)
    assert r.kinds("o-1") == ["cancelled"]
    r.submit("o-1")
    assert (r.last("o-1")["kind"], r.last("o-1")["conflict"]) == ("invalid", True)


def test_the_answer_to_a_request_about_no_order_makes_none():
    r = rig()
    r.executor.join()
    r.executor.cancel_failed("nobody", "c-1", "")
    assert r.stage.core.orders == {}


def test_of_an_order_that_is_known_by_a_fill_alone_its_quantity_is_known():
    r = rig()
    r.executor.join()
    r.executor.filled("o-1", shares=40.0)
    joined_anew(r)
    (told,) = r.sent(Expect)
    assert (told.order_id, told.quantity) == ("o-1", 100.0)


def test_a_person_who_cancels_a_leg_that_waits_is_told_what_to_cancel():
    r = trading(window=1)
    r.submit("o-1")
    r.submit("entry", attached=[{"order_id": "stop", "order": {**BUY, "action": "SELL"}}])
    reply = r.ask("cancel", order_id="stop", reason="x")
    assert (reply["code"], "cancel entry" in reply["error"]) == ("not_allowed", True)
    assert r.kinds("stop") == ["request_refused"], "its strategy hears of it, and nothing has ended"


def test_an_order_that_waits_while_an_earlier_life_of_its_id_leaves_for_ib_is_unknown_in_time():
    r = trading(window=1)
    r.submit("before")
    r.submit("o-1", ttl_ms=60_000)
    r.executor.written("o-1")
    assert r.stage.core.queues.lengths() == {}
    assert r.stage.core.out == {"before", "o-1"}, "one too many, which nobody has let through"
    r.executor.accepted("before")
    r.submit("o-2", ttl_ms=60_000)
    assert r.placed() == ["before"]
    r.wait(6)
    assert r.last("o-1")["kind"] == "unknown"
    assert r.placed() == ["before", "o-2"]
