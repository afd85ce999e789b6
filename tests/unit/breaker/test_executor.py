"""The executor: one at a time, taken in by hello and joined; what it reports is taken once, in order."""

import pytest

from orderfuse.bus.codec import DecodeError
from services.breaker.inputs import Undeliverable, UnreadableFeedback
from services.wire.dispatch import Fence, Lease, NotWelcome, ResendFeedback, Welcome
from tests.unit.breaker.harness import Executor, accepted, filled, rig, trading


def ends(r, order_id):
    """The ends of an order that no later one supersedes."""
    replaced = {event.get("supersedes") for event in r.about(order_id)}
    return [
        event
        for event in r.about(order_id)
        if event["kind"] in ("filled", "cancelled", "rejected", "not_placed", "expired", "invalid")
        and (event["kind"] != "filled" or event["done"])
        and event["seq"] not in replaced
    ]


def restarted(r, number=2):
    """The executor's process is replaced by another one on the same journal."""
    before = r.executor
    r.executor = Executor(r, executor_id=f"exec-{number}", peer=f"peer-{number}".encode())
    r.executor.seq, r.executor.sent = before.seq, before.sent
    return r.executor


# Who may be the executor.


def test_a_second_executor_with_another_journal_is_refused_while_the_first_lives():
    r = trading()
    other = Executor(r, executor_id="other", journal_id="journal-2", peer=b"peer-o")
    r.wait(2.75, leases=False)
    other.hello()
    assert isinstance(other.answers()[-1], NotWelcome)
    other.lease()
    assert isinstance(other.answers()[-1], NotWelcome)
    r.submit("o-1")
    r.executor.lease()
    assert [peer for peer, message in r.dispatched if getattr(message, "order_id", "") == "o-1"] == [b"peer-1"]


def test_another_journals_executor_is_taken_three_seconds_after_the_last_word_of_the_first():
    r = trading()
    r.clock.advance(3, ns=-1)
    other = Executor(r, executor_id="other", journal_id="journal-2", peer=b"peer-o")
    other.hello()
    assert isinstance(other.answers()[-1], NotWelcome)
    r.clock.advance(ns=1)
    other.hello()
    assert isinstance(other.answers()[-1], Welcome)


def test_a_successor_with_the_same_journal_is_taken_at_once_and_the_one_before_has_no_say():
    r = trading()
    first = r.executor
    second = restarted(r)
    second.join()
    assert isinstance(second.answers()[-1], Lease)
    first.lease()
    assert isinstance(first.answers()[-1], NotWelcome)


def test_a_welcome_raises_the_fence_and_is_confirmed_by_joined():
    r = trading()
    fence = r.stage.core.fence
    r.executor.hello()
    assert r.sent(Welcome)[-1].fence == r.stage.core.fence == r.history.fence == fence + 1
    assert r.state()["fenced"] is False
    r.executor.joined()
    assert r.state()["fenced"] is True


def test_a_fence_that_was_never_raised_confirms_nothing_and_spoils_nothing():
    r = trading()
    r.executor.fenced(fence=r.stage.core.fence + 1000)
    r.ask("trip", reason="x")
    assert r.replies == {}
    r.executor.fenced()
    assert r.replies["t"]["fenced"] is True


def test_fenced_counts_only_from_the_executor_itself():
    r = trading()
    r.ask("trip", reason="x")
    Executor(r, executor_id="exec-1", peer=b"peer-x").fenced()
    Executor(r, executor_id="exec-x", peer=b"peer-1").fenced()
    assert r.replies == {}


def test_the_lease_names_the_fence_and_how_far_the_feedback_was_taken():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.lease()
    lease = r.executor.answers()[-1]
    assert (lease.fence, lease.lease_ms, lease.feedback_taken, lease.nonce) == (r.stage.core.fence, 500, 1, 2)


# Orders in doubt when an executor joins.


def test_at_a_join_orders_that_the_executor_does_not_know_were_never_delivered():
    r = trading()
    for order_id in ("known", "lost", "answered"):
        r.submit(order_id)
    r.executor.accepted("answered")
    second = restarted(r)
    second.hello()
    assert sorted(r.sent(Welcome)[-1].doubtful) == ["known", "lost"]
    second.joined(known=["known"])
    assert (r.last("lost")["kind"], r.last("lost")["code"]) == ("not_placed", "undelivered")
    assert r.kinds("known") == ["passed"]
    assert r.stage.core.out == {"known"}
    assert r.circuit().get_state()["failure_count"] == 0
    r.wait(5)
    assert r.kinds("known") == ["passed", "unknown"], "its deadline ran on"


def test_an_unknown_order_that_the_executor_never_had_ends_at_the_join_and_counts_no_second_time():
    r = trading()
    r.submit("o-1")
    r.wait(5)
    restarted(r).hello()
    r.executor.joined()
    assert r.kinds("o-1") == ["passed", "unknown", "not_placed"]
    assert r.circuit().get_state()["failure_count"] == 1


