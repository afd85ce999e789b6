"""Framing, the handshake, and the one encoder and one decoder that work from the layout tables.

A message is a list of text fields, each ended by NUL, behind a 4-byte big-endian length. Which fields a
message has depends on the server version that was negotiated, on earlier fields of the same message and on
counts inside it. All of that is data (`Layout`); nothing here knows a particular message.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The newest version whose messages are text throughout; from 201 on they turn into protobuf one by one.
SERVER_VERSION_MAX = 178
# What every client of the last years understands, and what the oldest one supported here stops at.
SERVER_VERSION_MIN = 157
# At 158 one client family writes a field in placeOrder that it does not read back in openOrder.
SERVER_VERSION_SKIPPED = 158
# The longest order a client can express is some 20 kB; a megabyte means that the length is not a length.
MAX_FRAME_BYTES = 1 << 20
HANDSHAKE_PREFIX = b"API\0"
# "v157..176 +PACEAPI" has 18 characters; connect options are short words.
MAX_HANDSHAKE_BYTES = 256

# How a real gateway writes "no value" where it does not send an empty field.
UNSET_DOUBLE = "1.7976931348623157E308"
UNSET_INTEGER = "2147483647"
UNSET_LONG = "9223372036854775807"

_LENGTH = struct.Struct(">I")
_VERSIONS = re.compile(r"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: .*)?\Z", re.ASCII)
_NEVER = 1 << 30

Fields = dict[str, Any]


class WireError(Exception):
    """The bytes are not the protocol at all; the connection cannot go on."""


class DecodeError(Exception):
    """A well-framed message whose fields do not fit its layout.

    Attributes:
        request_id: The order or request id that the message named, -1 when it could not be read.
    """

    def __init__(self, reason: str, request_id: int = -1) -> None:
        super().__init__(reason)
        self.request_id = request_id


# ---------------------------------------------------------------- layouts


@dataclass(frozen=True, slots=True)
class Field:
    """One text field: its name, what is sent when there is no value, and the versions that have it."""

    name: str
    unset: str = ""
    since: int = 0
    until: int = _NEVER  # first version without it


@dataclass(frozen=True, slots=True)
class When:
    """Items that are present only if `test` holds for the value of an earlier field."""

    name: str
    test: Callable[[Any], bool]
    items: tuple[Item, ...]
    since: int = 0
    until: int = _NEVER


@dataclass(frozen=True, slots=True)
class Repeated:
    """A count, then that many groups of `items`; the value is a list with a mapping for each group."""

    name: str
    items: tuple[Item, ...]
    since: int = 0
    until: int = _NEVER


Item = Field | When | Repeated


def fields(text: str, *, since: int = 0, until: int = _NEVER) -> tuple[Field, ...]:
    """Read a table row such as ``"orderId strike=0 displaySize=2147483647"``.

    Args:
        text: Names separated by white space; what follows a ``=`` is sent when there is no value.
        since: First server version with these fields.
        until: First server version without them.
    """
    rows = []
    for word in text.split():
        name, _, unset = word.partition("=")
        rows.append(Field(name, unset, since, until))
    return tuple(rows)


@dataclass(frozen=True)
class Layout:
    """One message: its id on the wire, its name, and its fields in order."""

    message_id: int
    name: str
    items: tuple[Item, ...]
    _plans: dict[int, tuple[_Step, ...]] = field(default_factory=dict, compare=False, repr=False)

    def encode(self, version: int, values: Mapping[str, Any]) -> list[str]:
        """Return the text fields of the message, the id first."""
        out = [str(self.message_id)]
        _encode(self._plan(version), values, out)
        return out

    def decode(self, version: int, texts: Sequence[str]) -> tuple[Fields, int]:
        """Read the text fields (the id first) in order.

        Returns:
            The values by name, and how many fields were left over at the end.

        Raises:
            DecodeError: A field is missing, or a count is not a number.
        """
        values: Fields = {}
        at = _decode(self.name, self._plan(version), texts, 1, values)
        return values, len(texts) - at

    def all_names(self) -> list[str]:
        """Return the names of all fields of any version, without those inside of repeated groups."""
        return _names(self.items)

    def _plan(self, version: int) -> tuple[_Step, ...]:
        plan = self._plans.get(version)
        if plan is None:
            plan = self._plans[version] = _compile(self.items, version, {})
        return plan


def _names(items: Iterable[Item]) -> list[str]:
    names = []
    for item in items:
        names += _names(item.items) if isinstance(item, When) else [item.name]
    return names


# ---------------------------------------------------------------- encoder and decoder


@dataclass(frozen=True, slots=True)
class _Run:
    """Plain fields in a row, so that the common case is one slice and not a hundred steps."""

    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]  # name and what is sent when there is no value


@dataclass(frozen=True, slots=True)
class _Branch:
    name: str
    unset: str
    test: Callable[[Any], bool]
    steps: tuple[_Step, ...]


@dataclass(frozen=True, slots=True)
class _Loop:
    name: str
    steps: tuple[_Step, ...]


_Step = _Run | _Branch | _Loop


def _compile(items: Iterable[Item], version: int, unset_of: dict[str, str]) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    run: list[Field] = []

    def end_run() -> None:
        if run:
            steps.append(_Run(tuple(f.name for f in run), tuple((f.name, f.unset) for f in run)))
            run.clear()

    for item in items:
        if not item.since <= version < item.until:
            continue
        match item:
            case Field():
                unset_of[item.name] = item.unset
                run.append(item)
            case When():
                end_run()
                inner = _compile(item.items, version, unset_of)
                steps.append(_Branch(item.name, unset_of.get(item.name, ""), item.test, inner))
            case Repeated():
                end_run()
                steps.append(_Loop(item.name, _compile(item.items, version, {})))
    end_run()
    return tuple(steps)


def _encode(steps: tuple[_Step, ...], values: Mapping[str, Any], out: list[str]) -> None:
    get = values.get
    for step in steps:
        if isinstance(step, _Run):
            # An openOrder has over a hundred fields: a third of what an order costs is spent here.
            out += [
                unset if (value := get(name)) is None else value if type(value) is str else text_of(value)
                for name, unset in step.pairs
            ]
        elif isinstance(step, _Branch):
            value = get(step.name)
            if step.test(step.unset if value is None else value):
                _encode(step.steps, values, out)
        else:
            groups = get(step.name) or ()
            out.append(str(len(groups)))
            for group in groups:
                _encode(step.steps, group, out)


def _decode(message: str, steps: tuple[_Step, ...], texts: Sequence[str], at: int, values: Fields) -> int:
    for step in steps:
        if isinstance(step, _Run):
            end = at + len(step.names)
            if end > len(texts):
                missing = step.names[len(texts) - at]
                # What did come may name the order, so that its owner can be told.
                values.update(zip(step.names, texts[at:], strict=False))
                raise DecodeError(f"{message} ends before its field '{missing}'", _id_in(values))
            values.update(zip(step.names, texts[at:end], strict=True))
            at = end
        elif isinstance(step, _Branch):
            if step.test(values.get(step.name, "")):
                at = _decode(message, step.steps, texts, at, values)
        else:
            at = _decode_groups(message, step, texts, at, values)
    return at


def _decode_groups(message: str, step: _Loop, texts: Sequence[str], at: int, values: Fields) -> int:
    if at >= len(texts):
        raise DecodeError(f"{message} ends before the count of '{step.name}'", _id_in(values))
    count = texts[at]
    at += 1
    # No group is shorter than a field, so a larger count is a lie and must not cost memory.
    if not count.isascii() or not (count or "0").isdigit() or int(count or 0) > len(texts) - at:
        raise DecodeError(f"{message}: '{count[:20]}' is no count of '{step.name}'", _id_in(values))
    groups = []
    for _ in range(int(count or 0)):
        group: Fields = {}
        at = _decode(message, step.steps, texts, at, group)
        groups.append(group)
    values[step.name] = groups
    return at


def _id_in(values: Fields) -> int:
    text = str(values.get("orderId", values.get("reqId", "")))
    return int(text) if text.isascii() and text.isdigit() else -1


# ---------------------------------------------------------------- values as text


def text_of(value: object) -> str:
    """Write a value the way the protocol does: booleans as 1 and 0, numbers without exponent."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return decimal_text(value)
    return str(value)


