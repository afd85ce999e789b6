"""ib_insync's client with our own ears: its words are turned into reports here, and nowhere else.

Not the `IB` class: that one calls an order Cancelled for most error codes, keeps every trade for ever, and
wipes what it knows when the connection drops. `Client` and `Decoder` only speak the wire, which is all that
is wanted of them. A message that cannot be decoded is reported, not swallowed.
"""

from __future__ import annotations

import logging
import math
import re
import socket
import struct
import time
import unicodedata
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ib_insync.client import Client
from ib_insync.decoder import Decoder
from ib_insync.objects import ExecutionFilter
from loguru import logger

from orderfuse.ibfields import TERMS
from services.crash_points import reach
from services.gateway.ib_orders import build_contract, build_order
from services.gateway.pacing import Pacer
from services.gateway.reports import (
    Accounts,
    Closed,
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    NextOrderId,
    OpenOrderReport,
    PositionReport,
    Report,
    RequestEnd,
    StatusReport,
    Traits,
    Unreadable,
)

# Where the time stands in execDetails. Nobody here uses it, and one with a zone that this machine does not
# know would cost the whole execution; a plain number of seconds is always readable.
_EXEC_TIME_FIELD = 15
# Where `orderRef` stands in openOrder, execDetails and completedOrder: far enough in front to be readable.
_ORDER_REF_FIELD = {5: 23, 11: 26, 101: 22}
# The message openOrder, and where it says whose order it is: in front of all that newer gateways have added.
_OPEN_ORDER = 5
_ORDER_ID_FIELD, _CON_ID_FIELD, _SYMBOL_FIELD, _ACCOUNT_FIELD, _CLIENT_ID_FIELD, _PERM_ID_FIELD = 1, 2, 3, 20, 24, 25
# Stands for the terms of an order that cannot be read.
_NOT_READ = "?"
# What fits into the numbers of a message.
_WHOLE = re.compile(r"-?[0-9]{1,18}")
# The messages whose loss could hide what became of an order; others are only logged.
ORDER_MESSAGES = frozenset({3, 4, 5, 9, 11, 15, 53, 55, 59, 101, 102})
# What names a contract to a person.
_NAMED = (
    *("secType", "symbol", "localSymbol", "exchange", "currency", "conId"),
    *("lastTradeDateOrContractMonth", "strike", "right"),
)
# IB's way to say that it has no number.
_UNSET = 1.7976931348623157e308

# The oldest version of IB's protocol that ib_insync speaks.
NEEDED_VERSION: int = Client.MinClientVersion
# A character that is no ASCII, as gateways of version 153 on write it into their texts (ENCODE_MSG_ASCII7).
# Two halves of UTF-16 make one character.
_ESCAPE = re.compile(
    r"\\u([Dd][89ABab][0-9A-Fa-f]{2})\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})"
    r"|\\u([0-9A-Fa-f]{4})"
)

# No price, quantity or sum of money is larger; a float keeps such a number to three places.
_MOST = 1e12
# What fits into the journal.
_LARGEST_ID = 2**63 - 1

Sink = Callable[[Report], None]

# How the message begins that places an order.
_PLACE_ORDER = "3\0"


