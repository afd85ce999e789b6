"""What users of IB have met, played by the paper gateway to the real executor over the real ib_insync."""

from __future__ import annotations

import pytest

from tests.processes.executor.playing import LIMIT, Play, play, replace_of

FAILURES = {"failure", "malformed"}


def counts(it: Play, order_id: str) -> bool:
    return bool(FAILURES & set(it.outcomes(order_id)))


# -- cancels ----------------------------------------------------------------------------------------------


def test_a_cancel_that_ib_answers_before_it_knows_the_order_goes_again() -> None:
    async def story(it: Play) -> None:
        it.arm("unknown_at_first", ms=300)
        it.write("o-1", LIMIT)
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Cancelled")
        assert it.facts("o-1", "Cancelled")[0].request_id == "r-1"
        assert it.facts("o-1", "CancelFailed") == it.facts("o-1", "Unknown") == []
        assert not counts(it, "o-1")
        assert len(list(it.gateway.record.entries("cancelOrder", direction="in"))) == 2

    play(story)


def test_two_cancels_of_one_order_have_one_answer_and_are_no_failure() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        it.arm("slow_cancel", ms=300)
        it.engine.cancel("o-1", "r-1")
        it.engine.cancel("o-1", "r-2")
        it.engine.cancel("o-1", None)
        await it.tells("o-1", "Cancelled")
        await it.quiet()
        cancelled = it.facts("o-1", "Cancelled")[0]
        assert (cancelled.request_id, cancelled.request_ids) == ("r-1", ("r-1", "r-2"))
        assert it.facts("o-1", "CancelFailed") == []
        assert not counts(it, "o-1")

    play(story)


def test_a_cancel_of_an_order_whose_change_is_not_answered_is_no_failure() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        it.arm("swallow", on="modify")
        it.engine.replace(replace_of("o-1", tif="GTC", lmtPrice=149.5))
        it.engine.cancel("o-1", "c-1")
        await it.tells("o-1", "Cancelled")
        await it.tells("o-1", "ReplaceFailed")
        assert it.facts("o-1", "Cancelled")[0].request_id == "c-1"
        assert it.facts("o-1", "ReplaceFailed")[0].ib_code == 0
        assert not counts(it, "o-1")

    play(story, speed=5.0, changes=1)


def test_an_order_that_ib_does_not_find_and_lists_nowhere_is_unknown() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1")
        it.arm("vanish", on="cancel")
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Unknown")
        failed = it.facts("o-1", "CancelFailed")
        assert [(fact.request_id, fact.ib_code) for fact in failed] == [("r-1", 10147)]
        assert "does not list it" in it.facts("o-1", "Unknown")[0].reason
        assert it.connections() == 1

    play(story, speed=10.0)


def test_a_cancel_without_an_answer_is_looked_up() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        it.arm("swallow", on="cancel", booked=True)
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Cancelled")
        assert it.facts("o-1", "Cancelled")[0].request_id == "r-1"
        assert not counts(it, "o-1")
        assert it.connections() == 1

    play(story, speed=10.0)


# -- a second order under the same reference --------------------------------------------------------------


async def twinned(it: Play) -> None:
    await it.works_as("o-1", tif="GTC")
    it.arm("twin")
    it.engine.replace(replace_of("o-1", tif="GTC", lmtPrice=149.5))
    await it.tells("o-1", "Unknown")


def test_a_change_that_became_a_second_order_is_an_alarm_and_the_cancel_takes_both() -> None:
    async def story(it: Play) -> None:
        await twinned(it)
        unknown = it.facts("o-1", "Unknown")[0]
        assert unknown.twin
        assert str(unknown.twin) in unknown.reason
        it.arm("fill", shares=4, twin="newer", order_ref="o-1")
        await it.tells("o-1", "Filled")
        assert it.engine.ledger.in_doubt() == ["o-1"]
        it.engine.cancel("o-1", "c-1")
        await it.tells("o-1", "Cancelled")
        cancelled = it.facts("o-1", "Cancelled")[0]
        assert (cancelled.filled, cancelled.request_id) == (4, "c-1")
        assert it.gateway.exchange.live_count == 0
        assert not counts(it, "o-1")

    play(story, changes=1)


def test_a_person_settles_an_order_with_a_second_one_and_what_that_fills_is_told_all_the_same() -> None:
    async def story(it: Play) -> None:
        await twinned(it)
        it.engine.settle("o-1")
        it.arm("fill", shares=4, twin="newer", order_ref="o-1")
        await it.tells("o-1", "Filled")

    play(story, changes=1)


# -- ordinary ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [{}, {"siblings_first": True, "wait_ms": 300}])
@pytest.mark.parametrize("shares", [0, 40])
def test_the_rest_of_an_oca_group_goes_with_a_fill(order: dict[str, object], shares: float) -> None:
    async def story(it: Play) -> None:
        for order_id in ("exit", "stop"):
            await it.works_as(order_id, tif="GTC", ocaGroup="pair", ocaType=1)
        it.arm("fill", order_ref="exit", shares=shares, **order)
        await it.tells("stop", "Cancelled")
        assert not counts(it, "stop")
        assert not counts(it, "exit")

    play(story)


