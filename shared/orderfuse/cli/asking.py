"""Asking the breaker for a command: where it is, and what more can be said when it refuses or is silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from orderfuse.cli.exits import failures
from orderfuse.client.control import ControlClient
from orderfuse.client.replies import a_list, maps
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.settings import Settings, default_home, load_settings
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
    """Ask for something that merely helps the person, and give up soon.

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