class Session:
    """One connection to TWS or IB Gateway; after `abort` it is used up.

    Args:
        sink: gets every report, in order, inside the socket's callback: it must only take note.
        pacer: counts every message that leaves.
    """

    def __init__(self, sink: Sink, pacer: Pacer, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = _PacedClient(_Ears(sink), pacer, clock)
        self._client.decoder = _StrictDecoder(self._client.wrapper, sink)

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
        """End the connection now. Bytes that have not left must not: they would be orders nobody expects any more."""
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


class _PacedClient(Client):  # type: ignore[misc]  # ib_insync has no types
    """Counts every message; the queue of its own throttle, which nobody can recall orders from, is off."""

    MaxRequests = 0

    def __init__(self, ears: _Ears, pacer: Pacer, clock: Callable[[], float]) -> None:
        self.named_version = 0
        super().__init__(ears)
        self._pacer = pacer
        self._clock = clock

    def sendMsg(self, msg: str) -> None:  # noqa: N802 - ib_insync's name
        self._pacer.note(self._clock())
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


class _StrictDecoder(Decoder):  # type: ignore[misc]  # ib_insync has no types
    """ib_insync's decoder logs what it cannot read and goes on; here it is a report."""

    def __init__(self, ears: _Ears, sink: Sink) -> None:
        super().__init__(ears, 0)
        self._sink = sink

    def interpret(self, fields: list[str]) -> None:
        try:
            message_id = int(fields[0])
            handler = self.handlers.get(message_id)
            if handler:
                handler(fields)
        except Exception as error:  # noqa: BLE001 - any failure to read means the same: something was missed
            self._unreadable(fields, error)

    def wrap(self, methodName: str, types: list[type], skip: int = 2) -> Callable[[list[str]], None]:  # noqa: N803
        """ib_insync's own swallows errors here too."""

        def handler(fields: list[str]) -> None:
            method = getattr(self.wrapper, methodName, None)
            values = [_converted(kind, text) for kind, text in zip(types, fields[skip:], strict=False)]
            if len(values) < len(types):
                raise ValueError(f"{methodName} has {len(values)} fields, expected are {len(types)}")
            if method:
                method(*values)

        return handler

    def execDetails(self, fields: list[str]) -> None:  # noqa: N802 - ib_insync's name
        fields[_EXEC_TIME_FIELD] = "0"
        super().execDetails(fields)

    def _unreadable(self, fields: list[str], error: Exception) -> None:
        message_id = int(fields[0]) if fields and fields[0].isdigit() else -1
        at = _ORDER_REF_FIELD.get(message_id, len(fields))
        order_ref = fields[at] if at < len(fields) else None
        order = _unread_order(fields, order_ref or "") if message_id == _OPEN_ORDER else None
        text = f"{type(error).__name__}: {error}; {'|'.join(fields)[:200]}"
        self._sink(Unreadable(message_id, text, order_ref, order))


def _unread_order(fields: list[str], order_ref: str) -> OpenOrderReport:
    """Whose order an openOrder is about that cannot be read: 0 and empty what is missing there too."""
    text = dict(enumerate(fields))

    def whole(at: int) -> int:
        said = text.get(at, "")
        return int(said) if _WHOLE.fullmatch(said) else 0

    return OpenOrderReport(
        ib_order_id=whole(_ORDER_ID_FIELD),
        perm_id=whole(_PERM_ID_FIELD),
        client_id=whole(_CLIENT_ID_FIELD),
        order_ref=order_ref,
        account=text.get(_ACCOUNT_FIELD, ""),
        status="",
        quantity=0.0,
        action=_NOT_READ,
        order_type=_NOT_READ,
        con_id=whole(_CON_ID_FIELD),
        symbol=text.get(_SYMBOL_FIELD, ""),
    )


def _converted(kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        return bool(int(text or 0))
    number = kind(text or 0)
    if kind is int:
        _check_ids(number)
    return number


class _Ears:
    """What the decoder calls: translates into reports, and nothing else."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        # The decoder looks here for the time zone of executions, which `_StrictDecoder` makes needless.
        self.ib = SimpleNamespace(TimezoneTWS=None)

    def __getattr__(self, name: str) -> Callable[..., None]:
        # Market data and the like were never asked for; whatever else comes is not for us.
        if name.startswith("_") or name in {"priceSizeTick", "tcpDataArrived", "tcpDataProcessed"}:
            raise AttributeError(name)
        return _ignore

    # The names and signatures below are ib_insync's.

    def connectAck(self) -> None:  # noqa: N802
        pass

    def nextValidId(self, req_id: int) -> None:  # noqa: N802
        self._sink(NextOrderId(req_id))

    def managedAccounts(self, names: str) -> None:  # noqa: N802
        self._sink(Accounts(tuple(name for name in names.split(",") if name)))

    def orderStatus(  # noqa: N802
        self,
        order_id: int,
        status: str,
        filled: float,
        remaining: float,
        _avg_fill_price: float,
        perm_id: int,
        _parent_id: int,
        _last_fill_price: float,
        client_id: int,
        why_held: str,
        _mkt_cap_price: float = 0.0,
    ) -> None:
        _check_ids(order_id, perm_id)
        self._sink(StatusReport(order_id, status, filled, remaining, perm_id, client_id, why_held))

    def openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> None:  # noqa: N802
        _check_ids(int(order_id), order.permId, contract.conId)
        self._sink(
            OpenOrderReport(
                ib_order_id=int(order_id),
                perm_id=order.permId,
                client_id=order.clientId,
                order_ref=order.orderRef,
                account=order.account,
                status=state.status,
                quantity=order.totalQuantity,
                warning=unescaped(state.warningText),
                terms={name: getattr(order, name) for name in TERMS},
                contract={name: getattr(contract, name) for name in _NAMED if getattr(contract, name)},
                action=order.action,
                order_type=order.orderType,
                con_id=contract.conId,
                symbol=contract.symbol,
                traits=_traits(contract),
            )
        )

    def execDetails(self, _req_id: int, contract: Any, execution: Any) -> None:  # noqa: N802
        if not (_is_quantity(execution.shares) and abs(execution.price) < _MOST):
            raise ValueError(f"execution {execution.execId} is no number")
        _check_ids(execution.orderId, execution.permId, contract.conId)
        self._sink(
            ExecutionReport(
                ib_order_id=execution.orderId,
                perm_id=execution.permId,
                client_id=execution.clientId,
                order_ref=execution.orderRef,
                account=execution.acctNumber,
                exec_id=execution.execId,
                shares=execution.shares,
                price=execution.price,
                sec_type=contract.secType,
                con_id=contract.conId,
                symbol=contract.symbol or contract.localSymbol,
                side=execution.side,
                traits=_traits(contract),
            )
        )

    def position(self, account: str, contract: Any, quantity: float, _avg_cost: float) -> None:
        if not math.isfinite(quantity):
            raise ValueError(f"the position of {contract.conId} is no number")
        _check_ids(contract.conId)
        symbol = contract.symbol or contract.localSymbol
        traits = _traits(contract)
        self._sink(PositionReport(account, contract.conId, symbol, contract.secType, quantity, traits))

    def positionEnd(self) -> None:  # noqa: N802
        self._sink(RequestEnd("positions"))

    def commissionReport(self, report: Any) -> None:  # noqa: N802
        if not abs(report.commission) < _MOST:
            return  # Not known yet, and then IB reports it again; or no number.
        pnl = report.realizedPNL
        known = abs(pnl) < _MOST
        self._sink(CommissionReport(report.execId, report.commission, report.currency, pnl if known else None))

    def completedOrder(self, _contract: Any, order: Any, state: Any) -> None:  # noqa: N802
        _check_ids(order.permId)
        filled = order.filledQuantity if _is_quantity(order.filledQuantity) else 0.0
        self._sink(
            CompletedOrderReport(
                perm_id=order.permId,
                order_ref=order.orderRef,
                account=order.account,
                status=state.status,
                completed_status=unescaped(state.completedStatus),
                terms={name: getattr(order, name) for name in TERMS if name != "totalQuantity"},
                quantities=(order.totalQuantity, order.totalQuantity + filled),
            )
        )

    def error(self, req_id: int, code: int, text: str, advanced: str = "") -> None:
        _check_ids(req_id, code)
        self._sink(ErrorReport(req_id, code, unescaped(f"{text} {advanced}".strip())))

    def openOrderEnd(self) -> None:  # noqa: N802
        self._sink(RequestEnd("open_orders"))

    def execDetailsEnd(self, _req_id: int) -> None:  # noqa: N802
        self._sink(RequestEnd("executions"))

    def completedOrdersEnd(self) -> None:  # noqa: N802
        self._sink(RequestEnd("completed_orders"))

    def currentTime(self, _secs: int) -> None:  # noqa: N802
        self._sink(RequestEnd("current_time"))

    def setEventsDone(self) -> None:  # noqa: N802
        # The one callback that comes at every end of the socket, ready or not.
        self._sink(Closed())

    def connectionClosed(self) -> None:  # noqa: N802
        pass


def unescaped(text: str) -> str:
    """A text of IB's with its characters in place of their escapes (a backslash, `u59d4`), and nothing else changed.

    What is no character for people stays as it came: halves of a pair, controls, marks that turn a line's direction.
    """
    return _ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    high, low, alone = escape.groups()
    number = int(alone, 16) if alone else 0x10000 + ((int(high, 16) & 0x3FF) << 10) + (int(low, 16) & 0x3FF)
    character = chr(number)
    return escape[0] if unicodedata.category(character).startswith("C") else character


def _traits(contract: Any) -> Traits:
    strike = float(contract.strike or 0)
    return Traits(
        # As long as IB's words are; whatever else stands there must not fill a message.
        sec_type=contract.secType[:8],
        currency=contract.currency[:4],
        # With some of them the time of the last trade stands behind the day.
        expiry=contract.lastTradeDateOrContractMonth.partition(" ")[0][:8],
        strike=strike if 0 < strike < _UNSET else 0.0,
        # Of what is no option IB says a right too: 0, or a question mark.
        right=contract.right[:1] if contract.right[:1] in {"C", "P"} else "",
    )


def _check_ids(*ids: int) -> None:
    """Refuse what is no id, and what SQLite could not keep.

    Raises:
        ValueError: one of them is too large.
    """
    for each in ids:
        if not -_LARGEST_ID <= each <= _LARGEST_ID:
            raise ValueError(f"{str(each)[:40]} is no id")


def _is_quantity(number: float) -> bool:
    """Whether something can have been executed so many times; NaN cannot."""
    return 0 <= number < _MOST


def _ignore(*_: Any) -> None:
    pass


class _QuietHandler(logging.Handler):
    """The standard log of ib_insync and eventkit into ours: each text once in a while, not at every retry."""

    _MAX_TEXTS = 200

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()[:300]
        if text in self._told or len(self._told) >= self._MAX_TEXTS:
            return
        self._told.add(text)
        logger.warning("{}: {}", record.name, text)


def quiet_libraries() -> None:
    """Route the logs of ib_insync and eventkit, without the flood. What the client says, the manager says too."""
    for name in ("ib_insync", "eventkit"):
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.propagate = False
        if not any(isinstance(handler, _QuietHandler) for handler in library.handlers):
            library.addHandler(_QuietHandler())
    logging.getLogger("ib_insync.client").setLevel(logging.CRITICAL)
