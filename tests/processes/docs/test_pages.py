"""The documents: each command is run, in order, and says what is printed; nothing printed is left out of that."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import typer

from orderfuse.cli.commands import app
from orderfuse.settings import load_settings
from services.breaker.circuits.conditions import GRACE_NS
from services.gateway.accounts import RealAccountRefused, allowed_account
from tests.processes.docs.pages import DOCS, ROOT, agrees, blocks, missing, steps
from tests.processes.docs.reader import Reader, recording

pytestmark = pytest.mark.xdist_group("docs")

RUN_HERE = (
    "getting-started.md",
    "concepts.md",
    "commands.md",
    "settings.md",
    "operating.md",
    "ib-gateway.md",
    "closing-the-door.md",
)
# Pages whose blocks have a test of their own, which plays what they say.
RUN_ELSEWHERE = {
    "PROTOCOL.md": "tests/processes/examples/conftest.py",
    "paper-gateway.md": "tests/processes/paper/test_page.py",
}
# What stands in `sh` blocks, and why no test runs it as it stands.
NOT_RUN = {
    "sudo cp -r units/. /etc/systemd/system/": "changes the machine; the units are verified below",
    "sudo systemctl daemon-reload": "changes the machine",
    "sudo systemctl enable --now orderfuse.target": "changes the machine",
    "sudo systemctl start orderfuse.target": "changes the machine",
    "sudo systemctl stop orderfuse.target": "changes the machine",
    "journalctl -u 'orderfuse-*' -f": "needs the installed units",
    "git pull": "changes the clone",
    "make setup": "made the environment that this test runs in",
    "make test": "runs this test",
    "make test PYTHON=python3.12": "runs this test",
    "make record-docs": "rewrites what this test reads; the same reader runs here",
    "git diff docs": "depends on the clone's state",
    "make crash": "takes hours; tests/campaigns/crash plays eleven of its points",
    "make crash CASES=1000": "takes hours",
    "make crash FIRST=1000 CASES=500": "takes hours",
    ".venv/bin/python -m tests.campaigns.crash --seed 417": "tests/campaigns/crash plays cases in the same way",
    "make fuzz": "takes ten minutes; tests/campaigns/fuzz plays ten seconds of it",
    "make fuzz SECS=60 SEED=7": "takes a minute",
    ".venv/bin/python -m tests.campaigns.fuzz --seed 7 --first 1200 --count 40": "a test plays such",
    ".venv/bin/python -m tests.campaigns.fuzz --replay orders:frames:6f72646572,81a17601": "a test reads such",
}
CONSIDERATIONS = (
    "Exception handling",
    "Types of exceptions",
    "Monitoring",
    "Recoverability",
    "Testing failed operations",
    "Manual override",
    "Concurrency",
    "Resource differentiation",
    "Accelerated circuit breaking",
    "Multi-region deployments",
    "Service mesh circuit breakers",
    "Replaying failed requests",
    "Inappropriate time-outs on external services",
    "Adaptability to compute diversification",
)


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def readings() -> Iterator[dict[str, Future[None]]]:
    """All pages, read at the same time: mostly a reader waits for something to happen."""
    with ThreadPoolExecutor(max_workers=2) as readers:
        yield {name: readers.submit(read, name) for name in RUN_HERE}


def read(name: str) -> None:
    with Reader() as reader:
        reader.read(DOCS / name)


# The one that is asked for may have to wait for others, on a machine that is busy.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", RUN_HERE)
def test_every_command_of_the_page_says_what_is_printed(name: str, readings: dict[str, Future[None]]) -> None:
    readings[name].result()


def test_no_page_prints_a_command_or_a_program_that_no_test_runs() -> None:
    left = set(NOT_RUN)
    for page in sorted(DOCS.glob("*.md")):
        if page.name in RUN_ELSEWHERE:
            assert (ROOT / RUN_ELSEWHERE[page.name]).is_file()
            continue
        for block in blocks(page):
            where = f"{page.name}, line {block.line}"
            match block.language:
                case "sh":
                    for line in block.lines:
                        command = line.partition(" #")[0].rstrip()
                        assert command in NOT_RUN, f"{where}: why does no test run {command!r}?"
                        left.discard(command)
                case "console":
                    assert page.name in RUN_HERE, f"{where}: put the page into RUN_HERE"
                case "python":
                    assert block.title, f"{where}: a program needs a title, to be run"
                    commands = [
                        step.command for each in blocks(page) if each.language == "console" for step in steps(each)
                    ]
                    assert any(block.title in command for command in commands), f"{where}: nothing runs {block.title}"
                case "ini" | "toml":
                    pass
                case other:
                    raise AssertionError(f"{where}: {other!r} is no kind of block that is tested")
    assert not left, "these are on no page any more"


def test_an_output_that_differs_is_seen() -> None:
    printed = ["at 2026-11-25 18:48:06 alpha-1 filled at 190.01", "generation 2"]
    assert agrees(printed, ["at 2027-01-02 03:04:05   alpha-1 filled at 7.5", "", "generation 2"])
    assert not agrees(printed, ["at 2026-11-25 18:48:06 alpha-1 rejected at 190.01", "generation 2"])
    assert not agrees(printed, ["at 2026-11-25 18:48:06 alpha-1 filled at 190.01", "generation 3"])
    assert not agrees(printed, [*printed, "and more"])
    assert not agrees([], ["said"])
    assert agrees(["first", "...", "last"], ["first", "anything", "at all", "last"])
    assert not agrees(["first", "...", "last"], ["first", "anything"])
    assert missing(["one", "two"], ["zero", "one", "between", "two"]) == []
    assert missing(["one", "two"], ["two", "one"]) == ["two"]


def test_a_recorded_page_has_what_was_said_and_keeps_what_only_looks_different(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    before = (
        "Text.\n\n```console\n$ echo new; echo more\nold\n$ echo at 12:00:00\nat 11:59:59\n$ true\n```\n\nThe end.\n"
    )
    page.write_text(before, encoding="utf-8")
    with recording(page) as reader:
        reader.read(page)
    assert page.read_text(encoding="utf-8") == before.replace("\nold\n", "\nnew\nmore\n")


def test_every_command_has_a_place_on_the_page() -> None:
    known = typer.main.get_command(app)
    assert set(known.commands) == set(re.findall(r"^## (\w+):", text("commands.md"), re.MULTILINE))  # type: ignore[attr-defined]
    for name in known.commands["paper"].commands:  # type: ignore[attr-defined]
        assert f"`{name}`" in text("commands.md").partition("## paper:")[2], name


def test_every_condition_is_explained_and_has_something_to_do() -> None:
    for name, grace_ns in GRACE_NS.items():
        row = re.search(rf"^\| `{name}` \|[^|]*\| ([^|]*) \|$", text("concepts.md"), re.MULTILINE)
        assert row, name
        assert row[1] == (f"{grace_ns // 10**9} s" if grace_ns else "none")
        assert f"\n| `{name}` |" in text("operating.md"), name


def test_every_consideration_of_the_pattern_is_answered_in_its_order() -> None:
    assert tuple(re.findall(r"^\*\*([^*]+)\.\*\* ", text("concepts.md"), re.MULTILINE)) == CONSIDERATIONS


def test_the_numbers_of_the_states_are_the_defaults(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environ={})
    circuit = settings.breaker.circuit
    states = text("concepts.md").partition("## The states")[2].partition("\n\nThe numbers")[0]
    picture = text("states.svg")
    for words in (
        f"{circuit.failure_threshold} failures within {circuit.failure_window_secs} s",
        f"after {circuit.open_timeout_secs} s",
        f"{circuit.half_open_max_tries} trial orders",
        f"{circuit.half_open_max_tries} successes",
        f"for {circuit.half_open_timeout_secs} s",
    ):
        assert words in states, words
    for words in (
        f"{circuit.failure_threshold} failures in {circuit.failure_window_secs} s",
        f"after {circuit.open_timeout_secs} s",
        f"{circuit.half_open_max_tries} trials",
        f"{circuit.half_open_max_tries} successes",
        f"in {circuit.half_open_timeout_secs} s",
    ):
        assert words in picture, words
    assert f"at most {settings.dispatch.window} " in text("index.md").replace("At most", "at most")


def test_the_variables_for_real_money_let_that_account_through_and_no_other(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(DOCS / "ib-gateway.md") if block.title == "live.env"]
    environ = dict(line.split("=", 1) for line in block.lines)
    settings = load_settings(tmp_path, environ=environ)
    assert allowed_account(settings.ib, ("U0000000",)) == "U0000000"
    with pytest.raises(RealAccountRefused):
        allowed_account(settings.ib, ("U0000001",))
    del environ["ORDERFUSE_IB__LIVE_ACCOUNT"]
    with pytest.raises(RealAccountRefused):
        allowed_account(load_settings(tmp_path, environ=environ).ib, ("U0000000",))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_units_with_the_file_beside_them(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(DOCS / "operating.md") if block.title.endswith(".conf")]
    beside = tmp_path / block.title
    beside.parent.mkdir(parents=True)
    beside.write_text("\n".join(block.lines) + "\n", encoding="utf-8")
    units = tmp_path / "units"
    honcho = [str(Path(sys.executable).parent / "honcho"), "export", "-d", str(ROOT), "-a", "orderfuse", "-u", "root"]
    subprocess.run([*honcho, "systemd", str(units)], check=True, capture_output=True, timeout=30)
    made = sorted(str(path) for path in units.glob("*.service"))
    done = subprocess.run(
        [str(shutil.which("systemd-analyze")), "verify", *made],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (len(made), done.returncode, done.stderr) == (5, 0, "")
