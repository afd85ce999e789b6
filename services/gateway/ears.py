"""What ib_insync's decoder calls, message for message: its words are turned into reports here, and nowhere else.

A number that is none, or that could not be kept, is refused: the decoder reports the message as unreadable. Pure.
"""

# The methods have ib_insync's names; each is about the message of that name.
# ruff: noqa: D102, N802
from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from orderfuse.ibfields.checks import TERMS
from services.gateway.ib_texts import unescaped
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
)

# What names a contract to a person.
_NAMED = (
    *("secType", "symbol", "localSymbol", "exchange", "currency", "conId"),
    *("lastTradeDateOrContractMonth", "strike", "right"),
)
# IB's way to say that it has no number.
_UNSET = 1.7976931348623157e308
# No price, quantity or sum of money is larger; a float keeps such a number to three places.
_MOST = 1e12
# What fits into the journal.
_LARGEST_ID = 2**63 - 1

Sink = Callable[[Report], None]


class Ears:
    """What the decoder calls: translates into reports, and nothing else."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        # The decoder looks here for the time zone of executions, which `StrictDecoder` makes needless.
        self.ib = SimpleNamespace(TimezoneTWS=None)

    def __getattr__(self, name: str) -> Callable[..., None]:
        # Market data and the like were never asked for; whatever else comes is not for us, connectAck among it.
        if name.startswith("_") or name in {"priceSizeTick", "tcpDataArrived", "tcpDataProcessed"}:
            raise AttributeError(name)
        return _ignore

    def nextValidId(self, req_id: int) -> None:
        self._sink(NextOrderId(req_id))

    def managedAccounts(self, names: str) -> None:
        self._sink(Accounts(tuple(name for name in names.split(",") if name)))

    def orderStatus(
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
        check_ids(order_id, perm_id)
        self._sink(StatusReport(order_id, status, filled, remaining, perm_id, client_id, why_held))

    def openOrder(self, order_id: int, contract: Any, order: Any, state: Any) -> None:
        check_ids(int(order_id), order.permId, contract.conId)
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

    def execDetails(self, _req_id: int, contract: Any, execution: Any) -> None:
        if not (_is_quantity(execution.shares) and abs(execution.price) < _MOST):
            raise ValueError(f"execution {execution.execId} is no number")
        check_ids(execution.orderId, execution.permId, contract.conId)
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
        check_ids(contract.conId)
        symbol = contract.symbol or contract.localSymbol
        traits = _traits(contract)
        self._sink(PositionReport(account, contract.conId, symbol, contract.secType, quantity, traits))

    def positionEnd(self) -> None:
        self._sink(RequestEnd("positions"))

    def commissionReport(self, report: Any) -> None:
        if not abs(report.commission) < _MOST:
            return  # Not known yet, and then IB reports it again; or no number.
        pnl = report.realizedPNL
        known = abs(pnl) < _MOST
        self._sink(CommissionReport(report.execId, report.commission, report.currency, pnl if known else None))

    def completedOrder(self, _contract: Any, order: Any, state: Any) -> None:
        check_ids(order.permId)
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
        check_ids(req_id, code)
        self._sink(ErrorReport(req_id, code, unescaped(f"{text} {advanced}".strip())))

    def openOrderEnd(self) -> None:
        self._sink(RequestEnd("open_orders"))

    def execDetailsEnd(self, _req_id: int) -> None:
        self._sink(RequestEnd("executions"))

    def completedOrdersEnd(self) -> None:
        self._sink(RequestEnd("completed_orders"))

    def currentTime(self, _secs: int) -> None:
        self._sink(RequestEnd("current_time"))

    def setEventsDone(self) -> None:
        # The one callback that comes at every end of the socket, ready or not.
        self._sink(Closed())


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


def check_ids(*ids: int) -> None:
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
