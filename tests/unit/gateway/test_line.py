"""The rim towards the gateway: what it says of the connections that it makes. Nothing opens a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from orderfuse.settings import IbSettings
from services.gateway import line as line_module
from services.gateway.frames import Dial
from services.gateway.line import Line
from services.gateway.reports import Accounts, Closed, Dialled, FromGateway, NextOrderId, NotDialled, Report


class Greeted:
    """A connection over which a gateway names everything, and which may close with its last word."""

    reached, server_version, closes = True, 176, False

    def __init__(self, sink: Callable[[Report], None]) -> None:
        self._sink = sink

    async def connect(self, *_: object) -> None:
        for report in (Accounts(("DU1",)), NextOrderId(1), *((Closed(),) if self.closes else ())):
            self._sink(report)


def dialled(monkeypatch: pytest.MonkeyPatch, *, closes: bool) -> FromGateway:
    """The last that is said of an attempt."""
    monkeypatch.setattr(Greeted, "closes", closes)
    monkeypatch.setattr(line_module, "IbConnection", Greeted)

    async def play() -> list[FromGateway]:
        line = Line(IbSettings(), 4.0, asyncio.Event())
        line.write(Dial(1))
        assert line._dialling is not None
        await line._dialling
        return line.take_heard()

    return asyncio.run(play())[-1]


def test_a_connection_over_which_all_is_named_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dialled(monkeypatch, closes=False) == Dialled(1)


def test_a_connection_that_closes_with_its_last_word_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    said = dialled(monkeypatch, closes=True)
    assert isinstance(said, NotDialled)
    assert (said.error, said.timed_out) == ("", False)
