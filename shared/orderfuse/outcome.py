"""How a command ends: an exit code, and for each failure one line that says what to do."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.papercontrol import PaperUnavailable
from orderfuse.settings import SettingsError
from orderfuse.show import clean

DONE, REFUSED, USAGE, NOTHING_ANSWERS = range(4)
# Ended by ctrl-C, as shells count it.
INTERRUPTED = 130
EXIT_CODES = "Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers."


class OneLineGroup(TyperGroup):
    """The commands, each of whose failures is one line on stderr: no usage text, no box, no traceback."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command that the arguments name, and end the process with its exit code."""
        _print_whatever_comes()
        standalone_mode = extra.get("standalone_mode", True)
        code = self._code_of(*args, **{**extra, "standalone_mode": False})
        if standalone_mode:
            sys.exit(code)
        return code

    def _code_of(self, *args: Any, **extra: Any) -> int:
        try:
            return super().main(*args, **extra) or DONE
        except typer.Abort:
            # Only the question for a reason ends so.
            return _complain(REFUSED, "given up: nothing was changed")
        except TyperException as error:
            return _complain(error.exit_code, f"{error.format_message()}{_where_help_is(error)}")

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what happens to its output or by ctrl-C is no bug of ours, and has no traceback."""
        try:
            super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            # Who reads has seen enough, as `head` does.
            _discard_output()
        except KeyboardInterrupt:
            fail(INTERRUPTED, "interrupted: what was asked may have been done; look with: orderfuse status")
        except OSError as error:
            _discard_output()
            fail(
                REFUSED,
                f"what was asked may have been done, but its answer cannot be written: {error.strerror or error}",
            )


def fail(code: int, text: str) -> NoReturn:
    """End the command with one line on stderr."""
    raise typer.Exit(_complain(code, text))


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Each way in which asking fails as one line and its exit code."""
    try:
        yield
    except ControlRefused as error:
        fail(REFUSED, f"refused{f' ({error.code})' if error.code else ''}: {error.reason}")
    except SettingsError as error:
        fail(USAGE, str(error))
    except BreakerUnavailable as error:
        # A breaker that is stuck renews no lease, so its executor places no orders either.
        stuck = "It is busy or stuck: ask for its status; if that is silent too, restart it"
        absent = "Is it running with this home? Start it: make run, or its unit"
        fail(NOTHING_ANSWERS, f"{error}. {stuck if error.sent else absent}")
    except PaperUnavailable as error:
        fail(NOTHING_ANSWERS, f"{error}. Is it running with this home? Start it: make paper")


def _complain(code: int, text: str) -> int:
    line = " ".join(clean(text, keep="\n\t").split())
    # Without arguments the help itself is the answer, and it is on the screen already.
    if line:
        typer.echo(f"orderfuse: {line}", err=True)
    return code


def _where_help_is(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see: {context.command_path} --help)" if context is not None and error.message else ""


def _print_whatever_comes() -> None:
    """A terminal that knows only ASCII shows the rest escaped, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Python writes what is left once more at its end; that must not fail again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
