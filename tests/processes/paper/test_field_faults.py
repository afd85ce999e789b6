"""What IB has been seen to do to orders in life, as faults: twins, lost cancels, holds, unasked ends. On the wire."""

from __future__ import annotations

from typing import Any

import ib_insync
import pytest

from services.paper.faults.families import FaultError
from services.paper.faults.kinds import make_fault
from services.paper.server.gateway import PaperGateway
from tests.processes.paper.support import AAPL, limit_order, messages, until
from tests.processes.paper.test_gateway import about_orders, placed, reaches
from tests.processes.paper.test_order_faults import arm, played, quiet


class Ear:
    """What was sent to client 7 about orders since the last look, with a letter for each permanent id."""

    def __init__(self, gateway: PaperGateway) -> None:
        self._gateway = gateway
        self._seen = len(messages(gateway))
        self._letters: dict[str, str] = {}

    def news(self) -> list[str]:
        heard = messages(self._gateway)[self._seen :]
        self._seen += len(heard)
        return [word for name, fields in heard if (word := self._word(name, fields))]

    def _word(self, name: str, fields: dict[str, Any]) -> str:
        match name:
            case "openOrder":
                return f"{self._letter(fields)} open {fields['status']} of {fields['totalQuantity']}"
            case "orderStatus":
                why = f" {fields['whyHeld']}" if fields["whyHeld"] else ""
                return f"{self._letter(fields)} {fields['status']} {fields['filled']}/{fields['remaining']}{why}"
            case "execDetails":
                return f"{self._letter(fields)} exec {fields['shares']}"
            case "completedOrder":
                return f"{self._letter(fields)} completed {fields['status']}"
            case "commissionReport":
                return "commission"
            case "error" if fields["id"] != "-1":
                return f"error {fields['code']} {fields['text']}"
        return ""

    def _letter(self, fields: dict[str, Any]) -> str:
        return self._letters.setdefault(fields["permId"], "ABCDEFGH"[len(self._letters)])


def cancelled(order_id: int, state: str) -> str:
    return f"error 10148 OrderId {order_id} that needs to be cancelled can not be cancelled, state: {state}."


def not_found(order_id: int) -> str:
    return f"error 10147 OrderId {order_id} that needs to be cancelled is not found."


CANCELED = "error 202 Order Canceled - reason:"


async def cancel(ib: ib_insync.IB, trade: ib_insync.Trade) -> None:
    """Send a cancelOrder, whatever the client believes about its order, and wait until it was read."""
    ib.client.cancelOrder(trade.order.orderId, "")
    await quiet(ib)


async def change(ib: ib_insync.IB, trade: ib_insync.Trade, price: float) -> None:
    order = limit_order("BUY", 10, price, orderRef=trade.order.orderRef)
    ib.client.placeOrder(trade.order.orderId, AAPL, order)
    await quiet(ib)


async def resting(ib: ib_insync.IB, **fields: Any) -> ib_insync.Trade:
    return await placed(ib, limit_order("BUY", 10, 150.0, **fields), "Submitted")


# ---------------------------------------------------------------- a twin


def test_a_change_becomes_a_second_order_and_each_cancel_reaches_one_of_the_two():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "twin")
        trade = await resting(ib, orderRef="r")
        assert ear.news() == ["A open Submitted of 10", "A Submitted 0/10"]
        await change(ib, trade, 151.0)
        assert ear.news() == ["B open Submitted of 10", "B Submitted 0/10"]
        await ib.reqOpenOrdersAsync()
        assert ear.news() == [
            "A open Submitted of 10",
            "A Submitted 0/10",
            "B open Submitted of 10",
            "B Submitted 0/10",
        ]
        listed = [fields for name, fields in messages(gateway) if name == "openOrder"][-2:]
        assert [(fields["orderRef"], fields["orderId"]) for fields in listed] == [("r", listed[0]["orderId"])] * 2
        assert [fields["lmtPrice"] for fields in listed] == ["150.0", "151.0"]
        await cancel(ib, trade)
        assert ear.news() == ["A Cancelled 0/10", CANCELED]
        await cancel(ib, trade)
        assert ear.news() == ["B Cancelled 0/10", CANCELED]
        await cancel(ib, trade)
        assert ear.news() == [cancelled(trade.order.orderId, "Cancelled")]
        await ib.reqCompletedOrdersAsync(False)
        assert ear.news() == ["A completed Cancelled", "B completed Cancelled"]

    played(story)


