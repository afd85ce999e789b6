"""What keeps a gateway from being of use is said where people look, with what to do, for as long as it lasts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orderfuse import ControlClient
from orderfuse.settings import IbSettings, Settings
from services.executor.journal import Journal
from services.gateway import diagnosis
from services.gateway.diagnosis import FIRST_REQUEST_ID, LAST_REQUEST_ID, LISTS, next_request_id
from services.gateway.timing import Timing
from services.wire.dispatch import CancelOrder
from tests.orders import RESTING, place, submit
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import Connection, Engine, breaker_end, executor, run, settings_for, until
from tests.processes.orderfuse.process import ROOT, Service

QUICK = Timing(connect=0.2, request=0.2, first_pause=0.02, longest_pause=0.05, look_up_pause=0.05, renumber_every=0.2)
# The request for each list, and what ends it.
REQUESTS = {"open_orders": ("16", "53|1"), "executions": ("7", ""), "completed_orders": ("99", "102")}


@contextlib.asynccontextmanager
async def connecting(port: int, timing: Timing = QUICK, journal: Journal | None = None) -> AsyncIterator[Any]:
    """A connection that is made again and again, and every status that it told."""
    connection = Connection(IbSettings(port=port), journal, timing=timing)
    engine = Engine(connection)
    task = asyncio.create_task(connection.run())
    try:
        yield connection, engine, connection.statuses
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def pipeline(home: Path, gateway: ScriptedGateway, timing: Timing = QUICK) -> AsyncIterator[Settings]:
    """An executor on this gateway, and a breaker in a process of its own."""
    settings = settings_for(home, gateway.port)
    with Service("breaker", home):
        async with executor(settings, timing):
            yield settings


async def ask(settings: Settings, op: str = "status", **fields: Any) -> dict[str, Any]:
    def request() -> dict[str, Any]:
        with ControlClient(settings) as control:
            return control.request(op, timeout_s=10, connect_timeout_s=10, **fields)

    return await asyncio.to_thread(request)


async def status_page(settings: Settings) -> str:
    """`orderfuse status`, as a person sees it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orderfuse.cli", "--home", str(settings.home), "status"),
        cwd=ROOT,
        env={**environment, "COLUMNS": "400"},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    return said.decode()


async def until_told(settings: Settings, *words: str) -> dict[str, Any]:
    """The gateway's part of the breaker's status, once it says this."""
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        gateway: dict[str, Any] = (await ask(settings))["gateway"]
        if all(word in gateway["detail"] for word in words):
            return gateway
        assert asyncio.get_running_loop().time() < deadline, gateway
        # The breaker cuts off who connects in a loop.
        await asyncio.sleep(0.1)


# -- a list that does not end -----------------------------------------------------------------------------


@pytest.mark.parametrize("missing", LISTS)
def test_a_list_that_never_ends_is_named_with_the_number_of_tries_until_it_ends(missing: str) -> None:
    request, end = REQUESTS[missing]

    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.answers[request] = []
            async with connecting(gateway.port) as (connection, _, told):
                await until(lambda: "tried 3 times" in connection.status().detail, "the third time")
                since = len(told)
                await until(lambda: "tried 5 times" in connection.status().detail, "the fifth time")
                # Also while the next attempt is connected, asks, and waits.
                assert any(status.connected for status in told[since:])
                for status in told[since:]:
                    assert f"IB's list of {LISTS[missing]} has not ended within 0.2 s, tried" in status.detail
                    assert status.remedy.startswith("restart TWS or IB Gateway: another request for that list")
                    assert status.detail.endswith(status.remedy)
                gateway.answers[request] = [end]
                if not end:
                    del gateway.answers[request]
                await until(lambda: connection.status().usable, "the list")
                assert (connection.status().detail, connection.status().remedy) == ("", "")

    run(story)


def test_a_list_that_is_refused_is_named_as_well() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.answers["7"] = [f"4|2|{FIRST_REQUEST_ID}|321|Error validating request.|"]
            async with connecting(gateway.port) as (connection, _, _told):
                words = "IB's list of executions was refused (321 Error validating request.), tried 2 times"
                await until(lambda: words in connection.status().detail, "the second refusal")

    run(story)


