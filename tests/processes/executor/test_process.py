"""`python -m services.executor` as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orderfuse.settings import load_settings
from services.wire.dispatch import LeaseRequest
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import breaker_end, run, until

ROOT = Path(__file__).parents[3]


def command(home: Path, **variables: str) -> tuple[list[str], dict[str, str]]:
    # Port 1 answers nobody: the executor has to wait for its gateway.
    environment = {**os.environ, "ORDERFUSE_HOME": str(home), "ORDERFUSE_IB__PORT": "1", **variables}
    return [sys.executable, "-m", "services.executor"], environment


@contextmanager
def started(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    arguments, environment = command(home)
    log = home / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(arguments, env=environment, cwd=ROOT, stderr=output) as process,
    ):
        deadline = time.monotonic() + 30
        while b"waiting for the gateway" not in log.read_bytes():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_for_gateway_and_breaker_and_ends_cleanly_at_a_signal(tmp_path: Path, number: int) -> None:
    with started(tmp_path) as process:
        process.send_signal(number)
        assert process.wait(timeout=30) == 0


def test_a_second_executor_on_the_same_home_is_refused(tmp_path: Path) -> None:
    with started(tmp_path) as first:
        arguments, environment = command(tmp_path)
        second = subprocess.run(arguments, env=environment, cwd=ROOT, capture_output=True, timeout=30, check=False)
        assert second.returncode == 1
        assert str(first.pid) in second.stderr.decode()
        assert first.poll() is None


def test_a_real_account_that_no_setting_names_ends_it_with_the_setting_to_change(tmp_path: Path) -> None:
    async def story() -> None:
        async with ScriptedGateway("U1234567") as gateway:
            arguments, environment = command(tmp_path, ORDERFUSE_IB__PORT=str(gateway.port))
            process = await asyncio.create_subprocess_exec(
                *arguments, env=environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE
            )
            _, stderr = await asyncio.wait_for(process.communicate(), 15)
            assert process.returncode == 2
            assert "ORDERFUSE_IB__LIVE_ACCOUNT to U1234567" in stderr.decode()
            assert gateway.requests("3") == 0

    run(story)


def test_host_and_account_from_variables_reach_the_breaker_and_the_gateway_is_usable(tmp_path: Path) -> None:
    async def story() -> None:
        settings = load_settings(tmp_path, environ={})
        async with ScriptedGateway("DU1,DU0000000") as gateway, breaker_end(settings) as breaker:
            arguments, environment = command(
                tmp_path,
                ORDERFUSE_IB__PORT=str(gateway.port),
                ORDERFUSE_IB__HOST="127.0.0.1",
                ORDERFUSE_IB__ACCOUNT="DU0000000",
            )
            process = await asyncio.create_subprocess_exec(*arguments, env=environment, cwd=ROOT)
            try:
                await until(lambda: breaker.usable or process.returncode is not None, "a usable gateway")
                assert process.returncode is None
                told = breaker.messages(LeaseRequest)[-1].gateway
                assert (told.host, told.account) == ("127.0.0.1", "DU0000000")
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.wait()

    run(story)


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"ORDERFUSE_IB__PORT": "nine"}, "ib.port is 'nine'"),
        ({"ORDERFUSE_EXECUTOR__ALLOW_ORDER_FIELDS": "faGroup,transmit"}, "names transmit, allowed are"),
        ({"ORDERFUSE_LINKS__DISPATCH": "tcp://127.0.0.1:5555"}, "links.dispatch"),
    ],
)
def test_a_wrong_setting_is_said_on_stderr(tmp_path: Path, variables: dict[str, str], complaint: str) -> None:
    arguments, environment = command(tmp_path, **variables)
    ended = subprocess.run(arguments, env=environment, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert complaint in ended.stderr.decode()
    assert "Traceback" not in ended.stderr.decode()
