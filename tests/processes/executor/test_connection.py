"""The connection to a gateway: guards, losses, restarts; on the paper gateway, or on one that misbehaves."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from orderfuse.settings import IbSettings
from services.executor.batch import Keep
from services.executor.journal import Journal, JournalError, JournalMismatch
from services.executor.orders import doubts
from services.executor.orders.records import OrderRecord
from services.gateway.accounts import AccountRefused, RealAccountRefused
from services.gateway.diagnosis import FIRST_REQUEST_ID
from services.gateway.ib_client import IbConnection
from services.gateway.reports import Closed
from services.gateway.timing import Timing
from services.wire.feedback import Tripped
from tests.orders import RESTING, record_of, submit
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import QUICK, Connection, Engine, engine_on, orders_on_the_wire, paper, run, until
from tests.processes.paper.support import drop_client


def manager(port: int, journal: Journal | None = None, timing: Timing = QUICK, **settings: Any) -> Connection:
    return Connection(IbSettings(port=port, **settings), journal, timing=timing)


# -- whose money ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accounts", "settings", "refused", "names"),
    [
        ("U1234567", {}, RealAccountRefused, "ib.live_account"),
        ("U1234567", {"live_account": "U7654321"}, RealAccountRefused, "ORDERFUSE_IB__LIVE_ACCOUNT"),
        ("U1234567", {"account": "U1234567"}, RealAccountRefused, "real account"),
        ("DU1,DU2", {}, AccountRefused, "DU1, DU2"),
        ("DU1", {"account": "DU2"}, AccountRefused, "ib.account"),
        ("DU1,U1234567", {"account": "U1234567"}, RealAccountRefused, "ib.live_account"),
    ],
)
def test_an_account_that_is_not_the_one_to_trade_is_refused(
    accounts: str, settings: Any, refused: type[Exception], names: str
) -> None:
    async def story() -> None:
        async with ScriptedGateway(accounts) as gateway:
            with pytest.raises(refused, match=names):
                await manager(gateway.port, **settings).start(5)
            assert gateway.requests("16") == 0

    run(story)


@pytest.mark.parametrize(
    ("accounts", "settings"),
    [
        ("DU1", {}),
        ("DF1", {}),
        ("DU1,DU2", {"account": "DU2"}),
        ("U1234567", {"live_account": "U1234567"}),
    ],
)
def test_paper_accounts_and_the_real_account_that_is_named_in_full_may_trade(accounts: str, settings: Any) -> None:
    async def story() -> None:
        async with ScriptedGateway(accounts) as gateway:
            connection = manager(gateway.port, **settings)
            await connection.start(5)
            assert connection.usable
            await connection.stop()

    run(story)


def test_the_example_strategy_trades_with_the_paper_gateway_only() -> None:
    async def story() -> None:
        async with ScriptedGateway("DU1234567") as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            result = await engine.place_order(submit("o-1", strategy_id="example"))
            assert result.status == "invalid"
            assert "DU0000000" in result.reason
            assert gateway.requests("3") == 0
            await connection.stop()
        async with paper() as real_paper, engine_on(real_paper) as engine:
            assert (await engine.place_order(submit("o-1", strategy_id="example"))).status == "filled"

    run(story)


def test_a_journal_of_another_account_is_refused() -> None:
    async def story() -> None:
        journal = Journal(None, 7)
        journal.save(Keep(account="DU1"), journal.wall_ns())
        async with ScriptedGateway("DU2") as gateway:
            with pytest.raises(JournalMismatch, match="DU1"):
                await manager(gateway.port, journal).start(5)

    run(story)


# -- usable -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", ["16", "7", "99"])
def test_a_list_that_does_not_end_drops_the_connection(silent: str) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            answer = gateway.answers.get(silent)
            gateway.answers[silent] = []
            connection = manager(gateway.port, timing=Timing(request=0.1, first_pause=0.02, longest_pause=0.05))
            task = asyncio.create_task(connection.run())
            await until(lambda: gateway.connections >= 2, "another connection")
            assert not connection.usable
            if answer is None:
                del gateway.answers[silent]
            else:
                gateway.answers[silent] = answer
            await until(lambda: connection.usable, "a complete answer")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_1100_stops_and_1102_asks_for_everything_before_it_goes_on() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            await connection.start(5)
            before, made_at = gateway.requests("7"), connection.undisturbed_since
            gateway.send("4|2|-1|1100|Connectivity has been lost.|")
            await until(lambda: not connection.usable, "the loss")
            assert connection.status().connected
            assert "1100" in connection.status().detail
            gateway.answers["99"] = []
            gateway.send("4|2|-1|1102|Connectivity has been restored - data maintained.|")
            await until(lambda: gateway.requests("99") > 1, "the questions")
            assert not connection.usable
            gateway.send("102")
            await until(lambda: connection.usable, "the end of the answers")
            assert gateway.requests("7") == before + 1
            # Rounds of questions from before the loss prove nothing any more.
            assert connection.undisturbed_since > made_at
            await connection.stop()

    run(story)


def test_a_gateway_that_falls_silent_is_not_usable_and_then_given_up() -> None:
    async def story() -> None:
        timing = Timing(probe_every=0.05, silent=0.1, drop=0.4, first_pause=0.02, request=1, look_up_pause=0.05)
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=timing)
            await connection.start(5)
            gateway.answers["49"] = []
            await until(lambda: not connection.usable, "the silence")
            assert connection.status().connected
            assert connection.status().silent
            assert "not answered" in connection.status().detail
            await until(lambda: gateway.connections == 2, "another connection")
            await until(lambda: not connection.status().silent, "its greeting, which is an answer")
            gateway.answers["49"] = ["49|1|1700000000"]
            await until(lambda: connection.usable, "an answer")
            await connection.stop()

    run(story)


@pytest.mark.parametrize(
    ("closes", "says"),
    [
        (False, "what listens there did not answer as TWS or IB Gateway within 0.1 s"),
        (True, "what listens there closed the connection at once"),
    ],
)
def test_a_web_server_in_the_gateways_place_is_said_once_and_something_else_is_waited_for(
    closes: bool, says: str
) -> None:
    async def story() -> None:
        connections = 0

        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n<!DOCTYPE HTML>")
            if not closes:
                await reader.read()
            writer.close()

        lines: list[str] = []
        sink = logger.add(lines.append, format="{message}", level="WARNING")
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connection = manager(port, timing=Timing(connect=0.1, first_pause=0.02, longest_pause=0.05))
        task = asyncio.create_task(connection.run())
        await until(lambda: connections >= 4, "further attempts")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
        logger.remove(sink)
        check = "check ib.host and ib.port (ORDERFUSE_IB__PORT), and that the API is switched on there"
        assert lines == [f"waiting for the gateway at 127.0.0.1:{port}: {says}; {check}\n"]

    run(story)


def test_a_port_where_nothing_listens_is_said_to_be_one() -> None:
    async def story() -> None:
        connection = manager(1, timing=Timing(first_pause=0.02))
        with pytest.raises(TimeoutError, match=r"nothing listens there; start it, or set ib\.host and ib\.port"):
            await connection.start(0.2)

    run(story)


def test_a_client_id_in_use_is_kept_trips_and_is_tried_again() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.greeting = ["4|2|-1|326|Unable to connect as the client id is already in use.|"]
            connection = manager(gateway.port, timing=Timing(connect=0.3, first_pause=0.02, longest_pause=0.05))
            task = asyncio.create_task(connection.run())
            await until(lambda: gateway.connections >= 2, "another attempt")
            await until(lambda: connection.told, "the trip")
            (fact,) = connection.told
            assert b"tripped" in fact
            assert "client_id 7 is in use" in connection.status().detail
            gateway.greeting = None
            await until(lambda: connection.usable, "the free id")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(story)


def test_a_message_about_orders_that_cannot_be_read_trips() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            strangers_order = "5|44|" + "x|" * 21 + "not-ours|" + "x|" * 10
            gateway.send("4|2|-1|2104|fine|", "61|garbage of no interest", strangers_order, "11|too|short")
            tripped: list[Any] = []

            def seen() -> bool:
                rows = engine.journal.feedback_after(0, 10)
                tripped[:] = [payload for _, payload in rows]
                return bool(tripped)

            await until(seen, "the trip")
            assert len(tripped) == 1
            assert b"cannot be read" in tripped[0]
            await connection.stop()

    run(story)


def test_an_execution_with_a_time_zone_that_nobody_knows_is_not_lost() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            placing = asyncio.create_task(engine.place_order(submit("o-1")))
            await until(lambda: gateway.requests("3"), "the order")
            contract = "0|AAPL|STK||0||||USD|AAPL|NMS"
            time = "20260105 12:00:00 Nowhere/Land"
            gateway.send(f"11|-1|1|{contract}|e.01|{time}|DU1234567|NYSE|BOT|100|10|77|7|0|100|10|o-1||||2")
            assert (await placing).status == "filled"
            await connection.stop()

    run(story)


# -- IB's order ids ---------------------------------------------------------------------------------------


async def ib_order_id_of_the_next_order(gateway: ScriptedGateway, path: Path, order_id: str) -> int:
    """Start an executor, have it write an order, and end it."""
    journal = Journal(path, 7)
    connection = manager(gateway.port, journal)
    engine = Engine(connection)
    await connection.start(5)
    before = gateway.requests("3")
    engine.write(engine.check(submit(order_id)))
    await until(lambda: gateway.requests("3") > before, "the order")
    await connection.stop()
    journal.close()
    return int(next(fields[1] for fields in reversed(gateway.heard) if fields[0] == "3"))


def test_order_ids_never_go_back_over_restarts_even_if_ib_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "executor.sqlite"
        async with ScriptedGateway() as gateway:
            for next_id, expected in ((40, 40), (5, 41), (100, 100), (1, 101)):
                gateway.next_id = next_id
                assert await ib_order_id_of_the_next_order(gateway, path, f"o-{expected}") == expected

    run(story)


def test_ids_among_those_of_requests_are_refused_with_what_to_do() -> None:
    async def story() -> None:
        async with ScriptedGateway(next_id=FIRST_REQUEST_ID) as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            with pytest.raises(TimeoutError, match="reset the API order id"):
                await connection.start(1)
            with pytest.raises(ConnectionError, match="reset the API order id"):
                connection.take_order_id()
            assert (await engine.place_order(submit("o-1"))).status == "not_placed"
            assert gateway.requests("3") == 0

    run(story)


# -- over restarts ----------------------------------------------------------------------------------------


def test_fills_while_the_executor_was_away_are_found(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "executor.sqlite"
        async with paper(tick_secs=0) as gateway:
            first = Journal(path, 7)
            async with engine_on(gateway, journal=first) as engine:
                assert (await engine.place_order(submit("o-1", order=RESTING))).status == "accepted"
                assert (await engine.place_order(submit("o-2", order=RESTING))).status == "accepted"
            first.close()
            gateway.move_price("AAPL", 0.5)
            second = Journal(path, 7)
            async with engine_on(gateway, journal=second) as engine:
                for order_id in ("o-1", "o-2"):
                    record = engine.ledger.record(order_id)
                    assert record is not None
                    assert record.ended == "filled"
                    assert engine.ledger.totals(order_id)[0] == 100
                    told = [payload for _, payload in second.feedback_of(order_id)]
                    assert sum(b"\xa6filled" in payload for payload in told) == 1
                await engine.place_order(submit("o-3"))
            assert orders_on_the_wire(gateway) == ["o-1", "o-2", "o-3"]
            second.close()

    run(story)


def test_a_dropped_connection_comes_back_and_finds_its_orders() -> None:
    async def story() -> None:
        async with paper(tick_secs=0) as gateway, engine_on(gateway) as engine:
            await engine.place_order(submit("o-1", order=RESTING))
            drop_client(gateway, 7)
            gateway.move_price("AAPL", 0.5)
            await until(lambda: record_of(engine.ledger, "o-1").ended == "filled", "the fill from while it was gone")

    run(story)


def test_an_intent_that_was_never_written_is_proven_so_and_one_that_was_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "ROUNDS_APART_SECS", 0.3)

    async def story() -> None:
        path = tmp_path / "executor.sqlite"
        async with paper() as gateway:
            journal = Journal(path, 7)
            async with engine_on(gateway, journal=journal) as engine:
                await engine.place_order(submit("o-1", order=RESTING))
                # As a kill between the disk and the socket leaves them: one was written, the other was not.
                record = engine.ledger.record("o-1")
                assert record is not None
                lost = OrderRecord("o-2", "s1", record.ib_order_id + 1, 100, placed_ns=journal.wall_ns())
                journal.save(Keep(intents=[lost]), journal.wall_ns())
            journal._db.execute(
                "UPDATE orders SET record = json_set(record, '$.accepted', json('false'), '$.answered', json('false'))"
                " WHERE order_id = 'o-1'"
            )
            async with engine_on(gateway, journal=journal) as engine:
                assert set(engine.ledger.unanswered()) == {"o-2"}
                await until(lambda: record_of(engine.ledger, "o-2").ended == "not_placed", "the proof")
                assert record_of(engine.ledger, "o-1").ended == ""
                assert b"reconciled" in engine.connection.told[-1]
                assert isinstance(engine.ledger.record("o-1"), OrderRecord)
            journal.close()

    run(story)


def test_an_order_that_ended_on_an_earlier_day_while_nobody_was_here_is_unknown_and_one_that_rests_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "ROUNDS_APART_SECS", 0.3)

    async def story() -> None:
        async with paper() as gateway:
            journal = Journal(tmp_path / "executor.sqlite", 7)
            async with engine_on(gateway, journal=journal) as engine:
                await engine.place_order(submit("gone", order=RESTING))
                await engine.place_order(submit("rests", order={**RESTING, "tif": "GTC"}))
            gateway.exchange.end_day(time.time(), day_orders=True)
            async with engine_on(gateway, journal=journal) as engine:
                told = engine.connection
                await until(lambda: any(b"unknown" in payload for payload in told.told), "the doubt")
                assert [b"gone" in payload for payload in told.told if b"unknown" in payload] == [True]
                assert record_of(engine.ledger, "gone").ended == ""
            journal.close()

    run(story)


def test_a_cancel_that_was_lost_with_the_connection_is_sent_again() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            engine.write(engine.check(submit("o-1", order=RESTING)))
            await until(lambda: gateway.requests("3"), "the order")
            gateway.send("3|1|Submitted|0|100|0|77|0|0|7||0")
            await until(lambda: record_of(engine.ledger, "o-1").accepted, "the answer")
            engine.cancel("o-1", "r-1")
            await until(lambda: gateway.requests("4") == 1, "the cancel")
            gateway.writers[-1].close()
            await until(lambda: gateway.requests("4") == 2, "the cancel over the next connection")
            gateway.send("3|1|Cancelled|0|100|0|77|0|0|7||0")
            await until(lambda: record_of(engine.ledger, "o-1").ended == "cancelled", "its effect")
            await connection.stop()

    run(story)


# -- the journal fails ------------------------------------------------------------------------------------


def test_without_a_journal_nothing_is_placed_and_the_status_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        journal = Journal(tmp_path / "executor.sqlite", 7)
        async with paper() as gateway, engine_on(gateway, journal=journal) as engine:

            def full(*_: Any) -> Any:
                raise JournalError("executor.sqlite cannot be written: database or disk is full")

            with monkeypatch.context() as broken:
                for name in ("save", "prune"):
                    broken.setattr(journal, name, full)
                first = await engine.place_order(submit("o-1"))
                assert first.status == "not_placed"
                assert "disk is full" in first.reason
                assert not engine.gateway_status().usable
                assert "disk is full" in engine.gateway_status().detail
                assert (await engine.place_order(submit("o-2"))).status == "not_placed"
            assert orders_on_the_wire(gateway) == []
            await until(lambda: engine.gateway_status().usable, "the disk to have room again")
            # What could not be kept then has been kept now.
            assert b"not_placed" in journal.feedback_of("o-1")[0][1]
            assert (await engine.place_order(submit("o-3"))).status == "filled"
        journal.close()

    run(story)


def test_an_order_refused_after_its_intent_is_over_and_its_id_stays_used() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            clock, save, late = engine.connection.clock, engine.journal.save, [0.0]

            def save_slowly(keep: Keep, at_ns: int) -> Any:
                told = save(keep, at_ns)
                late[0] = 60.0
                return told

            engine.connection.clock = lambda: clock() + late[0]
            engine.journal.save = save_slowly  # type: ignore[method-assign]
            refusal = engine.write(engine.check(submit("o-1")), until=clock() + 30.0)
            assert refusal is not None
            assert refusal.code == "lease"
            record = engine.ledger.record("o-1")
            assert record is not None
            assert record.ended == "not_placed"
            assert engine.ledger.unanswered() == []
            assert (await engine.place_order(submit("o-1"))).status == "invalid"
            assert orders_on_the_wire(gateway) == []

    run(story)


def test_a_trip_is_told_once_a_minute_for_each_code() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            gateway.send(*["4|2|-1|100|Max rate of messages per second has been exceeded.|"] * 50)
            gateway.send("4|2|-1|10015|Trading is not allowed in the API.|")
            await until(lambda: engine.journal.feedback_range()[1] >= 2, "two trips")
            assert engine.journal.feedback_range()[1] == 2
            assert Tripped.__struct_config__.tag == "tripped"
            await connection.stop()

    run(story)


def test_bytes_that_have_not_left_never_leave_after_the_connection_is_given_up() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            reports: list[Any] = []
            session = IbConnection(reports.append)
            await session.connect("127.0.0.1", gateway.port, 7, 2.0)
            gateway.stop_reading()
            contract = {"secType": "STK", "symbol": "A" * 1000}
            written = 0
            while session.buffer_empty:
                written += 1
                session.place_order(written, contract, RESTING, order_ref=f"o-{written}", account="DU1")
            for more in range(written + 1, written + 51):
                session.place_order(more, contract, RESTING, order_ref=f"o-{more}", account="DU1")
            session.abort()
            await until(lambda: Closed() in reports, "the end of the connection")
            gateway.read_on()
            await until(lambda: gateway.ended == 1, "the gateway's end of it")
            assert gateway.requests("3") < written + 50

    run(story)
