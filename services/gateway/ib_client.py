"""ib_insync's client with our own ears: it writes, and what it hears comes as reports (`decoder`, `ears`).

Not the `IB` class: that one calls an order Cancelled for most error codes, keeps every trade for ever, and
wipes what it knows when the connection drops. `Client` and `Decoder` only speak the wire, which is all that
is wanted of them.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from services.gateway.decoder import StrictDecoder
from services.gateway.ears import Ears, Sink
from services.gateway.fence import Client, ExecutionFilter
from services.gateway.ib_orders import build_contract, build_order
from services.runtime.crash_points import reach

# The oldest version of IB's protocol that ib_insync speaks.
NEEDED_VERSION: int = Client.MinClientVersion

# How the message begins that places an order.
_PLACE_ORDER = "3\0"


class IbConnection:
    """One connection to TWS or IB Gateway; after `abort` it is used up.

    Args:
        sink: gets every report, in order, inside the socket's callback: it must only take note.
    """

    def __init__(self, sink: Sink) -> None:
        self._client = _Client(Ears(sink))
        self._client.decoder = StrictDecoder(self._client.wrapper, sink)

    async def connect(self, host: str, port: int, client_id: int, timeout_secs: float) -> None:
        """Connect and wait until IB has said which accounts there are and which order id is next.

        Raises:
            OSError, TimeoutError: nobody answers, or not in time.
        """
        await self._client.connectAsync(host, port, client_id, timeout_secs)

    @property
    def reached(self) -> bool:
        """Whether somebody has taken the connection."""
        return bool(self._client.conn.numBytesSent)

    @property
    def server_version(self) -> int:
        """The version of IB's protocol that the gateway has named, also when the connection is over; 0: none yet."""
        return self._client.named_version

    @property
    def open(self) -> bool:
        """Whether there is a socket that has yet to be closed."""
        return self._client.conn.transport is not None

    @property
    def ready(self) -> bool:
        """Whether orders can be written at all."""
        transport = self._client.conn.transport
        return bool(self._client.isReady() and transport is not None and not transport.is_closing())

    @property
    def buffer_empty(self) -> bool:
        """Whether all bytes written so far have left this process."""
        transport = self._client.conn.transport
        return transport is not None and transport.get_write_buffer_size() == 0

    def place_order(self, ib_order_id: int, contract: Any, order: Any, **own: Any) -> None:
        """Write an order of checked fields; `own` is what only the executor may set (`build_order`).

        Raises:
            ConnectionError: not connected; nothing was written.
        """
        built = build_order(order, ib_order_id=ib_order_id, **own)
        self._need_ready()
        self._client.placeOrder(ib_order_id, build_contract(contract), built)

    def cancel_order(self, ib_order_id: int) -> None:
        """Write a cancel."""
        self._need_ready()
        self._client.cancelOrder(ib_order_id)

    def global_cancel(self) -> None:
        """Write `reqGlobalCancel`: every order of the account, manual ones too."""
        self._need_ready()
        self._client.reqGlobalCancel()

    def request_open_orders(self) -> None:
        """Ask for the open orders of all clients."""
        self._client.reqAllOpenOrders()

    def request_executions(self, request_id: int, account: str) -> None:
        """Ask for today's executions."""
        self._client.reqExecutions(request_id, ExecutionFilter(acctCode=account))

    def request_completed_orders(self) -> None:
        """Ask for today's orders that are over."""
        self._client.reqCompletedOrders(False)

    def request_positions(self) -> None:
        """Ask for all positions, and to be told of each change until `end_positions`."""
        self._client.reqPositions()

    def end_positions(self) -> None:
        """Ask for no more changes of positions."""
        self._client.cancelPositions()

    def request_current_time(self) -> None:
        """Ask for the time: a question that costs nothing and proves that somebody is there."""
        self._client.reqCurrentTime()

    def close(self) -> None:
        """End the connection after everything that was written."""
        self._client.disconnect()

    def abort(self) -> None:
        """Drop the connection now. Unsent bytes must never leave: nobody expects those orders any more."""
        transport = self._client.conn.transport
        if transport is None:
            return
        connection = transport.get_extra_info("socket")
        if connection is not None:
            # A linger of zero also throws away what the kernel has not sent, and closes with a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def _need_ready(self) -> None:
        if not self.ready:
            raise ConnectionError("not connected to the gateway")


class _Client(Client):  # type: ignore[misc]  # ib_insync has no types
    """The queue of its own throttle, which nobody can recall orders from, is off: who writes keeps the pacing."""

    MaxRequests = 0

    def __init__(self, ears: Ears) -> None:
        self.named_version = 0
        super().__init__(ears)

    def sendMsg(self, msg: str) -> None:  # noqa: N802 - ib_insync's name
        if msg.startswith(_PLACE_ORDER):
            reach("executor.order.half_frame", lambda: self._send_half(msg))
        super().sendMsg(msg)

    def reset(self) -> None:
        # ib_insync forgets it with the connection, and it may be why there is none.
        self.named_version = getattr(self, "_serverVersion", 0) or self.named_version
        super().reset()

    def _send_half(self, msg: str) -> None:
        frame = len(msg).to_bytes(4) + msg.encode()
        self.conn.transport.write(frame[: len(frame) // 2])