def test_an_executor_with_another_journal_proves_nothing_about_the_orders_of_the_one_before():
    r = trading()
    r.submit("o-1")
    r.wait(3.5, leases=False)
    r.executor = Executor(r, executor_id="other", journal_id="journal-2", peer=b"peer-o")
    r.executor.join()
    assert r.kinds("o-1") == ["passed"]
    r.wait(2)
    assert r.kinds("o-1") == ["passed", "unknown"]


def test_there_is_somebody_to_hear_what_is_sent_from_the_join_until_it_falls_silent():
    r = rig()
    r.executor.hello()
    assert not r.stage.has_executor()
    r.executor.joined()
    assert r.stage.has_executor()
    r.wait(3.1, leases=False)
    assert not r.stage.has_executor()


def test_nothing_is_handed_over_between_hello_and_joined():
    r = trading()
    r.executor.hello()
    r.submit("o-1")
    assert r.kinds("o-1") == []
    r.executor.joined()
    assert r.kinds("o-1") == []
    r.executor.lease()
    assert r.kinds("o-1") == ["passed"]


def test_an_order_that_cannot_be_handed_over_ends_and_the_next_ones_wait():
    r = trading(window=2)
    for number in range(5):
        r.submit(f"o-{number}")
    assert r.placed() == ["o-0", "o-1"]
    for order_id in ("o-0", "o-1"):
        r.step(Undeliverable(order_id, "the executor was not reachable"))
    assert (r.last("o-0")["kind"], r.last("o-0")["code"]) == ("not_placed", "undelivered")
    assert r.placed() == ["o-0", "o-1"], "the queue is not burnt on a dead connection"
    r.executor.lease()
    assert r.placed() == ["o-0", "o-1", "o-2", "o-3"]


# Feedback: once each, in order.


def test_feedback_that_comes_twice_is_taken_once():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.send(1)
    r.executor.filled("o-1")
    r.executor.send(1)
    r.executor.send(2)
    assert r.kinds("o-1") == ["passed", "accepted", "filled"]
    assert r.stage.core.dropped == {"feedback_twice": 3}


def test_a_gap_is_asked_for_once_a_second_and_the_final_state_is_the_same():
    r = trading()
    r.submit("o-1")
    r.executor.skip(accepted("o-1"), "success")
    r.executor.filled("o-1", shares=40)
    r.executor.filled("o-1", shares=60, cum=100)
    assert r.kinds("o-1") == ["passed"]
    assert [message.after_seq for message in r.sent(ResendFeedback)] == [0]
    for seq in (1, 2, 3):
        r.executor.send(seq)
    assert r.kinds("o-1") == ["passed", "accepted", "filled", "filled"]
    r.wait(1)
    r.executor.skip(accepted("o-1"))
    r.executor.working("o-1", "Submitted")
    assert [message.after_seq for message in r.sent(ResendFeedback)] == [0, 3]


def test_a_gap_in_another_journals_feedback_is_not_asked_of_this_executor():
    r = trading()
    old = Executor(r, executor_id="old", journal_id="journal-0")
    old.skip(accepted("o-1"))
    old.accepted("o-1")
    assert r.sent(ResendFeedback) == []


def test_a_welcome_says_from_where_to_send_feedback_again():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    restarted(r).hello()
    assert r.sent(Welcome)[-1].feedback_after == 1


def test_feedback_that_the_executors_journal_no_longer_has_is_not_waited_for():
    r = rig()
    r.executor.seq = 41
    r.executor.hello(feedback_first=42)
    r.executor.joined()
    r.executor.accepted("o-1")
    assert r.kinds("o-1") == ["accepted"]


def test_a_hello_with_an_impossible_number_is_dropped():
    r = rig()
    r.executor.hello(feedback_first=2**64 - 1)
    assert r.sent(Welcome) == []
    assert r.stage.core.dropped == {"out_of_range": 1}


def test_feedback_of_an_order_that_nobody_knows_is_still_told():
    r = trading()
    r.executor.written("ghost", "omega")
    r.executor.accepted("ghost", "omega")
    r.executor.filled("ghost", "omega")
    assert [(topic, fields["kind"]) for topic, fields in r.topics if topic == "order/omega/"] == [
        ("order/omega/", "accepted"),
        ("order/omega/", "filled"),
    ]
    assert r.stage.core.dropped == {"feedback_of_unknown_order": 1}
    r.submit("ghost", "omega")
    assert r.placed() == [], "its id is used"


def test_feedback_before_the_acknowledgement_reaches_the_same_final_state():
    r = trading()
    r.submit("o-1")
    r.executor.filled("o-1")
    r.executor.accepted("o-1")
    r.executor.working("o-1", "Filled")
    assert [end["kind"] for end in ends(r, "o-1")] == ["filled"]
    assert r.stage.core.orders == {}


# Later facts win.


