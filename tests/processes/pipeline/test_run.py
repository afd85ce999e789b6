"""`make run`: nothing goes on trading when whoever started it is gone."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT, Pipeline, wait_until


def test_a_terminal_that_is_closed_ends_everything(tmp_path: Path) -> None:
    pipeline = Pipeline()
    procfile = tmp_path / "Procfile"
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    ours = [line for line in lines if line.startswith(("executor", "breaker"))]
    procfile.write_text("\n".join(ours).replace(".venv/bin/python", sys.executable), encoding="utf-8")
    command = [sys.executable, "-m", "services", "-d", str(ROOT), "-f", str(procfile), "-e", "/dev/null"]
    terminal, its_end = pty.openpty()
    started = subprocess.Popen(
        command, cwd=ROOT, env=pipeline.env, stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True
    )
    os.close(its_end)
    services = [wait_until(partial(process_of, pipeline, name), f"the {name}") for name in ("executor", "breaker")]
    # What the kernel does when the window goes: no more output, and a hangup for all in the foreground.
    os.close(terminal)
    os.killpg(started.pid, signal.SIGHUP)
    try:
        started.wait(timeout=DEADLINE_SECS)
        wait_until(lambda: not any(map(lives, services)), "their end")
    finally:
        started.kill()
        started.wait()
        for pid in filter(lives, services):
            os.kill(pid, signal.SIGKILL)
        pipeline.stop()


def process_of(pipeline: Pipeline, name: str) -> int:
    """The process id in a service's lock file, 0 before there is one."""
    with contextlib.suppress(OSError, ValueError):
        return int((pipeline.home / f"{name}.lock").read_text())
    return 0


def lives(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
