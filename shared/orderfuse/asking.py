"""Asking the breaker for a command: where it is, what may be asked, why, and by whom."""

from __future__ import annotations

import difflib
import os
import pwd
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import typer

from orderfuse.control import ControlClient
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.outcome import failures
from orderfuse.plain import MAX_REASON, plain, printable
from orderfuse.replies import a_list, maps
from orderfuse.settings import Settings, default_home, load_settings
from orderfuse.show import stdin_is_a_person
from orderfuse.stopfile import StopFile

# The breaker answers from memory, before it does anything else; with the start of Python a person waits a
# second at most for the word that it is not there, or stuck.
STATUS_TIMEOUT_S = 0.65
# What is asked only to say more: it must not hold up a stop, nor who presses the tabulator key.
HINT_TIMEOUT_S = 0.2
HINT_CONNECT_TIMEOUT_S = 0.2


def settings_of(context: typer.Context) -> Settings:
    """The settings of the chosen home. A home given by hand must be there.

    Raises:
        SettingsError: the home or a setting cannot be used.
    """
    return load_settings(context.obj, create_home=context.obj is None)


def home_of(context: typer.Context) -> Path:
    """The absolute path of the chosen home, which need not be there."""
    chosen: Path = context.obj or default_home()
    try:
        return chosen.expanduser().absolute()
    except RuntimeError:
        # `~name` of a user that there is not; the path itself says so to whoever reads of it.
        return chosen.absolute()


@contextmanager
def asking(context: typer.Context) -> Iterator[ControlClient]:
    """A link to the breaker; what goes wrong with it is said in one line."""
    with failures(), ControlClient(settings_of(context)) as control:
        yield control


@contextmanager
def explained(control: ControlClient, more: Callable[[dict[str, Any]], str]) -> Iterator[None]:
    """Say more with a refusal: what `more` makes of the status."""
    try:
        yield
    except ControlRefused as error:
        raise ControlRefused(f"{error.reason}{more(quick_status(control))}", code=error.code) from None


@contextmanager
def told_of_the_file(home: Path) -> Iterator[None]:
    """Where no breaker answers, say whether the file STOP keeps orders from passing all the same."""
    try:
        yield
    except BreakerUnavailable as error:
        file = StopFile(home)
        found = file.look()
        if found is None:
            raise
        raise BreakerUnavailable(
            f"NO ORDER PASSES: the file {file.path} is there ({found.reason}), and the executor obeys it too. "
            f"A reset of system removes it. But {error}",
            sent=error.sent,
        ) from None


def hint(control: ControlClient, op: str, **fields: Any) -> dict[str, Any]:
    """Ask for what is only a help to the person, and give up soon.

    Raises:
        BreakerUnavailable, ControlRefused: as `ControlClient.request`.
    """
    return control.request(op, timeout_s=HINT_TIMEOUT_S, connect_timeout_s=HINT_CONNECT_TIMEOUT_S, **fields)


def quick_status(control: ControlClient) -> dict[str, Any]:
    """The status, or an empty map if it can't be had at once."""
    try:
        return hint(control, "status")
    except (BreakerUnavailable, ControlRefused):
        return {}


def scopes_in(status: dict[str, Any]) -> list[str]:
    """The scopes that have a circuit."""
    return [str(circuit.get("scope")) for circuit in maps(status.get("circuits"))]


def unknown_in(status: dict[str, Any]) -> list[str]:
    """The ids of the unknown orders."""
    return [str(order_id) for order_id in a_list(status.get("unknown"))]


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, empty if none is near."""
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(kind: Any, allowed: str) -> Callable[[Any], Any]:
    """A check of an argument or option by its type on the bus; `allowed` tells what that type takes."""

    def check(value: Any) -> Any:
        if value is None:
            return None
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
            raise typer.BadParameter(f"{shown}; allowed: {allowed}") from None

    return check


def reason_from(words: list[str] | None, option: str | None) -> str:
    """The reason as it was given, empty if none was and a person can be asked."""
    given = " ".join(words or [])
    if given and option is not None:
        raise typer.BadParameter("give the reason once, as an argument or with --reason")
    reason = printable((given or option or "").strip())
    if len(reason) > MAX_REASON:
        raise typer.BadParameter(f"the reason has {len(reason)} characters, allowed are {MAX_REASON}")
    if not reason and (option is not None or not stdin_is_a_person()):
        raise typer.BadParameter("a reason is needed (--reason): it is journaled for whoever asks later")
    return reason


def reason_if_any(words: list[str] | None, option: str | None) -> str:
    """The reason as it was given, empty if none was. For a stop, which is refused for no reason whatever."""
    return plain(" ".join([*(words or []), option or ""]).strip(), MAX_REASON)


def why_afterwards() -> str:
    """Have the person type the reason of what is done already; empty if they leave it at that."""
    try:
        return plain(str(typer.prompt("Why", default="", show_default=False, err=True)).strip(), MAX_REASON)
    except (typer.Abort, KeyboardInterrupt):
        # What is said next begins on a line of its own.
        typer.echo(err=True)
        return ""


def ask_why() -> str:
    """Have the person type the reason.

    Raises:
        typer.Abort: by ctrl-C, or because nothing more can be typed.
    """
    try:
        while not 0 < len(reason := printable(str(typer.prompt("Why", err=True)).strip())) <= MAX_REASON:
            typer.echo(f"1 to {MAX_REASON} characters, please", err=True)
    except (typer.Abort, KeyboardInterrupt):
        # Ctrl-C may also come in between two questions. What is said next begins on a line of its own.
        typer.echo(err=True)
        raise typer.Abort from None
    return reason


def who() -> str:
    """User, host and process, for the journal."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"[:200]