@pytest.mark.parametrize("how", ["accepted", "working", "filled"])
def test_an_order_thought_not_placed_lives_again_when_ib_says_so(how):
    r = trading()
    r.submit("o-1")
    restarted(r).join()
    end = r.last("o-1")
    assert end["kind"] == "not_placed"
    if how == "accepted":
        r.executor.accepted("o-1")
    elif how == "working":
        r.executor.working("o-1", "Submitted")
    else:
        r.executor.filled("o-1", shares=40)
    told = r.about("o-1")[2]
    assert told["supersedes"] == end["seq"]
    assert told["kind"] == ("filled" if how == "filled" else "accepted")
    assert r.stage.core.orders["o-1"].state == "working"
    assert ends(r, "o-1") == []
    r.executor.filled("o-1", shares=100)
    assert [end["kind"] for end in ends(r, "o-1")] == ["filled"]
    assert "supersedes" not in r.last("o-1")


def test_a_last_fill_after_cancelled_supersedes_it():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.cancelled("o-1")
    cancelled = r.last("o-1")
    r.executor.filled("o-1")
    assert r.last("o-1")["supersedes"] == cancelled["seq"]
    assert [end["kind"] for end in ends(r, "o-1")] == ["filled"]


def test_a_partial_fill_after_cancelled_leaves_it_cancelled_with_more_filled():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.cancelled("o-1", request_id="c-1")
    cancelled = r.last("o-1")
    r.executor.filled("o-1", shares=30)
    fill, end = r.about("o-1")[-2:]
    assert (fill["kind"], fill["supersedes"]) == ("filled", cancelled["seq"])
    assert (end["kind"], end["filled"], end["remaining"]) == ("cancelled", 30, 70)
    assert (end["supersedes"], end["reason"], end["request_id"]) == (fill["seq"], cancelled["reason"], "c-1")
    assert ends(r, "o-1") == [end]
    assert r.stage.core.orders == {}


def test_a_partial_fill_after_rejected_leaves_it_rejected():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.rejected("o-1")
    r.executor.filled("o-1", shares=30)
    assert [(end["kind"], end["ib_code"]) for end in ends(r, "o-1")] == [("rejected", 201)]
    assert r.stage.core.orders == {}


def test_an_order_that_ib_works_on_after_it_was_rejected_lives():
    r = trading()
    r.submit("o-1")
    r.executor.rejected("o-1")
    rejected = r.last("o-1")
    r.executor.working("o-1", "Submitted")
    assert (r.last("o-1")["kind"], r.last("o-1")["supersedes"]) == ("accepted", rejected["seq"])
    assert r.stage.core.orders["o-1"].state == "working"
    assert r.circuit().get_state()["failure_count"] == 1


def test_nothing_lives_again_that_was_filled_up():
    r = trading()
    r.submit("o-1")
    r.executor.filled("o-1")
    r.executor.accepted("o-1")
    r.executor.working("o-1", "Submitted")
    assert r.kinds("o-1") == ["passed", "filled", "accepted"]
    assert [end["kind"] for end in ends(r, "o-1")] == ["filled"]
    assert r.stage.core.orders == {}


def test_a_correction_that_takes_shares_away_opens_a_filled_order_again():
    r = trading()
    r.submit("o-1")
    r.executor.filled("o-1")
    full = r.last("o-1")
    r.executor.tell(filled("o-1", shares=60), None)
    assert r.last("o-1")["supersedes"] == full["seq"]
    assert r.stage.core.orders["o-1"].state == "working"


def test_not_placed_after_ib_had_it_is_dropped():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.not_placed("o-1", code="reconciled")
    r.executor.filled("o-1")
    r.executor.not_placed("o-1", code="reconciled")
    assert r.kinds("o-1") == ["passed", "accepted", "filled"]


def test_an_order_that_waits_here_and_lives_at_ib_already_is_not_sent_again():
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-2")
    r.executor.accepted("o-2")
    r.executor.accepted("o-1")
    assert r.placed() == ["o-1"]
    assert r.kinds("o-2") == ["accepted"]


def test_commissions_and_written_change_no_state():
    r = trading()
    r.submit("o-1")
    r.executor.written("o-1")
    assert (r.stage.core.orders["o-1"].ib_order_id, r.stage.core.orders["o-1"].state) == (7, "out")
    assert r.kinds("o-1") == ["passed"]


def test_the_fence_is_also_sent_to_an_executor_that_has_not_joined_yet():
    r = rig()
    r.executor.hello()
    sent = len(r.sent(Fence))
    r.ask("trip", reason="x")
    assert len(r.sent(Fence)) == sent + 1


def test_a_report_of_the_executor_that_cannot_be_read_stops_all_and_holds_up_nothing():
    rig = trading()
    rig.submit("a")
    rig.executor.seq += 1
    fields = {"journal_id": rig.executor.journal_id, "seq": rig.executor.seq}
    rig.step(UnreadableFeedback(DecodeError("not_finite", "a number is nan", fields)))
    assert rig.state()["state"] == "OPEN"
    assert "cannot be read" in rig.state()["reason"]
    rig.executor.filled("a")
    assert rig.last("a")["kind"] == "filled", "what comes behind it is taken"
    for other in ({}, {**fields, "seq": "1"}, {**fields, "journal_id": "another"}, {**fields, "seq": 99}):
        rig.step(UnreadableFeedback(DecodeError("not_finite", "a number is nan", other)))
    rig.executor.accepted("a")
