"""What others wrote, made fit for a message, a log or a terminal: one line, of bounded length."""

from __future__ import annotations

from typing import Any

# A reason has at most so many characters wherever one is taken or told.
MAX_REASON = 500
# Of a value in a message: enough to recognise it, and what is allowed still follows in the same line.
MAX_VALUE = 80


def plain(text: str, longest: int = MAX_REASON) -> str:
    """`text` without characters that would begin a line or move a cursor, cut to `longest` characters."""
    line = printable(text[:longest])
    return line if len(text) <= longest else line[:-3] + "..."


def printable(text: str, keep: str = "") -> str:
    """`text` with each character that is not printable, and not in `keep`, replaced."""
    # Every line of a log comes through here, and hardly one has such a character.
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else "�" for each in text)


def shown(value: Any) -> str:
    """`value` as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:
        # Python refuses to write whole numbers of thousands of digits.
        return "a number of thousands of digits"
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + "..."
