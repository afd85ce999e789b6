"""The door: bytes become a valid message or one DecodeError, whatever they are."""

from __future__ import annotations

import math
from typing import Any, get_args

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfuse.bus.codec import MAX_DEPTH, MAX_FRAME_BYTES, DecodeError, decode, decode_map, encode, encode_map
from orderfuse.bus.events import AnyOrderEvent, Passed, State
from orderfuse.bus.fields import Message
from orderfuse.bus.orders import FromStrategy, Heartbeat, Submit
from services.wire.dispatch import FromExecutor, ToExecutor
from services.wire.feedback import Feedback
from tests.messages import ANY_REQUEST
from tests.messages import KINDS as ALL_KINDS

UNIONS = [FromStrategy, AnyOrderEvent, ANY_REQUEST, ToExecutor, FromExecutor, Feedback, State]
SUBMIT = {
    "v": 1,
    "kind": "submit",
    "order_id": "o-1",
    "strategy_id": "s",
    "sent_ns": 1,
    "contract": {"symbol": "AAPL"},
    "order": {"action": "BUY"},
}


def submit_with(**changes: Any) -> bytes:
    return encode_map({**SUBMIT, **changes})


def cause_of(data: bytes, kind: Any = FromStrategy, **options: Any) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, kind, **options)
    assert caught.value.reason
    return caught.value.cause


def test_a_message_survives_the_wire() -> None:
    message = Submit(
        order_id="o-1", strategy_id="s", sent_ns=1, contract={"conId": 1}, order={"lmtPrice": 1.5}, protect=True
    )
    assert decode(encode(message), FromStrategy) == message
    assert decode_map(encode(message))["v"] == 1


def test_every_message_can_be_made_and_is_told_apart_by_its_kind() -> None:
    tags: dict[Any, type] = {}
    for kind in ALL_KINDS:
        if issubclass(kind, Message):
            config = kind.__struct_config__
            assert config.frozen, kind
            if isinstance(config.tag, str):
                assert tags.setdefault(config.tag, kind) is kind
    assert {"submit", "passed", "state", "lease", "feedback"} <= set(tags)


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Heartbeat(strategy_id="s", sent_ns=1).sent_ns = 2  # type: ignore[misc]


def test_unknown_keys_are_a_newer_clients_and_ignored() -> None:
    assert decode(submit_with(colour="red"), FromStrategy).order_id == "o-1"


def test_a_missing_key_takes_its_default_and_a_default_is_not_sent() -> None:
    message = decode(submit_with(), Submit)
    assert (message.ttl_ms, message.account, message.protect, message.attached) == (5000, "", False, ())
    assert "ttl_ms" not in decode_map(encode(message))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["order", "contract", "colour"])
def test_numbers_that_are_none_do_not_come_in_anywhere(number: float, place: str) -> None:
    assert cause_of(submit_with(**{place: {"lmtPrice": [number]}})) == "not_finite"


def test_size_and_depth_are_bounded() -> None:
    assert cause_of(submit_with(colour="x" * MAX_FRAME_BYTES)) == "too_large"
    nested: Any = 1
    for _ in range(MAX_DEPTH - 1):
        nested = [nested]
    decode(submit_with(colour=nested), FromStrategy)
    assert cause_of(submit_with(colour=[nested])) == "too_deep"
    assert cause_of(b"\x91" * 5000) in {"not_msgpack", "not_a_map"}


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "not_msgpack"),
        (b"\xc1", "not_msgpack"),
        (submit_with() + b"\x00", "not_msgpack"),
        (submit_with()[:-1], "not_msgpack"),
        (b"\xdd\xff\xff\xff\xff", "not_msgpack"),
        (b"\x81\xa1\xff\x01", "not_msgpack"),
        (b"\x81\x90\x01", "not_msgpack"),
        (msgpack.packb([1]), "not_a_map"),
        (msgpack.packb(7), "not_a_map"),
        (msgpack.packb({1: 2}), "bad_key"),
        (submit_with(order={1: 2}), "bad_key"),
        (submit_with(colour=msgpack.ExtType(1, b"x")), "bad_type"),
        (submit_with(colour=msgpack.Timestamp(1)), "bad_type"),
        (submit_with(v=2), "wrong_version"),
        (submit_with(v=True), "wrong_version"),
        (submit_with(v=1.0), "wrong_version"),
        (encode_map({"kind": "submit"}), "wrong_version"),
        (submit_with(kind="dance"), "unknown_kind"),
        (submit_with(kind=7), "unknown_kind"),
        (encode_map({"v": 1}), "unknown_kind"),
    ],
)
def test_what_is_no_message_has_a_cause_that_can_be_counted(data: bytes, cause: str) -> None:
    assert cause_of(data) == cause


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("order_id", ""),
        ("order_id", "x" * 41),
        ("order_id", "-leading"),
        ("order_id", "o 1"),
        ("order_id", "o-1\n"),
        ("order_id", "ö"),
        ("order_id", 7),
        ("order_id", b"o-1"),
        ("strategy_id", "x" * 33),
        ("strategy_id", "a/b"),
        ("strategy_id", None),
        ("sent_ns", -1),
        ("sent_ns", 2**63),
        ("sent_ns", 1.5),
        ("sent_ns", True),
        ("ttl_ms", 0),
        ("ttl_ms", 3_600_001),
        ("account", "x" * 33),
        ("contract", []),
        ("order", None),
        ("protect", 1),
        ("attached", [{"order_id": "a"}]),
        ("attached", [{"order_id": "a", "order": {}}] * 6),
    ],
)
def test_a_field_out_of_range_is_named_with_its_value(field: str, value: Any) -> None:
    with pytest.raises(DecodeError, match=rf"message\.{field}") as caught:
        decode(submit_with(**{field: value}), FromStrategy)
    assert caught.value.cause == "bad_field"
    # What could be read is there for the answer.
    assert caught.value.fields["kind"] == "submit"


def test_the_longest_ids_are_valid() -> None:
    message = decode(submit_with(order_id="x" * 40, strategy_id="a" + "._-" * 10 + "b"), FromStrategy)
    assert len(message.order_id) == 40


def read_all(data: bytes) -> None:
    for kind in UNIONS:
        try:
            message = decode(data, kind)
        except DecodeError:
            continue
        assert decode(encode_any(message), kind) == message


def encode_any(message: Any) -> bytes:
    return encode_map({"v": 1, **msgspec.to_builtins(message)})


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    read_all(data)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats()
    | st.text(max_size=50)
    | st.binary(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=20,
)
KINDS = sorted(
    kind.__struct_config__.tag
    for union in UNIONS
    for kind in (get_args(union) or (union,))
    if isinstance(kind.__struct_config__.tag, str)
)
KEYS = sorted({name for union in UNIONS for kind in (get_args(union) or (union,)) for name in kind.__struct_fields__})


@pytest.mark.long
@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=12))
def test_any_map_is_a_message_or_a_decode_error(kind: str, fields: dict[str, Any]) -> None:
    read_all(encode_map({"v": 1, "kind": kind, "op": kind, **fields}))


@given(st.integers(min_value=0, max_value=200), st.integers(min_value=0, max_value=255))
def test_a_message_with_one_byte_changed_is_a_message_or_a_decode_error(at: int, byte: int) -> None:
    data = bytearray(encode(Passed(order_id="o-1", strategy_id="s", generation=1, trial=False)))
    data[at % len(data)] = byte
    read_all(bytes(data))
