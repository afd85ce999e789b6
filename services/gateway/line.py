"""The rim towards TWS or IB Gateway: frames are written, and what comes is put in a row. It decides nothing.

ib_insync's handlers only enqueue: eventkit swallows every exception raised in one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import assert_never

from orderfuse.home import why
from orderfuse.settings import IbSettings
from services.gateway.frames import (
    Ask,
    CancelEverything,
    CancelOrder,
    ChangeOrder,
    Dial,
    Frame,
    HangUp,
    PlaceOrders,
    WireOrder,
)
from services.gateway.ib_client import NEEDED_VERSION, IbConnection
from services.gateway.ib_logs import quiet_libraries
from services.gateway.reports import Closed, Dialled, FromGateway, Heard, NotDialled, Report
from services.runtime.crash_points import reach

# How long the end of a connection may take until it is cut.
CLOSE_SECS = 1.0


class Line:
    """At most one connection at a time; for one event loop.

    Args:
        settings: where the gateway is, and the client id.
        connect_secs: until IB has named accounts and the next order id.
        wake: set when something has come.
    """

    def __init__(self, settings: IbSettings, connect_secs: float, wake: asyncio.Event) -> None:
        quiet_libraries()
        self._settings = settings
        self._connect_secs = connect_secs
        self._wake = wake
        self._connection: IbConnection | None = None
        self._number = 0
        self._dialling: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._heard: deque[FromGateway] = deque()

    @property
    def buffer_empty(self) -> bool:
        """Whether everything written so far has left this process."""
        return self._connection is not None and self._connection.buffer_empty

    def take_heard(self) -> list[FromGateway]:
        """What has come since the last call, in order."""
        heard = list(self._heard)
        self._heard.clear()
        return heard

    def write(self, frame: Frame) -> None:
        """Write a frame.

        Raises:
            Exception: nothing of it was written: there is no connection, or ib_insync cannot build it.
        """
        match frame:
            case Dial(number):
                self._dial(number)
            case HangUp(number):
                self._hang_up(number)
            case Ask():
                self._ask(self._connected(), frame)
            case PlaceOrders(orders):
                raise AssertionError(f"orders are written one by one: {orders}")
            case ChangeOrder(order):
                self.write_order(order)
            case CancelOrder(_, ib_order_id):
                reach("executor.cancel.unsent")
                self._connected().cancel_order(ib_order_id)
                reach("executor.cancel.sent")
            case CancelEverything():
                self._connected().global_cancel()
            case _:
                assert_never(frame)

    def write_order(self, order: WireOrder) -> None:
        """Write an order, or a change of one.

        Raises:
            Exception: nothing of it was written; ib_insync builds the whole message before it writes a byte.
        """
        self._connected().place_order(
            order.ib_order_id,
            order.contract,
            order.order,
            order_ref=order.order_id,
            account=order.account,
            parent_id=order.parent_id,
            transmit=order.transmit,
        )

    async def close(self) -> None:
        """End the connection: in order if all that was written has left, else at once."""
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.ready and connection.buffer_empty:
            connection.close()
        else:
            connection.abort()
        if connection.open:
            try:
                async with asyncio.timeout(CLOSE_SECS):
                    await self._closed.wait()
            except TimeoutError:
                connection.abort()

    def _connected(self) -> IbConnection:
        if self._connection is None or not self._connection.ready:
            raise ConnectionError("not connected to the gateway")
        return self._connection

    def _ask(self, connection: IbConnection, frame: Ask) -> None:
        match frame.question:
            case "open_orders":
                connection.request_open_orders()
            case "executions":
                connection.request_executions(frame.request_id, frame.account)
            case "completed_orders":
                connection.request_completed_orders()
            case "positions":
                connection.request_positions()
            case "end_positions":
                connection.end_positions()
            case "current_time":
                connection.request_current_time()
            case _:
                assert_never(frame.question)
        if frame.question in ("open_orders", "executions", "completed_orders"):
            reach("executor.reconcile.asking")

    # -- the connection -----------------------------------------------------------------------------------

    def _dial(self, number: int) -> None:
        self._number = number
        # Each its own: the end of the one before may still be under way.
        closed = self._closed = asyncio.Event()
        connection = self._connection = IbConnection(lambda report: self._hear(number, report, closed))
        self._dialling = asyncio.create_task(self._connect(number, connection, closed))

    async def _connect(self, number: int, connection: IbConnection, closed: asyncio.Event) -> None:
        settings, timeout = self._settings, self._connect_secs
        connecting = asyncio.create_task(connection.connect(settings.host, settings.port, settings.client_id, timeout))
        lost = asyncio.create_task(closed.wait())
        try:
            await asyncio.wait({connecting, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (connecting, lost):
                task.cancel()
            outcome, _ = await asyncio.gather(connecting, lost, return_exceptions=True)
        # One that was made and has closed meanwhile is no connection: while dialling nobody else would say so.
        made = outcome is None and not closed.is_set()
        self._put(Dialled(number) if made else _failure(number, connection, outcome))

    def _hang_up(self, number: int) -> None:
        if number == self._number and self._connection is not None:
            if self._dialling is not None:
                self._dialling.cancel()
            self._connection.abort()
            self._connection = None

    def _hear(self, number: int, report: Report, closed: asyncio.Event) -> None:
        """Take note, inside the socket's callback."""
        if isinstance(report, Closed):
            closed.set()
        self._put(Heard(number, report))

    def _put(self, event: FromGateway) -> None:
        self._heard.append(event)
        self._wake.set()


def _failure(number: int, connection: IbConnection, outcome: BaseException | None) -> NotDialled:
    """What became of an attempt that led to nothing."""
    timed_out = isinstance(outcome, TimeoutError)
    return NotDialled(
        number,
        error=_words(outcome) if isinstance(outcome, Exception) and not timed_out else "",
        timed_out=timed_out,
        reached=connection.reached,
        version=connection.server_version,
        needed_version=NEEDED_VERSION,
    )


def _words(error: BaseException) -> str:
    """Why there is no connection, for people."""
    if isinstance(error, ConnectionRefusedError):
        # What mostly helps, which `status` says by itself, is right here.
        return "nothing listens there; start it, or set ib.host and ib.port (ORDERFUSE_IB__PORT) to where it is"
    return (why(error) if isinstance(error, Exception) else "") or type(error).__name__
