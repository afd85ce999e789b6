"""Turning contracts and orders that are objects (ib_insync's dataclasses, or others) into the plain maps of the bus.

Nothing here imports ib_insync: a strategy may use its classes, ib_async's, its own, or write the map itself.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator, Mapping
from typing import Any

from orderfuse.bus.codec import MAX_DEPTH
from orderfuse.errors import OrderInvalid

# The tag that tells IB's conditions apart. It always has its default, so it alone must not be left out.
_TAG = "condType"


def fields_of(given: Any, what: str) -> dict[str, Any]:
    """The map of a contract or order: for a dataclass, the fields that differ from their defaults; for a map, all.

    `what` names it in complaints (`contract`, `order`).

    Raises:
        OrderInvalid: it is neither, or a value can't be said in plain numbers, texts, lists and maps.
    """
    if isinstance(given, Mapping) or _is_dataclass_object(given):
        plain: dict[str, Any] = _plain(given, what, MAX_DEPTH)
        return plain
    raise OrderInvalid(f"{what} is a {type(given).__name__}, allowed are maps and dataclasses like ib_insync's")


def _is_dataclass_object(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _plain(value: Any, path: str, depth_left: int) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return _scalar(value)
    if depth_left == 0:
        raise OrderInvalid(f"{path} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(item, f"{path}.{key}", depth_left - 1) for key, item in value.items()}
    if _is_dataclass_object(value):
        return dict(_changed_fields(value, path, depth_left))
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict(), path, depth_left)
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{at}]", depth_left - 1) for at, item in enumerate(value)]
    return _whole_number(value, path)


def _scalar(value: Any) -> Any:
    """The built-in value of an instance of a subclass, such as numpy's float64 or the member of an enum."""
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    # Not str(value): that would be the name of an enum's member, not its value.
    return None if value is None else str.__str__(value)


def _whole_number(value: Any, path: str) -> int:
    """An integer of numpy is no `int`, but says exactly which one it is. Nothing else is guessed."""
    try:
        return operator.index(value)
    except TypeError:
        raise OrderInvalid(
            f"{path} is {value!r}, a {type(value).__name__}; allowed are int, float, str, bool, lists and maps"
        ) from None


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise OrderInvalid(f"{path} has the key {key!r}, allowed are texts")
    return str.__str__(key)


def _changed_fields(value: Any, path: str, depth_left: int) -> Iterator[tuple[str, Any]]:
    fields = dataclasses.fields(value)
    # `order.lmtPirce = 5` sets an attribute that nobody reads: without this, a limit order without its limit.
    strangers = sorted(set(getattr(value, "__dict__", ())) - {field.name for field in fields})
    if strangers:
        raise OrderInvalid(f"{path}.{strangers[0]} is no field of {type(value).__name__}")
    for field in fields:
        given = _plain(getattr(value, field.name), f"{path}.{field.name}", depth_left - 1)
        if field.name == _TAG or given != _default(field, path, depth_left):
            yield field.name, given


def _default(field: dataclasses.Field[Any], path: str, depth_left: int) -> Any:
    if field.default is not dataclasses.MISSING:
        return _plain(field.default, path, depth_left - 1)
    if field.default_factory is not dataclasses.MISSING:
        return _plain(field.default_factory(), path, depth_left - 1)
    return dataclasses.MISSING
