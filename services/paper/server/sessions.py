"""One client's connection: handshake, frames in and out, pacing, bounds. What is said is the hub's."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from loguru import logger

from services.paper.server.pacing import MAX_PACING_BREACHES, Pacing
from services.paper.server.subscriptions import Subscriptions
from services.paper.wire.framing import DecodeError, Fields, FrameReader, WireError, frame, split_fields
from services.paper.wire.layouts import REPLIES, REPLIES_BY_ID, REQUESTS, UNSERVED
from services.paper.wire.moments import zoned_time_text
from services.paper.wire.record import WireEntry, WireRecord
from services.runtime.crash_points import reach

# A client that has not said startApi by then has not understood the protocol, or is none.
HANDSHAKE_SECS = 10.0
# What may wait for a client that does not read: some 20,000 messages. Real gateways drop such clients too.
MAX_WRITE_BUFFER_BYTES = 8 << 20
# SO_LINGER with 0 seconds: closing sends a RST and not a FIN.
_RESET = struct.pack("ii", 1, 0)


class Hub(Protocol):
    """Where a session takes what its client says."""

    def opened(self, session: Session) -> bool:
        """Note a new connection; False if it must end."""

    def admit(self, session: Session, client_id: int) -> bool:
        """Take a startApi; False if the session must end."""

    def handle(self, session: Session, message: str, fields: Fields) -> None:
        """Take a request of a started session."""

    def flush(self) -> None:
        """Write what all sessions have to say."""

    def has_output(self, session: Session) -> None:
        """Note that a session has something to write."""

    def lost(self, session: Session) -> None:
        """Note that a session has ended."""

    def before_write(self) -> bool:
        """Save what must not be lost once a client knows it; False if that cannot be done."""

    def copies(self, session: Session, message: str, order_ref: str, *, listed: bool) -> Sequence[float]:
        """Return after how many seconds each copy of a message leaves: one at once, unless a fault is injected."""

    def version_for(self, offered: str) -> int:
        """Return the server version for a client's range of versions.

        Raises:
            WireError: There is none.
        """


class Session(asyncio.Protocol):
    """One connection.

    Args:
        hub: Where requests go.
        record: Where messages are kept.
        messages_per_second: The pacing rule; 0 for none.
        handshake_secs: Time until startApi must have come.
    """

    def __init__(
        self,
        hub: Hub,
        record: WireRecord,
        *,
        messages_per_second: int,
        handshake_secs: float = HANDSHAKE_SECS,
    ) -> None:
        self.client_id: int | None = None
        self.version = 0
        self.subscriptions = Subscriptions()
        self.market_data_type = 1
        self.peer = "?"
        self._hub = hub
        self._record = record
        self._pacing = Pacing(messages_per_second)
        self._handshake_secs = handshake_secs
        self._reader = FrameReader()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._odd_messages: set[str] = set()
        self._muted = False

    # ------------------------------------------------------------ connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host, port = (transport.get_extra_info("peername") or ("?", 0))[:2]
        self.peer = f"{host}:{port}"
        # The bound below is checked by hand; asyncio's own would only call back.
        transport.set_write_buffer_limits(high=MAX_WRITE_BUFFER_BYTES)
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._handshake_secs, self._too_late)
        if not self._hub.opened(self):
            self.drop("too many connections are open already")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; the book stays."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._transport is not None:
            self._transport = None
            if self.client_id is not None:
                logger.info("client {} disconnected", self.client_id)
        self._hub.lost(self)

    @property
    def open(self) -> bool:
        """Tell whether something can still be said to the client."""
        return self._transport is not None

    def drop(self, reason: str, *, at_once: bool = False) -> None:
        """End the connection with one log line, after what was said so far unless `at_once`."""
        transport = self._transport
        if transport is None:
            return
        self.flush()
        self._transport = None
        who = self.peer if self.client_id is None else f"client {self.client_id}"
        logger.warning("dropped {}: {}", who, reason)
        if at_once:
            transport.abort()
        else:
            transport.close()

    def close(self) -> None:
        """End the connection because the gateway stops."""
        if self._transport is not None:
            self._transport.abort()

    def cut(self, how: str, for_secs: float = 0.0) -> None:
        """Break the connection as a network or a dying gateway does.

        Args:
            how: fin, rst, mid_frame (half a frame, then FIN), or one half of a half-open connection:
                stop_reading, stop_writing.
            for_secs: The halves go on after so long; 0 for never.
        """
        transport = self._transport
        if transport is None:
            return
        logger.warning("fault: the connection of client {} is cut: {}", self.client_id, how)
        if how in ("stop_reading", "stop_writing"):
            self.flush()
            self._muted = how == "stop_writing"
            if how == "stop_reading":
                transport.pause_reading()
            if for_secs:
                asyncio.get_running_loop().call_later(for_secs, self._thaw)
            return
        half = b""
        if how == "mid_frame":
            whole = self._out.pop() if self._out else self.encode("currentTime", {"time": int(time.time())})
            half = whole[: max(5, len(whole) // 2)]
        self.flush()
        self._transport = None
        # At once, so that its client may come back before the socket is quite gone.
        self._hub.lost(self)
        if how == "rst":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        else:
            transport.write(half)
            transport.close()

    def _thaw(self) -> None:
        if self._transport is None:
            return
        self._muted = False
        self._transport.resume_reading()
        self.flush()

    def _too_late(self) -> None:
        self.drop(f"no startApi within {self._handshake_secs:g} s")

    # ------------------------------------------------------------ in

    def data_received(self, data: bytes) -> None:
        """Take bytes, and everything that has become whole with them."""
        if self._transport is None:
            return
        self._reader.feed(data)
        try:
            self._read()
        except WireError as error:
            self.drop(str(error))
        finally:
            self._hub.flush()

    def _read(self) -> None:
        if not self.version and not self._shake_hands():
            return
        while self._transport is not None:
            try:
                body = self._reader.next_body()
                if body is None:
                    return
                texts = split_fields(body)
            except WireError as error:
                self._complain(507, f"Bad Message Length: {error}")
                raise
            self._take(texts)

    def _shake_hands(self) -> bool:
        text = self._reader.handshake()
        if text is None:
            return False
        self._keep("in", "handshake", {"versions": text})
        self.version = self._hub.version_for(text)
        # Nothing else may be said before startApi: the official clients throw it away.
        answer = [str(self.version), zoned_time_text(time.time())]
        self._keep("out", "handshake", {"version": answer[0], "time": answer[1]})
        self._out.append(frame(answer))
        self.flush(recorded=True)
        return True

    def _take(self, texts: list[str]) -> None:
        if not (texts[0].isascii() and texts[0].isdigit() and len(texts[0]) <= 9):
            reason = f"'{texts[0][:40]}' is no message id"
            self._complain(320, f"Error reading request. {reason}")
            raise WireError(reason)
        message_id = int(texts[0])
        layout = REQUESTS.get(message_id)
        fields: Fields = {}
        if layout is None:
            self._keep("in", UNSERVED.get(message_id, (f"unknown {message_id}", 0))[0], {"fields": texts})
        else:
            try:
                fields, left_over = layout.decode(self.version, texts)
            except DecodeError as error:
                self._keep("in", layout.name, {"fields": texts})
                self.say("error", id=error.request_id, code=320, text=f"Error reading request. {error}")
                raise WireError(str(error)) from None
            self._keep("in", layout.name, fields)
            if left_over and self._is_first(layout.name):
                logger.info("client {}: {} has {} fields too many", self.client_id, layout.name, left_over)
        if not self._pace():
            return
        if self.client_id is None:
            self._start(layout.name if layout else texts[0], fields)
        elif layout is None:
            self._say_unserved(message_id, texts)
        else:
            self._hand_over(layout.name, fields)

    def _complain(self, code: int, text: str) -> None:
        """Tell a client what is wrong before it is dropped; one that has not started could not hear it."""
        if self.client_id is not None:
            self.say("error", id=-1, code=code, text=text)

    def _start(self, message: str, fields: Fields) -> None:
        if message != "startApi":
            raise WireError(f"message '{message}' before startApi")
        text = fields["clientId"]
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise WireError(f"'{text[:40]}' is no client id")
        if self._deadline is not None:
            self._deadline.cancel()
        if self._hub.admit(self, int(text)):
            logger.info("client {} connected from {} (server version {})", text, self.peer, self.version)

    def _hand_over(self, message: str, fields: Fields) -> None:
        try:
            self._hub.handle(self, message, fields)
        except DecodeError as error:
            self.say("error", id=error.request_id, code=320, text=f"Error reading request. {error}")
            if error.request_id == -1:
                raise WireError(str(error)) from None

    def _say_unserved(self, message_id: int, texts: list[str]) -> None:
        name, index = UNSERVED.get(message_id, ("", 0))
        id_text = texts[index] if 0 < index < len(texts) else ""
        request_id = int(id_text) if id_text.isascii() and id_text.isdigit() else -1
        if self._is_first(texts[0]):
            logger.warning("client {} sent message {} {}, which is not served", self.client_id, message_id, name)
        if name:
            cause = f"Error validating request.-'bY' : cause - {name} is not served by the paper gateway"
            self.say("error", id=request_id, code=321, text=cause)
        else:
            self.say("error", id=-1, code=320, text=f"Error reading request. Unknown message id {message_id}.")

    def _is_first(self, message: str) -> bool:
        """Tell whether this odd message is the first of its kind, so that the log is not flooded."""
        if message in self._odd_messages or len(self._odd_messages) >= 200:
            return False
        self._odd_messages.add(message)
        return True

    def _pace(self) -> bool:
        breach = self._pacing.count(time.monotonic())
        if not breach:
            return True
        limit, received = self._pacing.limit, self._pacing.received
        text = f"Max rate of messages per second has been exceeded:max={limit} rec={received} ({breach})"
        self.say("error", id=-1, code=100, text=text)
        if breach < MAX_PACING_BREACHES:
            logger.warning("client {}: {}", self.client_id, text)
            return True
        self.drop(text)
        return False

    # ------------------------------------------------------------ out

    def say(self, message: str, /, **values: Any) -> None:
        """Send a message with the values of its fields; written at the next flush."""
        self.tell(message, values)

    def tell(
        self,
        message: str,
        values: Mapping[str, Any],
        *,
        order_ref: str = "",
        delay_secs: float = 0.0,
        listed: bool = False,
    ) -> None:
        """Send a message, after some time if need be, and as faults will have it.

        Args:
            message: A name of `REPLIES`.
            values: Its fields.
            order_ref: The reference of the order it is about.
            delay_secs: How much later it leaves.
            listed: It is in the answer to a request.
        """
        data = self.encode(message, values)
        for more in self._hub.copies(self, message, order_ref, listed=listed):
            if delay_secs + more:
                asyncio.get_running_loop().call_later(delay_secs + more, self._send_late, data)
            else:
                self.send(data)

    def _send_late(self, data: bytes) -> None:
        if self._transport is not None:
            self.send(data)
            self._hub.flush()

    def encode(self, message: str, values: Mapping[str, Any]) -> bytes:
        """Return a message as a frame for this client's version."""
        return frame(REPLIES[message].encode(self.version, values))

    def send(self, data: bytes) -> None:
        """Queue a frame; a burst becomes one write."""
        if not self._out:
            self._hub.has_output(self)
        self._out.append(data)

    def flush(self, *, recorded: bool = False) -> None:
        """Write what is queued; `recorded` if the wire record has it already."""
        transport = self._transport
        if transport is None or not self._out:
            self._out.clear()
            return
        if self._muted:
            if sum(map(len, self._out)) > MAX_WRITE_BUFFER_BYTES:
                self._out.clear()
                self.drop("nothing may be written to it, and too much waits", at_once=True)
            return
        if not self._hub.before_write():
            self._out.clear()
            self.drop("what it would be told cannot be saved", at_once=True)
            return
        frames, self._out = self._out, []
        if self._record.active and not recorded:
            for data in frames:
                texts = split_fields(data[4:])
                layout = REPLIES_BY_ID[int(texts[0])]
                self._keep("out", layout.name, layout.decode(self.version, texts)[0])
        data = b"".join(frames)
        reach("paper.reply.half_frame", lambda: transport.write(data[: len(data) // 2]))
        transport.write(data)
        reach("paper.reply.written")
        waiting = transport.get_write_buffer_size()
        if waiting > MAX_WRITE_BUFFER_BYTES:
            self.drop(f"it does not read: {waiting} bytes wait for it", at_once=True)

    def _keep(self, direction: str, message: str, fields: Fields) -> None:
        if self._record.active:
            self._record.add(WireEntry(time.monotonic_ns(), self.client_id, direction, message, fields))
