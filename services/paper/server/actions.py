"""What happens when the time of an `Action` has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from loguru import logger

from services.paper.faults import unsolicited
from services.paper.faults.at_a_moment import (
    CloseOfDay,
    Disconnect,
    FillOrders,
    Liquidity,
    LoggedOut,
    MarginValues,
    Midnight,
    MovePrice,
    NextId,
    Notice,
    ReadOnly,
    ReduceOrders,
    Restart,
    ServerVersion,
    TradeByHand,
)
from services.paper.faults.families import Action
from services.paper.faults.kinds import fields_of, kind_of
from services.paper.faults.texts import text_for
from services.paper.market.orders import CONTRACT_FIELDS, Order, Status, Ticket
from services.paper.market.updates import Pause, Step, order_of
from services.paper.wire.framing import clean_text

if TYPE_CHECKING:
    from services.paper.server.gateway import PaperGateway

PORT_RESET = 1300
CONNECTIVITY = {1100: True, 1101: False, 1102: False}  # whether IB is away
_MARGIN_NAMES = {
    "excess_liquidity": "ExcessLiquidity",
    "available_funds": "AvailableFunds",
    "net_liquidation": "NetLiquidation",
    "cushion": "Cushion",
}


def act(gateway: PaperGateway, action: Action, now: float) -> None:
    """Do what a fault says, now."""
    logger.info("fault: {} {}", kind_of(action), fields_of(action))
    _ACTIONS[type(action)](gateway, action, now)
    gateway.hub.flush()


def is_ready(gateway: PaperGateway, action: Action) -> bool:
    """Tell whether what an action waits for, beside its time, is there."""
    return not (isinstance(action, FillOrders) and action.away) or any(_matching(gateway, action))


def _notice(gateway: PaperGateway, action: Notice, _now: float) -> None:
    text = text_for(action.code, action.text)
    gateway.faults.away = CONNECTIVITY.get(action.code, gateway.faults.away)
    gateway.hub.tell_all("error", action.client_id, id=-1, code=action.code, text=text)
    if action.code == PORT_RESET:
        gateway.cut_clients("fin", action.client_id)


def _disconnect(gateway: PaperGateway, action: Disconnect, _now: float) -> None:
    gateway.cut_clients(action.how, action.client_id, action.for_ms / 1000)


def _restart(gateway: PaperGateway, action: Restart, _now: float) -> None:
    gateway.exchange.book.roll_back_ids(action.roll_back_ids)
    gateway.rewrite_state()
    gateway.restart(action.down_ms / 1000)


def _midnight(gateway: PaperGateway, action: Midnight, now: float) -> None:
    gateway.hub.perform(gateway.exchange.end_day(now, day_orders=action.day_orders))
    gateway.rewrite_state()


def _close(gateway: PaperGateway, action: CloseOfDay, now: float) -> None:
    gateway.hub.perform(unsolicited.close_day(gateway.exchange, now, clean_text(action.reason)))


def _next_id(gateway: PaperGateway, action: NextId, _now: float) -> None:
    gateway.exchange.book.set_next_id(action.order_id, action.client_id)
    gateway.rewrite_state()


def _logged_out(gateway: PaperGateway, action: LoggedOut, _now: float) -> None:
    if action.active:
        gateway.hub.log_out(action.for_ms / 1000)
    else:
        gateway.hub.log_in()


def _server_version(gateway: PaperGateway, action: ServerVersion, _now: float) -> None:
    gateway.hub.highest_version = action.version


def _read_only(gateway: PaperGateway, action: ReadOnly, _now: float) -> None:
    gateway.hub.read_only = action.active


def _price(gateway: PaperGateway, action: MovePrice, _now: float) -> None:
    gateway.move_price(action.symbol, action.price, sec_type=action.sec_type, currency=action.currency)


def _liquidity(gateway: PaperGateway, action: Liquidity, _now: float) -> None:
    exchange = gateway.exchange
    exchange.set_available_size(exchange.instrument(contract_of(action)), action.size)


def _trade_by_hand(gateway: PaperGateway, action: TradeByHand, now: float) -> None:
    exchange = gateway.exchange
    by_hand = [order.ticket.order_id for order in exchange.book.all_orders() if order.ticket.client_id == 0]
    ticket = Ticket(
        client_id=0,
        # TWS gives what a person enters there numbers below 0, if any.
        order_id=min([0, *by_hand]) - 1,
        contract={**contract_of(action), "exchange": "SMART"},
        action="BUY" if action.shares > 0 else "SELL",
        quantity=abs(action.shares),
        order_type="MKT" if action.price is None else "LMT",
        limit_price=action.price,
        aux_price=None,
        tif="DAY",
        oca_group="",
        account=exchange.account_id,
        order_ref="",
        transmit=True,
        parent_id=0,
        what_if=False,
        duration_secs=None,
        good_till="",
        echo=None,
    )
    gateway.hub.perform(exchange.place_by_hand(ticket, now))


def contract_of(fault: MovePrice | Liquidity | TradeByHand) -> dict[str, str]:
    """Return the contract fields that a fault names."""
    named = {"symbol": fault.symbol, "secType": fault.sec_type, "currency": fault.currency}
    return {**dict.fromkeys(CONTRACT_FIELDS, ""), **named}


def _margin(gateway: PaperGateway, action: MarginValues, _now: float) -> None:
    given = {name: getattr(action, field) for field, name in _MARGIN_NAMES.items()}
    forced = {name: value for name, value in given.items() if value is not None}
    gateway.hub.accounts.forced = forced
    gateway.exchange.forced_funds = forced.get("AvailableFunds")
    gateway.hub.push_account()


def _fill(gateway: PaperGateway, action: FillOrders, now: float) -> None:
    for order in list(_matching(gateway, action)):
        shares = min(order.remaining, action.shares or order.remaining)
        market = gateway.exchange.market(order.instrument)
        price = action.price if action.price is not None else order.limit_price or market.far_side(order)
        if not order.live:
            # One that was filled before has ended it.
            continue
        if shares == order.remaining:
            market.forget(order)
        script: list[Step] = list(gateway.exchange.fill(order, shares, price, now))
        gateway.hub.perform(_siblings_first(script, order, action) if action.siblings_first else script)


def _siblings_first(script: list[Step], order: Order, action: FillOrders) -> list[Step]:
    """Tell what a fill did to other orders before the fill."""
    family = [order, *(order.children or ())]
    own = [step for step in script if order_of(step) in family]
    others = [step for step in script if order_of(step) not in family]
    return [*others, Pause(action.wait_ms / 1000), *own]


def _reduce(gateway: PaperGateway, action: ReduceOrders, now: float) -> None:
    for order in list(_matching(gateway, action)):
        if order.live and max(action.quantity, order.filled) < order.ticket.quantity:
            quantity = max(action.quantity, order.filled)
            gateway.hub.perform(unsolicited.reduce(gateway.exchange, order, quantity, Status(action.ends), now))


def _matching(gateway: PaperGateway, action: FillOrders | ReduceOrders) -> Iterable[Order]:
    orders = [
        order
        for order in gateway.exchange.open_orders()
        if order.ticket.order_ref.startswith(action.order_ref) and action.symbol in ("", order.instrument.symbol)
    ]
    if not isinstance(action, FillOrders):
        return orders
    if action.away:
        orders = [order for order in orders if order.ticket.client_id not in gateway.hub.sessions]
    if action.twin == "older":
        orders.reverse()
    # Of those with one order id the last one stays.
    return orders if action.twin == "both" else {order.key: order for order in orders}.values()


_ACTIONS: dict[type[Action], Callable[[PaperGateway, Any, float], None]] = {
    Notice: _notice,
    Disconnect: _disconnect,
    Restart: _restart,
    Midnight: _midnight,
    CloseOfDay: _close,
    NextId: _next_id,
    LoggedOut: _logged_out,
    ServerVersion: _server_version,
    ReadOnly: _read_only,
    MarginValues: _margin,
    FillOrders: _fill,
    ReduceOrders: _reduce,
    TradeByHand: _trade_by_hand,
    MovePrice: _price,
    Liquidity: _liquidity,
}
