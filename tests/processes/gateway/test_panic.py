"""`orderfuse panic` against the real paper gateway: everything at IB is cancelled, or it is said what is not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import ib_insync
import pytest

from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.orderfuse.clisupport import DONE, NOTHING_ANSWERS, REFUSED, USAGE, Terminal
from tests.processes.pipeline.pipeline import DEADLINE_SECS, Pipeline, running, wait_until

AAPL = ib_insync.Stock("AAPL", "SMART", "USD")


@contextmanager
def paper(*more: str, **settings: str) -> Iterator[Pipeline]:
    with running("paper", *more, **settings) as pipeline:
        wait_until(lambda: "listening" in pipeline.log("paper"), "the paper gateway listens")
        yield pipeline


@asynccontextmanager
async def connected(pipeline: Pipeline, client_id: int) -> AsyncIterator[ib_insync.IB]:
    ib = ib_insync.IB()
    try:
        await ib.connectAsync("127.0.0.1", pipeline.port, clientId=client_id)
        yield ib
    finally:
        ib.disconnect()


async def rest(ib: ib_insync.IB, *quantities: int, ref: str = "") -> None:
    """Orders that nobody fills."""
    for quantity in quantities:
        trade = ib.placeOrder(AAPL, ib_insync.LimitOrder("BUY", quantity, 1.5, orderRef=ref))
        async with asyncio.timeout(DEADLINE_SECS):
            while trade.orderStatus.status != "Submitted":
                await trade.statusEvent


def resting(pipeline: Pipeline, client_id: int, *quantities: int, ref: str = "") -> None:
    async def place() -> None:
        async with connected(pipeline, client_id) as ib:
            await rest(ib, *quantities, ref=ref)

    asyncio.run(place())


def working(pipeline: Pipeline) -> int:
    return int(json.loads(pipeline.command("paper status").stdout)["working"])


def stop_file(pipeline: Pipeline) -> Path:
    return pipeline.home / "STOP"


def test_with_breaker_and_executor_dead_everything_is_cancelled() -> None:
    with paper("breaker", "executor") as pipeline:
        wait_until(lambda: "is usable" in pipeline.log("executor"), "the executor is there")
        resting(pipeline, 0, 10, 11)
        resting(pipeline, 5, 12, ref="alpha-1")
        for name in ("breaker", "executor"):
            pipeline.kill(name, signal.SIGKILL)
        done = pipeline.command("panic --yes")
        assert done.returncode == DONE, done.stderr
        assert working(pipeline) == 0
        # 7 is the executor's.
        assert "with client id 9, account DU0000000" in done.stdout
        lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
        assert lines.index("IB lists 3 working orders:") < lines.index("IB lists no working order any more")
        for line in ("by hand 0 DU0000000 Submitted BUY 10 AAPL LMT at 1.5", "alpha-1 5 DU0000000 Submitted BUY 12"):
            assert any(each.startswith(line) for each in lines), line
        assert lines[0].startswith(f"the file {stop_file(pipeline)} stands: no order passes until a reset of system")
        assert stop_file(pipeline).exists()
        again = pipeline.command("panic --yes")
        assert again.returncode == DONE
        assert "IB lists no working order: there is nothing to cancel" in again.stdout


def test_it_asks_for_the_word_and_takes_no_other() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        gateway: dict[str, Any] = {"ORDERFUSE_IB__PORT": str(pipeline.port)}
        for answer in ("yes\n", "\n", "\x04", "ctrl-c"):
            with Terminal(pipeline.home, "panic", **gateway) as terminal:
                terminal.wait_for("Type panic")
                assert "BUY 10 AAPL" in terminal.seen
                if answer == "ctrl-c":
                    assert terminal.ctrl_c_at_a_question() == REFUSED
                else:
                    terminal.type(answer)
                    assert terminal.end() == REFUSED
            assert "given up: nothing was cancelled" in terminal.seen
            assert "Traceback" not in terminal.seen
        assert working(pipeline) == 1
        assert stop_file(pipeline).exists()
        with Terminal(pipeline.home, "panic", **gateway) as terminal:
            terminal.wait_for("Type panic")
            terminal.type("panic\n")
            assert terminal.end() == DONE
        assert working(pipeline) == 0


def test_where_nobody_can_be_asked_it_needs_to_be_told() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        done = pipeline.command("panic")
        assert done.returncode == USAGE
        assert "nobody can be asked here, so it needs --yes" in done.stderr
        assert working(pipeline) == 1
        assert stop_file(pipeline).exists()


def test_a_gateway_that_is_gone_or_frozen_is_said() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        pipeline.signal("paper", signal.SIGSTOP)
        done = pipeline.command("panic --yes")
        pipeline.signal("paper", signal.SIGCONT)
        assert done.returncode == NOTHING_ANSWERS
        assert "does not answer as TWS or IB Gateway within 4 s; nothing was cancelled" in done.stderr
        stop_file(pipeline).unlink()
        pipeline.kill("paper")
        done = pipeline.command("panic --yes")
        assert done.returncode == NOTHING_ANSWERS
        assert f"nothing listens at 127.0.0.1:{pipeline.port}; nothing was cancelled" in done.stderr
        assert stop_file(pipeline).exists()


def test_a_gateway_that_freezes_between_list_and_cancel_is_said() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        with Terminal(pipeline.home, "panic", columns=200, ORDERFUSE_IB__PORT=str(pipeline.port)) as terminal:
            terminal.wait_for("Type panic")
            pipeline.signal("paper", signal.SIGSTOP)
            terminal.type("panic\n")
            code = terminal.end()
            pipeline.signal("paper", signal.SIGCONT)
            assert code == NOTHING_ANSWERS
        assert "nothing was cancelled" in terminal.seen
        assert working(pipeline) == 1


def test_a_list_that_never_ends_is_no_empty_list() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        assert pipeline.command("paper fault omit message=openOrderEnd count=1").returncode == DONE
        done = pipeline.command("panic --yes")
        assert done.returncode == NOTHING_ANSWERS
        assert "does not list its orders; nothing was cancelled" in done.stderr


def test_a_real_account_needs_its_name_in_the_settings() -> None:
    with paper(ORDERFUSE_PAPER__ACCOUNT="U7654321") as pipeline:
        resting(pipeline, 5, 10)
        done = pipeline.command("panic --yes")
        assert done.returncode == REFUSED
        assert "nothing was cancelled: U7654321 is a real account, and ib.live_account is ''" in done.stderr
        assert pipeline.at_the_wire("reqGlobalCancel") == []
        pipeline.env["ORDERFUSE_IB__LIVE_ACCOUNT"] = "U7654321"
        done = pipeline.command("panic --yes")
        assert done.returncode == DONE, done.stderr
        assert working(pipeline) == 0


def test_client_ids_in_use_are_passed_over_until_there_are_no_more() -> None:
    async def story(pipeline: Pipeline) -> None:
        async with connected(pipeline, 9) as ib, connected(pipeline, 10):
            await rest(ib, 10)
            done = await asyncio.to_thread(pipeline.command, "panic --yes")
            assert done.returncode == DONE, done.stderr
            assert "with client id 11" in done.stdout
            others = [ib_insync.IB() for _ in range(11, 18)]
            try:
                for client_id, other in enumerate(others, 11):
                    await other.connectAsync("127.0.0.1", pipeline.port, clientId=client_id)
                done = await asyncio.to_thread(pipeline.command, "panic --yes")
            finally:
                for other in others:
                    other.disconnect()
            assert done.returncode == NOTHING_ANSWERS
            assert "the client ids 9 to 17 are all in use" in done.stderr

    with paper() as pipeline:
        asyncio.run(story(pipeline))


def test_what_ib_goes_on_listing_is_named_and_no_pacing_is_broken() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10, ref="alpha-1")
        assert pipeline.command("paper fault unanswered request=reqGlobalCancel").returncode == DONE
        done = pipeline.command("panic --yes")
        assert done.returncode == REFUSED
        assert "IB STILL LISTS 1 working order after 10 s: cancel them in TWS" in done.stderr
        assert done.stdout.count("alpha-1") == 2
        assert 20 < len(pipeline.at_the_wire("reqAllOpenOrders")) < 100
        assert len(pipeline.at_the_wire("reqGlobalCancel")) == 1


def test_an_order_that_comes_after_the_cancel_is_cancelled_too() -> None:
    async def story(pipeline: Pipeline) -> None:
        async with connected(pipeline, 5) as ib:
            await rest(ib, 10)
            panic = asyncio.create_task(asyncio.to_thread(pipeline.command, "panic --yes"))
            # The first cancel does nothing, so that it is still listing when the other order comes.
            await asyncio.to_thread(
                wait_until, lambda: pipeline.at_the_wire("reqGlobalCancel"), "the first cancel at the wire"
            )
            await rest(ib, 11)
            done = await panic
        assert done.returncode == DONE, done.stderr
        assert len(pipeline.at_the_wire("reqGlobalCancel")) == 2
        assert working(pipeline) == 0

    with paper() as pipeline:
        assert pipeline.command("paper fault unanswered request=reqGlobalCancel count=1").returncode == DONE
        asyncio.run(story(pipeline))


def test_a_read_only_api_is_said() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        assert pipeline.command("paper fault read_only").returncode == DONE
        done = pipeline.command("panic --yes")
        assert done.returncode == REFUSED
        assert "refuses: 321" in done.stderr
        assert "Read-Only" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("redirect", [">/dev/full 2>/dev/full", ">&- 2>&- <&-"])
def test_an_output_that_nobody_gets_keeps_nothing_from_being_cancelled(redirect: str) -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        command = ["/bin/sh", "-c", f'"$@" {redirect}', "sh", sys.executable, "-m", "orderfuse.cli", "panic", "--yes"]
        done = subprocess.run(command, env=pipeline.env, capture_output=True, timeout=DEADLINE_SECS)
        assert done.returncode == DONE
        assert working(pipeline) == 0


def test_a_wrong_setting_or_home_is_named_and_the_file_stands_where_it_can() -> None:
    with paper() as pipeline:
        resting(pipeline, 5, 10)
        (pipeline.home / "orderfuse.toml").write_text("[ib]\nclient_id = 0\n")
        done = pipeline.command("panic --yes")
        assert done.returncode == USAGE
        assert "nothing was cancelled: ib.client_id is 0" in done.stderr
        assert stop_file(pipeline).exists()
        done = pipeline.command("--home nowhere panic --yes")
        assert done.returncode == USAGE
        assert "COULD NOT BE MADE" in done.stdout
        assert "nothing was cancelled: there is no folder" in done.stderr
        assert not (pipeline.home / "nowhere").exists()


def test_the_library_alone_stops_and_says_what_is_missing(tmp_path: Path) -> None:
    script = (
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'ib_insync' else find(name, *more)\n"
        "from orderfuse.cli.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--home", str(tmp_path), "panic", "--yes"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
    )
    assert done.returncode == USAGE
    assert "here is only the library" in done.stderr
    assert f"the file {tmp_path}/STOP stands: no order passes" in done.stderr
    assert (tmp_path / "STOP").exists()


@pytest.mark.parametrize(
    ("version", "accounts", "says"),
    [
        (152, "DU1234567", "is too old (server version 152, needed is 157)"),
        (176, "", "answers, but names no account: nobody has logged in there"),
    ],
)
def test_a_gateway_that_answers_and_is_of_no_use_is_said_to_be_one(
    tmp_path: Path, version: int, accounts: str, says: str
) -> None:
    async def story() -> None:
        async with ScriptedGateway(accounts) as gateway:
            gateway.server_version = version
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "orderfuse.cli", "--home", str(tmp_path), "panic", "--yes"),
                env={**os.environ, "ORDERFUSE_IB__PORT": str(gateway.port), "COLUMNS": "300"},
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await asyncio.wait_for(process.communicate(), DEADLINE_SECS)
            assert process.returncode == NOTHING_ANSWERS
            assert f"the gateway at 127.0.0.1:{gateway.port} {says}; nothing was cancelled" in said.decode()

    asyncio.run(story())
