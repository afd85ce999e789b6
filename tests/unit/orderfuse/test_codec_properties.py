"""Every message survives the wire, and whatever is none is refused in one line."""

from __future__ import annotations

from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from orderfuse.bus.codec import (
    MAX_FRAME_BYTES,
    MAX_REPLY_BYTES,
    DecodeError,
    convert,
    decode,
    decode_map,
    encode,
    encode_map,
)
from orderfuse.bus.control import Request
from orderfuse.bus.fields import Message
from orderfuse.bus.orders import FromStrategy
from orderfuse.text import MAX_REASON
from tests.campaigns.fuzz.mutate import case_of
from tests.messages import KINDS

pytestmark = pytest.mark.long

SIMPLE = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = SIMPLE | st.text(max_size=20) | st.lists(SIMPLE, max_size=3)
# There are many messages, and their fields are checked one by one.
BRIEF = settings(max_examples=20, deadline=None, derandomize=True)
MESSAGES = [kind for kind in KINDS if issubclass(kind, Message) and isinstance(kind.__struct_config__.tag, str)]
REQUESTS = [kind for kind in KINDS if issubclass(kind, Request) and kind != Request]


def values_of(kind: inspect.Type) -> st.SearchStrategy[Any]:  # noqa: C901 - one case for each type
    """Every value that the type of a field allows."""
    match kind:
        case inspect.AnyType():
            return ANYTHING
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType(ge=low, le=high):
            return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
        case inspect.FloatType(gt=above, ge=low, le=high):
            lowest = low if above is None else above
            return st.floats(lowest, high, exclude_min=above is not None, allow_nan=False, allow_infinity=False)
        case inspect.StrType(pattern=pattern, min_length=shortest, max_length=longest):
            if pattern is None:
                return st.text(min_size=shortest or 0, max_size=longest and min(longest, 30))
            # The letters that every pattern allows, behind what the scope's begins with.
            words = st.text("azAZ09", min_size=1, max_size=longest and min(longest, 30))
            return words.map(lambda word: f"strategy:{word}") if "strategy:" in pattern else words
        case inspect.LiteralType(values=choices):
            return st.sampled_from(choices)
        case inspect.UnionType(types=kinds):
            return st.one_of(*map(values_of, kinds))
        case inspect.ListType(item_type=item, min_length=shortest):
            return st.lists(values_of(item), min_size=shortest or 0, max_size=3)
        case inspect.VarTupleType(item_type=item):
            return st.lists(values_of(item), max_size=3).map(tuple)
        case inspect.DictType(value_type=value):
            return st.dictionaries(st.text(max_size=10), values_of(value), max_size=3)
        case inspect.StructType(cls=cls, fields=fields):
            return st.fixed_dictionaries({field.name: values_of(field.type) for field in fields}).map(
                lambda given: cls(**given)
            )
        case _:
            raise AssertionError(f"no values for {kind}")


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_every_message_is_the_same_behind_the_wire(kind: Any) -> None:
    @BRIEF
    @given(values_of(inspect.type_info(kind)))
    def check(message: Any) -> None:
        assert decode(encode(message), kind, limit=MAX_REPLY_BYTES) == message

    check()


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_every_request_is_the_same_behind_the_wire(kind: Any) -> None:
    @BRIEF
    @given(values_of(inspect.type_info(kind)))
    def check(request: Any) -> None:
        fields = {"v": 1, "kind": "request", **msgspec.to_builtins(request)}
        assert convert(decode_map(encode_map(fields), limit=MAX_REPLY_BYTES), kind) == request

    check()


def reason_of(data: bytes, kind: Any = FromStrategy) -> str:
    """Why these bytes are no message; empty: they are one."""
    try:
        decode(data, kind)
    except DecodeError as error:
        return error.reason if all(isinstance(name, str) for name in error.fields) else "a key is no text\n"
    return ""


def test_what_the_fuzzer_makes_is_a_message_or_refused_in_one_short_line() -> None:
    refused = 0
    for number in range(1500):
        case = case_of(0, number, 1)
        if case.stream is None and case.frames:
            reason = reason_of(case.frames[-1])
            assert reason.isprintable(), (number, reason)
            assert len(reason) <= MAX_REASON, (number, reason)
            refused += bool(reason)
    assert refused > 500


EXTENSIONS = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9)) | st.builds(
    msgpack.Timestamp, st.integers(0, 2**40), st.integers(0, 999_999_999)
)


@given(
    st.recursive(
        ANYTHING | st.binary(max_size=20) | EXTENSIONS | st.floats(),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_value_of_msgpack_is_refused_where_a_message_should_be(value: Any) -> None:
    assert reason_of(msgpack.packb(value))


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 5000])
@pytest.mark.parametrize("place", ["v", "kind", "attached"])
def test_others_words_in_a_reason_are_short_and_no_line_of_their_own(place: str, name: str) -> None:
    fields: dict[str, Any] = {"v": 1, "kind": "submit", "order_id": "o", "strategy_id": "s", "sent_ns": 1}
    value = [{"order_id": "a", "order": {}, name: 1}] if place == "attached" else name
    data = encode_map({**fields, "contract": {}, "order": {}, place: value})
    assert len(data) < MAX_FRAME_BYTES
    reason = reason_of(data)
    assert reason.isprintable()
    assert 0 < len(reason) <= MAX_REASON
