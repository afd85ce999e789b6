"""`python -m services.paper` as a person or a process manager runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ib_insync
import pytest

ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(home: Path, port: int | str, *arguments: str, **more: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
    environment |= {"ORDERFUSE_HOME": str(home), "ORDERFUSE_PAPER__PORT": str(port), **more}
    command = [sys.executable, "-m", "services.paper", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(home: Path, port: int, *arguments: str, first: str = "", **more: str) -> Iterator[subprocess.Popen[str]]:
    """Run the process; `first` is a line that it logs before it listens."""
    process = start(home, port, *arguments, **more)
    try:
        assert process.stderr is not None
        if first:
            assert first in process.stderr.readline()
        line = process.stderr.readline()
        assert f"paper gateway listening on 127.0.0.1:{port} (account DU0000000, seed 1)" in line
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_and_removes_the_socket(tmp_path, number):
    with running(tmp_path, free_port()) as process:
        assert (tmp_path / "links" / "paper").is_socket()
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert not (tmp_path / "links" / "paper").exists()


def test_ib_insync_trades_with_the_process_and_a_kill_loses_no_line_of_the_record(tmp_path):
    port, record = free_port(), tmp_path / "wire.jsonl"

    async def trade() -> None:
        ib = ib_insync.IB()
        await ib.connectAsync("127.0.0.1", port, clientId=7)
        trade = ib.placeOrder(ib_insync.Stock("AAPL", "SMART", "USD"), ib_insync.MarketOrder("BUY", 1))
        async with asyncio.timeout(10):
            await trade.filledEvent
        process.kill()
        process.wait(timeout=30)
        ib.disconnect()

    with running(tmp_path, port, ORDERFUSE_PAPER__WIRE_RECORD=str(record)) as process:
        asyncio.run(trade())
    statuses = [
        line["fields"]["status"]
        for line in map(json.loads, record.read_text().splitlines())
        if line["message"] == "orderStatus"
    ]
    assert statuses == ["PreSubmitted", "Filled"]
    # The socket that the killed one left behind does not stop the next one.
    with running(tmp_path, port):
        pass


def test_a_port_in_use_is_explained(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = start(tmp_path, port)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use" in errors
    assert "ORDERFUSE_PAPER__PORT" in errors
    assert "Traceback" not in errors


def test_a_second_gateway_of_the_same_home_is_refused(tmp_path):
    with running(tmp_path, free_port()):
        process = start(tmp_path, free_port())
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "another paper gateway answers" in errors


def test_a_wrong_setting_is_exit_code_2(tmp_path):
    process = start(tmp_path, "many")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "paper.port" in errors
    assert "Traceback" not in errors
