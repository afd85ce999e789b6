"""The executor through ib_insync's own client: the same is told of an order however IB's messages come."""

from __future__ import annotations

from typing import Any

import pytest

from services.executor.orders.outcomes import MODIFY, NEW, Meaning, for_order
from services.paper.faults.texts import BEFORE_BOOKING, text_for
from tests.orders import record_of, submit
from tests.processes.executor.playing import LIMIT, Play, play, replace_of
from tests.processes.executor.support import until
from tests.processes.paper.support import drop_client

# 2199 stands for IB's warnings, 77777 for a code that nobody has classified.
ALIVE = {Meaning.NOTICE, Meaning.REDUCED}
NOTICES = sorted({code for code, rule in NEW.items() if rule.meaning in ALIVE} | {2199})
# The tables decide by the rule alone, so a few codes of each rule stand for all, with those that texts and the
# paper gateway treat in a way of their own.
BY_RULE = [[code for code, rule in NEW.items() if rule == each] for each in set(NEW.values())]
FEW = {code for group in BY_RULE for code in sorted(group)[:5]}
ENDS = sorted({code for code in FEW | {201, 202, *BEFORE_BOOKING} if NEW[code].meaning not in ALIVE} | {77777})
MARGIN = "Order rejected - reason: insufficient margin"
# With an acknowledgement before them, and without.
ARRIVALS: list[dict[str, Any]] = [
    {"sequence": sequence, **before}
    for sequence in ("error_first", "status_first", "error_only")
    for before in ({}, {"presubmitted": True, "wait_ms": 30})
]


def test_a_refusal_has_one_end_and_one_outcome_in_whatever_order_its_messages_come() -> None:
    async def story(it: Play) -> None:
        cases = [(code, text_for(code, "")) for code in ENDS] + [(201, MARGIN)]
        for number, (code, text) in enumerate(cases):
            for arrival, fields in enumerate(ARRIVALS):
                it.arm("reject", code=code, text=text, order_ref=f"{number}.{code}.{arrival}.", **fields)
                it.write(f"{number}.{code}.{arrival}.")
        await until(lambda: not it.engine.ledger.unanswered(), "the answers")
        await it.quiet()
        for number, (code, text) in enumerate(cases):
            rule = for_order(code, text)
            news, ended, told_code = {
                Meaning.CANCELLED: ("Cancelled", "cancelled", code),
                # Only IB's status or its list of completed orders ends what an error leaves open.
                Meaning.DOUBT: ("Unknown Rejected", "rejected", 0),
            }.get(rule.meaning, ("Rejected", "rejected", code))
            if code in BEFORE_BOOKING and rule.meaning is Meaning.DOUBT:
                news, ended = "Unknown", ""
            for arrival in range(len(ARRIVALS)):
                order_id = f"{number}.{code}.{arrival}."
                await it.tells(order_id, news.split()[-1])
                assert it.tale(order_id) == (news, rule.outcome, ended), order_id
                assert [fact.ib_code for fact in it.facts(order_id, "Rejected")] in ([], [told_code]), order_id

    play(story)


def test_a_refusal_that_ib_documents_ends_the_order_at_once_and_is_the_strategys_alone() -> None:
    codes = (117, 303, 343, 379, 410, 441, 10013, 10020, 10270)

    async def story(it: Play) -> None:
        for code in codes:
            it.arm("reject", code=code, order_ref=f"{code}.", sequence="error_only")
            it.write(f"{code}.")
            await it.tells(f"{code}.", "Rejected")
            assert it.tale(f"{code}.") == ("Rejected", "malformed", "rejected")
            assert it.facts(f"{code}.", "Rejected")[0].ib_code == code

    play(story)


