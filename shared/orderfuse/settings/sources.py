"""Reading settings from the file and from variables as they stand; whether a value can be used is not asked here."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from orderfuse.errors import SettingsError
from orderfuse.home import HOME_VARIABLE, why
from orderfuse.settings.checks import Value
from orderfuse.settings.tables import PREFIX, TABLES, setting_names, variable_name
from orderfuse.text import MAX_VALUE, ROUGHLY_ALIKE, did_you_mean, plain

CRASH_VARIABLE = "ORDERFUSE_CRASH_AT"
# Set by `make run` for what it starts: its paper gateway keeps a book in the home, as the journals beside it do.
RUN_VARIABLE = "ORDERFUSE_RUN"
# Every setting with a comment of its own has some kilobytes. What is larger is another file.
MAX_FILE_BYTES = 256 * 1024


Given = dict[tuple[str, str], Value]


def from_file(path: Path) -> Given:
    """What the file says; nothing if there is none.

    Raises:
        SettingsError: it cannot be read, or has a table or a setting that there is not.
    """
    given: Given = {}
    for table, values in _document(path).items():
        if table not in TABLES:
            raise SettingsError(f"{path}: there is no table [{plain(table, MAX_VALUE)}]{_nearest(table, TABLES)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: {table} must be a table, written as [{table}].")
        for key, value in values.items():
            _known(table, key, f"{path}: there is no setting {table}.{plain(key, MAX_VALUE)}")
            given[table, key] = Value(value, f"in {path}")
    return given


def _document(path: Path) -> dict[str, Any]:
    try:
        if not path.exists():
            return {}
        if not path.is_file():
            raise SettingsError(f"{path} is not a file. Move it away: settings are read from a file of this name.")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {why(error)}. Give it to yourself: chmod 600.") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{path} has more than {MAX_FILE_BYTES} bytes: it is not a file of settings. Move it away.")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text, at byte {error.start}. Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        # Beside its own error, tomllib lets through what Python says of a number or a nesting without end.
        raise SettingsError(f"{path} is not valid TOML: {why(error)}. Correct it there.") from error


def from_environment(environ: Mapping[str, str]) -> Given:
    """What variables say.

    Raises:
        SettingsError: one that begins as ours do is none, or is not UTF-8 text.
    """
    given: Given = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable in {HOME_VARIABLE, CRASH_VARIABLE, RUN_VARIABLE}:
            continue
        table, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not separator:
            # Ignored, a setting that somebody believes in would not hold.
            raise SettingsError(f"{variable}: there is no such variable{_nearest(variable, _variables())}")
        if table not in TABLES:
            raise SettingsError(f"{variable}: there is no table [{table}]{_nearest(table, TABLES)}")
        _known(table, key, f"{variable}: there is no setting {table}.{key}")
        given[table, key] = Value(_read_text(text, variable), f"in the variable {variable}", from_variable=True)
    return given


def _read_text(text: str, variable: str) -> str:
    """What a variable says, if the file could say it too: a setting may have to travel as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(f"{variable} is not UTF-8 text, at character {error.start}. Write it as UTF-8.") from error
    return text


def _known(table: str, key: str, complaint: str) -> None:
    names = setting_names(table)
    if key not in names:
        raise SettingsError(f"{complaint}{_nearest(key, names)}")


def _variables() -> tuple[str, ...]:
    return (HOME_VARIABLE, *(variable_name(table, key) for table in TABLES for key in setting_names(table)))


def _nearest(name: str, known: Collection[str]) -> str:
    return did_you_mean(name, known, alike=ROUGHLY_ALIKE) or f"; there are {', '.join(known)}."
