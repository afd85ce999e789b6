"""Whether a value that was given for a setting can be used, and the text that says what is wrong with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from orderfuse.circuit import CircuitBreakerConfig
from orderfuse.errors import SettingsError
from orderfuse.ibfields.checks import OPENABLE
from orderfuse.settings.tables import TABLES, variable_name
from orderfuse.text import MAX_VALUE, plain, shown


@dataclass(frozen=True, slots=True)
class Value:
    """What was given for one setting, and where. From a variable it is text, whatever the setting's type is."""

    given: Any
    source: str
    from_variable: bool = False


def checked(table: str, key: str, value: Value) -> Any:
    """The value of a setting, in the type of its field.

    Raises:
        SettingsError: it is of the wrong type or out of range.
    """
    hint = get_type_hints(TABLES[table], include_extras=True)[key]
    given = _split(value.given) if value.from_variable and _is_tuple(hint) else value.given
    try:
        converted = msgspec.convert(given, hint, strict=not value.from_variable)
    except msgspec.ValidationError as error:
        raise _wrong(table, key, value, allowed(hint)) from error
    if key == "allow_order_fields":
        _check_openable(converted, value.source)
    return converted


def _check_openable(names: tuple[str, ...], source: str) -> None:
    closed = sorted(set(names) - OPENABLE)
    if closed:
        table, key = "executor", "allow_order_fields"
        named = plain(", ".join(closed), MAX_VALUE)
        complaint = f"{table}.{key} names {named}, allowed are {', '.join(sorted(OPENABLE))}"
        raise SettingsError(_place(table, key, complaint, source))


def circuit_value(key: str, value: Value) -> Any:
    """The value of a field of `CircuitBreakerConfig`, which checks itself.

    Raises:
        SettingsError: it is of the wrong type or out of range.
    """
    number = _number(value.given) if value.from_variable else value.given
    try:
        CircuitBreakerConfig(**{key: number})
    except ValueError as error:
        raise SettingsError(_place("breaker", key, f"breaker.{error}", value.source)) from error
    return number


def _number(text: str) -> Any:
    if text.lower() in {"", "none"}:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_tuple(hint: Any) -> bool:
    return get_origin(_bare(hint)) is tuple


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _wrong(table: str, key: str, value: Value, allowed_text: str) -> SettingsError:
    complaint = f"{table}.{key} is {shown(value.given)}, allowed is {allowed_text}"
    return SettingsError(_place(table, key, complaint, value.source))


def _place(table: str, key: str, complaint: str, source: str) -> str:
    variable = variable_name(table, key)
    otherwise = "" if source.endswith(variable) else f", or set {variable}"
    return f"{complaint.rstrip('.')}. It was set {source}; change it there{otherwise}."


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def allowed(hint: Any) -> str:
    """What a setting of this type may be, in words."""
    bare = _bare(hint)
    if get_origin(bare) is Literal:
        return " or ".join(repr(choice) for choice in get_args(bare))
    if get_origin(bare) is tuple:
        return "a list of names"
    bounds = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    if bare is int:
        low = next((meta.ge for meta in bounds if meta.ge is not None), None)
        high = next((meta.le for meta in bounds if meta.le is not None), None)
        return f"a whole number from {low} to {high}"
    shortest = next((meta.min_length for meta in bounds if meta.min_length is not None), 0)
    longest = next((meta.max_length for meta in bounds if meta.max_length is not None), None)
    return f"text of {shortest} to {longest} characters, no control characters"