@pytest.mark.parametrize("arrival", ["error-first", "status-first"])
def test_a_notice_leaves_the_order_working_and_it_fills(arrival: str) -> None:
    async def story(it: Play) -> None:
        if arrival == "status-first":
            it.arm("late", message="error", ms=50, count=len(NOTICES))
        for code in NOTICES:
            it.arm("warn", code=code, order_ref=f"{code}.")
            it.write(f"{code}.", LIMIT)
        errors = it.gateway.record.entries
        await until(lambda: sum(e.fields["id"] != "-1" for e in errors("error")) == len(NOTICES), "the notices")
        await it.quiet()
        assert {it.tale(f"{code}.") for code in NOTICES} == {("", "success", "")}
        it.sell_off()
        for code in NOTICES:
            await it.tells(f"{code}.", "Commission")
            assert it.tale(f"{code}.") == ("Filled", "success", "filled"), code

    play(story)


@pytest.mark.parametrize("arrival", ["error-first", "status-first"])
def test_a_code_that_nobody_knows_is_the_strategys_failure_and_the_order_that_lives_is_found(arrival: str) -> None:
    async def story(it: Play) -> None:
        if arrival == "status-first":
            it.arm("late", message="error", ms=50)
        it.arm("warn", code=77777)
        it.write("o-1", LIMIT)
        await it.tells("o-1", "Unknown")
        await it.quiet()
        assert it.kinds("o-1")[-1] in {"Accepted", "Working"}, "it is told again that the order works"
        it.sell_off()
        await it.tells("o-1", "Filled")
        # What IB says first counts first, and a success after a failure never does.
        counted = "malformed" if arrival == "error-first" else "success malformed"
        assert it.tale("o-1") == ("Unknown Filled", counted, "filled")

    play(story)


@pytest.mark.parametrize("code", [201, 202, 103, 77777])
@pytest.mark.parametrize("sequence", ["error_first", "error_only"])
def test_an_error_that_comes_twice_changes_nothing(code: int, sequence: str) -> None:
    async def story(it: Play) -> None:
        it.arm("reject", code=code, count=2, sequence=sequence)
        it.write("once")
        await until(lambda: it.tale("once") != ("", "", ""), "what becomes of it")
        await it.quiet()
        it.arm("duplicate", message="error")
        it.write("twice")
        await until(lambda: it.tale("twice") != ("", "", ""), "what becomes of it")
        await it.quiet()
        assert it.tale("twice") == it.tale("once") != ("", "", "")

    play(story)


@pytest.mark.parametrize("faults", [["inactive"], ["reject", "cut"]])
def test_a_rejection_whose_text_never_comes_is_one_all_the_same(faults: list[str]) -> None:
    async def story(it: Play) -> None:
        for fault in faults:
            it.arm(fault)
        it.write("o-1")
        await it.tells("o-1", "Rejected")
        await it.quiet()
        assert it.tale("o-1") == ("Rejected", "failure", "rejected")

    play(story, speed=10)


@pytest.mark.parametrize("code", [137, 161, 10147, 10148])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_refused_cancel_is_answered_once_and_the_order_fills(code: int, copies: int) -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("reject", on="cancel", code=code, count=2)
        if copies == 2:
            it.arm("duplicate", message="error", count=2)
        for count in (1, 2):
            it.engine.cancel("o-1", f"r-{count}")
            await it.tells("o-1", "CancelFailed", count)
            await it.quiet()
        assert it.tale("o-1") == ("CancelFailed CancelFailed", "success", "")
        it.sell_off()
        await it.tells("o-1", "Filled")
        assert it.tale("o-1") == ("CancelFailed CancelFailed Filled", "success", "filled")
        answers = [(fact.request_id, fact.ib_code) for fact in it.facts("o-1", "CancelFailed")]
        assert answers == [("r-1", code), ("r-2", code)]

    play(story)


