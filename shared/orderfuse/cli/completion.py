"""What the shell offers as values when somebody presses the tabulator key: never an error, never a wait."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from orderfuse.cli.asking import HINT_TIMEOUT_S, quick_status, scopes_in, unknown_in
from orderfuse.cli.paper_control import PaperUnavailable, ask_paper
from orderfuse.client.control import ControlClient
from orderfuse.errors import ControlRefused
from orderfuse.settings import Settings, SettingsError, load_settings


def scopes(context: typer.Context) -> list[str]:
    """`system`, and each strategy that has a circuit."""
    return scopes_in(_status(context)) or ["system"]


def strategies(context: typer.Context) -> list[str]:
    """The ids of the strategies that have a circuit."""
    return [scope.removeprefix("strategy:") for scope in scopes_in(_status(context)) if scope != "system"]


def unknown_orders(context: typer.Context) -> list[str]:
    """The ids of the orders that a person can resolve."""
    return unknown_in(_status(context))


def fault_kinds(context: typer.Context) -> list[tuple[str, str]]:
    """The faults that the paper gateway can play, each with what it does."""
    settings = _settings(context)
    try:
        faults = ask_paper(settings.home, "faults", deadline_s=HINT_TIMEOUT_S)["faults"] if settings else {}
    except (PaperUnavailable, ControlRefused):
        return []
    return [(kind, str(fault["does"])) for kind, fault in faults.items()]


def _settings(context: typer.Context) -> Settings | None:
    # While it completes, typer runs no callback: the option is still as it was typed.
    typed = context.find_root().params.get("home")
    try:
        return load_settings(Path(typed) if typed else None, create_home=not typed)
    except SettingsError:
        return None


def _status(context: typer.Context) -> dict[str, Any]:
    settings = _settings(context)
    if settings is None:
        return {}
    try:
        with ControlClient(settings) as control:
            return quick_status(control)
    except SettingsError:
        return {}
