"""Bytes of the bus to messages and back. Whatever cannot be read is one `DecodeError`.

The only module that knows msgpack. `decode` takes nothing on trust: size, depth, number range and
every field are checked here, so that no code behind it has to.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar, overload

import msgpack
import msgspec

from orderfuse.bus.fields import VERSION, Message
from orderfuse.text import plain, shown, wrong_value
from orderfuse.version import __version__

# What the breaker accepts; an order of IB with every field set has about 6 KiB.
MAX_FRAME_BYTES = 16 * 1024
# What clients and the executor accept from the breaker: a reply on `control` is cut at 256 KiB.
MAX_REPLY_BYTES = 1024 * 1024
MAX_DEPTH = 8

T = TypeVar("T")


class DecodeError(Exception):
    """Bytes that are no valid message.

    Attributes:
        cause: a short word for counting (`not_msgpack`, `too_deep`, `wrong_version`, ...).
        reason: what is wrong, naming the field and the value.
        fields: the map as far as it could be read, for answering; empty if nothing could.
    """

    def __init__(self, cause: str, reason: str, fields: dict[str, Any] | None = None) -> None:
        # A key or a value in it is its sender's own words.
        self.reason = plain(reason)
        super().__init__(self.reason)
        self.cause = cause
        self.fields = fields or {}


def encode(message: Message) -> bytes:
    """The message as one msgpack map with `v` and `kind`."""
    return encode_map({"v": VERSION, **msgspec.to_builtins(message)})


def encode_map(fields: dict[str, Any]) -> bytes:
    """A plain map as msgpack, for replies whose shape depends on the request."""
    return bytes(msgpack.packb(fields, use_bin_type=True))


@overload
def decode(data: bytes, kind: type[T], *, limit: int = ...) -> T: ...
@overload
def decode(data: bytes, kind: Any, *, limit: int = ...) -> Any: ...
def decode(data: bytes, kind: Any, *, limit: int = MAX_FRAME_BYTES) -> Any:
    """Read one message of the type (or union of types) `kind`.

    Raises:
        DecodeError: the bytes are no such message.
    """
    return convert(decode_map(data, limit=limit), kind)


def decode_map(data: bytes, *, limit: int = MAX_FRAME_BYTES) -> dict[str, Any]:
    """Read one map with the right `v`, of bounded size and depth, with text keys and finite numbers.

    Raises:
        DecodeError: the bytes are no such map.
    """
    if len(data) > limit:
        raise DecodeError("too_large", f"the message has {len(data)} bytes, allowed are {limit}")
    try:
        fields = msgpack.unpackb(data, raw=False, strict_map_key=False)
    except Exception as error:  # noqa: BLE001 - msgpack raises its own, ValueError and RecursionError
        raise DecodeError("not_msgpack", f"the message is not msgpack: {str(error) or type(error).__name__}") from None
    if not isinstance(fields, dict):
        raise DecodeError("not_a_map", f"the message is {type(fields).__name__}, not a map")
    readable = {key: value for key, value in fields.items() if isinstance(key, str)}
    problem = _problem_in(fields, MAX_DEPTH)
    if problem:
        raise DecodeError(*problem, readable)
    version = fields.get("v")
    if type(version) is not int or version != VERSION:
        reason = (
            f"v is {shown(version)}, allowed is {VERSION} (this is orderfuse {__version__}); use the same on both ends"
        )
        raise DecodeError("wrong_version", reason, readable)
    return readable


@overload
def convert(fields: dict[str, Any], kind: type[T]) -> T: ...
@overload
def convert(fields: dict[str, Any], kind: Any) -> Any: ...
def convert(fields: dict[str, Any], kind: Any) -> Any:
    """Check a map that `decode_map` returned against the type (or union of types) `kind`.

    Raises:
        DecodeError: a field is missing, unknown in its kind, of the wrong type or out of range.
    """
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise DecodeError(_cause(error), wrong_value(error, fields, "message"), fields) from None


def _cause(error: msgspec.ValidationError) -> str:
    text = str(error)
    return "unknown_kind" if "at `$.kind`" in text or "field `kind`" in text else "bad_field"


def _problem_in(value: Any, depth_left: int) -> tuple[str, str] | None:
    """Why this value may not come in, or None. Depth is bounded, so the recursion is too."""
    if isinstance(value, (dict, list)):
        if depth_left == 0:
            return "too_deep", f"the message is nested deeper than {MAX_DEPTH} levels"
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict) and any(not isinstance(key, str) for key in value):
            return "bad_key", "a key of a map is not text"
        return next(filter(None, (_problem_in(child, depth_left - 1) for child in children)), None)
    if isinstance(value, float) and not math.isfinite(value):
        return "not_finite", f"a number is {value}, allowed are finite numbers"
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return None
    return "bad_type", f"a value is of the msgpack type {type(value).__name__}, which no message uses"
