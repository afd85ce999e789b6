"""One typed tree of settings, read once at the start from `orderfuse.toml` and ORDERFUSE_* variables.

`$ORDERFUSE_HOME/orderfuse.toml` has one table for each struct of `tables`; a variable
`ORDERFUSE_<TABLE>__<KEY>` wins over the file. Anything wrong (an unknown name, a wrong type, a value out
of range) is a `SettingsError` that says which setting, what value, what is allowed and where to change it.
This is the only module that reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orderfuse.circuit import CircuitBreakerConfig
from orderfuse.errors import SettingsError
from orderfuse.home import HOME_VARIABLE, existing_folder, home_folder
from orderfuse.settings.checks import allowed, checked, circuit_value
from orderfuse.settings.sources import CRASH_VARIABLE, MAX_FILE_BYTES, RUN_VARIABLE, from_environment, from_file
from orderfuse.settings.tables import (
    CIRCUIT_FIELDS,
    TABLES,
    BreakerSettings,
    DispatchSettings,
    ExecutorSettings,
    IbSettings,
    LinksSettings,
    PaperSettings,
    Settings,
    setting_names,
    variable_name,
)

__all__ = [
    "HOME_VARIABLE",
    "MAX_FILE_BYTES",
    "SETTINGS_FILE",
    "TABLES",
    "BreakerSettings",
    "DispatchSettings",
    "ExecutorSettings",
    "IbSettings",
    "LinksSettings",
    "PaperSettings",
    "Settings",
    "SettingsError",
    "allowed",
    "begin_run",
    "crash_at",
    "default_home",
    "load_settings",
    "setting_names",
    "variable_name",
]

SETTINGS_FILE = "orderfuse.toml"
PAPER_BOOK = "paper-book.jsonl"


def load_settings(
    home: Path | None = None, *, environ: Mapping[str, str] | None = None, create_home: bool = True
) -> Settings:
    """Read the settings of a home folder, creating the folder if it is missing.

    Args:
        home: the folder; default `$ORDERFUSE_HOME`, else `~/.orderfuse`.
        environ: variables that win over its `orderfuse.toml`; default: those of this process.
        create_home: False for a `home` that a person typed: it must be there, and is left as it is.

    Raises:
        SettingsError: the folder, the file or a value cannot be used.
    """
    environ = os.environ if environ is None else environ
    home = home_folder(home or default_home(environ)) if create_home or home is None else existing_folder(home)
    given = from_file(home / SETTINGS_FILE)
    for name, value in from_environment(environ).items():
        given[name] = value
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    circuit: dict[str, Any] = {}
    for (table, key), value in given.items():
        if table == "breaker" and key in CIRCUIT_FIELDS:
            circuit[key] = circuit_value(key, value)
        else:
            tables[table][key] = checked(table, key, value)
    if circuit:
        tables["breaker"]["circuit"] = CircuitBreakerConfig(**circuit)
    if environ.get(RUN_VARIABLE):
        tables["paper"].setdefault("state_file", str(home / PAPER_BOOK))
    built = {table: TABLES[table](**values) for table, values in tables.items()}
    return Settings(home=home, **built)  # type: ignore[arg-type]


def default_home(environ: Mapping[str, str] | None = None) -> Path:
    """The home folder where nobody names one: `$ORDERFUSE_HOME`, else `~/.orderfuse`. It may not be there."""
    environ = os.environ if environ is None else environ
    return Path(environ.get(HOME_VARIABLE) or "~/.orderfuse")


def begin_run() -> None:
    """Have every process that this one starts know that it is part of `make run`."""
    os.environ[RUN_VARIABLE] = "1"


def crash_at(environ: Mapping[str, str] | None = None) -> tuple[str, int] | None:
    """At which point this process is to die, and at which pass there: `ORDERFUSE_CRASH_AT`, for tests.

    Raises:
        SettingsError: it has not the form `<point>:<count>`.
    """
    text = (os.environ if environ is None else environ).get(CRASH_VARIABLE, "")
    if not text:
        return None
    point, _, count = text.rpartition(":")
    if not point or not count.isdigit() or not int(count):
        raise SettingsError(
            f"{CRASH_VARIABLE} is {text!r}, allowed is <point>:<count> with a count from 1. "
            "Unset it: it is for tests only."
        )
    return point, int(count)
