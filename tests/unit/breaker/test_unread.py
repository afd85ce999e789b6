"""A journal that does not tell: what depends on it is left undone whole, all else goes on, and nothing ends."""

from typing import Any

import pytest

from orderfuse.bus.codec import DecodeError
from orderfuse.bus.events import Cancelled, Commission, Rejected, Replaced, ReplaceFailed
from services.breaker.circuits.scopes import Unreadable
from services.breaker.inputs import (
    Ending,
    FromControl,
    JournalSeen,
    Measured,
    Missed,
    Started,
    StopSeen,
    Tick,
    Undeliverable,
    UnreadableFeedback,
    UnreadableOrder,
)
from services.wire.dispatch import CancelOrder, Fence, Settle
from services.wire.feedback import AllCancelled
from tests.unit.breaker.harness import (
    BUY,
    STOCK,
    Executor,
    MemoryHistory,
    Rig,
    filled,
    now_of,
    open_by_rejections,
    portrait,
    settings_of,
    wall_ns_of,
)
from tests.unit.breaker.test_brackets import LEGS, bracket, cancels, of
from tests.unit.breaker.test_dead_man import heartbeat

SAYS = "the journal in memory cannot be read: disk I/O error"


class Torn(MemoryHistory):
    """From question number `fails_from` on, the disk does not tell."""

    asked, fails_from = 0, None

    def _question(self):
        self.asked += 1
        if self.fails_from is not None and self.asked >= self.fails_from:
            raise Unreadable(SAYS)

    def find_order(self, order_id):
        self._question()
        return super().find_order(order_id)

    def find_request(self, request_id):
        self._question()
        return super().find_request(request_id)

    def find_resting_circuit(self, scope):
        self._question()
        return super().find_resting_circuit(scope)

    def knows_execution(self, order_id, kind, exec_id):
        self._question()
        return super().knows_execution(order_id, kind, exec_id)

    def tear(self, at=1):
        self.asked, self.fails_from = 0, at

    def mend(self):
        self.fails_from = None


def torn(**settings):
    r = Rig(settings_of(**settings))
    r = Rig(r.settings, r.clock, Torn(r.clock))
    r.executor.join()
    return r


