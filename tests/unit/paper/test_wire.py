"""Framing, versions and the table-driven codec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.paper.wire.framing import (
    MAX_FRAME_BYTES,
    DecodeError,
    FrameReader,
    Layout,
    Repeated,
    When,
    WireError,
    decimal_text,
    fields,
    frame,
    negotiate,
    split_fields,
)

SAMPLE = Layout(
    77,
    "sample",
    (
        *fields("orderId=0 kind"),
        *fields("fresh=new", since=160),
        *fields("old", until=170),
        When("kind", lambda value: value == "leggy", (Repeated("legs", fields("conId ratio=1")),)),
        *fields("last=9"),
    ),
)


def read_frames(data: bytes, step: int) -> list[bytes]:
    reader = FrameReader()
    found = []
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        while (body := reader.next_body()) is not None:
            found.append(body)
    return found


def test_a_layout_has_the_fields_of_the_version():
    assert SAMPLE.encode(157, {"orderId": 5}) == ["77", "5", "", "", "9"]
    assert SAMPLE.encode(165, {"orderId": 5}) == ["77", "5", "", "new", "", "9"]
    assert SAMPLE.encode(170, {"orderId": 5}) == ["77", "5", "", "new", "9"]


def test_conditional_and_repeated_parts_go_out_and_come_back():
    values = {"orderId": 5, "kind": "leggy", "legs": [{"conId": 1, "ratio": 2}, {"conId": 3}]}
    texts = SAMPLE.encode(176, values)
    assert texts == ["77", "5", "leggy", "new", "2", "1", "2", "3", "1", "9"]
    decoded, left_over = SAMPLE.decode(176, [*texts, "extra"])
    assert left_over == 1
    assert decoded["legs"] == [{"conId": "1", "ratio": "2"}, {"conId": "3", "ratio": "1"}]
    assert decoded["last"] == "9"


def test_a_message_that_ends_too_early_names_the_missing_field_and_the_order():
    with pytest.raises(DecodeError, match="sample ends before its field 'fresh'") as caught:
        SAMPLE.decode(176, ["77", "5", "leggy"])
    assert caught.value.request_id == 5
    with pytest.raises(DecodeError, match="ends before the count of 'legs'") as caught:
        SAMPLE.decode(176, ["77", "5", "leggy", "new"])
    assert caught.value.request_id == 5


@pytest.mark.parametrize("count", ["x", "-1", "99", "1e3", "٣"])
def test_a_count_that_cannot_be_is_refused_before_it_costs_memory(count):
    with pytest.raises(DecodeError, match="no count of 'legs'"):
        SAMPLE.decode(176, ["77", "5", "leggy", "new", count, "1", "2"])


@pytest.mark.parametrize("step", [1, 3, 7, 4096])
def test_frames_come_out_whole_however_the_bytes_arrive(step):
    data = frame(["3", "a"]) + frame(["4", ""]) + frame(["5"])
    assert [split_fields(body) for body in read_frames(data, step)] == [["3", "a"], ["4", ""], ["5"]]


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_an_impossible_length_is_a_wire_error(length):
    reader = FrameReader()
    reader.feed(length.to_bytes(4, "big"))
    with pytest.raises(WireError, match=f"a frame of {length} bytes"):
        reader.next_body()


def test_text_beyond_ascii_is_escaped_because_some_clients_unescape():
    assert frame(["é"])[4:] == b"\\xe9\0"


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="ascii")), min_size=1, max_size=20))
def test_any_ascii_fields_survive_a_frame(texts):
    (body,) = read_frames(frame(texts), 5)
    assert split_fields(body) == texts


@pytest.mark.parametrize(
    ("offer", "version"),
    [
        ("v157..176", 176),
        ("v157..178", 178),
        ("v100..157", 157),
        ("v100..225", 178),
        ("v157..176 +PACEAPI", 176),
        ("v100..158", 157),  # 158 is never spoken
        ("v176", 176),
    ],
)
def test_the_version_is_the_highest_that_both_speak(offer, version):
    assert negotiate(offer) == version


@pytest.mark.parametrize(
    "offer", ["v100..156", "v179..225", "v158..158", "v158", "157..176", "", "vv", "v1..", "v9" * 90]
)
def test_an_offer_without_a_common_version_is_refused(offer):
    with pytest.raises(WireError):
        negotiate(offer)


def test_the_handshake_may_come_byte_by_byte():
    reader = FrameReader()
    seen = []
    for byte in b"API\0\0\0\0\x09v157..176":
        reader.feed(bytes([byte]))
        seen.append(reader.handshake())
    assert seen[-1] == "v157..176"
    assert set(seen[:-1]) == {None}


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"X", b"API\0\0\0\x10\0", b"API\0\0\0\0\0"])
def test_what_is_no_handshake_is_a_wire_error_at_once(data):
    reader = FrameReader()
    reader.feed(data)
    with pytest.raises(WireError):
        reader.handshake()


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (100.0, "100"),
        (196.52, "196.52"),
        (0.0, "0"),
        (-0.0, "0"),
        (1e9, "1000000000"),
        (0.00005, "0.00005"),
        (1.1 + 2.2, "3.3"),
    ],
)
def test_numbers_are_written_without_exponent_and_noise(number, text):
    assert decimal_text(number) == text
