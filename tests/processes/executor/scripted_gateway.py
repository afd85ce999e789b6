"""A gateway that says exactly what a test wants, and keeps silent about the rest."""

from __future__ import annotations

import asyncio
import struct


class ScriptedGateway:
    """Speaks just enough of IB's protocol to answer what a test wants, and to keep silent about the rest."""

    def __init__(self, accounts: str = "DU1234567", next_id: int = 1) -> None:
        self.accounts, self.next_id = accounts, next_id
        self.answers: dict[str, list[str]] = {"16": ["53|1"], "99": ["102"], "49": ["49|1|1700000000"]}
        self.heard: list[list[str]] = []
        self.connections = 0
        # What it says behind the handshake; None: its accounts and its next order id.
        self.greeting: list[str] | None = None
        self.server_version = 176
        self.hangs_up = False
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0
        self.ended = 0

    async def __aenter__(self) -> ScriptedGateway:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self.writers:
            writer.close()
        await self._server.wait_closed()

    def send(self, *messages: str) -> None:
        for message in messages:
            body = message.replace("|", "\0").encode() + b"\0"
            self.writers[-1].write(struct.pack(">I", len(body)) + body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            await reader.readexactly(4)
            await self._frame(reader)
            self.send(f"{self.server_version}|20260105 12:00:00 GMT")
            await self._frame(reader)
            greeting = [f"15|1|{self.accounts}", f"9|1|{self.next_id}"]
            self.send(*(greeting if self.greeting is None else self.greeting))
            if self.hangs_up:
                raise ConnectionError
            while True:
                fields = await self._frame(reader)
                self.heard.append(fields)
                if fields[0] == "7" and "7" not in self.answers:
                    self.send(f"55|1|{fields[2]}")
                self.send(*self.answers.get(fields[0], []))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            self.ended += 1

    def stop_reading(self) -> None:
        self.writers[-1].transport.pause_reading()  # type: ignore[attr-defined]

    def read_on(self) -> None:
        self.writers[-1].transport.resume_reading()  # type: ignore[attr-defined]

    async def _frame(self, reader: asyncio.StreamReader) -> list[str]:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return (await reader.readexactly(length)).decode().split("\0")[:-1]

    def requests(self, message_id: str) -> int:
        return sum(1 for fields in self.heard if fields[0] == message_id)
