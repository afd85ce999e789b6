"""From a seed and a number to one piece of garbage: a valid message, changed in its values, its bytes or its frames."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from tests.campaigns.fuzz.corpus import CONTROL_OPS, ORDER_KINDS, control_message, order_message
from tests.campaigns.fuzz.zmtp import GREETING, frame, ready, stream_of

LINKS = ("orders", "control", "events")
FRAME_BYTES = 16 * 1024


@dataclass(frozen=True)
class Case:
    """One attack. `frames` go as one message over a good connection; `stream` are a connection's first bytes.

    `connections`: how many connections say that; `stays`: they are left open for a while afterwards.
    """

    link: str
    mutation: str
    frames: tuple[bytes, ...] = ()
    stream: bytes | None = None
    connections: int = 1
    stays: bool = False

    def as_text(self) -> str:
        """For `python -m tests.campaigns.fuzz --replay`."""
        if self.stream is None:
            return f"{self.link}:frames:{','.join(part.hex() for part in self.frames)}"
        return f"{self.link}:stream:{self.connections}:{int(self.stays)}:{self.stream.hex()}"


def case_of_text(text: str) -> Case:
    """The reverse of `as_text`."""
    link, how, rest = text.split(":", 2)
    if how == "frames":
        return Case(link, "replayed", frames=tuple(bytes.fromhex(part) for part in rest.split(",")))
    connections, stays, data = rest.split(":")
    return Case(link, "replayed", (), bytes.fromhex(data), int(connections), stays == "1")


def case_of(seed: int, number: int, now_ns: int) -> Case:
    """The case of this number; only the times in it are another run's."""
    draw = random.Random(f"{seed}/{number}")
    link = draw.choices(LINKS, (6, 3, 1))[0]
    if link == "events" or draw.random() < 0.06:
        return _on_the_stream(draw, link)
    fields = _valid(draw, link, number, now_ns)
    topic = (b"order",) if link == "orders" else ()
    how = draw.choices(("as it is", "values", "bytes", "frames"), (2, 9, 5, 2))[0]
    if how == "as it is":
        return Case(link, f"as it is: {fields.get('kind', '')} {fields.get('op', '')}".strip(), (*topic, pack(fields)))
    if how == "values":
        names = []
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            name, change = draw.choice(list(VALUES.items()))
            change(draw, fields)
            names.append(name)
        return Case(link, f"values: {names[0]}", (*topic, pack(fields)))
    if how == "bytes":
        name, garble = draw.choice(list(BYTES.items()))
        other = pack(_valid(draw, link, number + 1, now_ns))
        return Case(link, f"bytes: {name}", (*topic, garble(draw, pack(fields), other)))
    name, rearrange = draw.choice(list(FRAMES.items()))
    return Case(link, f"frames: {name}", tuple(rearrange(draw, [*topic, pack(fields)])))


def _valid(draw: random.Random, link: str, number: int, now_ns: int) -> dict[str, Any]:
    if link == "orders":
        return order_message(draw, draw.choice(ORDER_KINDS), number, now_ns)
    return control_message(draw, draw.choice(CONTROL_OPS), number)


# -- msgpack that a library would not write ---------------------------------------------------------------


class Packed(bytes):
    """Bytes that are msgpack already, or claim to be."""


class Pairs(list[tuple[Any, Any]]):
    """A map that may have a key twice, or a key that is none."""


def pack(value: Any) -> bytes:
    """As msgpack, with what `Packed` and `Pairs` bring in."""
    if isinstance(value, Packed):
        return bytes(value)
    if isinstance(value, dict | Pairs):
        items = list(value.items()) if isinstance(value, dict) else value
        header = bytes(msgpack.Packer().pack_map_header(len(items)))
        return header + b"".join(pack(key) + pack(item) for key, item in items)
    if isinstance(value, list | tuple):
        return bytes(msgpack.Packer().pack_array_header(len(value))) + b"".join(map(pack, value))
    return bytes(msgpack.packb(value))


# -- values -----------------------------------------------------------------------------------------------

NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, -0.0, 1e15, 1e300, True, False),
)
IDS = (
    *("", " ", ".", "-x", "a b", "a/b", "a\n", "a\x00b", "\x1b[2J", "ünïcödé", "x" * 33, "x" * 41, "x" * 5000),
    *("system", "strategy:fuzz", "../../x", "order/", "fuzz ", "FUZZ", "\u202e", "a~1", "'; DROP TABLE orders; --"),
)
STRANGE: tuple[Any, ...] = (
    *(None, [], {}, "", b"", b"\xff\x00", [[]], [None], {"": ""}, {"a": {"b": {"c": []}}}, "x" * 20_000),
    Packed(b"\xd9\x02\xff\xfe"),  # a text that is not UTF-8
    Packed(b"\xa3\xed\xa0\x80"),  # half of a surrogate pair
    Packed(b"\xc1"),  # the one byte that msgpack never uses
    Packed(b"\xd4\x01x"),  # an extension type
    Packed(b"\xd6\xff\x00\x00\x00\x01"),  # a timestamp
    Packed(b"\xc7\x00\x05"),  # an extension of no bytes
    Packed(b"\xdd\xff\xff\xff\xff"),  # a list that claims four thousand million items
    Packed(b"\xdb\x7f\xff\xff\xff"),  # a text that claims two gigabytes
    Packed(b"\x91" * 3000 + b"\x01"),  # a nest of 3,000 lists
    Packed(b"\x81\xa1a" * 600 + b"\x01"),
)
KEYS = ("v", "kind", "op", "id", "order_id", "strategy_id", "sent_ns", "ttl_ms", "order", "contract", "reason", "scope")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key in it, however deep."""
    found: list[tuple[Any, Any]] = []
    keys = list(value) if isinstance(value, dict) else range(len(value)) if type(value) is list else ()
    for key in keys:
        found.append((value, key))
        found += _places(value[key])
    return found


def _put(draw: random.Random, fields: dict[str, Any], value: Any) -> None:
    _unshare(fields)
    place, key = draw.choice(_places(fields) or [(fields, "v")])
    place[key] = value


def _unshare(fields: dict[str, Any]) -> None:
    """Give the message its own copies of what the corpus and the lists below share."""
    fields.update(copy.deepcopy(fields))


def _drop(draw: random.Random, fields: dict[str, Any]) -> None:
    _unshare(fields)
    place, key = draw.choice(_places(fields) or [(fields, "v")])
    if isinstance(place, dict):
        place.pop(key, None)


def _rename(draw: random.Random, fields: dict[str, Any]) -> None:
    if fields:
        fields[draw.choice((*KEYS, "Order_id", "order_id\n", "\x1b[31m", "x" * 300))] = fields.pop(
            draw.choice(list(fields))
        )


def _swap(draw: random.Random, fields: dict[str, Any]) -> None:
    if len(fields) > 1:
        one, other = draw.sample(list(fields), 2)
        fields[one], fields[other] = fields[other], fields[one]


def _strange_field(draw: random.Random, fields: dict[str, Any]) -> None:
    """A field that IB does not know, that nobody may set, or with a name that tries to be a line of a log."""
    name = draw.choice(("orderId", "transmit", "whatIf", "account", "hedgeType", "a\nb", "\x1b[31mred", "y" * 3000))
    for key in ("order", "contract"):
        if isinstance(fields.get(key), dict):
            fields[key] = {**fields[key], name: draw.choice((1, "x", True))}


def _long_list(draw: random.Random, fields: dict[str, Any]) -> None:
    item = draw.choice((1, {}, {"order_id": "leg", "order": {}}, {"tag": "a", "value": "b"}, None))
    # Each of its own: another change would be in all of them, and the next in all of all of them.
    _put(draw, fields, [copy.deepcopy(item) for _ in range(draw.choice((6, 101, 1000)))])


def _to_the_border(draw: random.Random, fields: dict[str, Any]) -> None:
    """As long as a frame may be, one byte more or one less."""
    fields["pad"] = ""
    room = FRAME_BYTES - len(pack(fields)) - 2 + draw.choice((-1, 0, 1))
    fields["pad"] = "x" * max(0, room)


VALUES: dict[str, Callable[[random.Random, dict[str, Any]], None]] = {
    "a number at a border": lambda draw, fields: _put(draw, fields, draw.choice(NUMBERS)),
    "another type": lambda draw, fields: _put(draw, fields, draw.choice(STRANGE)),
    "a strange id": lambda draw, fields: fields.update(
        {draw.choice(("order_id", "strategy_id", "request_id", "id", "scope")): draw.choice(IDS)}
    ),
    "a wrong v or kind": lambda draw, fields: fields.update(
        {draw.choice(("v", "kind", "op")): draw.choice((*STRANGE, *NUMBERS, "dance", "submit", "x" * 5000, "a\nb"))}
    ),
    "a key is missing": _drop,
    "a key is another": _rename,
    "values changed places": _swap,
    "a field that may not be": _strange_field,
    "a long list": _long_list,
    "at the border of 16 KiB": _to_the_border,
    "a key is no text": lambda draw, fields: _put(
        draw, fields, Pairs([(draw.choice((1, None, b"b", 1.5, [])), 1), ("a", 2)])
    ),
    "a key twice": lambda draw, fields: _put(draw, fields, Pairs([("action", "BUY"), ("action", "SELL")] * 3)),
}

# -- bytes ------------------------------------------------------------------------------------------------


def _flip(draw: random.Random, data: bytes, _: bytes) -> bytes:
    changed = bytearray(data)
    for _time in range(draw.choice((1, 1, 2, 8))):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _splice(draw: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]


def _repeat(draw: random.Random, data: bytes, _: bytes) -> bytes:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.randint(1, 40)]
    return data[:start] + piece * draw.choice((2, 3, 50, 1000)) + data[start:]


BYTES: dict[str, Callable[[random.Random, bytes, bytes], bytes]] = {
    "flipped": _flip,
    "cut": lambda draw, data, _: data[: draw.randrange(len(data))],
    "spliced": _splice,
    "repeated": _repeat,
    "more behind": lambda draw, data, other: data + draw.choice((b"\x00", b"\xff", other)),
    "random": lambda draw, _, __: draw.randbytes(draw.choice((1, 2, 20, 300, FRAME_BYTES, FRAME_BYTES + 1))),
    "too large": lambda draw, data, _: data * draw.choice((200, 2000)),
}

# -- frames -----------------------------------------------------------------------------------------------

FRAMES: dict[str, Callable[[random.Random, list[bytes]], list[bytes]]] = {
    "one is missing": lambda draw, frames: frames[draw.randrange(len(frames)) :][:1],
    "more of them": lambda draw, frames: [*frames, *[b"more"] * draw.choice((1, 8, 100))],
    "empty ones": lambda draw, frames: [b""] * draw.choice((1, 2, 9)) + frames,
    "nothing in them": lambda draw, _: [b""] * draw.choice((1, 2, 3)),
    "another topic": lambda draw, frames: [
        draw.choice((b"", b"orde", b"orders", b"order\x00", b"x" * 255)),
        frames[-1],
    ],
    "turned round": lambda _, frames: frames[::-1],
}

# -- a connection's own bytes -----------------------------------------------------------------------------

SOCKET_TYPES = (b"PUB", b"SUB", b"XPUB", b"XSUB", b"DEALER", b"ROUTER", b"REQ", b"REP", b"PAIR", b"PUSH", b"?", b"")


def _on_the_stream(draw: random.Random, link: str) -> Case:
    name, stream = draw.choice(list(STREAMS.items()))
    data = stream(draw)
    if name == "connections":
        return Case(link, "stream: a flood of connections", (), b"", draw.randint(2, 60), draw.random() < 0.3)
    return Case(link, f"stream: {name}", (), data, draw.choice((1, 1, 3)), draw.random() < 0.2)


def _handshake(draw: random.Random) -> bytes:
    return GREETING + ready(draw.choice(SOCKET_TYPES))


STREAMS: dict[str, Callable[[random.Random], bytes]] = {
    "connections": lambda _: b"",
    "a cut greeting": lambda draw: GREETING[: draw.randrange(len(GREETING))],
    "random": lambda draw: draw.randbytes(draw.choice((1, 10, 64, 1000))),
    "an old protocol": lambda draw: draw.choice((b"\x01\x00", b"\x05\x00hello", b"\xff" + b"\0" * 8 + b"\x01\x00\x02")),
    "another mechanism": lambda draw: (
        GREETING[:12] + draw.choice((b"PLAIN", b"CURVE", b"\xff" * 20)).ljust(20, b"\0") + GREETING[32:]
    ),
    "a flipped handshake": lambda draw: _flip(draw, _handshake(draw), b""),
    "a huge length": lambda draw: (
        _handshake(draw) + b"\x02" + draw.choice((2**63 - 1, 2**64 - 1, 2**40, 2**24)).to_bytes(8, "big") + b"x" * 100
    ),
    "a long subscription": lambda draw: _handshake(draw) + frame(b"\x01" + b"x" * draw.choice((300, 5000, 1_000_000))),
    "many subscriptions": lambda draw: (
        _handshake(draw) + b"".join(frame(b"\x01" + draw.randbytes(12)) for _ in range(draw.choice((10, 300))))
    ),
    "no subscription": lambda draw: _handshake(draw) + stream_of([draw.randbytes(20), b"", b"\x02", b"\x00nothing"]),
    "commands": lambda draw: (
        _handshake(draw)
        + frame(
            draw.choice((b"\x04PING\xff\xff" + b"c" * 200, b"\x04PING", b"\x09SUBSCRIBE", b"\x05ERROR\xff", b"\x00")),
            flags=4,
        )
    ),
    "a message that never ends": lambda draw: _handshake(draw) + frame(b"order", flags=1) * draw.choice((1, 500)),
}
