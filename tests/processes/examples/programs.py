"""The programs that docs/PROTOCOL.md prints, taken from the page and run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes.examples import javascript
from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT, wait_until

PAGE = ROOT / "docs" / "PROTOCOL.md"


def source(name: str) -> str:
    """The code of a program: the block under the heading with its name."""
    found = re.search(rf"^### {re.escape(name)}\n```\w+\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found, f"docs/PROTOCOL.md prints no {name}"
    return found[1]


class Program:
    """One running program and the lines that it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line.rstrip("\n"))

    @property
    def lines(self) -> list[str]:
        return list(self._lines)

    def wait_line(self, fits: Callable[[str], bool], what: str) -> str:
        """The first line that fits, said already or still to come."""
        wait_until(lambda: any(map(fits, self._lines)) or self.process.poll() is not None, what)
        return next(filter(fits, self._lines), "") or self._missing(what)

    def exit_code(self) -> int:
        """Wait for its own end; everything that it has said is in `lines` then."""
        code = self.process.wait(timeout=2 * DEADLINE_SECS)
        self._reader.join()
        return code

    def _missing(self, what: str) -> str:
        raise AssertionError(f"it ended without {what}: {self._lines}")


@contextmanager
def started(name: str, home: Path, folder: Path) -> Iterator[Program]:
    """Run the program of the page beside the breaker in `home`. Its file is written into `folder`."""
    file = folder / name
    file.write_text(source(name), encoding="utf-8")
    if name.endswith(".py"):
        command = [sys.executable, str(file)]
    else:
        installed = javascript.prepare()
        packages = folder / "node_modules"
        if not packages.exists():
            packages.symlink_to(installed.packages)
        command = [str(installed.node), str(file)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "ORDERFUSE_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    program = Program(process)
    try:
        yield program
    finally:
        process.kill()
        program.exit_code()
        assert process.stdout is not None
        process.stdout.close()
        sys.stdout.write(f"--- {name}\n" + "\n".join(program.lines) + "\n")