def with_a_past(*, has_room=False):
    """Of alpha all has ended, and its circuit rests: beta has the only place, which it `has_room` to give away."""
    r = torn(max_strategies=1, window=3)
    bracket(r)
    for order_id in ("entry", "target", "stop"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    r.executor.filled("target")
    r.executor.cancelled("stop")
    r.submit("good")
    r.executor.filled("good")
    r.submit("bad")
    r.executor.rejected("bad")
    r.cancel("good", "c-0")
    r.submit("b-1", "beta")
    r.executor.accepted("b-1", "beta")
    assert set(r.stage.core.scopes.strategies) == {"beta"}
    assert set(r.stage.core.orders) == {"b-1"}
    # Another journal: of what it lists, the breaker has to find out whether it was told.
    r.executor = Executor(r, executor_id="exec-2", journal_id="journal-2", peer=b"peer-1")
    r.wait(4, leases=False)
    r.executor.join(known=["b-1"])
    r.wait(1)
    if has_room:
        r.executor.filled("b-1", "beta")
    return r


def replace(r, order_id, strategy_id, request_id="r-1"):
    fields = {"request_id": request_id, "order_id": order_id, "strategy_id": strategy_id, "revision": 1}
    r.say(kind="replace", sent_ns=wall_ns_of(r.clock), order={**BUY, "lmtPrice": 11.0}, **fields)


CAN_WAIT = {
    "a new order": lambda r: r.submit("n-1", "gamma"),
    "a new bracket": lambda r: r.submit("n-1", "gamma", attached=LEGS),
    "an order sent again": lambda r: r.submit("good"),
    "an id used for another order": lambda r: r.submit("good", order={**BUY, "lmtPrice": 9.0}),
    "a leg's id used for an order": lambda r: r.submit("stop"),
    "a cancel of what has ended": lambda r: r.cancel("good", "c-1"),
    "a cancel of nothing": lambda r: r.cancel("n-1", "c-1"),
    "a cancel of what works": lambda r: r.cancel("b-1", "c-1", "beta"),
    "a replace": lambda r: replace(r, "b-1", "beta"),
    "a replace of what has ended": lambda r: replace(r, "good", "alpha"),
    "it lives after all": lambda r: r.executor.accepted("bad"),
    "a leg lives after all": lambda r: r.executor.accepted("stop"),
    "a part was filled": lambda r: r.executor.filled("bad", shares=40.0),
    "all was filled": lambda r: r.executor.filled("bad"),
    "a leg was filled": lambda r: r.executor.filled("stop"),
    "a late failure": lambda r: r.executor.rejected("good"),
    "a leg's late failure": lambda r: r.executor.rejected("target"),
    "it was cancelled": lambda r: r.executor.cancelled("bad"),
    "it was not sent": lambda r: r.executor.not_placed("bad"),
    "nobody knows": lambda r: r.executor.unknown("bad", twin=701),
    "its bytes have left": lambda r: r.executor.written("bad"),
    "a status": lambda r: r.executor.working("bad", "Submitted"),
    "a commission": lambda r: r.executor.tell(
        Commission(**of("good"), exec_id="e-good-100", commission=1.0, currency="USD", realized_pnl=None)
    ),
    "no cancel": lambda r: r.executor.cancel_failed("good", "c-0"),
    "a change was made": lambda r: r.executor.tell(Replaced(**of("good"), request_id="r-0")),
    "a change was not made": lambda r: r.executor.tell(ReplaceFailed(**of("good"), request_id="r-0", reason="no")),
    "of nobody's order": lambda r: r.executor.filled("stranger", "delta", shares=40.0),
    "no change of nobody's order": lambda r: r.executor.tell(
        ReplaceFailed(order_id="stranger", strategy_id="delta", request_id="r-0", reason="no")
    ),
    "a reset": lambda r: r.ask("reset", scope="strategy:alpha", reason="x"),
    "a reported failure": lambda r: r.ask("report", scope="strategy:alpha", what="failure", name="x", reason="x"),
    "a resolve": lambda r: r.ask("resolve", order_id="good", **{"as": "cancelled"}, reason="x"),
    "a person's cancel": lambda r: r.ask("cancel", order_id="b-1", reason="x"),
    "a person's cancel of what has ended": lambda r: r.ask("cancel", order_id="good", reason="x"),
}
GOES_ON = {
    "the start": lambda r: r.step(Started()),
    "time": lambda r: r.step(Tick()),
    "the file STOP": lambda r: r.step(StopSeen("stop", "me")),
    "no message": lambda r: r.step(UnreadableOrder(DecodeError("bad_field", "x", {"order_id": "x"}))),
    "no fact": lambda r: r.step(UnreadableFeedback(DecodeError("x", "x", {"journal_id": "journal-2", "seq": 1}))),
    "an order that did not leave": lambda r: r.step(Undeliverable("b-1", "gone")),
    "a message that did not leave": lambda r: r.step(Missed(b"peer-1")),
    "a journal that fails": lambda r: r.step(JournalSeen("full")),
    "a journal that works": lambda r: r.step(JournalSeen(None)),
    "health": lambda r: r.step(Measured({}, 0.0, None, {}, None)),
    "the end": lambda r: r.step(Ending()),
    "a heartbeat": lambda r: heartbeat(r, 5000),
    "hello": lambda r: r.executor.hello(),
    "joined": lambda r: r.executor.joined(known=["b-1"]),
    "a lease": lambda r: r.executor.lease(),
    "a fence taken": lambda r: r.executor.fenced(),
    "IB has tripped": lambda r: r.executor.tripped(1, "x"),
    "all was cancelled": lambda r: r.executor.tell(AllCancelled(number=1)),
    "a cancel sent again": lambda r: r.cancel("good", "c-0"),
    "status": lambda r: r.ask("status"),
    "a trip": lambda r: r.ask("trip", reason="x", cancel="ours_with_protective"),
    "a strategy's trip": lambda r: r.ask("trip", scope="strategy:beta", reason="x", cancel="all"),
    "accept": lambda r: r.ask("accept", what="drift", reason="x", who="me"),
}


def input_of(r, act):
    """What this would give to the stage."""
    taken: list[Any] = []
    r.step = taken.append
    act(r)
    del r.step
    (given,) = taken
    return given


@pytest.mark.parametrize(
    ("what", "has_room"),
    [(what, False) for what in CAN_WAIT] + [("a new order", True), ("an id used for another order", True)],
)
def test_what_the_journal_does_not_tell_is_left_undone_before_anything_has_changed(what, has_room):
    asked, left_undone = 1, 0
    while True:
        r = with_a_past(has_room=has_room)
        given = input_of(r, CAN_WAIT[what])
        before, placed = portrait(r.stage), len(r.dispatched)
        r.history.tear(at=asked)
        batch = r.stage.step(given, now_of(r.clock))
        if not batch.unread:
            break
        r.history.mend()
        left_undone += 1
        if isinstance(given, FromControl):
            (reply,) = batch.replies
            assert (reply.fields["code"], reply.fields["error"]) == ("internal", SAYS)
        else:
            assert batch.replies == []
            assert r.stage.core.dropped.pop("journal_unreadable") == 1
        assert portrait(r.stage) == before
        assert (batch.unread, batch.saves_something(), batch.publications, batch.dispatch) == (SAYS, False, [], [])
        again = r.stage.step(given, now_of(r.clock))
        assert not again.unread
        assert again.publications or again.dispatch or again.replies or again.saves_something()
        asked += 1
    assert left_undone > 0, "it has asked nothing"
    assert len(r.dispatched) == placed


@pytest.mark.parametrize("what", GOES_ON)
def test_all_else_goes_on_as_if_the_journal_could_be_read(what):
    def done(*, is_torn):
        r = with_a_past()
        given = input_of(r, GOES_ON[what])
        if is_torn:
            r.history.tear()
        return portrait(r.stage.step(given, now_of(r.clock)))

    assert done(is_torn=True) == done(is_torn=False)


@pytest.mark.parametrize("how", ["silence", "stop", "trip"])
def test_orders_are_cancelled_and_what_protects_a_fill_stays_whatever_the_journal_tells(how):
    r = torn(window=4, on_trip="cancel")
    bracket(r)
    r.submit("other")
    for order_id in ("entry", "target", "stop", "other"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    heartbeat(r, 5000)
    r.history.tear()
    match how:
        case "silence":
            r.wait(6)
        case "stop":
            r.step(StopSeen("stop", "me"))
            r.wait(1.5)
        case _:
            r.ask("trip", reason="stop")
    assert cancels(r) == ["other"]
    assert how == "silence" or r.state()["latched"]


def test_a_failure_of_a_leg_counts_for_its_bracket_long_after_the_parent_was_filled():
    r = torn()
    bracket(r)
    r.executor.accepted("entry")
    r.executor.filled("entry")
    r.history.tear()
    r.executor.tell(Rejected(**of("target"), ib_code=201, reason="no"), "failure")
    assert r.unread == []
    assert r.state("strategy:alpha")["failures"] == 1


def test_a_fill_of_a_leg_that_the_journal_could_not_be_asked_of_is_told_once():
    r = torn()
    bracket(r)
    for order_id in ("entry", "target", "stop"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    r.history.tear()
    r.executor.filled("target")
    r.history.mend()
    r.executor.send(r.executor.seq)
    assert r.kinds("target").count("filled") == 1


def test_a_leg_without_an_answer_becomes_unknown_long_after_the_parent_was_filled():
    r = torn()
    bracket(r)
    r.executor.accepted("entry")
    r.executor.filled("entry")
    r.history.tear()
    r.wait(6)
    assert r.unread == []
    assert [r.kinds(leg) for leg in ("target", "stop")] == [["passed", "unknown"]] * 2
    assert r.state("strategy:alpha")["failures"] == 1, "once, for the bracket"


def test_time_passes_for_every_order_whatever_the_journal_tells_also_where_a_change_outlives_its_order():
    r = torn(max_strategies=2, window=3)
    r.submit("o-1")
    r.executor.accepted("o-1")
    replace(r, "o-1", "alpha")
    r.executor.filled("o-1")
    for strategy_id in ("beta", "gamma"):
        r.submit(f"{strategy_id}-1", strategy_id)
    assert set(r.stage.core.scopes.strategies) == {"alpha", "beta"}, "the change may still fail, and counts there"
    r.history.tear()
    r.wait(6)
    assert r.unread == []
    assert r.stage.core.out == set()
    assert r.kinds("beta-1") == ["passed", "unknown"]
    assert r.state("strategy:alpha")["failures"] == 1
    r.submit("beta-2", "beta")
    r.history.mend()
    r.submit("gamma-2", "gamma")
    assert set(r.stage.core.scopes.strategies) == {"beta", "gamma"}, "it has been counted"


def test_nobody_loses_a_place_before_the_journal_has_said_whether_the_newcomers_circuit_rests():
    r = with_a_past(has_room=True)
    scopes = r.stage.core.scopes
    r.history.tear()
    with pytest.raises(Unreadable):
        scopes.open_for("alpha")
    assert set(scopes.strategies) == {"beta"}


# Which orders are kept for that.


def test_a_parent_stays_in_memory_as_long_as_a_leg_and_no_longer():
    r = torn()
    bracket(r)
    for order_id in ("entry", "target", "stop"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    r.executor.filled("target")
    assert set(r.stage.core.orders) == {"entry", "stop"}
    r.cancel("stop", "c-1")
    r.executor.tell(filled("stop"), "success")
    assert set(r.stage.core.orders) == {"entry", "stop"}, "the cancel of the leg has no answer yet"
    r.executor.cancel_failed("stop", "c-1")
    assert r.stage.core.orders == {}


def test_a_leg_that_lives_after_all_brings_its_parent_back_until_it_ends():
    r = torn()
    bracket(r)
    for order_id in ("entry", "target", "stop"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    for leg in ("target", "stop"):
        r.executor.tell(Cancelled(**of(leg), filled=0, remaining=100, reason="202"), "neutral")
    assert r.stage.core.orders == {}
    r.executor.accepted("stop")
    assert set(r.stage.core.orders) == {"entry", "stop"}
    r.ask("trip", reason="stop", cancel="ours")
    assert cancels(r) == [], "it protects what was filled"
    r.executor.filled("stop")
    assert r.stage.core.orders == {}


def test_a_start_asks_nothing_and_knows_the_parent_of_a_leg_that_lives():
    r = torn()
    bracket(r)
    for order_id in ("entry", "target", "stop"):
        r.executor.accepted(order_id)
    r.executor.filled("entry")
    # As a journal of an earlier version may be.
    r.history.circuits["strategy:alpha"] = None
    r.history.tear()
    again = Rig(r.settings, r.clock, r.history)
    assert r.history.asked == 0
    assert set(again.stage.core.orders) == {"entry", "target", "stop"}
    assert set(again.stage.core.scopes.strategies) == {"alpha"}
    again.executor = Executor(again)
    again.executor.seq = r.executor.seq
    again.executor.join(known=["target", "stop"])
    again.ask("trip", reason="stop", cancel="ours")
    assert again.sent(CancelOrder) == []
    for leg in ("target", "stop"):
        again.executor.filled(leg)
    assert again.unread == []
    assert again.stage.core.orders == {}


# The executor asks of what it doubts.


def test_what_a_person_said_while_the_executor_was_away_is_told_as_soon_as_the_journal_can_be_asked():
    r = torn()
    for order_id in ("o-1", "o-2", "o-3"):
        r.submit(order_id)
    r.wait(6)
    for order_id in ("o-1", "o-2"):
        r.ask("resolve", order_id=order_id, **{"as": "not_placed"}, reason="looked")
    r.cancel("o-3", "c-1")
    told, asked = len(r.sent(Settle)), len(r.sent(CancelOrder))
    r.executor.in_doubt = ["o-1", "o-2", "o-3"]
    r.history.tear(at=2)
    r.executor.join(known=["o-1", "o-2", "o-3"])
    assert [each.order_id for each in r.sent(Settle)[told:]] == ["o-1"]
    assert r.unread == [SAYS]
    assert [each.order_id for each in r.sent(CancelOrder)[asked:]] == ["o-3"], "all else of joining has gone on"
    r.wait(9.5)
    assert len(r.unread) == 1
    r.wait(1)
    assert len(r.unread) == 2
    r.history.mend()
    r.wait(10)
    assert [each.order_id for each in r.sent(Settle)[told:]] == ["o-1", "o-2"]


@pytest.mark.parametrize("how", ["by a person", "as its fence was forgotten"])
def test_a_strategy_that_rests_is_tripped_all_the_same(how):
    r = with_a_past()
    r.history.tear()
    fences = len(r.sent(Fence))
    if how == "by a person":
        r.ask("trip", scope="strategy:alpha", reason="x")
    else:
        r.executor.hello(fences={"strategy:alpha": 10**15})
    assert r.circuit("strategy:alpha").get_state()["latched"]
    assert len(r.sent(Fence)) > fences


def test_no_order_passes_while_nobody_knows_whether_its_id_was_used():
    r = torn()
    r.history.tear()
    r.submit("o-1")
    r.submit("o-1", "beta", contract=STOCK)
    assert (r.placed(), r.kinds("o-1"), r.unread) == ([], [], [SAYS, SAYS])
    r.history.mend()
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]
    open_by_rejections(r, prefix="x")
