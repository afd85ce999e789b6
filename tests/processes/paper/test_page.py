"""docs/paper-gateway.md: what it prints works as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderfuse.cli.commands import app
from orderfuse.settings import setting_names
from services.paper.faults.kinds import KINDS
from services.paper.faults.scenario import ScenarioError, load_scenario
from tests.processes.paper.test_process import ROOT, free_port, running

PAGE = (ROOT / "docs" / "paper-gateway.md").read_text()
COMMANDS = [
    line.partition("#")[0].strip() for line in PAGE.splitlines() if line.startswith(".venv/bin/orderfuse paper ")
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_scripts_and_all_commands_of_the_page_work(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    home, port = tmp_path / ".orderfuse", free_port()
    home.mkdir(mode=0o700)
    script, control = blocks("python")
    with running(home, port):
        done = run(script.replace("4010", str(port)))
        assert done == "Filled 190.01\n"
        for line in COMMANDS:
            words = shlex.split(line)[1:]
            if words == ["paper", "follow"]:
                continue
            result = CliRunner().invoke(app, ["--home", str(home), *words])
            assert result.exit_code == 0, f"{line}: {result.output}"
        assert "'order_ref': 'mine'" in run(control)


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_scenarios_of_the_page_can_be_played_and_a_refusal_reads_as_printed(tmp_path):
    scenario, another = blocks("toml")
    path = tmp_path / "scenario.toml"
    path.write_text(another)
    assert len(load_scenario(path)) == 6
    path.write_text(scenario)
    assert len(load_scenario(path)) == 4
    path.write_text(scenario.replace("count = 5", "count = 0"))
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    printed = next(line for line in PAGE.splitlines() if line.startswith("scenario.toml, line"))
    assert str(refused.value).replace(str(tmp_path) + "/", "") == printed


def test_every_fault_has_an_example_and_every_setting_a_line():
    shown = {line.split()[3] for line in COMMANDS if line.split()[2] == "fault"}
    assert shown | {"reject"} == set(KINDS)
    table = re.findall(r"^\| `(\w+)` \| [^|]*\| [^|]*\|$", PAGE, re.MULTILINE)
    assert set(setting_names("paper")) <= set(table)


def test_the_page_names_files_that_are_there():
    for name in re.findall(r"`(tests/[\w/]+\.py)`", PAGE):
        assert Path(ROOT / name).is_file()
