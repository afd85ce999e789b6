"""The `orderfuse` command, run in this process: then the time that it takes is the breaker's, not Python's start."""

from __future__ import annotations

import io
import shlex
from contextlib import redirect_stderr, redirect_stdout

from orderfuse.cli.commands import app
from orderfuse.exit_codes import INTERRUPTED


def orderfuse(line: str) -> tuple[int, str]:
    """Run `orderfuse <line>`; its exit code and all that it printed."""
    printed = io.StringIO()
    code: object = 0
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            app(shlex.split(line))
        except SystemExit as ended:
            code = ended.code or 0
    if code == INTERRUPTED:
        # The command takes ctrl-C for itself.
        raise KeyboardInterrupt
    return (code if isinstance(code, int) else 1), printed.getvalue()
