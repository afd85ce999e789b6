"""Why a person does something, and who it is: both are journaled with what was done."""

from __future__ import annotations

import os
import pwd
import socket

import typer

from orderfuse.cli.show import stdin_is_a_person
from orderfuse.text import MAX_REASON, plain, printable


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
    """The reason as it was given, empty if none was. For a stop, which is never refused."""
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
