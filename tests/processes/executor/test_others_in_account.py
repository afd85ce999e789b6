"""What others do in the account: their orders are seen and told once, and a person may take all of it as it is."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import ib_insync
import pytest
from loguru import logger
from msgspec import structs

from orderfuse.bus.control import MAX_TOLD
from orderfuse.settings import IbSettings
from services.executor.account.foreign_orders import MAX_SEEN, ForeignOrders, foreign_order
from services.executor.account.others_in_account import ForeignPolicy
from services.executor.account.told_positions import STANDS_SECS, ToldPositions
from services.executor.journal import Journal
from services.gateway.diagnosis import FIRST_REQUEST_ID, LAST_REQUEST_ID
from services.gateway.pacing import Pacer
from services.gateway.reports import OpenOrderReport
from services.gateway.timing import Timing
from services.paper.faults.kinds import make_fault
from services.paper.server.gateway import PaperGateway
from services.wire.dispatch import Accept, LeaseRequest
from services.wire.standing import Drift, ForeignOrder, GatewayStatus
from tests.orders import RESTING, submit
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import (
    DEADLINE_SECS,
    Connection,
    Engine,
    breaker_end,
    engine_on,
    executor,
    paper,
    run,
    settings_for,
    until,
)

# Lists of open orders follow one another closely, those of positions too.
CLOSE = Timing(first_pause=0.02, longest_pause=0.1, look_up_pause=0.05, positions_every=0.1, orders_every=0.1)
# Nothing is listed but at the connection, and for a reason.
SELDOM = Timing(first_pause=0.02, longest_pause=0.1, look_up_pause=0.05)


@contextlib.asynccontextmanager
async def watching(
    gateway: PaperGateway | ScriptedGateway,
    policy: ForeignPolicy = "tell",
    *,
    journal: Journal | None = None,
    timing: Timing = CLOSE,
    **settings: Any,
) -> AsyncIterator[Engine]:
    ib = IbSettings(port=gateway.port, **settings)
    connection = Connection(ib, journal, timing=timing, foreign_orders=policy)
    engine = Engine(connection)
    await connection.start(DEADLINE_SECS)
    try:
        yield engine
    finally:
        await connection.stop()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []
    sink = logger.add(lambda line: found.append(str(line).strip()), format="{level} {message}")
    yield found
    logger.remove(sink)


def foreign(engine: Engine) -> tuple[ForeignOrder, ...]:
    return engine.gateway_status().foreign


def by_hand(gateway: PaperGateway, **fields: Any) -> None:
    gateway.play(make_fault("trade_by_hand", fields))


def lists(gateway: PaperGateway) -> int:
    return len(list(gateway.record.entries("reqAllOpenOrders", direction="in")))


async def some_lists(gateway: PaperGateway, count: int = 3) -> None:
    before = lists(gateway)
    await until(lambda: lists(gateway) >= before + count, "more lists of open orders")


@contextlib.asynccontextmanager
async def other_client(gateway: PaperGateway, client_id: int = 99) -> AsyncIterator[ib_insync.IB]:
    ib = ib_insync.IB()
    await ib.connectAsync("127.0.0.1", gateway.port, clientId=client_id)
    try:
        yield ib
    finally:
        ib.disconnect()


def rests(ib: ib_insync.IB, **fields: Any) -> ib_insync.Trade:
    return ib.placeOrder(ib_insync.Stock("MSFT", "SMART", "USD"), ib_insync.LimitOrder("BUY", 7, 1.0, **fields))


# -- orders of others, on a gateway -----------------------------------------------------------------------


def test_an_order_of_another_client_is_told_once_and_named_until_it_has_gone(lines: list[str]) -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway) as engine, other_client(gateway) as ib:
            trade = rests(ib)
            await until(lambda: foreign(engine), "the order")
            (order,) = foreign(engine)
            assert (order.client_id, order.action, order.quantity, order.order_type) == (99, "BUY", 7.0, "LMT")
            assert (order.symbol, order.sec_type, order.currency, order.by_hand) == ("MSFT", "STK", "USD", False)
            assert not engine.gateway_status().foreign_trips
            await some_lists(gateway)
            ib.cancelOrder(trade.order)
            await until(lambda: not foreign(engine), "its end")
        told = [line for line in lines if line.startswith("WARNING not an order of orderfuse")]
        what = f"BUY 7 MSFT STK USD (272093) LMT, client 99, permanent id {order.perm_id}"
        assert told == [f"WARNING not an order of orderfuse, and open in this account: {what}"]

    run(story)


def test_an_order_by_hand_is_told_as_one_and_with_trip_it_trips() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway, "trip") as engine:
            assert not engine.gateway_status().foreign_trips
            by_hand(gateway, symbol="MSFT", shares=-3, price=9000)
            await until(lambda: foreign(engine), "the order")
            (order,) = foreign(engine)
            assert (order.by_hand, order.client_id, order.ib_order_id, order.action) == (True, 0, -1, "SELL")
            assert engine.gateway_status().foreign_trips

    run(story)


def test_orders_of_ours_are_never_foreign_known_or_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            async with watching(gateway, journal=Journal(tmp_path / "first.sqlite", 7)) as engine:
                assert (await engine.place_order(submit("o-1", order=RESTING))).status == "accepted"
                await some_lists(gateway)
                assert foreign(engine) == ()
            # A journal that knows nothing of it adopts it.
            async with watching(gateway, journal=Journal(tmp_path / "second.sqlite", 7)) as engine:
                await some_lists(gateway)
                assert foreign(engine) == ()
                async with other_client(gateway) as ib:
                    rests(ib, orderRef="o-2")
                    await until(lambda: foreign(engine), "an order of another client under a reference like ours")

    run(story)


def test_whose_an_order_is_its_account_its_client_and_its_reference_say_and_its_permanent_id() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway, timing=SELDOM) as engine:
            assert (await engine.place_order(submit("o-1", order=RESTING))).status == "accepted"
            known = engine.ledger.record("o-1")
            assert known is not None
            account = engine.connection.account
            for said, is_foreign in (
                (report(901, account="DU2"), False),
                (report(902, account=account, client_id=7, order_ref="any-of-ours"), False),
                (report(known.perm_id, account=account, client_id=0), False),
                (report(903, account=account, client_id=7, order_ref="no reference of ours"), True),
                (report(904, account=account, client_id=7), True),
                (report(905, account=account, client_id=8, order_ref="any-of-ours"), True),
            ):
                engine.on_report(said)
                assert (said.perm_id in {order.perm_id for order in foreign(engine)}) == is_foreign, said

    run(story)


def test_our_next_order_ids_are_above_those_that_were_listed_unless_that_would_use_them_up() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway) as engine, other_client(gateway) as ib:
            for listed_id in (5_000, 900_000_000, 1_767_693_324, FIRST_REQUEST_ID - 1, LAST_REQUEST_ID):
                rests(ib, orderId=listed_id)
            await until(lambda: len(foreign(engine)) == 5, "all of the orders")
            assert engine.connection.status().usable
            assert engine.connection.take_order_id() == 5_001

    run(story)


def test_when_positions_and_open_orders_were_last_listed_is_told() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            began_ns = time.time_ns()
            # It lists the open orders, and says nothing of positions.
            async with watching(gateway) as engine:
                await until(lambda: gateway.requests("61") and gateway.requests("16") > 1, "both questions")
                status = engine.gateway_status()
                assert status.drift_at_ns == 0
                assert began_ns <= status.foreign_at_ns <= time.time_ns()
                gateway.send("62|1")
                await until(lambda: engine.gateway_status().drift_at_ns >= began_ns, "the list of positions")
                first = engine.gateway_status().foreign_at_ns
                await until(lambda: engine.gateway_status().foreign_at_ns > first, "the next list of orders")
            async with watching(gateway, "ignore") as engine:
                assert engine.gateway_status().foreign_ignored
                assert engine.gateway_status().foreign_at_ns == 0

    run(story)


def test_what_is_ignored_is_not_even_asked_for(lines: list[str]) -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway, "ignore") as engine:
            by_hand(gateway, symbol="MSFT", shares=3, price=1)
            before, positions = lists(gateway), len(list(gateway.record.entries("reqPositions", direction="in")))
            await until(
                lambda: len(list(gateway.record.entries("reqPositions", direction="in"))) >= positions + 3,
                "time to pass",
            )
            assert (lists(gateway), foreign(engine)) == (before, ())
        assert not [line for line in lines if "not an order of orderfuse" in line]

    run(story)


def test_a_position_that_our_fills_do_not_explain_has_the_orders_listed_after_a_moment() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway, timing=SELDOM) as engine:
            await until(lambda: engine.breaks.has_baseline, "the baseline")
            before = lists(gateway)
            assert (await engine.place_order(submit("o-1"))).status in {"accepted", "filled"}
            await until(lambda: engine.journal.fill_sums(), "our own fill")
            by_hand(gateway, symbol="MSFT", shares=3, price=1)
            at = engine.connection.clock()
            by_hand(gateway, symbol="MSFT", shares=3)
            await until(lambda: foreign(engine), "the order that rests")
            assert lists(gateway) == before + 1
            assert engine.connection.clock() - at >= STANDS_SECS

    run(story)


def test_no_list_is_asked_for_while_the_end_of_another_is_owed() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway) as engine:
            await some_lists(gateway)
            gateway.play(make_fault("unanswered", {"request": "reqAllOpenOrders", "late_ms": 600}))
            # The fault takes the next one.
            await until(lambda: not gateway.faults.armed(), "a list without an end")
            owed = lists(gateway)
            rounds = len(list(gateway.record.entries("reqExecutions", direction="in")))
            engine.connection.look_up()
            while not list(gateway.record.entries("openOrderEnd", direction="out"))[owed - 1 :]:
                assert lists(gateway) == owed
                await asyncio.sleep(0.005)
            await until(lambda: lists(gateway) > owed, "the look-up")
            await until(
                lambda: len(list(gateway.record.entries("reqExecutions", direction="in"))) > rounds, "the rest of it"
            )
            assert engine.connection.usable
            assert len(list(gateway.record.entries("startApi", direction="in"))) == 1

    run(story)


def test_a_list_that_nobody_needs_drops_no_connection_and_one_that_is_needed_does() -> None:
    async def story() -> None:
        timing = Timing(request=0.3, first_pause=0.02, look_up_pause=0.05, orders_every=0.1, positions_every=0.1)
        async with paper() as gateway, watching(gateway, timing=timing) as engine:
            await some_lists(gateway)
            gateway.play(make_fault("unanswered", {"request": "reqAllOpenOrders"}))
            await until(lambda: not gateway.faults.armed(), "a list without an end")
            since = engine.connection.clock()
            await until(lambda: engine.connection.clock() - since > 0.6, "twice the time of a request")
            assert engine.connection.usable
            engine.connection.look_up()
            starts = lambda: len(list(gateway.record.entries("startApi", direction="in")))  # noqa: E731
            await until(lambda: starts() == 2, "a new connection, over which no late end can come")

    run(story)


def test_the_list_leaves_the_messages_to_orders_while_they_need_them() -> None:
    pacer = Pacer(10)
    for _ in range(5):
        pacer.note(0.0)
    assert pacer.quiet(0.0)
    pacer.note(0.0)
    assert not pacer.quiet(0.5)
    assert pacer.quiet(2.0)
    assert Pacer(0).quiet(0.0)


def unread(perm_id: int, account: str) -> str:
    """What IB says of an open order, which breaks off in the middle."""
    return f"5|44|272093|MSFT|{'x|' * 16}{account}|O|0||99|{perm_id}|x"


def test_an_order_that_cannot_be_read_is_told_by_its_numbers_and_keeps_no_other_from_going() -> None:
    async def story() -> None:
        async with ScriptedGateway(accounts="DU1") as gateway:
            gateway.answers |= {"61": ["62|1"], "16": [unread(901, "DU1"), unread(902, "DU2"), "53|1"]}
            async with watching(gateway, "trip") as engine:
                engine.on_report(report(77))
                await until(lambda: len(foreign(engine)) == 2, "both")
                (unreadable,) = (order for order in foreign(engine) if order.perm_id != 77)
                whose = (unreadable.perm_id, unreadable.client_id, unreadable.ib_order_id, unreadable.symbol)
                assert whose == (901, 99, 44, "MSFT")
                assert (unreadable.action, unreadable.order_type) == ("?", "?")
                assert engine.gateway_status().foreign_trips
                await until(lambda: [order.perm_id for order in foreign(engine)] == [901], "the end of the other")
                gateway.answers["16"] = ["53|1"]
                await until(lambda: not engine.gateway_status().foreign_trips, "its end")

    run(story)


# -- the tracking alone -----------------------------------------------------------------------------------


def report(perm_id: int = 77, **more: Any) -> OpenOrderReport:
    fields: dict[str, Any] = {"client_id": 99, "order_ref": "", "account": "DU1", "status": "Submitted", **more}
    order: Any = {"action": "BUY", "order_type": "LMT", "con_id": 1, "symbol": "SPY"}
    return OpenOrderReport(ib_order_id=5, perm_id=perm_id, quantity=7, **order, **fields)


def listed(orders: ForeignOrders, *reports: OpenOrderReport) -> list[int]:
    """A complete list; returns the permanent ids of what has gone with it."""
    orders.on_list_begun()
    for each in reports:
        orders.on_order(each)
    return [order.perm_id for order in orders.on_list_end()[0]]


def test_an_order_has_gone_when_two_lists_in_a_row_lack_it() -> None:
    orders = ForeignOrders()
    assert listed(orders, report()) == []
    assert listed(orders) == []
    assert listed(orders, report()) == []
    assert listed(orders) == []
    assert [order.perm_id for order in orders.told] == [77]
    assert listed(orders) == [77]
    assert orders.told == ()
    assert [order.perm_id for order in orders.take_new()] == [77], "told once"
    assert orders.take_new() == []


def test_what_ib_says_of_an_order_that_is_over_is_no_open_order() -> None:
    orders = ForeignOrders()
    listed(orders, report(status="Filled"), report(78, status="Cancelled"))
    assert orders.told == ()


def test_an_accepted_order_is_told_no_more_until_it_has_gone() -> None:
    orders = ForeignOrders()
    listed(orders, report(), report(78))
    orders.take_new()
    (first, _) = orders.told
    assert orders.accepted([first]) == [first]
    orders.accept([first])
    listed(orders, report(), report(78))
    assert [order.perm_id for order in orders.told] == [78]
    listed(orders, report(78))
    orders.on_list_begun()
    orders.on_order(report(78))
    assert orders.on_list_end() == ([], [77])
    listed(orders, report())
    assert [order.perm_id for order in orders.take_new()] == [77]


def test_an_accepted_order_that_has_become_another_one_is_told_anew() -> None:
    for changed in ({"quantity": 700}, {"action": "SELL"}, {"order_type": "MKT"}, {"con_id": 2}):
        orders = ForeignOrders()
        listed(orders, report())
        (first,) = orders.told
        orders.take_new()
        orders.accept(orders.accepted([first]))
        other = dataclasses.replace(report(), **changed)
        orders.on_list_begun()
        orders.on_order(other)
        assert [order.perm_id for order in orders.take_new()] == [77], changed
        assert [order.perm_id for order in orders.told] == [77]
        assert orders.on_list_end() == ([], [77]), "the journal forgets what was accepted"
        # What was seen before it changed is not what stands.
        assert orders.accepted([first]) == []
        orders.accept(orders.accepted(orders.told))
        assert listed(orders, other) == []
        assert orders.told == ()
        assert orders.on_list_end() == ([], [])


def test_an_order_by_hand_may_get_other_numbers_and_is_the_accepted_one_still() -> None:
    orders = ForeignOrders()
    listed(orders, report(client_id=0))
    orders.accept(orders.told)
    orders.on_order(dataclasses.replace(report(client_id=0), ib_order_id=-3))
    assert orders.told == ()


def test_each_of_ten_thousand_new_orders_costs_the_same() -> None:
    reports = [report(perm_id) for perm_id in range(1, MAX_SEEN + 1)]
    orders = ForeignOrders()
    orders.on_list_begun()
    began = time.process_time()
    for each in reports:
        foreign_order(each)
    reading = time.process_time() - began
    for each in reports:
        orders.on_order(each)
    taking = time.process_time() - began - reading
    assert len(orders.told) == MAX_TOLD
    # Measured: 1.6 times as long, and 8 times where each of them copies all.
    assert taking < 4 * reading


def test_a_told_position_counts_once_if_it_stands_unexplained() -> None:
    held = {1: 5.0}
    told = ToldPositions()
    told.on_told(1, 5.0, 0.0)
    told.on_told(2, 3.0, 1.0)
    explained = lambda con_id, quantity: held.get(con_id) == quantity  # noqa: E731
    assert not told.unexplained(explained, STANDS_SECS)
    told.on_told(2, 3.0, 2.5)
    assert not told.unexplained(explained, 1.0 + STANDS_SECS - 0.01)
    assert told.unexplained(explained, 1.0 + STANDS_SECS)
    assert not told.unexplained(explained, 10.0)
    told.on_told(2, 4.0, 11.0)
    held[2] = 4.0
    assert not told.unexplained(explained, 20.0), "its fill came later"


# -- accepting --------------------------------------------------------------------------------------------


def accepting(number: int, status: GatewayStatus, **more: Any) -> Accept:
    return Accept(number=number, reason="as agreed", who="ann@hub", drift=status.drift, foreign=status.foreign, **more)


def kept(path: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT number, told, reason, who FROM accepted ORDER BY number").fetchall()


def test_accepted_drift_is_expected_from_then_on_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "executor.sqlite"

    async def story() -> None:
        async with paper() as gateway:
            journal = Journal(path, 7)
            async with watching(gateway, journal=journal) as engine:
                await until(lambda: engine.breaks.has_baseline, "the baseline")
                by_hand(gateway, symbol="MSFT", shares=5)
                by_hand(gateway, symbol="AAPL", shares=-2)
                await until(lambda: len(engine.gateway_status().drift) == 2, "the drift")
                status = engine.gateway_status()
                one = structs.replace(accepting(1, status), drift=status.drift[:1])
                engine.accept(one)
                assert engine.gateway_status().drift == status.drift[1:]
                # Told again it changes nothing, nor does what stands no more.
                engine.accept(one)
                engine.accept(structs.replace(one, number=2))
                await some_lists(gateway)
                assert engine.gateway_status().drift == status.drift[1:]
            journal.close()
            journal = Journal(path, 7)
            async with watching(gateway, journal=journal) as engine:
                await some_lists(gateway, 6)
                assert engine.gateway_status().drift == status.drift[1:]
                by_hand(gateway, symbol=status.drift[0].symbol, shares=1)
                await until(lambda: len(engine.gateway_status().drift) == 2, "a difference to what was accepted")
                again = {drift.con_id: drift for drift in engine.gateway_status().drift}[status.drift[0].con_id]
                assert (again.expected, again.actual) == (status.drift[0].actual, status.drift[0].actual + 1)
            journal.close()
            ((number, told, reason, who),) = kept(path)
            assert (number, reason, who) == (1, "as agreed", "ann@hub")
            assert json.loads(told) == {"drift": [structs.asdict(status.drift[0])], "foreign": []}

    run(story)


def test_a_difference_that_is_another_one_by_now_is_not_accepted() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway) as engine:
            await until(lambda: engine.breaks.has_baseline, "the baseline")
            by_hand(gateway, symbol="MSFT", shares=5)
            await until(lambda: engine.gateway_status().drift, "the drift")
            (drift,) = engine.gateway_status().drift
            engine.accept(Accept(number=1, reason="x", who="", drift=(structs.replace(drift, actual=6.0),)))
            assert engine.gateway_status().drift == (drift,)

    run(story)


def test_the_same_difference_that_came_again_is_not_what_was_accepted() -> None:
    async def story() -> None:
        async with paper() as gateway, watching(gateway) as engine:
            await until(lambda: engine.breaks.has_baseline, "the baseline")
            by_hand(gateway, symbol="MSFT", shares=5)
            await until(lambda: engine.gateway_status().drift, "the drift")
            accept = accepting(1, engine.gateway_status())
            engine.accept(accept)
            by_hand(gateway, symbol="MSFT", shares=5)
            await until(lambda: engine.gateway_status().drift, "as much once more")
            engine.accept(accept)
            assert len(engine.gateway_status().drift) == 1, "an old message, told again"
            assert not engine.journal_error

    run(story)


def test_what_the_journal_does_not_take_is_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "executor.sqlite"

    async def story() -> None:
        async with paper() as gateway, watching(gateway, journal=Journal(path, 7)) as engine:
            await until(lambda: engine.breaks.has_baseline, "the baseline")
            by_hand(gateway, symbol="MSFT", shares=5)
            await until(lambda: engine.gateway_status().drift, "the drift")
            status = engine.gateway_status()
            with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                engine.accept(accepting(1, status))
                assert engine.gateway_status().drift == status.drift
                assert "cannot be written" in engine.gateway_status().detail
                other.execute("ROLLBACK")
            await until(lambda: engine.connection.usable and not engine.journal_error, "the journal again")
            engine.accept(accepting(1, status))
            assert engine.gateway_status().drift == ()

    run(story)


def test_accepted_orders_are_told_no_more_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "executor.sqlite"

    async def story() -> None:
        async with paper() as gateway:
            journal = Journal(path, 7)
            async with watching(gateway, "trip", journal=journal) as engine:
                by_hand(gateway, symbol="MSFT", shares=3, price=1)
                await until(lambda: engine.gateway_status().foreign_trips, "the order")
                engine.accept(accepting(1, engine.gateway_status()))
                assert not engine.gateway_status().foreign_trips
            journal.close()
            journal = Journal(path, 7)
            async with watching(gateway, "trip", journal=journal) as engine:
                await some_lists(gateway)
                assert foreign(engine) == ()
                (accepted,) = journal.accepted_orders()
                assert (accepted.action, accepted.quantity, accepted.by_hand) == ("BUY", 3.0, True)
                changed = report(accepted.perm_id, client_id=0, account="")
                engine.on_report(changed)
                assert [order.perm_id for order in foreign(engine)] == [accepted.perm_id], "as another one told anew"
                by_hand(gateway, symbol="MSFT", shares=4, price=1)
                await until(lambda: engine.gateway_status().foreign_trips, "another order")
                gateway.play(make_fault("fill", {"symbol": "MSFT"}))
                await until(lambda: not (foreign(engine) or journal.accepted_orders()), "the end of both")
            journal.close()

    run(story)


def test_the_breaker_sees_with_the_next_lease_request_what_was_accepted(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings, CLOSE) as engine:
                await until(lambda: breaker.usable and engine.breaks.has_baseline, "the baseline")
                by_hand(gateway, symbol="MSFT", shares=3, price=1)
                by_hand(gateway, symbol="MSFT", shares=5)

                def last() -> GatewayStatus:
                    status: GatewayStatus = breaker.messages(LeaseRequest)[-1].gateway
                    return status

                await until(lambda: last().drift and last().foreign, "both")
                (drift,) = last().drift
                assert drift == Drift(
                    con_id=272093, symbol="MSFT", expected=0, actual=5, sec_type="STK", currency="USD"
                )
                await breaker.send(accepting(1, last()))
                await until(lambda: not (last().drift or last().foreign), "neither")

    run(story)


def test_a_script_that_uses_the_engine_alone_asks_for_no_list_of_others() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway, timing=CLOSE) as engine:
            assert not engine.stage.core.life._lists._lists_orders

    run(story)
