"""What the tests of the paper gateway share."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import ib_insync
from loguru import logger

from services.paper.server.gateway import PaperGateway

DEADLINE_SECS = 30.0
AAPL = ib_insync.Stock("AAPL", "SMART", "USD")


@asynccontextmanager
async def paper(**settings: Any) -> AsyncIterator[PaperGateway]:
    """Run a gateway on a free port; its market stands still unless a test asks for time between ticks."""
    gateway = PaperGateway(**{"port": 0, "seed": 1, "tick_secs": 0, "record_in_memory": True, **settings})
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()


@asynccontextmanager
async def connected(gateway: PaperGateway, client_id: int = 7, **options: Any) -> AsyncIterator[ib_insync.IB]:
    """Connect the real ib_insync."""
    ib = ib_insync.IB()
    try:
        await ib.connectAsync("127.0.0.1", gateway.port, clientId=client_id, **options)
        yield ib
    finally:
        ib.disconnect()
        await until(lambda: client_id not in gateway.hub.sessions, "the gateway sees the client go")


def drop_client(gateway: PaperGateway, client_id: int) -> None:
    """Cut a client's connection, as a network does."""
    session = gateway.hub.sessions.get(client_id)
    if session is not None:
        session.close()


async def until(condition: Callable[[], Any], what: str, secs: float = DEADLINE_SECS) -> None:
    """Wait until a condition holds; fail with its name when it does not in time."""
    end = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < end, f"not within {secs:g} s: {what}"
        await asyncio.sleep(0.001)


@contextmanager
def log_lines() -> Iterator[list[str]]:
    """Collect what the gateway logs."""
    lines: list[str] = []
    sink = logger.add(lambda message: lines.append(message.record["message"]), level="DEBUG")
    try:
        yield lines
    finally:
        logger.remove(sink)


def market_order(action: str = "BUY", quantity: float = 100, **fields: Any) -> ib_insync.Order:
    return ib_insync.MarketOrder(action, quantity, **fields)


def limit_order(action: str, quantity: float, price: float, **fields: Any) -> ib_insync.Order:
    return ib_insync.LimitOrder(action, quantity, price, **fields)


def messages(gateway: PaperGateway, client_id: int = 7) -> list[tuple[str, dict[str, Any]]]:
    """Return what was sent to a client so far, in order."""
    return [
        (entry.message, entry.fields)
        for entry in gateway.record.entries(direction="out")
        if entry.client_id == client_id
    ]


class RawClient:
    """A client that sends bytes as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *fields: object) -> None:
        self.write(("\0".join(map(str, fields)) + "\0").encode())

    def write(self, body: bytes) -> None:
        self.writer.write(struct.pack(">I", len(body)) + body)

    async def read(self) -> list[str]:
        """Read one message; an empty list when the gateway has closed."""
        try:
            async with asyncio.timeout(DEADLINE_SECS):
                (length,) = struct.unpack(">I", await self.reader.readexactly(4))
                body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return []
        return body.decode().split("\0")[:-1]

    async def read_until(self, message_id: int) -> list[str]:
        while fields := await self.read():
            if fields[0] == str(message_id):
                return fields
        raise AssertionError(f"the gateway closed before message {message_id}")

    async def read_all(self) -> list[list[str]]:
        """Read until the gateway closes."""
        found = []
        while fields := await self.read():
            found.append(fields)
        return found


@asynccontextmanager
async def raw_client(
    gateway: PaperGateway, client_id: int | None = None, versions: str = "v157..176"
) -> AsyncIterator[RawClient]:
    """Open a connection; with a client id go through the handshake and startApi as well."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    client = RawClient(reader, writer)
    try:
        if client_id is not None:
            writer.write(b"API\0")
            client.write(versions.encode())
            await client.read()
            client.send(71, 2, client_id, "")
            await client.read_until(9)
        yield client
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
