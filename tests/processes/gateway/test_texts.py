"""IB's texts in other languages: as words, whatever they come as."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderfuse.settings import IbSettings
from services.gateway.ib_texts import unescaped
from tests.orders import RESTING, submit
from tests.processes.executor.scripted_gateway import ScriptedGateway
from tests.processes.executor.support import QUICK, Connection, Engine, run, until


def test_a_refusal_in_chinese_is_told_and_journaled_in_words() -> None:
    # As a gateway says code 202 (rust-ibapi, issue 365), and code 201 in the same way.
    said = r"\u59d4\u6258\u5df2\u53d6\u6d88 - \u539f\u56e0:"

    async def story() -> None:
        async with ScriptedGateway() as gateway:
            connection = Connection(IbSettings(port=gateway.port), timing=QUICK)
            engine = Engine(connection)
            await connection.start(10)
            placing = asyncio.create_task(engine.place_order(submit("o-1", order=RESTING)))
            await until(lambda: gateway.requests("3"), "the order")
            gateway.send(f"4|2|1|201|{said}|" + r'{"text": "\u53d6"}')
            result = await placing
            assert (result.status, result.reason) == ("rejected", '委托已取消 - 原因: {"text": "取"}')
            assert any("委托已取消".encode() in payload for _, payload in engine.journal.feedback_of("o-1"))
            await connection.stop()

    run(story)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (r"Gesch\u00e4ft abgelehnt", "Geschäft abgelehnt"),
        (r"\u00E9 and \u00e9", "é and é"),
        (r"\ud83d\ude00", "\U0001f600"),
        # Already words, and what looks like an escape and is none.
        ("Geschäft", "Geschäft"),
        (r"C:\users\u12 \U00e4 \x41 \n", r"C:\users\u12 \U00e4 \x41 \n"),
        # What could not be sent on, or would move a cursor, stays as it came.
        (r"\ud83d alone", r"\ud83d alone"),
        (r"\uDE00\uD83D", r"\uDE00\uD83D"),
        (r"\u0000\u000a\u001B[2J\u202e", r"\u0000\u000a\u001B[2J\u202e"),
        ("", ""),
    ],
)
def test_only_well_formed_escapes_of_characters_become_characters(said: str, words: str) -> None:
    assert unescaped(said) == words


UNITS = st.integers(0, 0xFFFF).map(lambda unit: f"\\u{unit:04x}")


@given(st.lists(st.text(max_size=5) | UNITS | st.sampled_from(["\\", "\\u", "\\ud83d", "\\ude00"])).map("".join))
def test_any_text_is_taken_grows_by_nothing_and_can_be_sent_on(said: str) -> None:
    words = unescaped(said)
    assert len(words) <= len(said)
    # What cannot be encoded was there before; no escape has become such a half of a pair.
    assert sum(map(_half, words)) == sum(map(_half, said))


@given(st.text(st.characters(exclude_categories=["C"]), max_size=50))
def test_what_a_gateway_escapes_is_what_is_read(words: str) -> None:
    units = words.encode("utf-16-be")
    escaped = "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
    assert unescaped(escaped) == words


def _half(character: str) -> Any:
    return 0xD800 <= ord(character) <= 0xDFFF