def test_what_is_good_for_the_day_ends_at_the_close_without_a_failure() -> None:
    async def story(it: Play) -> None:
        for order_id, tif in (("empty", ""), ("day", "DAY"), ("gtc", "GTC")):
            await it.works_as(order_id, tif=tif)
        await it.wait(2.5)
        it.arm("close")
        for order_id in ("empty", "day"):
            await it.tells(order_id, "Cancelled")
            assert not counts(it, order_id)
        assert it.facts("gtc", "Cancelled") == []

    play(story, speed=5.0)


@pytest.mark.parametrize("said", [{"wait_ms": 100}, {"wait_ms": 1000, "text": "Order Canceled - reason:no"}])
def test_what_a_broker_drops_is_a_failure(said: dict[str, object]) -> None:
    async def story(it: Play) -> None:
        it.arm("unasked_cancel", **said)
        it.write("o-1", LIMIT)
        await it.tells("o-1", "Cancelled")
        assert counts(it, "o-1")

    play(story, speed=5.0 if "text" in said else 1.0)


def test_an_order_held_for_more_than_one_reason_lives() -> None:
    async def story(it: Play) -> None:
        it.arm("inactive", why_held="child,locate", wait_ms=400)
        it.write("o-1", LIMIT)
        await it.tells("o-1", "Accepted")
        await it.wait(1.5)
        assert it.facts("o-1", "Rejected") == []
        await it.tells("o-1", "Working")
        it.sell_off()
        await it.tells("o-1", "Filled")
        assert not counts(it, "o-1")

    play(story, speed=5.0)


# -- numbers ----------------------------------------------------------------------------------------------


def lose_the_fill(it: Play, **where: object) -> None:
    for message in ("execDetails", "commissionReport"):
        it.arm("omit", message=message, **where)
    it.arm("fill", order_ref="o-1", shares=4)


def test_an_end_is_told_with_what_ib_has_filled() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        lose_the_fill(it, where="unasked")
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Cancelled")
        cancelled = it.facts("o-1", "Cancelled")[0]
        assert (cancelled.filled, cancelled.remaining) == (4, 96)
        assert [fact.shares for fact in it.facts("o-1", "Filled")] == [4]
        assert it.kinds("o-1").index("Filled") < it.kinds("o-1").index("Cancelled")

    play(story, speed=4.0)


def test_a_working_order_whose_fill_was_lost_is_looked_up_without_an_end() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        lose_the_fill(it, where="unasked")
        await it.tells("o-1", "Filled")
        assert it.facts("o-1", "Unknown") == []

    play(story, speed=4.0)


def test_fills_that_no_list_has_leave_the_order_unknown_until_one_has_them() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        lose_the_fill(it, for_secs=4.0)
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "Unknown")
        assert it.facts("o-1", "Unknown")[0].reason == "IB says that 4 are filled, and lists executions of 0"
        assert it.facts("o-1", "Cancelled") == []
        await it.tells("o-1", "Cancelled")
        assert it.facts("o-1", "Cancelled")[0].filled == 4

    play(story, speed=20.0)


# -- codes that nobody knows ------------------------------------------------------------------------------


def test_a_code_that_nobody_knows_disturbs_no_neighbour_and_is_settled_on_the_same_connection() -> None:
    async def story(it: Play) -> None:
        it.arm("swallow", order_ref="strange")
        it.write("strange", LIMIT)
        record = it.engine.ledger.record("strange")
        assert record is not None
        it.gateway.hub.tell_all("error", None, id=record.ib_order_id, code=77777, text="what now")
        it.gateway.hub.flush()
        await it.tells("strange", "Unknown")
        assert it.facts("strange", "Unknown")[0].reason == "IB says 77777: what now"
        assert it.outcomes("strange") == ["malformed"]
        number = 0
        while not it.facts("strange", "NotPlaced"):
            number += 1
            await it.works(f"neighbour-{number}")
        assert it.connections() == 1

    play(story, speed=5.0)


def test_a_code_that_nobody_knows_as_the_answer_to_a_cancel_is_its_answer() -> None:
    async def story(it: Play) -> None:
        await it.works_as("o-1", tif="GTC")
        it.arm("reject", on="cancel", code=77777, text="what now")
        it.engine.cancel("o-1", "r-1")
        await it.tells("o-1", "CancelFailed")
        failed = it.facts("o-1", "CancelFailed")[0]
        assert (failed.request_id, failed.ib_code, failed.reason) == ("r-1", 77777, "what now")
        assert it.facts("o-1", "Unknown") == []
        assert not counts(it, "o-1")

    play(story)


def test_a_read_only_gateway_is_known_in_any_language() -> None:
    async def story(it: Play) -> None:
        it.arm("reject", code=321, text="Fehler: die API ist schreibgeschuetzt", count=2)
        for order_id in ("o-1", "o-2"):
            it.write(order_id, LIMIT)
            await it.tells(order_id, "Rejected")
        await it.tells("", "Tripped")
        assert it.facts("", "Tripped")[0].ib_code == 321

    play(story)