def test_status_names_the_missing_list_and_what_to_do_in_the_reply_on_the_page_and_to_a_strategy(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.answers["99"] = []
            # It is asked again at once, and then waits for long: what is seen is what is told meanwhile.
            async with pipeline(tmp_path, gateway, Timing(request=2.0, first_pause=0.02)) as settings:
                what = "IB's list of completed orders has not ended within 2 s, tried once"
                await until_told(settings, what)
                await until(lambda: gateway.requests("99") == 2, "the next attempt")
                told = await until_told(settings, what, "restart TWS or IB Gateway")
                assert told["remedy"].startswith("restart TWS or IB Gateway")
                assert told["detail"].endswith(told["remedy"])
                page = await status_page(settings)
                assert f"  system: broker_disconnected holds ({what})\n    -> restart TWS or IB Gateway: " in page
                assert "logged in" not in page, "that is not what is wrong"
                allowed = (await ask(settings))["circuits"][0]
                assert not allowed["trading_allowed"]

    run(story)


# -- order ids --------------------------------------------------------------------------------------------


def test_ids_from_the_seconds_since_1970_are_taken_as_they_come() -> None:
    async def story() -> None:
        async with (
            ScriptedGateway(next_id=1_767_693_324) as gateway,
            connecting(gateway.port) as (connection, engine, _),
        ):
            await until(lambda: connection.status().usable, "the connection")
            engine.write(engine.check(submit("o-1", order=RESTING)))
            await until(lambda: gateway.requests("3"), "the order")
            assert [fields[1] for fields in gateway.heard if fields[0] == "3"] == ["1767693324"]
            # IB's no to an order with an id far up there is the order's, and no request's.
            gateway.send("4|2|1767693324|201|Order rejected - reason: no.|")
            await until(lambda: engine.ledger.record("o-1").ended == "rejected", "the refusal")
            assert all(FIRST_REQUEST_ID <= int(fields[2]) <= LAST_REQUEST_ID for fields in asked(gateway))

    run(story)


def asked(gateway: ScriptedGateway) -> list[list[str]]:
    return [fields for fields in gateway.heard if fields[0] == "7"]


def test_an_error_with_the_id_of_an_order_far_up_is_not_taken_for_the_refusal_of_a_list() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway, connecting(gateway.port) as (connection, _, _told):
            await until(lambda: connection.status().usable, "the connection")
            gateway.answers["7"] = ["4|2|1767693324|202|Order Canceled - reason:|", "55|1|1"]
            before = gateway.requests("7")
            connection.look_up()
            await until(lambda: gateway.requests("99") > before, "the list behind it")
            assert gateway.connections == 1

    run(story)


def test_request_ids_go_round_in_their_range() -> None:
    assert next_request_id(0) == FIRST_REQUEST_ID
    assert next_request_id(FIRST_REQUEST_ID) == FIRST_REQUEST_ID + 1
    assert next_request_id(LAST_REQUEST_ID - 1) == LAST_REQUEST_ID
    assert next_request_id(LAST_REQUEST_ID) == FIRST_REQUEST_ID


@pytest.mark.parametrize("next_id", [FIRST_REQUEST_ID, 2**31 - 1])
def test_a_next_order_id_out_of_range_is_known_before_the_first_order_and_over_once_it_was_reset(
    tmp_path: Path, next_id: int
) -> None:
    async def story() -> None:
        async with ScriptedGateway(next_id=next_id) as gateway, pipeline(tmp_path, gateway) as settings:
            what = f"IB's next order id is {next_id}, allowed are ids below {FIRST_REQUEST_ID}"
            told = await until_told(settings, what)
            assert told["remedy"].startswith("reset the API order id sequence")
            page = await status_page(settings)
            assert page.startswith("NO ORDER PASSES: broker_disconnected holds\n")
            assert f"broker_disconnected holds ({what})\n    -> reset the API order id sequence" in page
            await until(lambda: gateway.connections > 2, "a new connection that asks again")
            gateway.next_id = 1
            while not (await ask(settings))["circuits"][0]["trading_allowed"]:
                await asyncio.sleep(0.1)
            assert (await ask(settings))["gateway"]["detail"] == ""
            assert (await status_page(settings)).startswith("ORDERS PASS\n")
            assert gateway.requests("3") == 0

    run(story)


def test_the_last_ids_are_used_up_and_then_no_order_passes_but_cancels_do(tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedGateway(next_id=FIRST_REQUEST_ID - 1) as gateway:
            settings = settings_for(tmp_path, gateway.port)
            timing = Timing(first_pause=0.02, look_up_pause=0.05, renumber_every=3)
            async with breaker_end(settings) as breaker, executor(settings, timing) as engine:
                await until(lambda: breaker.usable, "the connection")
                connection = engine.connection
                await until(lambda: connection.clock() - connection.undisturbed_since > 3, "an old connection")
                await breaker.send(place("o-1", 1, order=RESTING))
                await until(lambda: gateway.requests("3"), "the last order")
                number = FIRST_REQUEST_ID - 1
                gateway.send(f"3|{number}|Submitted|0|100|0|77|0|0|7||0")
                await until(lambda: not engine.gateway_status().usable, "the end of the ids")
                assert f"has used order ids up to {number}" in engine.gateway_status().detail
                await breaker.send(CancelOrder(order_id="o-1", request_id="r-1"))
                await until(lambda: gateway.requests("4") == 1, "the cancel")
                at = connection.clock()
                await until(lambda: connection.clock() - at > 0.5, "some turns of the connection")
                assert gateway.connections == 1, "the answers would have been lost with the connection"

    run(story)


def test_orders_of_others_near_the_end_of_the_range_keep_nobody_from_trading() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway, connecting(gateway.port) as (connection, _, _told):
            await until(lambda: connection.status().usable, "the connection")
            contract = "0|AAPL|STK||0||||USD|AAPL|NMS"
            for client_id in (7, 8):
                for order_id in (FIRST_REQUEST_ID - 1, FIRST_REQUEST_ID, 2**31 - 1):
                    gateway.send(
                        f"11|-1|{order_id}|{contract}|e{client_id}{order_id}.01|20260105 12:00:00|DU1234567|NYSE|BOT"
                        f"|100|10|77|{client_id}|0|100|10|||||2"
                    )
            gateway.send(f"11|-1|41|{contract}|e.01|20260105 12:00:00|DU1234567|NYSE|BOT|100|10|77|8|0|100|10|||||2")
            await until(lambda: connection.take_order_id() >= 42, "the low one, which is the last")
            assert connection.take_order_id() < 1000
            assert connection.status().usable

    run(story)


# -- a gateway that is not what is needed -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says", "remedy"),
    [
        (
            {"server_version": 152},
            "the gateway is too old (server version 152, needed is 157 or higher)",
            "update TWS or IB Gateway",
        ),
        (
            {"accounts": ""},
            "the gateway answers, but has named no account within 0.2 s: it is not logged in yet",
            "log in there",
        ),
        (
            {"greeting": []},
            "the gateway answers, but has named no account within 0.2 s: it is not logged in yet",
            "log in there",
        ),
        (
            {"greeting": ["9|1|1"]},
            "the gateway answers, but has named no account within 0.2 s: it is not logged in yet",
            "log in there",
        ),
        (
            {"greeting": ["15|1|DU1234567"]},
            "the gateway answers, but has named no order id within 0.2 s: it is not logged in yet",
            "log in there",
        ),
        (
            {
                "greeting": [
                    "15|1|DU1234567",
                    "9|1|1",
                    "4|2|-1|326|Unable to connect as the client id is already in use.|",
                ]
            },
            "ib.client_id 7 is in use",
            "end that program",
        ),
        (
            {"greeting": [], "hangs_up": True},
            "the gateway answered, and closed the connection before it had named an account and an order id",
            "is it logged in",
        ),
    ],
)
def test_a_gateway_that_answers_and_is_of_no_use_is_told_from_something_else_that_listens(
    changes: dict[str, Any], says: str, remedy: str
) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            usual = {name: getattr(gateway, name) for name in changes}
            for name, value in changes.items():
                setattr(gateway, name, value)
            async with connecting(gateway.port) as (connection, _, _told):
                await until(lambda: connection.status().detail.startswith(says), says)
                assert remedy in connection.status().remedy
                await until(lambda: gateway.connections > 2, "further attempts")
                for name, value in usual.items():
                    setattr(gateway, name, value)
                await until(lambda: connection.status().usable, "the gateway as it should be")

    run(story)


def test_how_often_a_gateway_was_waited_for_is_told_from_the_second_time_on() -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.greeting = []
            async with connecting(gateway.port) as (connection, _, _told):
                words = "has named no account within 0.2 s (tried 3 times): it is not logged in yet"
                await until(lambda: words in connection.status().detail, "the third time")

    run(story)


def test_a_port_that_takes_no_connection_and_refuses_none_is_no_gateway_of_a_wrong_kind() -> None:
    async def story() -> None:
        # A full queue of connections is what a firewall looks like that drops what comes.
        with socket.socket() as deaf, contextlib.ExitStack() as fillers:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            for _ in range(3):
                filler = fillers.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(deaf.getsockname())
            async with connecting(deaf.getsockname()[1]) as (connection, _, _told):
                words = "nobody takes the connection there within 0.2 s"
                await until(lambda: words in connection.status().detail, "the time-out")
                assert "firewall" in connection.status().remedy

    run(story)


def test_status_says_that_the_gateway_is_too_old_or_that_nobody_has_logged_in(tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedGateway() as gateway:
            gateway.server_version = 152
            async with pipeline(tmp_path, gateway) as settings:
                await until_told(settings, "too old (server version 152, needed is 157 or higher)")
                page = await status_page(settings)
                assert (
                    "(the gateway is too old (server version 152, needed is 157 or higher))\n    -> update TWS" in page
                )
                gateway.server_version, gateway.accounts = 176, ""
                await until_told(settings, "it is not logged in yet")
                assert ": it is not logged in yet)\n    -> log in there" in await status_page(settings)

    run(story)


def test_every_trouble_ends_with_its_remedy() -> None:
    troubles = [
        diagnosis.client_id_in_use(7),
        diagnosis.closed_at_once(),
        diagnosis.turned_away(),
        diagnosis.too_old(152, 157),
        diagnosis.unreachable(4, 1),
        diagnosis.no_gateway(4, 2),
        diagnosis.not_logged_in("account", 4, 2),
        diagnosis.Unended().on_missing("executions", 10),
        diagnosis.Unended().on_refused("executions", "321 Error validating request."),
        diagnosis.out_of_range(2**31 - 1, 0),
        diagnosis.out_of_range(2**31 - 1, 2**31 - 2),
    ]
    for trouble in troubles:
        assert trouble is not None
        assert str(trouble).endswith(f"; {trouble.remedy}")
        assert len(str(trouble)) < 300