def test_either_of_two_twins_can_be_filled():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "twin")
        trade = await resting(ib)
        await change(ib, trade, 151.0)
        ear.news()
        arm(gateway, "fill", twin="newer", shares=4)
        assert ear.news()[0] == "B exec 4"
        arm(gateway, "fill", twin="older", shares=3)
        assert [word for word in ear.news() if "exec" in word] == ["A exec 3"]
        await cancel(ib, trade)
        assert ear.news()[0] == "A Cancelled 3/7"
        arm(gateway, "fill", twin="older")
        assert ear.news()[0] == "B exec 6", "it is alone now"
        await ib.reqExecutionsAsync()
        assert [word for word in ear.news() if "exec" in word] == ["B exec 4", "A exec 3", "B exec 6"]

    played(story)


def test_a_twin_can_come_only_of_a_change_that_is_sent_while_ib_is_away():
    async def story(gateway, ib):
        arm(gateway, "twin", away=True)
        trade = await resting(ib)
        await change(ib, trade, 151.0)
        assert gateway.exchange.live_count == 1
        arm(gateway, "notice", code=1100)
        arm(gateway, "notice", code=1102)
        await change(ib, trade, 152.0)
        assert gateway.exchange.live_count == 1
        arm(gateway, "notice", code=1100)
        await change(ib, trade, 153.0)
        assert gateway.exchange.live_count == 2

    played(story)


def test_a_twin_can_be_in_the_lists_before_a_word_is_said_of_it():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "twin")
        arm(gateway, "swallow", on="modify", booked=True)
        trade = await resting(ib)
        await change(ib, trade, 151.0)
        assert ear.news() == ["A open Submitted of 10", "A Submitted 0/10"]
        await ib.reqOpenOrdersAsync()
        assert "B Submitted 0/10" in ear.news()

    played(story)


# ---------------------------------------------------------------- not found


def test_a_cancel_before_the_acknowledgement_is_answered_10147_and_the_order_lives():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "unknown_at_first", ms=300)
        trade = ib.placeOrder(AAPL, limit_order("BUY", 10, 150.0))
        await cancel(ib, trade)
        await ib.reqOpenOrdersAsync()
        ib.reqGlobalCancel()
        await quiet(ib)
        assert ear.news() == [not_found(trade.order.orderId)]
        await reaches(trade, "Submitted")
        assert ear.news() == ["A open Submitted of 10", "A Submitted 0/10"]
        await ib.reqOpenOrdersAsync()
        assert len(ear.news()) == 2
        await cancel(ib, trade)
        assert ear.news() == ["A Cancelled 0/10", CANCELED]

    played(story)


@pytest.mark.parametrize("on", ["cancel", "new"])
def test_an_order_that_was_acknowledged_is_gone_without_a_status_and_no_list_knows_it(on):
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "vanish", on=on)
        trade = await resting(ib)
        ear.news()
        await cancel(ib, trade)
        assert ear.news() == [not_found(trade.order.orderId)]
        await ib.reqOpenOrdersAsync()
        await ib.reqCompletedOrdersAsync(False)
        await cancel(ib, trade)
        assert ear.news() == [not_found(trade.order.orderId)]
        gateway.move_price("AAPL", 100.0)
        assert ear.news() == []

    played(story)


def test_a_cancel_is_refused_or_lets_its_order_vanish_and_never_both():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "reject", on="cancel", code=161)
        arm(gateway, "vanish", on="cancel")
        trade = await resting(ib)
        await cancel(ib, trade)
        assert ear.news()[-1].startswith("error 161")
        assert gateway.exchange.live_count == 1
        await cancel(ib, trade)
        assert ear.news() == [not_found(trade.order.orderId)]
        assert gateway.exchange.live_count == 0

    played(story)