@pytest.mark.parametrize("code", [161, 10147, 10148])
def test_a_refused_cancel_is_answered_also_behind_the_fill_that_was_faster(code: int) -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("reject", on="cancel", code=code)
        it.arm("late", message="error", ms=200)
        it.engine.cancel("o-1", "r-1")
        await until(lambda: list(it.gateway.record.entries("cancelOrder", direction="in")), "the cancel")
        it.sell_off()
        await it.tells("o-1", "CancelFailed")
        assert it.tale("o-1") == ("Filled CancelFailed", "success", "filled")

    play(story)


@pytest.mark.parametrize(
    "fault",
    [
        *({"kind": "late", "message": message, "ms": 50} for message in ("error", "orderStatus")),
        *({"kind": "omit", "message": message} for message in ("error", "orderStatus")),
        *({"kind": "cut", "on": "cancel", "at": at} for at in ("before", "booked", "orderStatus")),
    ],
)
def test_a_cancel_has_one_end_whatever_happens_to_its_messages(fault: dict[str, Any]) -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm(**fault)
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Cancelled")
        await it.quiet()
        assert it.tale("o-1") == ("Cancelled", "success neutral", "cancelled")
        assert it.facts("o-1", "Cancelled")[0].request_id == "r-1"
        sent = list(it.gateway.record.entries("cancelOrder", direction="in"))
        assert len(sent) == (2 if fault.get("at") == "before" else 1)

    play(story)


def test_a_fill_after_cancelled_wins() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("fill_after_cancel", wait_ms=50)
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Filled")
        await it.quiet()
        assert it.tale("o-1") == ("Cancelled Filled", "success neutral", "filled")
        assert (it.filled("o-1"), it.facts("o-1", "Filled")[0].done) == (100, True)

    play(story)


def test_a_corrected_execution_replaces_the_one_before_it() -> None:
    async def story(it: Play) -> None:
        it.arm("partial", size=60)
        it.arm("correct", price_change=-0.5)
        it.write("o-1")
        await it.tells("o-1", "Filled", 2)
        await it.quiet()
        first, second = it.facts("o-1", "Filled")
        assert (second.corrects, first.exec_id[-3:], second.exec_id[-3:]) == (first.exec_id, ".01", ".02")
        assert second.price == second.avg_price == first.price - 0.5
        assert (second.cum_qty, second.remaining, second.done) == (60, 40, False)
        it.arm("fill", price=200.0)
        await it.tells("o-1", "Commission", 3)
        last = it.facts("o-1", "Filled")[-1]
        assert (last.cum_qty, last.remaining, last.done) == (100, 0, True)
        assert last.avg_price == pytest.approx((60 * second.price + 40 * 200.0) / 100)
        assert it.tale("o-1") == ("Filled Filled Filled", "success", "filled")

    play(story)


@pytest.mark.parametrize("message", ["openOrder", "orderStatus", "execDetails", "commissionReport"])
def test_a_message_that_comes_twice_changes_nothing(message: str) -> None:
    async def story(it: Play) -> None:
        it.write("plain")
        await it.tells("plain", "Commission")
        it.arm("duplicate", message=message, count=100)
        it.write("twice")
        await it.tells("twice", "Commission")
        await it.works("cancelled")
        it.engine.cancel("cancelled", "r-1")
        await it.tells("cancelled", "Cancelled")
        await it.quiet()
        assert it.kinds("twice") == it.kinds("plain")
        assert it.tale("twice") == it.tale("plain") == ("Filled", "success", "filled")
        assert it.kinds("cancelled") == ["Written", "Accepted", "Working", "Cancelled"]

    play(story)


@pytest.mark.parametrize("fault", [{"kind": "omit"}, {"kind": "late", "ms": 100}])
@pytest.mark.parametrize("message", ["openOrder", "orderStatus", "execDetails", "commissionReport"])
def test_a_message_that_is_missing_or_late_changes_no_total(fault: dict[str, Any], message: str) -> None:
    async def story(it: Play) -> None:
        it.arm(**fault, message=message, order_ref="o-1")
        it.write("o-1")
        await it.tells("o-1", "Filled")
        await it.quiet()
        assert (it.tale("o-1"), it.filled("o-1")) == (("Filled", "success", "filled"), 100)
        # IB's list of executions brings their commissions once more.
        assert len(it.facts("o-1", "Commission")) == 1

    play(story, speed=10)


