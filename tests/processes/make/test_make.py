"""`make` on machines of all kinds: it sets up what is needed and says so, or says once why it cannot.

The interpreters are stand-ins of any version (stub.py), so nothing is fetched. The rest is what a clone has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT, wait_until

CLONE = ("Makefile", "pyproject.toml", "constraints.txt", "tools")
TOOLS = ("cat", "cksum", "make", "rm", "sh")
TARGETS = [
    name
    for name in re.findall(r'@echo "make ([\w-]+) ', (ROOT / "Makefile").read_text(encoding="utf-8"))
    if name != "clean"
]
DO = "do: install one (package manager, python.org, pyenv), or name it: make {} PYTHON=/path/to/python3.13"
STARTED = "3.11 services"


class Machine:
    """A machine with a clone, and with the interpreters that it is given."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.notes, self._path = folder / "clone", folder / "notes", folder / "bin"
        for path in (self.clone, self.notes, self._path):
            path.mkdir()
        for name in CLONE:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, self.clone / name)
        for name in TOOLS:
            (self._path / name).symlink_to(str(shutil.which(name)))

    @property
    def packages(self) -> Path:
        return self.clone / ".venv" / "lib" / "python3.11" / "site-packages"

    def has(self, name: str, version: str, *, venv: bool = True) -> str:
        wrapper = self._path / name
        words = (sys.executable, Path(__file__).parent / "stub.py", version, self.notes, wrapper)
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(map(str, words))} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        if not venv:
            (self.notes / f"{version}-has-no-venv").touch()
        return str(wrapper)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self._path / "make"), *arguments],
            cwd=self.clone,
            # Neither the interpreter nor the flags of the make that runs the tests.
            env={"PATH": str(self._path), "HOME": str(self.notes)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def make(self, *arguments: str) -> list[str]:
        """What it prints when all goes well."""
        code, said, complaints = self._ended(*arguments)
        assert (code, complaints) == (0, [])
        return said

    def refused(self, *arguments: str) -> list[str]:
        """What it complains of when it cannot go on, without make's own last line."""
        code, _, complaints = self._ended(*arguments)
        assert code == 2
        assert re.match(r"make: \*\*\* ", complaints[-1])
        return complaints[:-1]

    def _ended(self, *arguments: str) -> tuple[int, list[str], list[str]]:
        with self.start(*arguments) as process:
            said, complaints = process.communicate(timeout=DEADLINE_SECS)
        return process.returncode, said.splitlines(), complaints.splitlines()

    def asked(self) -> list[str]:
        """What interpreters were asked to run since the last look."""
        notes = self.notes / "asked"
        lines = notes.read_text().splitlines() if notes.exists() else []
        notes.unlink(missing_ok=True)
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def needs(target: str, found: str) -> list[str]:
    what = f"make {target}: orderfuse needs Python 3.11, 3.12, 3.13 or 3.14, and cannot use what is here."
    return [what, f"found: {found}", DO.format(target)]


def pip(extra: str, version: str = "3.11") -> str:
    return f"{version} pip .[{extra}]"


# -- which interpreter


@pytest.mark.parametrize("target", TARGETS)
def test_without_an_interpreter_every_target_says_so_once_and_does_nothing(machine: Machine, target: str) -> None:
    assert machine.refused(target) == needs(target, "no python3")
    machine.has("python3", "3.10")
    assert machine.refused(target) == needs(target, "python3 is 3.10")
    assert machine.asked() == []


def test_help_and_clean_need_no_interpreter(machine: Machine) -> None:
    assert len(machine.make("help")) > len(TARGETS)
    machine.make("clean")


def test_what_make_takes_is_what_the_package_supports(machine: Machine) -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert wanted == ">=3.11,<3.15"
    for version in ("3.10", "3.15", "3.9", "2.7"):
        python = machine.has("python", version)
        assert machine.refused("setup", f"PYTHON={python}") == needs("setup", f"{python} is {version}")
    for version in ("3.11", "3.12", "3.13", "3.14"):
        machine.has(f"python{version}", version)
        assert machine.make("setup")[0] == f"making .venv with python{version} (Python {version})"
        machine.make("clean")


def test_an_interpreter_that_is_named_and_does_not_start_is_never_replaced(machine: Machine) -> None:
    machine.has("python3", "3.11")
    machine.make("run")
    machine.asked()
    for target in ("run", "test"):
        says = needs(target, "PYTHON is '/nonexistent', which is no Python that starts")
        assert machine.refused(target, "PYTHON=/nonexistent") == says
    assert machine.asked() == []


def test_an_interpreter_without_venv_is_passed_over_or_told_what_it_lacks(machine: Machine) -> None:
    machine.has("python3", "3.11", venv=False)
    machine.has("python3.11", "3.11", venv=False)
    lacks = "but without its module venv (on Debian and Ubuntu: sudo apt install python3-venv)"
    assert machine.refused("run") == needs("run", f"python3 is 3.11, {lacks}")
    machine.has("python3.13", "3.13")
    assert machine.make("run")[0] == "making .venv with python3.13 (Python 3.13)"


def test_another_interpreter_gets_an_environment_beside_the_one_that_runs(machine: Machine) -> None:
    machine.has("python3", "3.11")
    other = machine.has("python3.12", "3.12")
    machine.make("run")
    machine.asked()
    machine.make("setup", f"PYTHON={other}")
    assert machine.asked() == ["3.12 venv .venv-3.12", pip("services", "3.12")]
    says = f"make run: .venv was made with Python 3.11, and PYTHON is '{other}', which is Python 3.12."
    assert machine.refused("run", f"PYTHON={other}") == [says, "do: make run without PYTHON, or 'make clean' first"]


# -- what is installed


def test_running_installs_what_it_needs_and_says_so_and_only_once(machine: Machine) -> None:
    machine.has("python3", "3.11")
    assert machine.make("run") == [
        "making .venv with python3 (Python 3.11)",
        "installing what running needs into .venv: about half a minute",
    ]
    assert machine.asked() == ["3.11 venv .venv", pip("services"), STARTED]
    assert machine.make("run") == []
    assert machine.asked() == [STARTED]


def test_the_tools_are_added_to_the_environment_that_runs_and_running_needs_nothing_more(machine: Machine) -> None:
    machine.has("python3", "3.11")
    machine.make("run")
    machine.asked()
    says = "installing what running, testing and the documents need into .venv: about a minute"
    assert machine.make("venv") == [says]
    assert machine.asked() == [pip("dev")]
    (machine.clone / ".venv" / ".installed-services").unlink()
    assert machine.make("run") == machine.make("venv") == []
    assert machine.asked() == [STARTED]


def test_other_pins_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.has("python3", "3.11")
    machine.make("venv")
    machine.asked()
    with (machine.clone / "constraints.txt").open("a") as pins:
        pins.write("more==1\n")
    machine.make("run")
    machine.make("venv")
    assert machine.asked() == [pip("services"), STARTED, pip("dev")]


# -- what may go wrong meanwhile


def test_pip_that_fails_is_heard_and_the_next_make_goes_on_from_there(machine: Machine) -> None:
    machine.has("python3", "3.11")
    (machine.notes / "pip").write_text("fails")
    assert machine.refused("run") == [
        "ERROR: its own words",
        "make run: pip cannot install what is needed into .venv; what it says is above.",
        "do: see that there is a network, and that pip knows your proxy (HTTPS_PROXY); then again: make run",
    ]
    (machine.notes / "pip").unlink()
    machine.make("run")
    assert machine.asked() == ["3.11 venv .venv", pip("services"), pip("services"), STARTED]


def test_an_environment_that_was_half_made_is_made_anew(machine: Machine) -> None:
    machine.has("python3", "3.11")
    (machine.notes / "venv").write_text("is killed")
    assert "make run: 'python3 -m venv .venv' failed; what it says is above." in machine.refused("run")
    (machine.packages / "half").mkdir()
    (machine.notes / "venv").unlink()
    machine.make("run")
    assert not (machine.packages / "half").exists()
    assert machine.asked() == ["3.11 venv .venv", "3.11 venv .venv", pip("services"), STARTED]


def test_a_package_that_was_half_copied_does_not_count_as_installed(machine: Machine) -> None:
    machine.has("python3", "3.11")
    (machine.notes / "pip").write_text("is killed")
    machine.refused("run")
    for package, files in {"whole": ("METADATA", "INSTALLER"), "half": ("METADATA",)}.items():
        (machine.packages / f"{package}-1.dist-info").mkdir()
        for name in files:
            (machine.packages / f"{package}-1.dist-info" / name).touch()
    (machine.notes / "pip").unlink()
    machine.make("run")
    assert [path.name for path in machine.packages.iterdir()] == ["whole-1.dist-info"]


def test_an_environment_whose_interpreter_is_gone_is_made_anew(machine: Machine) -> None:
    machine.has("python3", "3.11")
    machine.make("run")
    machine.asked()
    (machine.clone / ".venv" / "bin" / "python").unlink()
    machine.make("run")
    assert machine.asked() == ["3.11 venv .venv", pip("services"), STARTED]


def test_a_copy_of_a_checkout_does_not_run_what_the_original_has(machine: Machine) -> None:
    machine.has("python3", "3.11")
    machine.make("run")
    machine.asked()
    machine.clone = machine.clone.rename(machine.clone.parent / "elsewhere")
    machine.make("run")
    assert machine.asked() == ["3.11 venv .venv", pip("services"), STARTED]


def test_of_two_at_a_time_one_waits_and_then_finds_it_done(machine: Machine) -> None:
    machine.has("python3", "3.11")
    (machine.notes / "pip").write_text("takes its time")
    with machine.start("run") as first:
        wait_until(lambda: pip("services") in lines_of(machine.notes / "asked"), "pip")
        with machine.start("run") as second:
            assert second.stdout is not None
            assert second.stdout.readline().startswith("another make is setting up an environment here: waiting")
            (machine.notes / "enough").touch()
            assert second.wait(DEADLINE_SECS) == first.wait(DEADLINE_SECS) == 0
    assert sorted(machine.asked()) == sorted(["3.11 venv .venv", pip("services"), STARTED, STARTED])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.has("python3", "3.11")
    machine.clone.chmod(0o555)
    try:
        assert machine.refused("run") == [
            f"make run: the environment .venv has to be set up, and {machine.clone} cannot be written.",
            "do: clone orderfuse into a folder that you own, or make this one writable",
        ]
    finally:
        machine.clone.chmod(0o755)


def lines_of(path: Path) -> Iterable[str]:
    return path.read_text().splitlines() if path.exists() else ()