# ---------------------------------------------------------------- fills without an execution


def test_statuses_count_a_fill_whose_execution_is_neither_told_nor_listed_for_a_while():
    async def story(gateway, ib):
        ear = Ear(gateway)
        for message in ("execDetails", "commissionReport"):
            arm(gateway, "omit", message=message, for_secs=0.4)
        trade = await resting(ib)
        ear.news()
        arm(gateway, "fill", shares=4)
        assert ear.news() == ["A open Submitted of 10", "A Submitted 4/6", "A open Submitted of 10"]
        await ib.reqExecutionsAsync()
        await cancel(ib, trade)
        assert ear.news() == ["A Cancelled 4/6", CANCELED]

        async def listed() -> bool:
            await ib.reqExecutionsAsync()
            return "A exec 4" in ear.news()

        while not await listed():
            assert gateway.faults.injected["omit"] < 200, "the execution is listed in the end"

    played(story)


def test_an_execution_that_was_not_told_is_in_the_list():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "omit", message="execDetails", where="unasked", count=5)
        await resting(ib)
        arm(gateway, "fill", shares=4)
        assert "A exec 4" not in ear.news()
        await ib.reqExecutionsAsync()
        assert "A exec 4" in ear.news()

    played(story)


def test_an_execution_that_was_told_can_be_missing_in_the_list():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "omit", message="execDetails", where="list", order_ref="r")
        arm(gateway, "omit", message="commissionReport", where="list", order_ref="r")
        await resting(ib, orderRef="r")
        arm(gateway, "fill", shares=4)
        assert "A exec 4" in ear.news()
        await ib.reqExecutionsAsync()
        assert ear.news() == []
        await ib.reqExecutionsAsync()
        assert ear.news() == ["A exec 4", "commission"]

    played(story)


def test_only_what_is_told_and_listed_can_be_left_out_in_one_of_the_two():
    with pytest.raises(FaultError, match="where is list; that can only be said of openOrder, orderStatus"):
        make_fault("omit", {"message": "error", "where": "list"})


@pytest.mark.parametrize(
    ("end", "ask", "row"),
    [
        ("openOrderEnd", "reqOpenOrders", "A open Submitted of 10"),
        ("completedOrdersEnd", "reqCompletedOrders", "B completed Filled"),
        ("execDetailsEnd", "reqExecutions", "B exec 10"),
    ],
)
def test_a_list_can_come_without_its_end(end, ask, row):
    async def story(gateway, ib):
        ear = Ear(gateway)
        await resting(ib)
        await placed(ib, ib_insync.MarketOrder("BUY", 10), "Filled")
        ear.news()
        arm(gateway, "omit", message=end)
        for ends in (0, 1):
            arguments = {"reqCompletedOrders": [False], "reqExecutions": [1234, ib_insync.ExecutionFilter()]}
            getattr(ib.client, ask)(*arguments.get(ask, []))
            await quiet(ib)
            asked = list(gateway.record.entries(ask, direction="in"))[-1]
            after = [entry for entry in gateway.record.entries(direction="out") if entry.ns > asked.ns]
            assert row in ear.news()
            assert [entry.message for entry in after].count(end) == ends

    played(story)


# ---------------------------------------------------------------- groups


def test_the_end_of_a_sibling_can_be_told_before_the_fill_that_ended_it():
    async def story(gateway, ib):
        ear = Ear(gateway)
        for ref in ("one", "two"):
            await resting(ib, orderRef=ref, ocaGroup="g", ocaType=1)
        ear.news()
        arm(gateway, "fill", order_ref="one", siblings_first=True, wait_ms=50)
        await quiet(ib)
        assert ear.news() == ["B Cancelled 0/10", CANCELED]
        await until(lambda: "commissionReport" in about_orders(gateway), "the fill")
        assert ear.news()[:3] == ["A exec 10", "A open Filled of 10", "A Filled 10/0"]

    played(story)