@pytest.mark.parametrize("how", ["rst", "fin", "mid_frame", "restart"])
def test_what_fills_while_the_executor_is_away_is_found_when_it_is_back(how: str) -> None:
    async def story(it: Play) -> None:
        names = ("filled", "part", "rests")
        for name in names:
            await it.works(name)
        it.arm("fill", order_ref="filled", away=True)
        it.arm("fill", order_ref="part", away=True, shares=30)
        # Away for long enough that the gateway sees it gone.
        it.arm("refuse", how="fin", count=8)
        it.arm(**({"kind": "restart"} if how == "restart" else {"kind": "disconnect", "how": how}))
        await it.tells("filled", "Commission")
        await it.tells("part", "Commission")
        await it.quiet()
        assert [it.filled(name) for name in names] == [100, 30, 0]
        assert [it.tale(name)[0] for name in names] == ["Filled", "Filled", ""]
        assert [it.tale(name)[2] for name in names] == ["filled", "", ""]

    play(story)


@pytest.mark.parametrize("at", ["booked", "openOrder", "orderStatus", "execDetails", "commissionReport"])
@pytest.mark.parametrize("how", ["rst", "mid_frame"])
def test_a_connection_that_breaks_around_an_order_loses_nothing(at: str, how: str) -> None:
    async def story(it: Play) -> None:
        it.arm("cut", at=at, how=how)
        it.write("o-1")
        await it.tells("o-1", "Commission")
        await it.quiet()
        assert (it.tale("o-1"), it.filled("o-1")) == (("Filled", "success", "filled"), 100)

    play(story)


def test_an_order_that_is_booked_in_silence_is_unknown_and_found_by_looking_it_up() -> None:
    async def story(it: Play) -> None:
        it.arm("swallow", booked=True)
        assert (await it.engine.place_order(submit("o-1", order=LIMIT))).status == "unknown"
        await it.tells("o-1", "Working")
        assert it.engine.ledger.doubts() == {}
        it.sell_off()
        await it.tells("o-1", "Filled")
        assert it.tale("o-1") == ("Filled", "success", "filled")

    play(story, speed=20)


@pytest.mark.parametrize("fault", [{"kind": "swallow"}, {"kind": "cut", "at": "before"}])
def test_an_order_that_ib_never_had_is_unknown_until_two_rounds_prove_it(fault: dict[str, Any]) -> None:
    async def story(it: Play) -> None:
        await it.works("rests")
        it.arm(**fault, order_ref="o-1")
        assert (await it.engine.place_order(submit("o-1"))).status == "unknown"
        assert it.tale("o-1") == ("", "", "")
        await it.tells("o-1", "NotPlaced")
        assert it.facts("o-1", "NotPlaced")[0].code == "reconciled"
        assert it.tale("o-1") == ("NotPlaced", "neutral", "not_placed")
        assert it.tale("rests") == ("", "success", "")

    play(story, speed=20)


def test_an_order_that_ib_has_lost_is_unknown_also_if_ib_says_so_to_its_cancel() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.gateway.exchange.end_day(0.0, day_orders=True)
        drop_client(it.gateway, 7)
        await until(lambda: not it.engine.connection.usable, "the loss")
        await until(lambda: it.engine.connection.usable, "another connection")
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "CancelFailed")
        await it.tells("o-1", "Unknown")
        assert it.engine.ledger.in_doubt() == ["o-1"]

    play(story, speed=20)


