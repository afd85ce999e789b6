"""Clients that misbehave: they are dropped with one log line, and nobody else notices."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.paper.server.accounts import MAX_SUMMARIES
from services.paper.server.pacing import Pacing
from services.paper.wire.framing import frame
from services.paper.wire.layouts import REQUESTS
from tests.processes.paper.support import AAPL, RawClient, connected, log_lines, market_order, paper, raw_client, until


async def is_dropped(client: RawClient) -> list[list[str]]:
    """Return what the gateway said before it closed."""
    return await client.read_all()


BAD_STARTS = {
    "another protocol": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "the connection began with"),
    "no range of versions": (b"API\0\0\0\0\x05hello", "'hello' is not a range of versions"),
    "only old versions": (b"API\0\0\0\0\x09v100..150", "the client speaks versions 100 to 150"),
    "only new versions": (b"API\0\0\0\0\x09v201..225", "the client speaks versions 201 to 225"),
    "an endless handshake": (b"API\0\0\xff\xff\xff", "a frame of 16777215 bytes"),
    "an empty handshake": (b"API\0\0\0\0\0", "a frame of 0 bytes"),
}


@pytest.mark.parametrize("name", BAD_STARTS)
def test_a_bad_handshake_is_dropped_and_others_are_undisturbed(name):
    data, reason = BAD_STARTS[name]

    async def story() -> None:
        with log_lines() as lines:
            async with paper() as gateway, connected(gateway) as ib:
                async with raw_client(gateway) as bad:
                    bad.writer.write(data)
                    assert await is_dropped(bad) == []
                assert ib.placeOrder(AAPL, market_order())
                assert await ib.reqCurrentTimeAsync()
        assert len([line for line in lines if line.startswith("dropped 127.0.0.1") and reason in line]) == 1

    asyncio.run(story())


BAD_FRAMES = {
    "a length beyond a megabyte": (b"\x7f\xff\xff\xff", "507", "a frame of 2147483647 bytes"),
    "a length of zero": (b"\0\0\0\0", "507", "a frame of 0 bytes"),
    "no NUL at the end": (b"\0\0\0\x0249", "507", "does not end with NUL"),
    "a message id that is no number": (frame(["abc", "1"]), "320", "'abc' is no message id"),
    "a negative message id": (frame(["-3", "1"]), "320", "'-3' is no message id"),
    "too few fields": (frame(["3", "1", "2"]), "320", "placeOrder ends before its field"),
    "an order id that is no number": (frame(["4", "1", "x", ""]), "320", "'x' is no number for 'orderId'"),
    "a request id that is no number": (frame(["63", "1", "x"]), "320", "'x' is no number for 'reqId'"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_a_bad_frame_is_dropped_and_the_client_id_is_free_again(name):
    data, code, reason = BAD_FRAMES[name]

    async def story() -> None:
        with log_lines() as lines:
            async with paper() as gateway:
                async with raw_client(gateway, 7) as bad:
                    bad.writer.write(data)
                    said = await is_dropped(bad)
                    errors = [fields for fields in said if fields[0] == "4" and fields[3][0] != "2"]
                    assert [fields[3] for fields in errors] == [code]
                    assert reason in errors[0][4]
                async with raw_client(gateway, 7) as good:
                    good.send(49, 1)
                    assert await good.read_until(49)
        assert len([line for line in lines if line.startswith("dropped client 7") and reason in line]) == 1

    asyncio.run(story())


@pytest.mark.parametrize("client_id", ["x", "-1", "", "99999999999"])
def test_a_client_id_that_is_none_is_dropped(client_id):
    async def story() -> None:
        async with paper() as gateway, raw_client(gateway) as bad:
            bad.writer.write(b"API\0")
            bad.write(b"v157..176")
            assert len(await bad.read()) == 2
            bad.send(71, 2, client_id, "")
            assert await is_dropped(bad) == []

    asyncio.run(story())


def test_whoever_asks_before_start_api_is_dropped():
    async def story() -> None:
        async with paper() as gateway, raw_client(gateway) as bad:
            bad.writer.write(b"API\0")
            bad.write(b"v157..176")
            assert (await bad.read())[0] == "176"
            bad.send(49, 1)
            assert await is_dropped(bad) == []

    asyncio.run(story())


@pytest.mark.parametrize("opening", [b"", b"API", b"API\0\0\0\0\x09v157..176"])
def test_whoever_does_not_start_in_time_is_dropped(opening):
    async def story() -> None:
        with log_lines() as lines:
            async with paper(handshake_secs=0.05) as gateway, raw_client(gateway) as slow:
                slow.writer.write(opening)
                said = await is_dropped(slow)
                assert len(said) == (1 if b"v157" in opening else 0), "only the version, nothing before startApi"
        assert [line for line in lines if "no startApi within 0.05 s" in line]

    asyncio.run(story())


def test_a_started_client_may_be_silent_for_ever():
    async def story() -> None:
        async with paper(handshake_secs=0.05) as gateway, raw_client(gateway, 7) as client:
            await asyncio.sleep(0.1)
            client.send(49, 1)
            assert await client.read_until(49)

    asyncio.run(story())


def test_the_version_answer_is_one_segment_and_follows_the_client():
    async def story() -> None:
        async with paper() as gateway:
            for offer, version in (("v157..176", "176"), ("v100..157", "157"), ("v100..225", "178")):
                async with raw_client(gateway) as client:
                    client.writer.write(b"API\0")
                    client.write(offer.encode())
                    assert (await client.read())[0] == version

    asyncio.run(story())


def test_bytes_may_come_one_by_one():
    async def story() -> None:
        async with paper() as gateway, raw_client(gateway) as client:
            data = b"API\0\0\0\0\x09v157..176" + frame(["71", "2", "7", ""]) + frame(["49", "1"])
            for byte in data:
                client.writer.write(bytes([byte]))
                await client.writer.drain()
            assert await client.read_until(49)

    asyncio.run(story())


def test_a_price_that_is_no_number_is_answered_with_320_and_the_client_stays():
    async def story() -> None:
        async with paper() as gateway, raw_client(gateway, 7) as client:
            fields = ["3", "5", *[""] * 113]
            fields[19] = "cheap"
            # Counts inside the message: conditions are none.
            client.send(*fields)
            error = await client.read_until(4)
            while error[3] != "320":
                error = await client.read_until(4)
            assert error[2] == "5"
            assert "'cheap' is no number for 'lmtPrice'" in error[4]
            client.send(49, 1)
            assert await client.read_until(49)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fields", "request_id", "code", "words"),
    [
        ((20, 6, "x"), "6", "321", "reqHistoricalData is not served"),
        ((10, 5, 8, "x"), "8", "321", "reqMktDepth is not served"),
        ((12, 1, 1), "-1", "321", "reqNewsBulletins is not served"),
        ((999, 1), "-1", "320", "Unknown message id 999"),
        ((2, 2, 77), "77", "300", "tickerId:77"),
    ],
)
def test_a_request_that_is_not_served_is_an_error_and_no_crash(fields, request_id, code, words):
    async def story() -> None:
        with log_lines() as lines:
            async with paper() as gateway, raw_client(gateway, 7) as client:
                for _ in range(3):
                    client.send(*fields)
                client.send(49, 1)
                said = []
                while (message := await client.read())[0] != "49":
                    said.append(message)
                errors = [message for message in said if message[3] == code]
                assert len(errors) == 3
                assert errors[0][2] == request_id
                assert words in errors[0][4]
        assert len([line for line in lines if "which is not served" in line]) == (0 if code == "300" else 1)

    asyncio.run(story())


def test_fields_too_many_are_taken_and_logged_once():
    async def story() -> None:
        with log_lines() as lines:
            async with paper() as gateway, raw_client(gateway, 7) as client:
                for _ in range(3):
                    client.send(49, 1, "extra")
                    assert await client.read_until(49)
        assert lines.count("client 7: reqCurrentTime has 1 fields too many") == 1

    asyncio.run(story())


def test_a_client_that_does_not_read_is_dropped_and_others_are_not(monkeypatch):
    monkeypatch.setattr("services.paper.server.sessions.MAX_WRITE_BUFFER_BYTES", 64 * 1024)

    async def story() -> None:
        with log_lines() as lines:
            async with (
                paper(messages_per_second=0) as gateway,
                connected(gateway, 8) as ib,
                raw_client(gateway, 7) as deaf,
            ):
                deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
                # Until the buffers of the kernel are full, then the gateway's own.
                while 7 in gateway.hub.sessions:
                    for _ in range(200):
                        deaf.send(6, 2, 1, "DU0000000")
                    await asyncio.sleep(0)
                assert await ib.reqCurrentTimeAsync()
        assert len([line for line in lines if line.startswith("dropped client 7: it does not read")]) == 1

    asyncio.run(story())


def test_there_is_a_limit_of_connections(monkeypatch):
    monkeypatch.setattr("services.paper.server.hub.MAX_CONNECTIONS", 2)

    async def story() -> None:
        async with paper() as gateway, raw_client(gateway, 1), raw_client(gateway, 2):
            async with raw_client(gateway) as third:
                assert await is_dropped(third) == []
            await until(lambda: gateway.status()["connections"] == 2, "the third is forgotten")

    asyncio.run(story())


def test_a_hundred_tickers_are_the_limit_and_a_used_id_is_a_duplicate():
    async def story() -> None:
        async with paper(messages_per_second=0) as gateway, raw_client(gateway, 7) as client:
            for request_id in [*range(101), 3]:
                client.send(
                    1, 11, request_id, 0, f"S{request_id}", "STK", "", "", "", "", "SMART", "", "USD", *[""] * 7
                )
            client.send(49, 1)
            codes = []
            while (message := await client.read())[0] != "49":
                if message[0] == "4" and not message[3].startswith("2"):
                    codes.append((message[2], message[3]))
            assert codes == [("100", "101"), ("3", "102")]

    asyncio.run(story())


def test_there_is_a_limit_of_account_summaries_and_one_more_is_322():
    async def story() -> None:
        async with paper(messages_per_second=0) as gateway, raw_client(gateway, 7) as client:
            for request_id in range(MAX_SUMMARIES + 1):
                client.send(62, 1, request_id, "All", "Cushion")
            while (message := await client.read())[0] != "4" or message[3] != "322":
                assert message
            assert message[2] == str(MAX_SUMMARIES)

    asyncio.run(story())


WORDS = [
    *("", "0", "1", "-1", "7", "99999999999999999999", "1e308", "nan", "inf", "x", "AAPL", "STK", "BAG", "BUY"),
    *("LMT", "TRAIL LIMIT", "GTD", "IOC", "\u0663", "20261122 10:00:00", "20261122-99:99:99 Nowhere", "a=b;c"),
    *("1.7976931348623157E308", " " * 3000),
]
SENSIBLE = {"symbol": "AAPL", "secType": "STK", "currency": "USD", "exchange": "SMART", "action": "BUY", "transmit": 1}
SENSIBLE |= {"totalQuantity": 10, "orderType": "LMT", "lmtPrice": 150, "reqId": 5, "clientId": 0, "parentId": 0}


def nonsense(chance: random.Random, order_id: int) -> list[str]:
    """Return a message that makes sense but for one to three of its fields."""
    layout = chance.choice((*REQUESTS.values(), *[REQUESTS[3]] * 20))
    texts = layout.encode(176, {**SENSIBLE, "orderId": order_id})
    for _ in range(chance.randint(1, 3)):
        texts[chance.randrange(1, len(texts))] = chance.choice(WORDS)
    return texts


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_said_the_gateway_lives_on(seed):
    async def story() -> None:
        chance = random.Random(seed)
        broken: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context))
        async with paper(messages_per_second=0) as gateway, connected(gateway, 8) as ib:
            for _ in range(15):
                async with raw_client(gateway, 7) as client:
                    for number in range(15):
                        client.send(*nonsense(chance, gateway.exchange.next_order_id(7) + number))
                    client.writer.write_eof()
                    await client.read_all()
                await until(lambda: 7 not in gateway.hub.sessions, "it is forgotten")
            assert await ib.reqCurrentTimeAsync()
        assert broken == []
        assert gateway.exchange.order_count > 5, "much of it made sense"

    asyncio.run(story())


# ---------------------------------------------------------------- the pacing rule by itself


def test_fifty_messages_in_a_second_are_fine_and_the_next_is_not():
    pacing = Pacing(50)
    assert [pacing.count(10.0) for _ in range(50)] == [0] * 50
    assert pacing.count(10.99) == 1
    assert pacing.received == 51


def test_the_second_slides():
    pacing = Pacing(50)
    for eighth in range(200):
        assert [pacing.count(10 + eighth / 8) for _ in range(6)] == [0] * 6


def test_a_flood_is_one_breach_a_second():
    pacing = Pacing(50)
    breaches = [pacing.count(10 + n / 1000) for n in range(3000)]
    assert [breach for breach in breaches if breach] == [1, 2, 3]
    assert len(pacing._recent) <= 51


def test_without_a_limit_nothing_is_counted():
    pacing = Pacing(0)
    assert [pacing.count(1.0) for _ in range(1000)] == [0] * 1000
