"""Writes docs/settings.md from the code: `make docs` runs it, and a test holds the page against it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

from orderfuse.circuit import CircuitBreakerConfig
from orderfuse.ibfields.checks import OPENABLE
from orderfuse.settings import HOME_VARIABLE, SETTINGS_FILE, TABLES, allowed, setting_names, variable_name

PAGE = Path(__file__).parent / "settings.md"

HEAD = f"""# Settings

Nothing has to be set: without any setting the pipeline trades with its own paper gateway. A setting stands in
`${HOME_VARIABLE}/{SETTINGS_FILE}`, in the table named here, or in the variable under its name. The variable wins.
honcho reads variables from a file `.env` beside the Procfile; `.env.example` is one to begin with.

Settings are read once, at the start of each process. What cannot be used is refused there, with exit code 2:

```console
$ ORDERFUSE_BREAKER__FAILURE_THRESHOLD=0 python -m services.breaker || echo "exit code $?"
```

`{HOME_VARIABLE}` is the home: the folder of sockets, journals and `{SETTINGS_FILE}`, by default `~/.orderfuse`. It is
created if it is missing, for its owner alone (mode 0700): whoever can enter it can send orders. Processes that shall
meet have the same home; two pipelines on one machine have one each.

This page is generated from the code.
"""

EXAMPLE = f"""
## All of it as a file

Every setting with its default, as `{SETTINGS_FILE}` takes it. Keep only the lines that you change.

```toml
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(printed_refusal()), encoding="utf-8")


def page(refusal: str) -> str:
    """The whole page; `refusal` is what the command in its head has printed."""
    head = HEAD.replace('"exit code $?"\n', f'"exit code $?"\n{refusal}')
    return head + "".join(map(section, TABLES)) + EXAMPLE + "\n\n".join(map(example, TABLES)) + "\n```\n"


def printed_refusal() -> str:
    """The recorded output in the head of the present page: `make record-docs` writes it, and it is kept."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return before.partition('"exit code $?"\n')[2].partition("```")[0]


def section(table: str) -> str:
    """One table of settings."""
    rows = "".join(row(table, key) for key in setting_names(table))
    return f"\n## [{table}]\n\n{about(table)}\n\n| setting | default | allowed | meaning |\n|---|---|---|---|\n{rows}"


def about(table: str) -> str:
    """What a table is for: the first line of its docstring, without the name that the heading has."""
    line = (inspect.getdoc(TABLES[table]) or "").partition("\n")[0]
    text = line.partition(": ")[2]
    return text[:1].upper() + text[1:]


def row(table: str, key: str) -> str:
    """One setting."""
    cells = (f"`{key}`<br>`{variable_name(table, key)}`", shown(default(table, key)), range_of(table, key))
    return f"| {' | '.join(cells)} | {meaning(table, key)} |\n"


def default(table: str, key: str) -> Any:
    """The value without any setting."""
    values = TABLES[table]()
    return getattr(values.circuit if is_of_the_circuit(table, key) else values, key)  # type: ignore[attr-defined]


def range_of(table: str, key: str) -> str:
    """What is allowed, in the words of the refusal."""
    if not is_of_the_circuit(table, key):
        if key == "allow_order_fields":
            return "a list of: " + ", ".join(f"`{name}`" for name in sorted(OPENABLE))
        return allowed(hint(table, key)).replace("'", "`")
    try:
        CircuitBreakerConfig(**{key: object()})  # type: ignore[arg-type]
    except ValueError as refusal:
        return str(refusal).partition(" must be ")[2].partition(", not ")[0]
    raise AssertionError(f"{key} takes anything")


def meaning(table: str, key: str) -> str:
    """The description that stands beside the setting in the code."""
    if is_of_the_circuit(table, key):
        return config_meanings()[key]
    return next(meta.description for meta in get_args(hint(table, key)) if isinstance(meta, Meta) and meta.description)


def config_meanings() -> dict[str, str]:
    """The attributes in the docstring of CircuitBreakerConfig, without their ranges."""
    text = (inspect.getdoc(CircuitBreakerConfig) or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: without_range(re.sub(r"\s+", " ", words)) for name, words in found}


def without_range(text: str) -> str:
    """The range has a column of its own."""
    return re.sub(r"; (above 0, at most \d[\d,]*\d|\d+ to \d[\d,]*\d)", "", text)


def is_of_the_circuit(table: str, key: str) -> bool:
    """Whether it is a field of CircuitBreakerConfig, which stand in [breaker]."""
    return table == "breaker" and key in {field.name for field in dataclasses.fields(CircuitBreakerConfig)}


def hint(table: str, key: str) -> Any:
    """The annotation with its Meta."""
    return get_type_hints(TABLES[table], include_extras=True)[key]


def shown(value: Any) -> str:
    """A default in a cell."""
    return {None: "none", "": "empty", (): "empty"}.get(value, f"`{value}`")


def example(table: str) -> str:
    """The table as TOML; what has no value in TOML is a comment."""
    lines = [f"[{table}]"]
    for key in setting_names(table):
        value = default(table, key)
        lines.append(f"# {key}: none" if value is None else f"{key} = {as_toml(value)}")
    return "\n".join(lines)


def as_toml(value: Any) -> str:
    """JSON's words for texts, numbers and lists are TOML's as well."""
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    main()
