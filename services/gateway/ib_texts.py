"""The characters in IB's texts, which some gateways write as escapes. Pure."""

from __future__ import annotations

import re
import unicodedata

# A character that is no ASCII, as gateways of version 153 on write it into their texts (ENCODE_MSG_ASCII7).
# Two halves of UTF-16 make one character.
_ESCAPE = re.compile(
    r"\\u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})"
    r"|\\u([0-9A-Fa-f]{4})"
)


def unescaped(text: str) -> str:
    """A text of IB's with its characters in place of their escapes (a backslash, `u59d4`), and nothing else changed.

    What is no character for people stays as it came: halves of a pair, controls, marks that turn a line's direction.
    """
    return _ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    high, low, alone = escape.groups()
    number = int(alone, 16) if alone else 0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF)
    character = chr(number)
    return escape[0] if unicodedata.category(character).startswith("C") else character
