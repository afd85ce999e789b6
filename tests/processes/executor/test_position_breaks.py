"""Positions against fills: each new difference is told once, and trading by itself makes none."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import ib_insync
import pytest
from loguru import logger

from services.executor.account.position_breaks import BUSY_SIGHTINGS, Baseline, LegFill, PositionBreaks
from services.executor.journal import Journal
from services.gateway.asking import OVERDUE_SECS, Asking
from services.gateway.position_list import Held, PositionList
from services.gateway.reports import PositionReport
from services.gateway.timing import Timing
from services.paper.server.gateway import PaperGateway
from services.wire.dispatch import LeaseRequest
from services.wire.standing import Drift
from tests.orders import submit
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import Engine, breaker_end, engine_on, executor, paper, run, settings_for, until
from tests.processes.executor.test_connection import manager

QUICK = Timing(first_pause=0.02, longest_pause=0.1, look_up_pause=0.05, positions_every=0.1)
FOREIGN = {"symbol": "MSFT", "exchange": "SMART", "currency": "USD"}


def held(quantity: float, con_id: int = 1) -> list[Held]:
    return [Held(con_id, "SPY", quantity)]


def fill(shares: float, base: str = "e", con_id: int = 1) -> LegFill:
    return LegFill(base, con_id, "SPY", shares)


def checked(*positions: Held) -> PositionBreaks:
    """A check whose baseline is this."""
    check = PositionBreaks([], None)
    check.on_asked()
    assert check.on_positions(positions).first
    return check


# -- the check alone --------------------------------------------------------------------------------------


def test_what_is_there_at_the_first_list_is_the_baseline() -> None:
    check = checked(*held(50))
    for _ in range(2):
        assert not check.on_positions(held(50)).new


def test_a_new_difference_is_told_at_its_second_list_and_then_no_more() -> None:
    check = checked(*held(50))
    assert check.on_positions(held(60)).new == []
    told = Drift(con_id=1, symbol="SPY", expected=50, actual=60)
    assert check.on_positions(held(60)).new == [told]
    for _ in range(3):
        assert check.on_positions(held(60)).new == []
    assert check.standing == (told,)


def test_another_difference_of_the_same_contract_is_another_alert() -> None:
    check = checked()
    for quantity, alerts in ((10, 0), (10, 1), (20, 0), (20, 1), (20, 0)):
        assert len(check.on_positions(held(quantity)).new) == alerts


def test_a_difference_that_has_gone_is_told_and_may_come_again() -> None:
    check = checked()
    for _ in range(2):
        check.on_positions(held(10))
    assert check.on_positions([]).gone == []
    assert check.on_positions([]).gone == [Drift(con_id=1, symbol="SPY", expected=0, actual=10)]
    assert check.standing == ()
    check.on_positions(held(10))
    assert len(check.on_positions(held(10)).new) == 1


def test_our_own_fills_are_expected_and_a_difference_survives_them() -> None:
    check = checked(*held(50))
    check.on_fill(fill(100))
    check.on_fill(fill(-30, "f"))
    for _ in range(2):
        assert not check.on_positions(held(120)).new
    for _ in range(2):
        check.on_positions(held(121))
    check.on_fill(fill(9, "g"))
    assert not check.on_positions(held(130)).new
    assert check.standing == (Drift(con_id=1, symbol="SPY", expected=129, actual=130),)


def test_a_correction_replaces_what_it_corrects() -> None:
    check = checked()
    check.on_fill(fill(100))
    check.on_fill(fill(90), before=100)
    for _ in range(2):
        assert not check.on_positions(held(90)).new


def test_a_fill_that_is_missing_in_one_list_is_no_difference() -> None:
    check = checked()
    for number in range(1, 20):
        check.on_fill(fill(1, str(number)))
        # The list is always one fill behind, once ahead, and right in between.
        behind = number - 1 if number % 2 else number
        assert not check.on_positions(held(behind)).new


def test_a_contract_that_never_rests_needs_more_lists() -> None:
    check = checked()
    told = []
    for number in range(1, BUSY_SIGHTINGS + 1):
        check.on_fill(fill(1, str(number)))
        told.append(len(check.on_positions(held(number + 7)).new))
    assert told == [0] * (BUSY_SIGHTINGS - 1) + [1]


def test_fills_while_the_first_list_is_under_way_are_no_part_of_the_baseline() -> None:
    check = PositionBreaks([fill(5)], None)
    check.on_asked()
    check.on_fill(fill(100, "f"))
    check.on_positions(held(5))
    for _ in range(2):
        assert not check.on_positions(held(105)).new
    for _ in range(2):
        check.on_positions(held(5))
    assert check.standing == (Drift(con_id=1, symbol="SPY", expected=105, actual=5),)


def test_a_restart_tells_nothing_twice_and_misses_nothing() -> None:
    check = PositionBreaks([fill(100)], [Baseline(1, "SPY", base=50, told=3)])
    assert check.standing == (Drift(con_id=1, symbol="SPY", expected=150, actual=153),)
    for _ in range(2):
        assert not check.on_positions(held(153)).new
    new = [check.on_positions(held(160)).new for _ in range(2)][-1]
    assert len(new) == 1


def test_seeded_trading_with_lists_before_and_behind_the_fills_never_alerts() -> None:
    random.seed(11)
    check = checked()
    position = 0.0
    for number in range(3000):
        shares = float(random.choice((-2, -1, 1, 2, 100)))
        position += shares
        if random.random() < 0.1:
            assert not check.on_positions(held(position)).new, "a list ahead of its fill"
        check.on_fill(fill(shares, str(number)))
        while random.random() < 0.3:
            assert not check.on_positions(held(position)).new


# -- the list ---------------------------------------------------------------------------------------------


def report(quantity: float, **more: Any) -> PositionReport:
    fields: dict[str, Any] = {"account": "DU1", "con_id": 1, "symbol": "SPY", "sec_type": "STK", **more}
    return PositionReport(quantity=quantity, **fields)


def test_a_list_holds_this_account_without_currencies_and_the_last_word_counts() -> None:
    positions = PositionList(30)
    positions.on_asked(0)
    for each in (report(1), report(2, account="DU2"), report(3, sec_type="CASH", con_id=2), report(4)):
        positions.on_report(each, "DU1")
    assert positions.on_end() == [Held(1, "SPY", 4)]
    assert positions.on_report(report(5), "DU1") == Held(1, "SPY", 5), "of no list"
    assert positions.on_end() is None, "nobody asked"


def test_a_list_with_an_unreadable_position_proves_nothing() -> None:
    positions = PositionList(30)
    positions.on_asked(0)
    positions.spoil()
    assert positions.on_end() is None
    positions.on_asked(30)
    assert positions.on_end() == []


def test_a_list_is_due_every_so_often_and_never_while_one_is_awaited() -> None:
    asking = Asking(30)
    assert asking.due(0)
    asking.on_asked(0)
    asking.hurry()
    assert not asking.due(100)
    assert not asking.overdue(OVERDUE_SECS - 1)
    assert asking.overdue(OVERDUE_SECS)
    assert not asking.overdue(OVERDUE_SECS + 1), "told once"
    assert asking.on_end()
    assert not asking.on_end(), "none was owed any more"
    asking.on_asked(100)
    asking.on_end()
    assert not asking.due(129)
    assert asking.due(130)
    asking.on_connection()
    assert asking.due(131)


def test_positions_are_asked_for_every_30_seconds() -> None:
    assert Timing().positions_every == 30.0


# -- on a gateway -----------------------------------------------------------------------------------------


def lists(gateway: Any) -> int:
    return len(list(gateway.record.entries("reqPositions", direction="in")))


async def some_lists(gateway: Any, count: int = 4) -> None:
    before = lists(gateway)
    await until(lambda: lists(gateway) >= before + count, "more lists of positions")


async def foreign_trade(gateway: Any, quantity: float = 5) -> None:
    """Somebody else trades the account."""
    ib = ib_insync.IB()
    await ib.connectAsync("127.0.0.1", gateway.port, clientId=99)
    trade = ib.placeOrder(ib_insync.Stock(**FOREIGN), ib_insync.MarketOrder("BUY" if quantity > 0 else "SELL", 5))
    await until(trade.isDone, "the foreign fill")
    ib.disconnect()


def test_a_foreign_trade_is_told_once_also_over_a_restart_and_its_end_too(tmp_path: Path) -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{level} {message}")

    def alerts() -> list[str]:
        return [line for line in lines if line.startswith("WARNING position break: MSFT")]

    async def story() -> None:
        async with paper() as gateway:
            journal = Journal(tmp_path / "executor.sqlite", 7)
            async with engine_on(gateway, journal=journal, timing=QUICK) as engine:
                await until(lambda: journal.baselines() is not None, "the baseline")
                assert (await engine.place_order(submit("o-1"))).status in {"accepted", "filled"}
                await foreign_trade(gateway)
                await until(lambda: engine.gateway_status().drift, "the alert")
                (drift,) = engine.gateway_status().drift
                assert (drift.symbol, drift.expected, drift.actual) == ("MSFT", 0, 5)
                await some_lists(gateway)
            journal.close()
            journal = Journal(tmp_path / "executor.sqlite", 7)
            async with engine_on(gateway, journal=journal, timing=QUICK) as engine:
                assert engine.gateway_status().drift == (drift,)
                await some_lists(gateway)
                assert len(alerts()) == 1
                await foreign_trade(gateway, -5)
                await until(lambda: not engine.gateway_status().drift, "its end")
                assert len(alerts()) == 1
                assert any("MSFT STK USD (272093) is as expected again" in line for line in lines)
            journal.close()

    try:
        run(story)
    finally:
        logger.remove(sink)


def test_a_trade_while_the_executor_was_away_is_drift_when_it_is_back(tmp_path: Path) -> None:
    async def live(gateway: PaperGateway, *, alerted: bool) -> None:
        journal = Journal(tmp_path / "executor.sqlite", 7)
        async with engine_on(gateway, journal=journal, timing=QUICK) as engine:
            await until(lambda: journal.baselines() is not None, "the baseline")
            if alerted:
                await until(lambda: engine.gateway_status().drift, "the alert")
        journal.close()

    async def story() -> None:
        async with paper() as gateway:
            await live(gateway, alerted=False)
            await foreign_trade(gateway)
            await live(gateway, alerted=True)

    run(story)


def test_what_the_account_holds_at_the_first_start_is_no_drift() -> None:
    async def story() -> None:
        async with paper() as gateway:
            await foreign_trade(gateway)
            async with engine_on(gateway, timing=QUICK) as engine:
                await some_lists(gateway)
                assert engine.journal.baselines()
                assert engine.gateway_status().drift == ()

    run(story)


def test_seeded_trading_of_our_own_never_alerts_and_the_sums_are_ibs() -> None:
    async def story() -> None:
        random.seed(5)
        async with paper() as gateway, engine_on(gateway, timing=QUICK) as engine:
            for number in range(60):
                side = random.choice(("BUY", "SELL"))
                order = {"action": side, "totalQuantity": random.randint(1, 300), "orderType": "MKT"}
                assert (await engine.place_order(submit(f"o-{number}", order=order))).status in {"filled", "accepted"}
                assert engine.gateway_status().drift == ()
            await some_lists(gateway)
            assert engine.gateway_status().drift == ()
            (sums,) = engine.journal.fill_sums()
            (position,) = gateway.exchange.account.positions.values()
            await until(lambda: engine.journal.fill_sums()[0].shares == position.quantity, "the last fill")
            assert sums.symbol == "AAPL"

    run(story)


@pytest.mark.parametrize(("side", "sign"), [("BOT", 1), ("SLD", -1)])
def test_a_correction_and_a_repeat_move_the_sum_by_what_is_new(side: str, sign: int) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            placing = asyncio.create_task(engine.place_order(submit("o-1")))
            await until(lambda: gateway.requests("3"), "the order")

            def execution(exec_id: str, shares: int) -> str:
                contract = "265598|AAPL|STK||0||||USD|AAPL|NMS"
                what = f"DU1234567|NYSE|{side}|{shares}|10|77|7|0|{shares}|10|o-1||||2"
                return f"11|-1|1|{contract}|{exec_id}|20260105 12:00:00|{what}"

            def is_sum(shares: float) -> bool:
                return [each.shares for each in engine.journal.fill_sums()] == [shares]

            gateway.send(execution("e.01", 40), execution("e.01", 40))
            await until(lambda: is_sum(sign * 40), "the fill")
            gateway.send(execution("e.02", 30), execution("f.01", 70))
            await until(lambda: is_sum(sign * 100), "the correction and the rest")
            assert (await placing).status in {"accepted", "filled"}
            assert engine.breaks.on_positions([]).first
            for _ in range(2):
                engine.breaks.on_positions([Held(265598, "AAPL", sign * 100)])
            assert engine.breaks.standing == ()
            await connection.stop()

    run(story)


def test_a_list_that_comes_before_the_fills_of_our_absence_is_not_compared() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.answers["61"] = ["62|1"]
            connection = manager(gateway.port, timing=QUICK)
            engine = Engine(connection)
            await connection.start(5)
            await until(lambda: engine.breaks.has_baseline, "the baseline")
            gateway.send("4|2|-1|1100|Connectivity has been lost.|")
            await until(lambda: not connection.usable, "the loss")
            for _ in range(3):
                engine.stage.others.on_positions(held(7))
            assert engine.breaks.standing == ()
            gateway.send("4|2|-1|1102|Connectivity has been restored.|")
            await until(lambda: connection.usable, "the end of the answers")
            for _ in range(2):
                engine.stage.others.on_positions(held(7))
            assert len(engine.breaks.standing) == 1
            await connection.stop()

    run(story)


def test_the_breaker_is_told_with_the_next_lease_request(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings, QUICK) as engine:
                await until(lambda: breaker.usable and engine.breaks.has_baseline, "the baseline")
                await foreign_trade(gateway)
                await until(lambda: breaker.messages(LeaseRequest)[-1].gateway.drift, "the drift")
                (drift,) = breaker.messages(LeaseRequest)[-1].gateway.drift
                assert (drift.symbol, drift.expected, drift.actual) == ("MSFT", 0, 5)

    run(story)


def test_a_gateway_that_never_ends_the_list_costs_nothing_but_the_check() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=QUICK)
            await connection.start(5)
            await until(lambda: gateway.requests("49") >= 2, "some time")
            assert gateway.requests("61") == 1
            assert connection.usable
            assert gateway.connections == 1
            await connection.stop()

    run(story)


def test_the_subscription_behind_a_list_is_ended_before_the_next_one_is_asked_for() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway, timing=QUICK):
            await some_lists(gateway, 2)
            asked = [
                entry.message
                for entry in gateway.record.entries(direction="in")
                if entry.message in {"reqPositions", "cancelPositions"}
            ]
            first, *rest = asked
            assert first == "reqPositions"
            assert rest[::2] == ["cancelPositions"] * len(rest[::2])
            assert rest[1::2] == ["reqPositions"] * len(rest[1::2])

    run(story)
