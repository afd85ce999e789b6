"""How a command ends: an exit code, and for each failure one line that says what to do."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from orderfuse.cli.paper_control import PaperUnavailable
from orderfuse.cli.show import clean, discard, say_aside
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.exit_codes import DONE, INTERRUPTED, NOTHING_ANSWERS, OF_COMMANDS, REFUSED, USAGE
from orderfuse.settings import SettingsError
from orderfuse.text import folded

EXIT_CODES = f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in OF_COMMANDS.items())}."


class OneLineGroup(TyperGroup):
    """The commands. Each failure is one line on stderr: no usage text, no box, no traceback."""

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

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the options; some of them answer at once, such as `--version`."""
        with _answering():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _answering():
            super().invoke(ctx)


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    """Trouble with a command's output, and ctrl-C, are no bugs of ours: they show no traceback."""
    ended: typer.Exit | None = None
    try:
        try:
            yield
        except typer.Exit as end:
            ended = end
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough, as `head` does.
        discard(sys.stdout)
        raise ended or typer.Exit(DONE) from None
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted: what was asked may have been done; look with: orderfuse status")
    except OSError as error:
        discard(sys.stdout)
        text = f"what was asked may have been done, but its answer cannot be written: {error.strerror or error}"
        fail((ended.exit_code if ended else DONE) or REFUSED, text)
    if ended is not None:
        raise ended


def fail(code: int, text: str) -> NoReturn:
    """End the command with one line on stderr."""
    raise typer.Exit(_complain(code, text))


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn each way in which asking can fail into one line and its exit code."""
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


@contextlib.contextmanager
def done_already() -> Iterator[None]:
    """For telling what has been done: if the output cannot be written, the exit code stays as it is."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        _complain(DONE, f"it is done, but what was done cannot be written: {error.strerror or error}")


@contextlib.contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Ctrl-C ends nothing in here: it is noted in the list, for afterwards."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _complain(code: int, text: str) -> int:
    line = clean(folded(text))
    # Without arguments the help itself is the answer, and it is on the screen already.
    if line:
        say_aside(f"orderfuse: {line}")
    return code


def _where_help_is(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see: {context.command_path} --help)" if context is not None and error.message else ""


def _print_whatever_comes() -> None:
    """A terminal that knows only ASCII shows the rest escaped, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