def test_an_order_that_ib_calls_filled_without_showing_its_fills_is_unknown_and_a_later_fill_wins() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        for message in ("execDetails", "commissionReport"):
            it.arm("omit", message=message, count=4)
        it.sell_off()
        await it.tells("o-1", "Unknown")
        assert it.engine.ledger.in_doubt() == ["o-1"]
        await it.quiet()
        assert len(it.facts("o-1", "Unknown")) == 1, "said once"
        assert it.engine.ledger.fills_sought() == {}, "IB's lists have said all that they can say"

        def is_known() -> bool:
            it.engine.connection.look_up()
            return not it.engine.ledger.in_doubt()

        await until(is_known, "the fills")
        assert it.facts("o-1", "Filled")[-1].done

    play(story, speed=20)


# -- changes ----------------------------------------------------------------------------------------------

# 2199 is a notice, and changes nothing on a change either; an unclassified code decides nothing.
REFUSALS_OF_A_CHANGE = sorted({*MODIFY, 201, 202, 434} - {202})


def changes_at_the_wire(it: Play, order_id: str) -> list[dict[str, Any]]:
    sent = [entry.fields for entry in it.gateway.record.entries("placeOrder", direction="in")]
    return [fields for fields in sent if fields["orderRef"] == order_id][1:]


def test_a_change_is_told_when_ib_has_it_and_fills_follow_the_new_terms() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.engine.replace(replace_of("o-1", totalQuantity=40, lmtPrice=151.0))
        await it.tells("o-1", "Replaced")
        assert record_of(it.engine.ledger, "o-1").quantity == 40
        it.sell_off()
        await it.tells("o-1", "Filled")
        assert it.facts("o-1", "Filled")[-1].done
        assert it.filled("o-1") == 40
        assert len(changes_at_the_wire(it, "o-1")) == 1

    play(story, changes=1)


@pytest.mark.parametrize("code", REFUSALS_OF_A_CHANGE)
def test_a_change_that_ib_refuses_leaves_the_order_working_for_every_code(code: int) -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("reject", on="modify", code=code, sequence="error_only")
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await it.tells("o-1", "ReplaceFailed")
        assert it.facts("o-1", "ReplaceFailed")[0].ib_code == code
        it.sell_off()
        await it.tells("o-1", "Filled")
        assert it.filled("o-1") == 100

    play(story, changes=1)


def test_after_a_reconnect_an_order_that_ib_has_lost_is_not_changed_into_a_new_one() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.gateway.exchange.end_day(0.0, day_orders=True)
        drop_client(it.gateway, 7)
        await until(lambda: not it.engine.connection.usable, "the loss")
        await until(lambda: it.engine.connection.usable, "another connection")
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await it.tells("o-1", "ReplaceFailed")
        assert changes_at_the_wire(it, "o-1") == []

    play(story)


def test_a_change_under_way_when_the_connection_breaks_is_settled_by_what_ib_lists() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("swallow", on="modify", booked=True)
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await until(lambda: changes_at_the_wire(it, "o-1"), "its arrival")
        drop_client(it.gateway, 7)
        await it.tells("o-1", "Replaced")
        assert len(changes_at_the_wire(it, "o-1")) == 1

    play(story, changes=1)


def test_a_change_that_never_arrived_is_proven_by_two_rounds() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("swallow", on="modify")
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await it.tells("o-1", "ReplaceFailed")
        assert "unchanged" in it.facts("o-1", "ReplaceFailed")[0].reason
        assert record_of(it.engine.ledger, "o-1").ended == ""

    play(story, speed=20, changes=1)


@pytest.mark.parametrize("missed", [0, 1])
def test_a_change_that_ib_took_unheard_before_the_order_filled_was_done(missed: int) -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("swallow", on="modify", booked=True)
        it.engine.replace(replace_of("o-1", totalQuantity=40, lmtPrice=150.5))
        await until(lambda: changes_at_the_wire(it, "o-1"), "its arrival")
        # Only the list of what is over shows its terms now, and not yet if it was asked for a moment before.
        it.arm("omit", message="openOrder", count=1000)
        if missed:
            it.arm("omit", message="completedOrder", count=missed)
        it.sell_off()
        await it.tells("o-1", "Replaced")
        await it.tells("o-1", "Cancelled")
        assert it.filled("o-1") == 40
        assert it.facts("o-1", "ReplaceFailed") == []

    play(story, speed=20, changes=1)


