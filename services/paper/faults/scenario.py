"""Scenario files: faults in TOML, played from the start of the gateway on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from orderfuse.home import why
from orderfuse.text import ROUGHLY_ALIKE, nearest
from services.paper.faults.families import Fault, FaultError
from services.paper.faults.kinds import make_fault

MAX_SCENARIO_BYTES = 1 << 20
_HEADER = re.compile(r"\s*\[\[\s*fault\s*\]\]")


class ScenarioError(Exception):
    """A scenario that cannot be played. The text names file, line, key, value and what is allowed."""


def load_scenario(path: Path) -> list[Fault]:
    """Read the faults of a file with one `[[fault]]` table for each, in their order.

    Raises:
        ScenarioError: The file cannot be read, or says what cannot be played.
    """
    try:
        if path.exists() and not path.is_file():
            raise ScenarioError(f"{path} cannot be read: it is a folder or a device, not a file")
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_SCENARIO_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} cannot be read: {why(error)}") from error
    if len(text) > MAX_SCENARIO_BYTES:
        raise ScenarioError(f"{path} has too many characters; allowed are {MAX_SCENARIO_BYTES}")
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Beside its own error, tomllib lets through what Python says of a number or a nesting without end.
        raise ScenarioError(f"{path} is not valid TOML: {error}") from error
    for key in document:
        if key != "fault":
            near = nearest(key, ["fault"], alike=ROUGHLY_ALIKE)
            hint = f"did you mean [[{near}]]?" if near else "a scenario is a list of [[fault]] tables"
            raise ScenarioError(f"{path}{_line_of(text, 0, key)}: unknown table {key}; {hint}")
    tables = document.get("fault", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ScenarioError(f"{path}{_line_of(text, 0, 'fault')}: fault must be tables, each written as [[fault]]")
    return [_read(path, text, number, table) for number, table in enumerate(tables, start=1)]


def _read(path: Path, text: str, number: int, table: dict[str, Any]) -> Fault:
    values = dict(table)
    if "kind" not in values:
        raise ScenarioError(f"{path}{_line_of(text, number, '')}: fault {number} has no kind")
    try:
        return make_fault(values.pop("kind"), values)
    except FaultError as error:
        raise ScenarioError(f"{path}{_line_of(text, number, error.key or 'kind')}: fault {number}: {error}") from error


def _line_of(text: str, number: int, key: str) -> str:
    """Return ``, line 12``: where a key stands in the n-th fault (0: before any), as far as that can be seen.

    TOML's parser does not tell, and inline tables hide their keys; then the line is that of the table.
    """
    key_at_start = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=\].]") if key else None
    seen, found = 0, 0
    for line_number, line in enumerate(text.splitlines(), start=1):
        if _HEADER.match(line):
            seen += 1
            if seen == number:
                found = line_number
        if seen == number and key_at_start is not None and key_at_start.match(line):
            return f", line {line_number}"
    return f", line {found}" if found else ""
