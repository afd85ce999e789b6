"""`orderfuse paper ...` with the gateway that it is for."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orderfuse.cli.commands import app
from services.paper.faults.kinds import KINDS
from tests.processes.paper.test_process import ROOT, free_port, running

pytestmark = pytest.mark.xdist_group("paper")

DONE, REFUSED, USAGE, NOTHING_ANSWERS = range(4)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with running(folder, free_port()):
        yield folder


def command(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "paper", *words])


def test_a_fault_is_armed_seen_and_cleared(home):
    done = command(home, "fault", "reject", "count=3", "code=201", "text=Order rejected - reason:x=y", "order_ref=s")
    assert done.exit_code == DONE
    played = {"kind": "reject", "count": 3, "order_ref": "s", "text": "Order rejected - reason:x=y"}
    assert json.loads(done.stdout) == played
    assert json.loads(command(home, "status").stdout)["armed"] == [{**played, "left": 3}]
    assert command(home, "clear").stdout == "disarmed 1\n"


def test_all_faults_are_listed_and_one_with_its_fields(home):
    lines = command(home, "faults").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(KINDS)
    one = command(home, "faults", "cut").stdout
    assert "fin or rst or mid_frame" in one
    assert command(home, "faults", "axe").exit_code == REFUSED


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("fault", "rejct"), REFUSED, "did you mean reject?"),
        (("fault", "reject", "cuont=3"), REFUSED, "did you mean count?"),
        (("fault", "reject", "count=many"), REFUSED, 'count is "many"; allowed are whole numbers from 1'),
        (("fault", "omit"), REFUSED, "omit needs message"),
        (("fault", "reject", "count"), USAGE, "key=value"),
        (("fault", "reject", "=3"), USAGE, "key=value"),
        (("fault",), USAGE, "Missing argument"),
    ],
)
def test_a_wrong_command_says_what_is_allowed(home, words, code, said):
    done = command(home, *words)
    assert done.exit_code == code
    assert said in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("words", [("fault", "reject"), ("faults",), ("clear",), ("follow",)])
def test_without_a_gateway_nothing_answers(tmp_path, words):
    done = command(tmp_path, *words)
    assert done.exit_code == NOTHING_ANSWERS
    assert "no paper gateway answers" in done.output


def test_follow_prints_what_goes_over_the_wire_until_the_gateway_ends(tmp_path):
    port = free_port()
    with running(tmp_path, port) as gateway:
        words = [sys.executable, "-m", "orderfuse.cli", "--home", str(tmp_path), "paper", "follow"]
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
            while not json.loads(command(tmp_path, "status").stdout)["followers"]:
                assert follower.poll() is None
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"API\0\0\0\0\x09v157..176")
                assert follower.stdout is not None
                lines = [json.loads(follower.stdout.readline()) for _ in range(2)]
            assert [(line["dir"], line["message"]) for line in lines] == [("in", "handshake"), ("out", "handshake")]
            gateway.terminate()
            _, errors = follower.communicate(timeout=30)
            assert follower.returncode == NOTHING_ANSWERS
            assert "the paper gateway has ended" in errors