def test_a_partial_fill_shrinks_the_rest_of_a_group_of_type_2_and_tells_its_quantity():
    async def story(gateway, ib):
        ear = Ear(gateway)
        for ref in ("one", "two"):
            await resting(ib, orderRef=ref, ocaGroup="g", ocaType=2)
        ear.news()
        arm(gateway, "fill", order_ref="one", shares=4)
        assert ear.news()[-2:] == ["B open Submitted of 6", "B Submitted 0/6"]
        arm(gateway, "fill", order_ref="one")
        assert ear.news()[-2:] == ["B Cancelled 0/6", CANCELED]

    played(story)


# ---------------------------------------------------------------- ends that nobody asked for


@pytest.mark.parametrize("reason", ["", " Order is too far from the market"])
def test_at_the_close_orders_for_the_day_end_and_stay_in_the_lists(reason):
    async def story(gateway, ib):
        ear = Ear(gateway)
        await resting(ib)
        await resting(ib, tif="DAY")
        await resting(ib, tif="GTC")
        await placed(ib, ib_insync.MarketOrder("BUY", 10), "Filled")
        ear.news()
        arm(gateway, "close", reason=reason)
        assert ear.news() == ["A Cancelled 0/10", CANCELED + reason, "B Cancelled 0/10", CANCELED + reason]
        await ib.reqOpenOrdersAsync()
        await ib.reqCompletedOrdersAsync(False)
        await ib.reqExecutionsAsync()
        assert ear.news() == [
            *("C open Submitted of 10", "C Submitted 0/10"),
            *("D completed Filled", "A completed Cancelled", "B completed Cancelled"),
            *("D exec 10", "commission"),
        ]

    played(story)


@pytest.mark.parametrize("text", ["", " The stop price is revised"])
def test_an_order_can_be_accepted_and_cancelled_a_moment_later_though_nobody_asked(text):
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "unasked_cancel", wait_ms=100, text=text)
        trade = await resting(ib)
        await ib.reqOpenOrdersAsync()
        assert ear.news() == ["A open Submitted of 10", "A Submitted 0/10"] * 2, "it works until then"
        await reaches(trade, "Cancelled")
        await quiet(ib)
        assert ear.news() == ["A Cancelled 0/10", CANCELED + text]

    played(story)


def test_what_was_filled_before_an_unasked_cancel_stays_as_it_is():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "unasked_cancel", wait_ms=50, count=2)
        await resting(ib)
        arm(gateway, "fill")
        ear.news()
        await reaches(await resting(ib), "Cancelled")
        assert [word for word in ear.news() if word.startswith("A")] == []

    played(story)


def test_ib_reduces_an_order_and_one_that_is_filled_up_to_it_ends():
    async def story(gateway, ib):
        ear = Ear(gateway)
        await resting(ib)
        ear.news()
        arm(gateway, "reduce", quantity=8)
        assert ear.news() == ["error 481 Order size was reduced.", "A open Submitted of 8", "A Submitted 0/8"]
        arm(gateway, "fill", shares=3)
        ear.news()
        arm(gateway, "reduce")
        assert ear.news() == [
            *("error 481 Order size was reduced.", "A open Submitted of 3", "A Submitted 3/0"),
            *("A Cancelled 3/0", CANCELED),
        ]
        await resting(ib)
        arm(gateway, "fill", shares=3)
        ear.news()
        arm(gateway, "reduce", ends="Filled")
        assert ear.news() == ["error 481 Order size was reduced.", "B open Filled of 3", "B Filled 3/0"]
        assert gateway.exchange.live_count == 0

    played(story)


# ---------------------------------------------------------------- held back


