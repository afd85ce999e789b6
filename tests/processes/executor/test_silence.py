"""A gateway that falls silent and comes back; IB that goes and comes back behind it: nothing is missed or doubled."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from services.gateway.timing import Timing
from tests.orders import RESTING, submit
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import Connection, Engine, engine_on, orders_on_the_wire, paper, run, until
from tests.processes.executor.test_connection import manager

QUICK = Timing(
    connect=0.5,
    request=2.0,
    probe_every=0.05,
    silent=0.15,
    drop=5.0,
    first_pause=0.02,
    longest_pause=0.1,
    look_up_pause=0.05,
)
TIME = ["49|1|1700000000"]


def told(engine: Engine, kind: bytes) -> list[bytes]:
    return [payload for _, payload in engine.journal.feedback_after(0, 1000) if kind in payload]


def test_the_time_is_asked_every_second_and_silence_is_three_seconds_without_an_answer() -> None:
    timing = Timing()
    assert (timing.probe_every, timing.silent) == (1.0, 3.0)


def test_silence_keeps_the_connection_and_an_answer_ends_it_after_everything_was_looked_up() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=QUICK)
            await connection.start(5)
            assert not connection.status().silent
            gateway.answers["49"] = []
            await until(lambda: connection.status().silent, "the silence")
            status = connection.status()
            assert (status.connected, status.usable, status.planned) == (True, False, False)
            gateway.answers["99"] = []
            executions = gateway.requests("7")
            gateway.answers["49"] = TIME
            gateway.send(*TIME)
            await until(lambda: gateway.requests("7") > executions, "the questions")
            status = connection.status()
            assert (status.silent, status.usable, status.planned) == (False, False, True)
            gateway.answers["99"] = ["102"]
            gateway.send("102")
            await until(lambda: connection.usable, "the end of the answers")
            assert not connection.status().planned
            assert gateway.connections == 1
            await connection.stop()

    run(story)


def test_silence_is_noticed_while_a_list_is_awaited() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=QUICK)
            await connection.start(5)
            gateway.answers["16"] = []
            connection.look_up()
            await until(lambda: gateway.requests("16") > 1, "the question")
            gateway.answers["49"] = []
            await until(lambda: connection.status().silent, "the silence")
            await connection.stop()

    run(story)


def test_a_gateway_given_up_stays_silent_until_another_connection_is_greeted() -> None:
    async def story() -> None:
        timing = Timing(connect=0.2, probe_every=0.05, silent=0.1, drop=0.3, first_pause=0.02, longest_pause=0.05)
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=timing)
            await connection.start(5)
            gateway.answers["49"] = []
            gateway.greeting = [" "]
            await until(lambda: gateway.connections >= 3, "attempts that nobody greets")
            status = connection.status()
            assert (status.silent, status.connected) == (True, False)
            gateway.answers["49"], gateway.greeting = TIME, None
            await until(lambda: connection.usable, "an answer")
            assert not connection.status().silent
            await connection.stop()

    run(story)


def test_nothing_is_written_while_the_gateway_is_silent() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=QUICK)
            engine = Engine(connection)
            await connection.start(5)
            gateway.answers["49"] = []
            await until(lambda: connection.status().silent, "the silence")
            heard = len(gateway.heard)
            connection.look_up()
            result = await engine.place_order(submit("o-1"))
            assert result.status == "not_placed"
            assert "has not answered" in result.reason
            await asyncio.sleep(QUICK.probe_every * 4)
            assert [fields[0] for fields in gateway.heard[heard:]] == []
            await connection.stop()

    run(story)


def test_a_silence_that_ends_with_the_connection_was_not_answered() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=QUICK)
            await connection.start(5)
            gateway.answers["49"] = []
            await until(lambda: connection.status().silent, "the silence")
            gateway.greeting = [" "]
            gateway.writers[-1].close()
            await until(lambda: gateway.connections == 2, "another connection")
            assert connection.status().silent
            await connection.stop()

    run(story)


def test_what_comes_after_a_planned_renewal_is_not_planned() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            await connection.start(5)
            connection.renew("on purpose")
            await until(lambda: connection.status().planned, "the renewal")
            await until(lambda: connection.usable, "the new connection")
            gateway.answers["99"] = []
            gateway.send("4|2|-1|1102|Connectivity has been restored, and the loss was never told.|")
            await until(lambda: not connection.usable, "the questions")
            assert not connection.status().planned
            await connection.stop()

    run(story)


def test_a_loss_while_a_silence_is_looked_into_is_not_planned() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port, timing=QUICK)
            await connection.start(5)
            gateway.answers["49"] = gateway.answers["99"] = []
            await until(lambda: connection.status().silent, "the silence")
            gateway.answers["49"] = TIME
            gateway.send(*TIME)
            await until(lambda: connection.status().planned, "the answer")
            gateway.send("4|2|-1|1100|Connectivity has been lost.|")
            await until(lambda: "1100" in connection.status().detail, "the loss")
            assert not connection.status().planned
            await connection.stop()

    run(story)


@pytest.mark.parametrize(
    "disturbance",
    [
        ["4|2|-1|1100|Connectivity has been lost.|", "4|2|-1|1102|Restored - data maintained.|"],
        ["4|2|-1|1100|Connectivity has been lost.|", "4|2|-1|1101|Restored - data lost.|"],
    ],
)
def test_lists_asked_for_before_a_loss_ended_are_asked_for_again(disturbance: list[str]) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            await connection.start(5)
            gateway.answers["99"] = []
            rounds, executions = gateway.requests("99"), gateway.requests("7")
            connection.look_up()
            await until(lambda: gateway.requests("99") == rounds + 1, "the last list of a round")
            # All within that round: what it listed may lack what happened meanwhile.
            gateway.send(*disturbance, "102")
            await until(lambda: gateway.requests("7") == executions + 2, "the executions once more")
            assert not connection.usable
            gateway.answers["99"] = ["102"]
            gateway.send("102")
            await until(lambda: connection.usable, "the end of the answers")
            await connection.stop()

    run(story)


@pytest.mark.parametrize("restored", [1101, 1102])
def test_a_fill_made_while_ib_was_away_is_told_once(restored: int) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            engine = Engine(connection)
            await connection.start(5)
            placing = asyncio.create_task(engine.place_order(submit("o-1")))
            await until(lambda: gateway.requests("3"), "the order")
            gateway.send("3|1|Submitted|0|100|0|77|0|0|7||0")
            assert (await placing).status == "accepted"
            gateway.send("4|2|-1|1100|Connectivity has been lost.|")
            await until(lambda: not connection.usable, "the loss")
            request_id = int(next(fields[2] for fields in reversed(gateway.heard) if fields[0] == "7")) + 1
            contract = "265598|AAPL|STK||0||||USD|AAPL|NMS"
            fill = f"{contract}|e.01|20260105 12:00:00|DU1234567|NYSE|BOT|100|10|77|7|0|100|10|o-1||||2"
            gateway.answers["7"] = [f"11|{request_id}|1|{fill}", f"55|1|{request_id}"]
            gateway.send(f"4|2|-1|{restored}|Connectivity has been restored.|")
            await until(lambda: told(engine, b"filled"), "the fill")
            await until(lambda: connection.usable, "the end of the answers")
            # And by itself, late: it is the same one.
            gateway.send(f"11|-1|1|{fill}", *TIME)
            connection.look_up()
            rounds = gateway.requests("99")
            await until(lambda: gateway.requests("99") > rounds, "another round")
            assert len(told(engine, b"filled")) == 1
            await connection.stop()

    run(story)


@pytest.mark.parametrize("how", ["stop_reading", "stop_writing"])
def test_a_half_open_connection_of_the_paper_gateway_is_silence_and_is_renewed(how: str) -> None:
    async def story() -> None:
        timing = Timing(probe_every=0.1, silent=0.3, drop=1.0, first_pause=0.02, longest_pause=0.1)
        async with paper() as gateway, engine_on(gateway, timing=timing) as engine:
            resting = await engine.place_order(submit("o-1", order=RESTING))
            assert resting.status == "accepted"
            # Longer than the connection is kept. A gateway that reads no more does not see it end before.
            gateway.cut_clients(how, for_secs=2.0)
            await until(lambda: engine.gateway_status().silent, "the silence")
            assert engine.gateway_status().connected
            began = time.monotonic()
            await until(lambda: not engine.gateway_status().connected, "the end of the connection")
            assert time.monotonic() - began < timing.drop + 1
            await until(lambda: engine.connection.usable, "another connection")
            assert (await engine.place_order(submit("o-2"))).status == "filled"
            assert orders_on_the_wire(gateway) == ["o-1", "o-2"]

    run(story)


@pytest.mark.parametrize("how", ["stop_reading", "stop_writing"])
def test_an_order_written_just_before_the_silence_is_filled_once_when_it_ends(how: str) -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway, timing=QUICK) as engine:
            gateway.cut_clients(how, for_secs=0.5)
            placing = asyncio.create_task(engine.place_order(submit("o-1")))
            await until(lambda: engine.gateway_status().silent, "the silence")
            assert not placing.done()
            assert not told(engine, b"filled")
            assert (await placing).status == "filled"
            await until(lambda: engine.connection.usable, "the end of the answers")
            assert orders_on_the_wire(gateway) == ["o-1"]
            assert len(told(engine, b"filled")) == 1
            assert len(gateway.exchange.executions) == 1

    run(story)


def test_an_order_without_an_answer_for_five_seconds_is_unknown_to_a_script_too() -> None:
    async def story() -> None:
        now = [1000.0]
        async with ScriptedGateway() as gateway:
            connection = manager(gateway.port)
            connection = Connection(connection.settings, timing=QUICK, clock=lambda: now[0] + time.monotonic())
            engine = Engine(connection)
            await connection.start(5)
            placing: asyncio.Task[Any] = asyncio.create_task(engine.place_order(submit("o-1")))
            await until(lambda: gateway.requests("3"), "the order")
            now[0] += 4.5
            await until(lambda: gateway.requests("49") > 2, "some time")
            assert not placing.done()
            now[0] += 0.5
            assert (await placing).status == "unknown"
            await connection.stop()

    run(story)