def decimal_text(value: float) -> str:
    """Write a number without exponent and without a fraction that is zero: ``100``, ``196.52``."""
    if value == math.inf:
        return "Infinity"
    text = f"{value:.8f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def clean_text(value: str) -> str:
    """Return text that cannot break a frame: no NUL, ASCII only (some clients unescape what is not)."""
    return value.replace("\0", " ").encode("ascii", "backslashreplace").decode()


# ---------------------------------------------------------------- frames


def frame(texts: Iterable[str]) -> bytes:
    """Return the fields as one frame, each ended by NUL, behind the length."""
    body = ("\0".join(texts) + "\0").encode("ascii", "backslashreplace")
    return _LENGTH.pack(len(body)) + body


def split_fields(body: bytes) -> list[str]:
    """Return the text fields of a frame's body.

    Raises:
        WireError: The body does not end with NUL.
    """
    if not body.endswith(b"\0"):
        raise WireError("a message does not end with NUL")
    return body[:-1].decode("utf-8", "backslashreplace").split("\0")


class FrameReader:
    """Collects bytes until they are whole frames; never holds more than one frame and one read."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._prefix_seen = False

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._data += data

    def handshake(self) -> str | None:
        """Return the client's version text once it is complete, None before.

        Raises:
            WireError: The bytes do not begin as a client's do.
        """
        data = self._data
        if not self._prefix_seen:
            if not HANDSHAKE_PREFIX.startswith(bytes(data[:4])):
                raise WireError(f"the connection began with {bytes(data[:12])!r}, not with {HANDSHAKE_PREFIX!r}")
            if len(data) < 4:
                return None
            del data[:4]
            self._prefix_seen = True
        body = self._take(MAX_HANDSHAKE_BYTES)
        return None if body is None else body.decode("ascii", "backslashreplace")

    def next_body(self) -> bytes | None:
        """Return the next whole frame's body, None until there is one.

        Raises:
            WireError: The length is zero or beyond `MAX_FRAME_BYTES`.
        """
        return self._take(MAX_FRAME_BYTES)

    def _take(self, limit: int) -> bytes | None:
        data = self._data
        if len(data) < 4:
            return None
        (length,) = _LENGTH.unpack_from(data)
        if not 0 < length <= limit:
            raise WireError(f"a frame of {length} bytes was announced, allowed are 1 to {limit}")
        if len(data) < 4 + length:
            return None
        body = bytes(data[4 : 4 + length])
        del data[: 4 + length]
        return body


# ---------------------------------------------------------------- versions


def negotiate(version_text: str) -> int:
    """Return the server version for a client that offered, for example, ``v157..176``.

    Raises:
        WireError: The text is not a version range, or the range has no version that is spoken here.
    """
    match = _VERSIONS.match(version_text)
    if match is None:
        raise WireError(f"'{version_text[:40]}' is not a range of versions such as v157..176")
    low = int(match[1])
    high = int(match[2] or match[1])
    version = min(SERVER_VERSION_MAX, high)
    if version == SERVER_VERSION_SKIPPED:
        version -= 1
    if version < max(low, SERVER_VERSION_MIN):
        raise WireError(
            f"the client speaks versions {low} to {high},"
            f" the paper gateway {SERVER_VERSION_MIN} to {SERVER_VERSION_MAX}"
            f" without {SERVER_VERSION_SKIPPED}"
        )
    return version
