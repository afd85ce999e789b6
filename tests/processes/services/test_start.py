"""What a person reads, and a process manager gets, when a service cannot start: one line, exit code 2, no traceback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT, free_port

SERVICES = ("breaker", "executor", "paper", "monitor", "strategy")


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: a socket's path has room for 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="of-") as name:
        yield Path(name)


def start(service: str, home: Path, *, room: str = "unlimited", **variables: str) -> subprocess.Popen[str]:
    """A service on ports of its own; `room` limits its files, which is to it what a full disk is."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
    ports = {"ORDERFUSE_PAPER__PORT": str(free_port()), "ORDERFUSE_IB__PORT": str(free_port())}
    return subprocess.Popen(
        ["/bin/sh", "-c", f'ulimit -f {room}; exec "$0" -m services.{service}', sys.executable],
        cwd=ROOT,
        env={**environ, **ports, "ORDERFUSE_HOME": str(home), **variables},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code, and the last line that it wrote."""
    try:
        _, text = process.communicate(timeout=DEADLINE_SECS)
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in text
    assert "Errno" not in text
    return process.returncode, text.splitlines()[-1]


def ends_of_all(home: Path, **variables: str) -> dict[str, tuple[int, str]]:
    processes = {service: start(service, home, **variables) for service in SERVICES}
    return {service: end_of(process) for service, process in processes.items()}


def test_a_wrong_setting_ends_every_service_with_the_same_line(folder: Path) -> None:
    says = (
        "dispatch.window is '0', allowed is a whole number from 1 to 64. "
        "It was set in the variable ORDERFUSE_DISPATCH__WINDOW; change it there."
    )
    ends = ends_of_all(folder, ORDERFUSE_DISPATCH__WINDOW="0")
    assert ends == {service: (2, f"{service}: {says}") for service in SERVICES}


def test_a_file_where_the_home_should_be_ends_every_service_with_the_same_line(folder: Path) -> None:
    home = folder / "home"
    home.write_text("")
    says = (
        f"the home folder '{home}' cannot be used: it is a file, not a folder. "
        "Set ORDERFUSE_HOME to a folder that you own and can write to."
    )
    assert ends_of_all(home) == {service: (2, f"{service}: {says}") for service in SERVICES}


def test_a_home_too_deep_for_sockets_ends_every_service_with_the_setting_to_change(folder: Path) -> None:
    for service, (code, line) in ends_of_all(folder / ("x" * 120)).items():
        assert code == 2
        assert line.startswith(f"{service}: the socket ")
        assert line.endswith(". Set ORDERFUSE_HOME to a shorter one.")


def test_a_disk_without_room_is_said_to_be_one_and_nothing_is_served(folder: Path) -> None:
    state = {"ORDERFUSE_PAPER__STATE_FILE": str(folder / "state")}
    processes = {
        "breaker": start("breaker", folder / "a", room="0"),
        # Room for the lock, and not for the journal.
        "executor": start("executor", folder / "b", room="1"),
        "paper": start("paper", folder / "c", room="0", **state),
    }
    ends = {service: end_of(process) for service, process in processes.items()}
    assert (ends["breaker"][0], ends["executor"][0]) == (2, 1)
    assert f"breaker: {folder}/a/breaker.lock cannot be written: File too large. Make room there" in ends["breaker"][1]
    # What SQLite meets first is its own affair.
    assert re.match(rf"executor: the journal {folder}/b/executor\.sqlite cannot be opened: ", ends["executor"][1])
    assert "Check free space" in ends["executor"][1]
    assert ends["paper"][0] == 1
    assert (
        f"{folder}/state (paper.state_file) cannot be used: File too large; make room on its disk" in ends["paper"][1]
    )


def test_a_file_where_the_sockets_should_be_is_named(folder: Path) -> None:
    (folder / "links").write_text("")
    breaker, paper = start("breaker", folder), start("paper", folder)
    code, line = end_of(breaker)
    assert code == 2
    assert f"breaker: links.orders is 'ipc://{folder}/links/orders' and cannot be bound: it is a file" in line
    code, line = end_of(paper)
    assert code == 1
    assert f"the paper gateway cannot start: {folder}/links: it is a file, not a folder" in line


def test_a_file_that_the_paper_gateway_cannot_use_is_named_with_its_setting(folder: Path) -> None:
    (folder / "file").write_text("")
    # No real device: should the check fail, root would put the state file in its place.
    os.mkfifo(folder / "pipe")
    wrong = {
        "STATE_FILE": (f"{folder}/pipe", "/pipe', allowed is a file that can be written: it is a folder or a device"),
        "WIRE_RECORD": (f"{folder}/file/x", "x', allowed is a file that can be written: one of its parents is a file"),
        "SCENARIO": (f"{folder}/none.toml", f"paper: paper.scenario: {folder}/none.toml cannot be read: it is not"),
    }
    processes = {key: start("paper", folder, **{f"ORDERFUSE_PAPER__{key}": value}) for key, (value, _) in wrong.items()}
    for key, process in processes.items():
        code, line = end_of(process)
        assert code == 2
        assert wrong[key][1] in line


def test_a_wire_record_without_room_is_said_once_and_no_client_is_served_unrecorded(folder: Path) -> None:
    port, record = free_port(), folder / "record"
    variables = {"ORDERFUSE_PAPER__PORT": str(port), "ORDERFUSE_PAPER__WIRE_RECORD": str(record)}
    with start("paper", folder, room="1", **variables) as paper:
        try:
            assert paper.stderr is not None
            assert "listening" in paper.stderr.readline()
            served = [is_greeted(port) for _ in range(10)]
            paper.terminate()
            complaints = [line for line in paper.stderr if "ERROR" in line]
            assert paper.wait(DEADLINE_SECS) == 0
        finally:
            paper.kill()
    assert served == sorted(served, reverse=True)
    assert record.read_text().count('"dir":"out"') >= sum(served)
    assert not served[-1]
    assert len(complaints) == 1
    says = f"the wire record {record} (paper.wire_record) cannot be written, so no message is served: File too large. "
    assert f"{says}Make room on its disk" in complaints[0]


def is_greeted(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECS) as client:
        client.sendall(b"API\0\0\0\0\x09v157..176")
        return bool(client.recv(100))
