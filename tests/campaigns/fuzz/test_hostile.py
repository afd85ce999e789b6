"""No client can take a process down: those that flood and die, and those that lag."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.campaigns.fuzz.campaign import news_of
from tests.campaigns.fuzz.hostile import FLOOD, FLOODER, hostile
from tests.processes.examples.programs import source
from tests.processes.pipeline.pipeline import ROOT, Pipeline, wait_until
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading

# A program that is stopped meanwhile has to be long enough without a word for any time limit that a link might have.
PAUSE_SECS = 4.0
# Events: the link holds 2,000 on either side, and a reader of the library takes 32,000 at a time.
MORE_THAN_QUEUES_HOLD = 45_000


@pytest.fixture(name="trading")
def an_idle_pipeline() -> Iterator[tuple[Pipeline, RawProgram]]:
    with trading() as (pipeline, program):
        yield pipeline, program


def still_trades(program: RawProgram) -> None:
    """An order is filled, if not this one then the next.

    What meets an executor that had no core for half a second is refused unwritten.
    """
    deadline = time.monotonic() + 30
    order_id = program.submit(ttl_ms=20_000)
    while "filled" not in (kinds := program.kinds(order_id)):
        assert time.monotonic() < deadline, kinds
        if "not_placed" in kinds:
            order_id = program.submit(ttl_ms=20_000)
        program.next_event(0.1)


def nobody_has_ended(pipeline: Pipeline) -> bool:
    return all(process.poll() is None for process in pipeline.processes.values())


@pytest.mark.parametrize("link", ["orders", "control", "events"])
def test_a_client_that_floods_a_link_and_is_killed_ends_nobody(trading: tuple[Pipeline, RawProgram], link: str) -> None:
    pipeline, program = trading
    for _ in range(2):
        with hostile("flood", pipeline.home, link, FLOOD[link]):
            # What a flood leaves is read by the breaker for a while after the end of the flooder.
            time.sleep(2)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            assert program.request("status")["ok"]
            assert nobody_has_ended(pipeline), pipeline.log("breaker")[-500:]
    still_trades(program)


class Listener:
    """A program that tells what it hears to a terminal, which can be stopped: then nothing is taken from it."""

    def __init__(self, arguments: list[str], pipeline: Pipeline) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-u", *arguments],
            cwd=ROOT,
            env=pipeline.env,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
        )
        os.close(writing)
        self._pipe = os.fdopen(reading, encoding="utf-8")
        self._goes_on = threading.Event()
        self._goes_on.set()
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._pipe:
            self.lines.append(line)
            self._goes_on.wait()

    def stop_the_terminal(self) -> None:
        self._goes_on.clear()

    def let_it_go_on(self) -> None:
        self._goes_on.set()

    def end(self) -> int | None:
        """How it has ended; None: it had not."""
        ended = self.process.poll()
        self.process.kill()
        self.process.wait()
        self._goes_on.set()
        self._thread.join()
        self._pipe.close()
        return ended


@contextmanager
def listening(arguments: list[str], pipeline: Pipeline) -> Iterator[Listener]:
    listener = Listener(arguments, pipeline)
    try:
        yield listener
    finally:
        listener.end()


# What says of itself how many events it was told, in order: the library's two readers.
WATCHER = """
import sys, time
from orderfuse import Watcher
from orderfuse.settings import load_settings
with Watcher(load_settings(), ("order/", "state/")) as watcher:
    for topic, item in watcher:
        print(topic, type(item).__name__, getattr(item, "seq", item))
"""
CLIENT = f"""
from orderfuse import OrderClient
with OrderClient("{FLOODER}", after_seq=0) as client:
    for report in client.reports():
        print(report.kind if hasattr(report, "kind") else type(report).__name__, report.seq)
"""


def has_said(reader: Listener, words: str) -> bool:
    return any(words in line for line in list(reader.lines))


def hears_of_an_order(program: RawProgram, reader: Listener) -> bool:
    """Whether the reader hears of an order that is sent now."""
    order_id = program.submit(ttl_ms=20_000)
    # Whether it is filled is not the question: on a busy machine the executor may refuse it for a lease that ran out.
    program.wait_event("passed", order_id)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if any(order_id in line for line in list(reader.lines)):
            return True
        time.sleep(0.02)
    return False


def test_a_reader_that_lags_says_what_it_missed_and_goes_on(
    trading: tuple[Pipeline, RawProgram], tmp_path: Path
) -> None:
    pipeline, program = trading
    (tmp_path / "monitor.py").write_text(source("monitor.py"), encoding="utf-8")
    (tmp_path / "watcher.py").write_text(WATCHER, encoding="utf-8")
    (tmp_path / "client.py").write_text(CLIENT, encoding="utf-8")
    commands = {
        "orderfuse watch": ["-m", "orderfuse.cli", "watch"],
        "services.monitor": ["-m", "services.monitor"],
        "monitor.py": [str(tmp_path / "monitor.py")],
        "Watcher": [str(tmp_path / "watcher.py")],
        "OrderClient": [str(tmp_path / "client.py")],
    }
    says_what_it_missed = {
        "orderfuse watch": "come from the journal",
        "services.monitor": "come from the journal",
        "Watcher": "Gap Gap(",
    }
    with ExitStack() as stack:
        readers = {name: stack.enter_context(listening(command, pipeline)) for name, command in commands.items()}
        for name, reader in readers.items():
            if name != "OrderClient":
                wait_until(partial(getattr, reader, "lines"), f"{name} hears the breaker")
        for reader in readers.values():
            reader.stop_the_terminal()
        with hostile("flood", pipeline.home, "orders", 1), news_of(pipeline, f"order/{FLOODER}/") as told:
            enough = told()["seq"] + MORE_THAN_QUEUES_HOLD
            wait_until(lambda: told()["seq"] > enough, "every queue is full", secs=60)
            # Answers to nonsense are not kept, and nobody misses them; what becomes of this order is.
            program.wait_event("passed", program.submit(ttl_ms=20_000))
        time.sleep(PAUSE_SECS)
        for reader in readers.values():
            reader.let_it_go_on()
        # What is told while a reader still has much to read may be lost to it; what is told later it hears.
        for name in ("orderfuse watch", "services.monitor", "monitor.py"):
            wait_until(partial(hears_of_an_order, program, readers[name]), f"{name} hears of an order")
        for name, said in says_what_it_missed.items():
            wait_until(partial(has_said, readers[name], said), name, secs=60)
        assert {name: reader.end() for name, reader in readers.items()} == dict.fromkeys(readers)
        assert nobody_has_ended(pipeline)


def test_subscribers_that_lag_are_stopped_and_die_end_nobody(trading: tuple[Pipeline, RawProgram]) -> None:
    pipeline, program = trading
    for how in (signal.SIGUSR1, signal.SIGSTOP, None):
        with hostile("lag", pipeline.home, "events", 20) as laggard:
            if how == signal.SIGSTOP:
                laggard.send_signal(how)
            with hostile("flood", pipeline.home, "orders", 1):
                time.sleep(PAUSE_SECS / 2)
            if how is not None:
                laggard.send_signal(signal.SIGCONT)
                laggard.send_signal(signal.SIGUSR1)
            still_trades(program)
            assert laggard.poll() is None
    assert program.request("status")["ok"]
    assert nobody_has_ended(pipeline)
