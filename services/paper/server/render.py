"""Effects and book entries as messages of the wire: a name and the values of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.paper.market.account import Position, Totals
from services.paper.market.instruments import Instrument
from services.paper.market.orders import Execution, Order, Status
from services.paper.market.updates import (
    CommissionTold,
    ErrorTold,
    ExecutionTold,
    OpenOrderTold,
    PreviewTold,
    StatusTold,
    Update,
)
from services.paper.wire.framing import decimal_text
from services.paper.wire.moments import execution_time_text, zoned_time_text
from services.paper.wire.order_layouts import MARGIN_FIELDS

Message = tuple[str, dict[str, Any]]


def render(update: Update, account_id: str) -> Message:
    """Return the message that tells an update on an account."""
    match update:
        case OpenOrderTold():
            return open_order(update.order, update.status, account_id, with_commission=update.with_commission)
        case StatusTold():
            return order_status(update)
        case ExecutionTold():
            return execution_details(update.execution, account_id, request_id=-1)
        case CommissionTold():
            return commission_report(update.execution)
        case ErrorTold():
            return error(update.order_id, update.code, update.text)
        case PreviewTold():
            return _preview(update, account_id)


def error(request_id: int, code: int, text: str) -> Message:
    """Return an error or notice; `request_id` -1 means the system."""
    return "error", {"id": request_id, "code": code, "text": text}


def open_order(order: Order, status: Status, account_id: str, *, with_commission: bool = False) -> Message:
    """Return an openOrder."""
    ticket = order.ticket
    values = _order_values(order, account_id)
    values["orderId"] = ticket.order_id
    values["clientId"] = ticket.client_id
    values["totalQuantity"] = decimal_text(ticket.quantity)
    values["status"] = status.value
    values["sharesAllocation"] = f"{order.perm_id}.0/{account_id}/{decimal_text(ticket.quantity)}"
    if ticket.parent_id:
        values["parentId"] = ticket.parent_id
    if with_commission:
        values["commission"] = f"{order.commission:.2f}"
        values["commissionCurrency"] = "USD"
    return "openOrder", values


def order_status(told: StatusTold) -> Message:
    """Return an orderStatus."""
    order, ticket = told.order, told.order.ticket
    return "orderStatus", {
        "orderId": ticket.order_id,
        "status": told.status.value,
        "filled": decimal_text(told.filled),
        "remaining": decimal_text(told.remaining),
        "avgFillPrice": decimal_text(told.average_price),
        "permId": order.perm_id,
        "parentId": ticket.parent_id,
        "lastFillPrice": decimal_text(told.last_price),
        "clientId": ticket.client_id,
        "whyHeld": told.why_held,
    }


def completed_order(order: Order, account_id: str) -> Message:
    """Return a completedOrder: as at IB without order id, and a filled one without quantity."""
    values = _order_values(order, account_id)
    values["totalQuantity"] = decimal_text(order.remaining)
    values["filledQuantity"] = decimal_text(order.filled)
    values["status"] = order.status.value
    values["completedTime"] = zoned_time_text(order.done_at)
    values["completedStatus"] = order.done_text
    return "completedOrder", values


def execution_details(execution: Execution, account_id: str, request_id: int) -> Message:
    """Return an execDetails; `request_id` -1 means that nobody asked for it."""
    order = execution.order
    ticket = order.ticket
    instrument = order.instrument
    return "execDetails", {
        **instrument.describe(ticket.contract["exchange"]),
        "reqId": request_id,
        "orderId": ticket.order_id,
        "execId": execution.exec_id,
        "time": execution_time_text(execution.at),
        "account": account_id,
        "executionExchange": instrument.exchange,
        "side": "BOT" if order.sign > 0 else "SLD",
        "shares": decimal_text(execution.shares),
        "price": decimal_text(execution.price),
        "permId": order.perm_id,
        "clientId": ticket.client_id,
        "cumQty": decimal_text(execution.cumulative),
        "avgPrice": decimal_text(execution.average_price),
        "orderRef": ticket.order_ref,
    }


def commission_report(execution: Execution) -> Message:
    """Return a commissionReport."""
    values: dict[str, Any] = {
        "execId": execution.exec_id,
        "commission": execution.commission,
        "currency": "USD",
    }
    if execution.realized_pnl is not None:
        values["realizedPNL"] = round(execution.realized_pnl, 4)
    return "commissionReport", values


def position(held: Position, account_id: str) -> Message:
    """Return a position."""
    return "position", {
        **held.instrument.describe(),
        "account": account_id,
        "position": decimal_text(held.quantity),
        "avgCost": decimal_text(held.average_cost),
    }


def portfolio(held: Position, price: float, account_id: str) -> Message:
    """Return a portfolio line at a price."""
    described = held.instrument.describe()
    described["primaryExchange"] = described.pop("exchange")
    return "portfolio", {
        **described,
        "account": account_id,
        "position": decimal_text(held.quantity),
        "marketPrice": decimal_text(price),
        "marketValue": decimal_text(price * held.quantity * held.instrument.multiplier),
        "averageCost": decimal_text(held.average_cost),
        "unrealizedPNL": f"{held.unrealized_usd(price):.2f}",
        "realizedPNL": f"{held.realized_usd:.2f}",
    }


def account_values(
    totals: Totals, account_id: str, forced: Mapping[str, float] | None = None
) -> list[tuple[str, str, str]]:
    """Return the account's values as (key, value, currency); forced ones are what they are said to be."""
    money = {
        "NetLiquidation": totals.net_liquidation,
        "TotalCashValue": totals.cash,
        "SettledCash": totals.cash,
        "AvailableFunds": totals.available_funds,
        "ExcessLiquidity": totals.excess_liquidity,
        "EquityWithLoanValue": totals.net_liquidation,
        "InitMarginReq": totals.init_margin,
        "MaintMarginReq": totals.maint_margin,
        "BuyingPower": totals.buying_power,
        "GrossPositionValue": totals.gross,
        "UnrealizedPnL": totals.unrealized,
        "RealizedPnL": totals.realized,
        "FullInitMarginReq": totals.init_margin,
        "FullMaintMarginReq": totals.maint_margin,
        "FullAvailableFunds": totals.available_funds,
        "FullExcessLiquidity": totals.excess_liquidity,
        "LookAheadInitMarginReq": totals.init_margin,
        "LookAheadMaintMarginReq": totals.maint_margin,
        "LookAheadAvailableFunds": totals.available_funds,
        "LookAheadExcessLiquidity": totals.excess_liquidity,
    }
    cushion = totals.cushion
    for name, value in (forced or {}).items():
        if name == "Cushion":
            cushion = value
        for key in (name, f"Full{name}", f"LookAhead{name}"):
            if key in money:
                money[key] = value
    return [
        ("AccountCode", account_id, ""),
        ("AccountType", "INDIVIDUAL", ""),
        ("AccountReady", "true", ""),
        ("Cushion", f"{cushion:.6f}", ""),
        *((key, f"{value:.2f}", "USD") for key, value in money.items()),
    ]


