"""What commands can be given: choices, options that several share, and checking a value by its type on the bus."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from orderfuse.bus.fields import Scope
from orderfuse.cli import completion
from orderfuse.cli.show import say
from orderfuse.text import shown
from orderfuse.version import __version__

ID_RULE = "letters, digits and . _ -, beginning with a letter or digit"


def one_of(kind: Any, allowed: str) -> Callable[[Any], Any]:
    """A check of an argument or option by its type on the bus; `allowed` tells what that type takes."""

    def check(value: Any) -> Any:
        if value is None:
            return None
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise typer.BadParameter(f"{shown(value)}; allowed: {allowed}") from None

    return check


class CancelChoice(StrEnum):
    """Which working orders a trip cancels."""

    NONE = "none"
    OURS = "ours"
    OURS_WITH_PROTECTIVE = "ours_with_protective"
    ALL = "all"


class ReportKind(StrEnum):
    """What a process reports."""

    FAILURE = "failure"
    CONDITION = "condition"


class EndChoice(StrEnum):
    """How a person resolves an unknown order."""

    NOT_PLACED = "not_placed"
    CANCELLED = "cancelled"
    FILLED = "filled"


class OrderState(StrEnum):
    """Where an order is."""

    QUEUED = "queued"
    OUT = "out"
    WORKING = "working"
    UNKNOWN = "unknown"
    DONE = "done"


ScopeOption = Annotated[
    str,
    typer.Option(
        "--scope",
        help="system, or strategy:ID",
        callback=one_of(Scope, "system, or strategy:ID"),
        autocompletion=completion.scopes,
    ),
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it is journaled with your name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the reply's map as JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"orderfuse {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", callback=_print_version, is_eager=True)
]
