"""What others wrote, made fit for a message, a log or a terminal: one line, of bounded length. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

# A reason has at most so many characters wherever one is taken or told.
MAX_REASON = 500
# Of a value in a message: enough to recognise it, and what is allowed still follows in the same line.
MAX_VALUE = 80
# How alike two names must be, from 0 to 1, for one to be offered instead of the other. Of a handful of fixed names a
# guess may be bolder.
ALIKE, ROUGHLY_ALIKE = 0.6, 0.5


def plain(text: str, longest: int = MAX_REASON) -> str:
    """`text` without characters that would begin a line or move a cursor, cut to `longest` characters."""
    line = printable(text[:longest])
    return line if len(text) <= longest else line[:-3] + "..."


def cut(text: str, longest: int = MAX_REASON) -> str:
    """The beginning of `text`: as much of it as a message may have."""
    return text[:longest]


def printable(text: str) -> str:
    """`text` with each character that is not printable replaced."""
    # Every line of a log comes through here, and hardly one has such a character.
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "�" for each in text)


def folded(text: str) -> str:
    """`text` with each run of white space, ends of lines included, as one space."""
    return " ".join(text.split())


def shown(value: Any) -> str:
    """`value` as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to write whole numbers of thousands of digits.
        return "a number of thousands of digits"
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."


def plain_number(value: float) -> str:
    """A quantity or price without the zeros that floats bring along: `190.5`, `100`."""
    return f"{value:.12g}"


def nearest(name: str, known: Iterable[str], *, alike: float = ALIKE) -> str:
    """The known name that `name` may have been meant to be; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=alike)
    return near[0] if near else ""


def did_you_mean(name: str, known: Iterable[str], *, alike: float = ALIKE) -> str:
    """The nearest known name as a question that goes behind a complaint; empty if none is near."""
    near = nearest(name, known, alike=alike)
    return f"; did you mean {near}?" if near else ""


def wrong_value(error: Exception, given: Any, what: str) -> str:
    """Turn a complaint of msgspec's about `given` into a text that names the field, the value and what is allowed."""
    complaint, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`")
    value = _value_at(given, path)
    given_value = "" if value is _NOWHERE else f" is {shown(value)}"
    return f"{what}{path}{given_value}: {complaint.replace('`', '')}"


_NOWHERE = object()


def _value_at(given: Any, path: str) -> Any:
    value = given
    for step in path.replace("[", ".").replace("]", "").split(".")[1:]:
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return _NOWHERE
    return _NOWHERE if path == "" else value