def contract_details(instrument: Instrument, request_id: int) -> Message:
    """Return a contractDetails."""
    stock = instrument.sec_type == "STK"
    described = instrument.describe()
    exchange = described.pop("exchange")
    return "contractDetails", {
        **described,
        "reqId": request_id,
        "exchange": "SMART" if stock else exchange,
        "marketName": instrument.trading_class,
        "minTick": decimal_text(instrument.min_tick),
        "orderTypes": "DAY,FOK,GTC,GTD,IOC,LIT,LMT,MIT,MKT,MTL,STP,STPLMT,TRAIL,TRAILLMT,WHATIF",
        "validExchanges": f"SMART,{exchange}" if stock else exchange,
        "longName": f"{instrument.symbol} (paper)",
        "primaryExchange": exchange,
        "contractMonth": instrument.expiry[:6],
        "timeZoneId": "UTC",
        "realExpirationDate": instrument.expiry if len(instrument.expiry) == 8 else "",
        "stockType": "COMMON" if stock else "",
    }


def _preview(update: PreviewTold, account_id: str) -> Message:
    values = _order_values(update.order, account_id)
    ticket = update.order.ticket
    pairs = (update.init_margin, update.maint_margin, update.equity_with_loan)
    margins = [
        *(before for before, _ in pairs),
        *(after - before for before, after in pairs),
        *(after for _, after in pairs),
    ]
    values.update(zip(MARGIN_FIELDS, (f"{margin:.2f}" for margin in margins), strict=True))
    values |= {
        "orderId": ticket.order_id,
        "clientId": ticket.client_id,
        "totalQuantity": decimal_text(ticket.quantity),
        "whatIf": "1",
        "status": Status.PRE_SUBMITTED.value,
        "commission": f"{update.commission:.2f}",
        "commissionCurrency": "USD",
    }
    return "openOrder", values


def _order_values(order: Order, account_id: str) -> dict[str, Any]:
    """Return what openOrder and completedOrder have in common."""
    ticket = order.ticket
    values = order.instrument.describe(ticket.contract["exchange"])
    if ticket.echo:
        values.update(ticket.echo)
    values["action"] = ticket.action
    values["orderType"] = ticket.order_type
    if ticket.limit_price is not None:
        values["lmtPrice"] = str(ticket.limit_price)
    if ticket.aux_price is not None:
        values["auxPrice"] = str(ticket.aux_price)
    if order.trail_stop is not None:
        values["trailStopPrice"] = values["trailStopPriceAgain"] = f"{order.trail_stop:.8g}"
    values["tif"] = ticket.tif
    values["ocaGroup"] = ticket.oca_group
    values["account"] = account_id
    values["orderRef"] = ticket.order_ref
    values["goodTillDate"] = ticket.good_till
    values["permId"] = order.perm_id
    return values
