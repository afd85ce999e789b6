"""A library and a breaker of different versions: nothing is sent, and the text says which versions met."""

from __future__ import annotations

import time

import pytest

from orderfuse import BreakerUnavailable, OrderClient, __version__
from orderfuse.bus.notices import Item, Unreadable
from orderfuse.client.control import ControlClient
from orderfuse.client.watch import Watcher
from orderfuse.errors import ControlRefused
from orderfuse.settings import Settings
from tests.processes.breaker.process import Home
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker

STOCK = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
ORDER = {"action": "BUY", "orderType": "MKT", "totalQuantity": 1}
SAYS = f"v is 2, allowed is 1 (this is orderfuse {__version__}); use the same on both ends"


def test_a_client_sends_nothing_to_a_breaker_of_another_version_and_says_so(settings: Settings) -> None:
    with WireBreaker(settings, version=2) as breaker, OrderClient("s", settings=settings) as client:
        for ask in (lambda: client.submit(STOCK, ORDER), lambda: client.cancel("o-1")):
            with pytest.raises(BreakerUnavailable) as caught:
                ask()
            place = f"ipc://{settings.home}/links/orders"
            assert str(caught.value) == f"the breaker at {place} has another version: {SAYS}. Nothing was sent."
        assert breaker.nothing_sent()


def test_a_client_goes_on_when_the_breaker_has_its_version_again(settings: Settings) -> None:
    with WireBreaker(settings, version=2) as breaker, OrderClient("s", settings=settings) as client:
        with pytest.raises(BreakerUnavailable, match="another version"):
            client.heartbeat(0)
        breaker.version = 1
        client.heartbeat(0)
        assert breaker.next_order()["kind"] == "heartbeat"
        breaker.kill()
        assert "no breaker for 1 s" in last_words(client)


def last_words(client: OrderClient) -> str:
    """Why a heartbeat can't be sent in the end. That the breaker is gone takes a moment to be noticed: until then
    heartbeats go nowhere, and fill what may wait for it."""
    deadline = time.monotonic() + DEADLINE_S
    text = ""
    while time.monotonic() < deadline and "no breaker" not in text:
        try:
            client.heartbeat(0)
        except BreakerUnavailable as error:
            text = str(error)
    return text


def test_a_reply_of_another_version_is_a_refusal_that_says_so(settings: Settings) -> None:
    with WireBreaker(settings, version=2), ControlClient(settings) as control:
        with pytest.raises(ControlRefused) as caught:
            control.request("status")
        assert (caught.value.code, str(caught.value)) == (
            "unreadable",
            f"the reply cannot be read, what was asked may have been done: {SAYS}",
        )


def test_a_request_that_is_too_large_is_refused_here(settings: Settings) -> None:
    with WireBreaker(settings) as breaker, ControlClient(settings) as control:
        with pytest.raises(ControlRefused, match="bytes, allowed are 16384") as caught:
            control.request("trip", reason="x" * 20_000)
        assert caught.value.code == "bad_request"
        assert breaker.requests == []


def test_a_watcher_says_once_that_the_version_is_another_one(settings: Settings) -> None:
    with WireBreaker(settings, version=2) as breaker, Watcher(settings) as watcher:
        items: list[Item] = []
        deadline = time.monotonic() + DEADLINE_S
        while not any(isinstance(item, Unreadable) for _, item in items) and time.monotonic() < deadline:
            items += watcher.read(0.05)
        for _ in range(5):
            assert watcher._follower.socket.poll(1000 * DEADLINE_S), "another state of that version"
            items += watcher.read()
        assert [item for _, item in items if isinstance(item, Unreadable)] == [Unreadable(SAYS, "wrong_version")]
        breaker.version = 1
        while not (heard := watcher._follower.heard_at) and time.monotonic() < deadline:
            watcher.read(0.05)
        assert heard, "it is followed as soon as it can be read"


def test_the_breaker_answers_a_newer_library_with_its_own_version() -> None:
    home = Home()
    try:
        home.serve()
        peer = home.peer()
        peer.ready()
        peer.submit("o-1", v=2)
        invalid = peer.event("o-1")
        assert (invalid["v"], invalid["kind"], invalid["reason"]) == (1, "invalid", SAYS)
        refused = peer.ask("status", v=2)
        assert (refused["v"], refused["code"], refused["error"]) == (1, "bad_request", SAYS)
    finally:
        home.close()
