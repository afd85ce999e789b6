"""Somebody trades the account beside the pipeline: a person sees it with `orderfuse`, and takes it as it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from orderfuse.settings import load_settings
from services.gateway.timing import Timing
from tests.processes.executor.support import executor, run, until
from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT, Pipeline, running, wait_until

# The lists of half a minute, closer together.
CLOSE = Timing(first_pause=0.02, longest_pause=0.1, look_up_pause=0.05, positions_every=0.1, orders_every=0.1)
NO_DRIFT = re.compile(r"no drift: IB holds what the fills make, as of IB's list of \d\d:\d\d:\d\d UTC\n")


@contextlib.asynccontextmanager
async def pipeline_with_an_executor_here(**settings: str) -> AsyncIterator[Pipeline]:
    with running("paper", "breaker", **settings) as pipeline:
        own = load_settings(pipeline.home, environ=pipeline.env)
        async with executor(own, CLOSE) as engine:
            await until(lambda: engine.connection.usable and engine.breaks.has_baseline, "the baseline")
            while not (await status(pipeline))["gateway"]["drift_at_ns"]:
                await asyncio.sleep(0.05)
            yield pipeline


async def orderfuse(pipeline: Pipeline, line: str, code: int = 0) -> str:
    done = await asyncio.to_thread(pipeline.command, line)
    assert done.returncode == code, (line, done.stdout, done.stderr)
    return done.stdout + done.stderr


async def status(pipeline: Pipeline) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await orderfuse(pipeline, "status --json"))
    return found


async def told(pipeline: Pipeline, key: str) -> list[dict[str, Any]]:
    while not (found := (await status(pipeline))[key]):
        await asyncio.sleep(0.05)
    return list(found)


def decisions(home: Path) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(home / "breaker.sqlite")) as database:
        return database.execute("SELECT op, reason FROM decisions ORDER BY rowid").fetchall()


def test_drift_is_shown_by_its_whole_contract_and_ends_when_a_person_accepts_it() -> None:
    async def story() -> None:
        async with pipeline_with_an_executor_here() as pipeline:
            assert NO_DRIFT.fullmatch(await orderfuse(pipeline, "drift"))
            refused = await orderfuse(pipeline, "drift accept --reason x", code=1)
            assert refused.startswith("orderfuse: refused: no drift: IB holds what the fills make, as of")
            await orderfuse(pipeline, "paper fault trade_by_hand symbol=MSFT shares=5")
            (drift,) = await told(pipeline, "drift")
            assert (drift["con_id"], drift["sec_type"], drift["currency"]) == (272093, "STK", "USD")
            assert await orderfuse(pipeline, "drift") == "IB holds 5 MSFT STK USD (272093), our fills make 0\n"
            assert "drift: IB holds 5 MSFT STK USD (272093), our fills make 0" in await orderfuse(pipeline, "status")
            said = await orderfuse(pipeline, 'drift accept --con-id 272093 --reason "bought by hand"')
            ends = "IB holds 5 MSFT STK USD (272093), our fills make 0; 5 is as expected from now on"
            assert said == f"accepted: {ends}\n"
            assert (await status(pipeline))["drift"] == []
            made = ("accept", "position break: MSFT STK USD (272093): 5 instead of 0: bought by hand")
            assert decisions(pipeline.home) == [made]
            assert "position break: MSFT STK USD (272093): there is none any more" in pipeline.log("breaker")
            assert f"{made[1].rpartition(':')[0]}: accepted by" in pipeline.log("breaker")
            # Also for a breaker that starts anew.
            pipeline.end("breaker")
            pipeline.start("breaker")
            while not NO_DRIFT.fullmatch((await asyncio.to_thread(pipeline.command, "drift")).stdout):
                await asyncio.sleep(0.05)

    run(story)


def test_with_trip_an_order_by_hand_stops_the_pipeline_until_it_is_accepted() -> None:
    async def story() -> None:
        async with pipeline_with_an_executor_here() as pipeline:
            none = "none: every open order of the account is orderfuse's, as of IB's list of "
            assert (await orderfuse(pipeline, "foreign")).startswith(none)
            await orderfuse(pipeline, "paper fault trade_by_hand symbol=MSFT shares=5 price=1")
            (order,) = await told(pipeline, "foreign")
            assert order["by_hand"]
            words = f"BUY 5 MSFT STK USD (272093) LMT, by hand, permanent id {order['perm_id']}"
            assert await orderfuse(pipeline, "foreign") == f"{words}\n"
            page = await orderfuse(pipeline, "status")
            assert page.startswith("ORDERS PASS\n")
            assert f"  not ours: {words}\n" in page

    run(story)

    async def with_trip() -> None:
        async with pipeline_with_an_executor_here(ORDERFUSE_EXECUTOR__FOREIGN_ORDERS="trip") as pipeline:
            await orderfuse(pipeline, "paper fault trade_by_hand symbol=MSFT shares=5 price=1")
            await told(pipeline, "foreign")
            (system,) = (each for each in (await status(pipeline))["circuits"] if each["scope"] == "system")
            assert (system["state"], system["conditions"]) == ("OPEN", ["foreign_orders"])
            assert system["reason"].startswith("foreign_orders: 1 open in this account: BUY 5 MSFT STK USD")
            assert "orderfuse foreign accept" in await orderfuse(pipeline, "status")
            said = await orderfuse(pipeline, 'foreign accept --reason "my hedge"')
            assert said.startswith("accepted: BUY 5 MSFT STK USD (272093) LMT, by hand")
            assert "accepting them closes no circuit:\n  system is OPEN" in said
            (system,) = (each for each in (await status(pipeline))["circuits"] if each["scope"] == "system")
            assert (system["state"], system["conditions"]) == ("OPEN", [])
            await orderfuse(pipeline, 'reset --reason "go on"')
            assert (await orderfuse(pipeline, "status")).startswith("ORDERS PASS\n")

    run(with_trip)


def test_the_paper_gateway_of_make_run_keeps_its_book_in_the_home(tmp_path: Path) -> None:
    pipeline = Pipeline()
    procfile = tmp_path / "Procfile"
    procfile.write_text(f"paper: {sys.executable} -m services.paper\n", encoding="utf-8")
    command = [sys.executable, "-m", "services", "-d", str(ROOT), "-f", str(procfile), "-e", "/dev/null"]
    book = pipeline.home / "paper-book.jsonl"

    def paper() -> dict[str, Any]:
        done = pipeline.command("paper status")
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def once(during: str) -> dict[str, Any]:
        started = subprocess.Popen(command, cwd=ROOT, env=pipeline.env, start_new_session=True)
        try:
            wait_until(paper, "the paper gateway")
            if during:
                assert pipeline.command(during).returncode == 0
            return paper()
        finally:
            os.killpg(started.pid, signal.SIGINT)
            started.wait(timeout=DEADLINE_SECS)

    try:
        assert once("paper fault trade_by_hand symbol=MSFT shares=5")["executions"] == 1
        assert book.is_file()
        assert once("")["executions"] == 1
        # A paper gateway that is started any other way keeps nothing, and does not touch it.
        before = book.read_bytes()
        pipeline.start("paper")
        wait_until(paper, "the paper gateway alone")
        assert paper()["executions"] == 0
        pipeline.end("paper")
        assert book.read_bytes() == before
        # Who has set another file, or none, gets that.
        pipeline.env["ORDERFUSE_PAPER__STATE_FILE"] = ""
        assert once("")["executions"] == 0
        assert book.read_bytes() == before
    finally:
        pipeline.stop()