def test_a_list_that_was_asked_for_before_the_order_ended_fails_no_change() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("swallow", on="modify", booked=True)
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await until(lambda: changes_at_the_wire(it, "o-1"), "its arrival")
        it.arm("omit", message="openOrder", count=1000)
        it.arm("omit", message="completedOrder", count=1)
        it.sell_off()
        await it.tells("o-1", "Filled")
        await it.tells("o-1", "Replaced")
        assert it.facts("o-1", "ReplaceFailed") == []

    play(story, speed=20, changes=1)


def test_whether_a_change_was_done_is_not_said_of_an_order_that_ib_does_not_list_at_its_end() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("swallow", on="modify", booked=True)
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await until(lambda: changes_at_the_wire(it, "o-1"), "its arrival")
        for message in ("openOrder", "completedOrder"):
            it.arm("omit", message=message, count=1000)
        it.sell_off()
        await it.tells("o-1", "ReplaceFailed")
        assert "does not say" in it.facts("o-1", "ReplaceFailed")[0].reason

    play(story, speed=20, changes=1)


def test_a_change_that_may_be_at_ib_is_not_refused_when_it_is_asked_about_again() -> None:
    async def story(it: Play) -> None:
        await it.works("o-1")
        it.arm("swallow", on="modify", booked=True)
        it.engine.replace(replace_of("o-1", lmtPrice=150.5))
        await until(lambda: changes_at_the_wire(it, "o-1"), "its arrival")
        it.engine.refuse_replace(replace_of("o-1", lmtPrice=150.5), "the order is cancelled")
        drop_client(it.gateway, 7)
        await it.tells("o-1", "Replaced")
        assert it.facts("o-1", "ReplaceFailed") == []

    play(story, changes=1)


# -- brackets that IB may hold back -----------------------------------------------------------------------


def bracket_without_its_last_leg(it: Play) -> None:
    it.arm("swallow", order_ref="leg")
    parent, leg = (it.engine.check(submit(order_id, order=LIMIT)) for order_id in ("parent", "leg"))
    assert it.engine.write(parent, legs=[leg]) is None


def test_a_parent_that_ib_holds_back_and_lists_nowhere_is_cancelled() -> None:
    async def story(it: Play) -> None:
        bracket_without_its_last_leg(it)
        await it.tells("parent", "Cancelled")
        await it.tells("leg", "NotPlaced")
        assert it.facts("parent", "NotPlaced") == []

    play(story, speed=20)


def test_a_parent_that_never_arrived_is_proven_by_ib_s_answer_to_its_cancel() -> None:
    async def story(it: Play) -> None:
        it.arm("swallow", order_ref="parent")
        bracket_without_its_last_leg(it)
        await it.tells("parent", "NotPlaced")
        await it.tells("leg", "NotPlaced")

    play(story, speed=20)


def test_without_an_answer_to_its_cancel_a_bracket_stays_unknown() -> None:
    async def story(it: Play) -> None:
        it.arm("swallow", on="cancel", order_ref="parent", count=1000)
        bracket_without_its_last_leg(it)
        # What proves that this one was not placed proves nothing of the bracket.
        it.arm("swallow", order_ref="alone")
        it.write("alone")
        await it.tells("alone", "NotPlaced")
        assert it.facts("parent", "NotPlaced") == it.facts("leg", "NotPlaced") == []
        assert set(it.engine.ledger.in_doubt()) == {"parent", "leg"}

    play(story, speed=20)