@pytest.mark.parametrize(("state", "why"), [("Inactive", "child,locate"), ("PreSubmitted", "child,trigger")])
def test_an_order_is_told_to_be_held_and_lives(state, why):
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "inactive", status=state, why_held=why)
        trade = ib.placeOrder(AAPL, limit_order("BUY", 10, 200.0))
        await reaches(trade, state)
        await ib.reqOpenOrdersAsync()
        assert ear.news() == [f"A open {state} of 10", f"A {state} 0/10 {why}"] * 2
        gateway.move_price("AAPL", 100.0)
        assert ear.news() == []
        arm(gateway, "fill", shares=4)
        assert ear.news()[:3] == ["A exec 4", "A open Submitted of 10", "A Submitted 4/6"]
        gateway.move_price("AAPL", 99.0)
        await reaches(trade, "Filled")

    played(story)


@pytest.mark.parametrize("given", [{"status": "PreSubmitted"}, {"wait_ms": 50}])
def test_only_an_order_that_is_held_has_a_status_and_an_end_of_that(given):
    with pytest.raises(FaultError, match="give why_held as well"):
        make_fault("inactive", given)


def test_an_order_that_is_held_can_be_cancelled_or_work_after_a_while():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "inactive", why_held="locate")
        held = await placed(ib, limit_order("BUY", 10, 150.0), "Inactive")
        await cancel(ib, held)
        assert ear.news()[-2:] == ["A Cancelled 0/10", CANCELED]
        arm(gateway, "inactive", why_held="locate", wait_ms=50)
        trade = ib.placeOrder(AAPL, limit_order("BUY", 10, 150.0))
        await reaches(trade, "Submitted")
        assert ear.news()[1:] == ["B Inactive 0/10 locate", "B open Submitted of 10", "B Submitted 0/10"]

    played(story)


# ---------------------------------------------------------------- cancels


def test_a_second_cancel_while_the_first_is_under_way_is_answered_with_the_state():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "slow_cancel", ms=200)
        trade = await resting(ib)
        ear.news()
        await cancel(ib, trade)
        assert ear.news() == []
        await cancel(ib, trade)
        assert ear.news() == [cancelled(trade.order.orderId, "PendingCancel")]
        await until(lambda: "error 202" in about_orders(gateway), "the first cancel is confirmed")
        assert ear.news() == ["A Cancelled 0/10", CANCELED]
        await cancel(ib, trade)
        assert ear.news() == [cancelled(trade.order.orderId, "Cancelled")]

    played(story)


def test_a_fill_can_be_quicker_than_a_cancel_that_is_under_way():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "slow_cancel", ms=100)
        trade = await resting(ib)
        await cancel(ib, trade)
        arm(gateway, "fill")
        await until(lambda: "error 10148" in about_orders(gateway), "the cancel is answered")
        assert ear.news()[-1] == cancelled(trade.order.orderId, "Filled")

    played(story)


def test_a_cancel_that_comes_too_late_for_one_of_two_twins_leaves_the_other_alone():
    async def story(gateway, ib):
        arm(gateway, "twin")
        arm(gateway, "slow_cancel", ms=50)
        trade = await resting(ib)
        await change(ib, trade, 151.0)
        await cancel(ib, trade)
        arm(gateway, "fill", twin="older")
        await until(lambda: "error 10148" in about_orders(gateway), "the cancel is answered")
        assert gateway.exchange.live_count == 1

    played(story)


def test_a_slow_cancel_of_which_nothing_is_said_is_done_all_the_same():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "slow_cancel", ms=50)
        arm(gateway, "swallow", on="cancel", booked=True)
        trade = await resting(ib)
        ear.news()
        await cancel(ib, trade)
        assert gateway.exchange.live_count == 1
        await until(lambda: gateway.exchange.live_count == 0, "it is done")
        await quiet(ib)
        assert ear.news() == []

    played(story)


def test_a_cancel_can_be_done_without_a_word_and_completed_orders_know_it():
    async def story(gateway, ib):
        ear = Ear(gateway)
        arm(gateway, "swallow", on="cancel", booked=True)
        trade = await resting(ib)
        ear.news()
        await cancel(ib, trade)
        assert ear.news() == []
        await ib.reqOpenOrdersAsync()
        await ib.reqCompletedOrdersAsync(False)
        assert ear.news() == ["A completed Cancelled"]

    played(story)
