"""The demo runs through, says so with its exit code, names a step that did not happen, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT, wait_until

SERVICES = ("paper", "executor", "breaker")
HEADINGS = [
    "1/10  The processes start",
    "2/10  Orders fill",
    "3/10  IB begins to reject",
    "4/10  The circuit opens",
    "5/10  Orders are blocked",
    "6/10  HALF_OPEN",
    "7/10  Trial orders",
    "8/10  CLOSED",
    "9/10  A trip by hand, under load",
    "10/10  Reset",
]
CHANGED = "import sys; from examples.demo.play import main; sys.exit(main({changed!r}))"


class Demo:
    """A demo as a process of its own; it makes its home in `folder`."""

    def __init__(self, folder: Path, **changed: str) -> None:
        self.folder = folder
        own = ["-c", CHANGED.format(changed=changed)] if changed else ["-m", "examples.demo"]
        environ = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
        # The user's own settings, which must not reach the demo.
        theirs = {"ORDERFUSE_IB__PORT": "7496", "ORDERFUSE_BREAKER__FAILURE_THRESHOLD": "2"}
        self.process = subprocess.Popen(
            [sys.executable, *own],
            cwd=ROOT,
            env={**environ, **theirs, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.printed: list[str] = []

    def read_to(self, words: str) -> str:
        """Read lines up to the first with these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} never came: {self.printed}")

    def service(self, name: str) -> int:
        """The process id that the demo tells of a service."""
        return int(self.read_to(f"{name} is process").split()[-1])

    def end(self) -> tuple[int, str, str]:
        """Exit code, everything printed, and the complaint."""
        out, err = self.process.communicate(timeout=2 * DEADLINE_SECS)
        return self.process.returncode, "".join(self.printed) + out, err


@contextmanager
def demo(**changed: str) -> Iterator[Demo]:
    # Not pytest's own folder: the path of a socket in it could be too long.
    with tempfile.TemporaryDirectory(prefix="of-") as folder:
        running = Demo(Path(folder), **changed)
        try:
            yield running
        finally:
            running.process.kill()
            running.process.communicate()


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a dead one that its parent has not asked about is gone too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except FileNotFoundError:
        # It went just now, or this system has no /proc and its init leaves no dead ones.
        return Path("/proc/self").exists()


def count(printed: str, what: str) -> int:
    found = re.search(rf"^ *(\d+)  {what}", printed, re.MULTILINE)
    return int(found[1]) if found else 0


def test_the_demo_plays_every_step_and_its_counts_add_up() -> None:
    with demo() as running:
        pids = [running.service(name) for name in SERVICES]
        code, printed, complaint = running.end()
        assert (code, complaint) == (0, "")
        assert [line for line in printed.splitlines() if re.match(r"\d+/\d+  ", line)] == HEADINGS
        assert printed.count("Notice: ") == len(HEADINGS)
        assert "\x1b" not in printed
        before, during = count(printed, "orders were at the wire"), count(printed, "more reached it until the reply")
        assert before >= 30
        assert "  0  reached it after the reply" in printed
        filled, blocked = count(printed, "were answered filled"), count(printed, "were answered blocked")
        assert filled == before + during
        assert filled + blocked + count(printed, "were answered not_placed") == 300
        assert all(map(is_gone, pids))
        assert not list(running.folder.iterdir())


def test_a_step_that_does_not_happen_is_named_and_its_logs_are_kept() -> None:
    with demo(ORDERFUSE_BREAKER__FAILURE_THRESHOLD="1000") as running:
        pids = [running.service(name) for name in SERVICES]
        code, printed, complaint = running.end()
        assert code == 1
        assert "4/10  The circuit opens" in printed
        assert "5/10" not in printed
        said = re.fullmatch(r"demo: (.*); the logs are in (\S+)\n", complaint)
        assert said
        assert said[1] == (
            "the step 'The circuit opens' did not happen: expected system and strategy:demo to be OPEN within 10 s; "
            "seen: system CLOSED with 5 failures; strategy:demo CLOSED with 5 failures"
        )
        assert "written to IB as" in (Path(said[2]) / "executor.log").read_text()
        assert all(map(is_gone, pids))


def test_a_process_that_dies_ends_the_demo_at_once() -> None:
    with demo() as running:
        pids = [running.service(name) for name in SERVICES]
        os.kill(pids[-1], signal.SIGKILL)
        code, _, complaint = running.end()
        assert code == 1
        assert "the step 'The processes start' did not happen" in complaint
        assert "breaker has ended with exit code -9" in complaint
        assert all(map(is_gone, pids))


def test_a_port_in_the_way_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with demo(ORDERFUSE_PAPER__PORT=str(port)) as running:
            code, _, complaint = running.end()
            assert code == 1
            assert f"port {port} on 127.0.0.1 is in use" in complaint
            assert complaint.count("\n") == 1


def test_ctrl_c_ends_everything() -> None:
    with demo() as running:
        pids = [running.service(name) for name in SERVICES]
        running.read_to("6/10  HALF_OPEN")
        running.process.send_signal(signal.SIGINT)
        code, printed, complaint = running.end()
        assert (code, complaint) == (130, "demo: interrupted; everything that it started has ended\n")
        assert "7/10" not in printed
        assert all(map(is_gone, pids))
        assert not list(running.folder.iterdir())


def test_not_even_kill_9_leaves_a_process_behind() -> None:
    with demo() as running:
        pids = [running.service(name) for name in SERVICES]
        running.process.kill()
        wait_until(lambda: all(map(is_gone, pids)), "all services to be gone")
