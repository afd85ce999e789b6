"""Somebody who reads a page and does what it says, with a home, a folder and processes of their own."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from tests.processes.docs.pages import ROOT, Block, Step, agrees, blocks, mask, masked, missing, steps
from tests.processes.pipeline.pipeline import DEADLINE_SECS, Pipeline, wait_until

# An installation fetches packages.
COMMAND_SECS = 100.0
# While a page is recorded nobody knows yet what will come, so this long is waited for it.
RECORD_SECS = 15.0
# ... and what only looks has come to rest if it says the same for longer than any grace.
AT_REST_SECS = 6.0
# Where the reader's things are, on the pages. Outputs name the second of each pair.
CLONES, HOMES = ("~/orderfuse", "/home/trader/orderfuse"), ("~/.orderfuse", "/home/trader/.orderfuse")
WHO = re.compile(r"\S+@\S+ pid (\d+)")
PORTS = re.compile(r"\b(4010|4002|4001|7497|7496)\b")
# They go on until ctrl-C: the page prints lines that come meanwhile.
GO_ON = ("make run", "make paper", "python -m services", "orderfuse watch", "orderfuse paper follow")
# `make` would first update the environment that this test runs in, so the line of its recipe is run.
RECIPES = {"make run": "python -m services", "make paper": "python -m services paper"}
# What only looks can be asked again until it has come to what the page prints.
LOOKS = ("orderfuse status", "orderfuse orders", "orderfuse paper status", "orderfuse paper faults")


class Reader:
    """Does what pages say. `record` instead of comparing: `edits` then has what is printed otherwise."""

    def __init__(self, *, record: bool = False) -> None:
        self._record = record
        self.edits: list[tuple[Step, list[str]]] = []
        self._pipeline = Pipeline()
        self._folder = Path(tempfile.mkdtemp(prefix="of-reader-"))
        self._going_on: list[subprocess.Popen[bytes]] = []
        here = str(Path(sys.executable).parent)
        self._env = {
            **self._pipeline.env,
            "PATH": f"{here}{os.pathsep}{self._pipeline.env['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "TERM": "dumb",
            # pip's remarks about this machine are not the page's.
            "PIP_QUIET": "3",
        }
        procfile = (ROOT / "Procfile").read_text(encoding="utf-8")
        (self._folder / "Procfile").write_text(procfile.replace(".venv/bin/python", sys.executable), encoding="utf-8")
        # honcho would read the clone's own, which may name a real gateway.
        (self._folder / ".env").touch()

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._going_on):
            # To the whole of a command line, as ctrl-C in a terminal does.
            os.killpg(process.pid, signal.SIGINT)
        for process in self._going_on:
            try:
                process.wait(timeout=DEADLINE_SECS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._pipeline.stop()
        shutil.rmtree(self._folder)

    def read(self, page: Path) -> None:
        """Write its files and run its commands, in order."""
        for block in blocks(page):
            if block.title:
                self._write(block)
            elif block.language == "console":
                for step in steps(block):
                    self._follow(step) if is_going_on(step.command) else self._run(step)

    def _write(self, block: Block) -> None:
        path = Path(self._here(block.title))
        path = path if path.is_absolute() else self._folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here("\n".join(block.lines)) + "\n", encoding="utf-8")

    # -- commands -----------------------------------------------------------------------------------------

    def _run(self, step: Step) -> None:
        """Run a command to its end; it must say what is printed, and end well."""
        said = self._say(step)
        if step.command.startswith(LOOKS):
            said = self._at_rest(step, said) if self._record else self._until_it_agrees(step, said)
        if not agrees(step.printed, said):
            self._differs(step, said)

    def _until_it_agrees(self, step: Step, said: list[str]) -> list[str]:
        deadline = time.monotonic() + DEADLINE_SECS
        while not agrees(step.printed, said) and time.monotonic() < deadline:
            said = self._say(step)
        return said

    def _at_rest(self, step: Step, said: list[str]) -> list[str]:
        since = time.monotonic()
        while not agrees(step.printed, said) and time.monotonic() - since < AT_REST_SECS:
            before, said = said, self._say(step)
            since = since if masked(before) == masked(said) else time.monotonic()
        return said

    def _say(self, step: Step) -> list[str]:
        done = subprocess.run(
            ["/bin/sh", "-c", self._here(step.command)],
            cwd=self._folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECS,
            check=False,
        )
        assert done.returncode == 0, f"{step}\nended with {done.returncode}:\n{done.stdout}"
        return self._on_the_page(done.stdout)

    def _follow(self, step: Step) -> None:
        """Start a command that goes on; each printed line must come, others may come in between."""
        output = self._folder / f"output-{len(self._going_on)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._here(self._recipe(step.command))],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._going_on.append(process)

        def said() -> list[str]:
            return self._on_the_page(output.read_text(encoding="utf-8"))

        try:
            seconds = RECORD_SECS if self._record else DEADLINE_SECS
            wait_until(lambda: not missing(step.printed, said()), f"lines of {step}", seconds)
        except AssertionError:
            self._differs(step, nearest(step.printed, said()) if self._record else said())

    def _recipe(self, command: str) -> str:
        command = RECIPES.get(command, command)
        own = f"python -m services --no-colour -d {ROOT} -f {self._folder}/Procfile -e {self._folder}/.env"
        return command.replace("python -m services", own)

    def _differs(self, step: Step, said: list[str]) -> None:
        if not self._record:
            printed, came = "\n".join(step.printed), "\n".join(said)
            raise AssertionError(f"{step}\nprinted:\n{printed}\nsaid (make record-docs writes it down):\n{came}")
        self.edits.append((step, said))

    # -- the page's places and the reader's ---------------------------------------------------------------

    def _here(self, text: str) -> str:
        for place in HOMES:
            text = text.replace(place, str(self._pipeline.home))
        for place in CLONES:
            text = text.replace(place, str(ROOT))
        # Never a gateway that happens to run on this machine.
        text = PORTS.sub(str(self._pipeline.port), text).replace(".venv/bin/", "")
        return text.replace("honcho export", f"honcho export -e {self._folder}/.env")

    def _on_the_page(self, output: str) -> list[str]:
        text = output.replace(str(self._pipeline.home), HOMES[1]).replace(str(ROOT), CLONES[1])
        text = text.replace(sys.executable, ".venv/bin/python").replace(str(self._folder), "/home/trader")
        text = WHO.sub(r"trader@desk pid \1", text)
        return [line.rstrip() for line in text.replace(str(self._pipeline.port), "4010").splitlines()]


def is_going_on(command: str) -> bool:
    """Whether only ctrl-C ends it."""
    return command.removeprefix(".venv/bin/").startswith(GO_ON)


def nearest(printed: list[str], said: list[str]) -> list[str]:
    """For each printed line the one that was said and is most like it."""
    by_mask = {mask(line): line for line in reversed(said)}
    found = [difflib.get_close_matches(mask(line), by_mask, n=1, cutoff=0.0) for line in printed]
    return [by_mask[near[0]] for near in found if near]


@contextmanager
def recording(page: Path) -> Iterator[Reader]:
    """A reader that records; at the end the page has what was said."""
    with Reader(record=True) as reader:
        yield reader
    lines = page.read_text(encoding="utf-8").splitlines()
    for step, said in reversed(reader.edits):
        lines[step.line - 1 : step.line - 1 + len(step.printed)] = [line for line in said if line]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
