"""What the gateway answers about orders: placing, cancelling, and the lists of orders and executions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.paper.faults import injection
from services.paper.faults.armed import ArmedFaults
from services.paper.market.exchange import Exchange
from services.paper.market.orders import Execution, read_int, read_ticket
from services.paper.market.updates import Step, status_told
from services.paper.server import render
from services.paper.server.answers import client_of, tell
from services.paper.server.sessions import Session
from services.paper.wire.framing import Fields
from services.paper.wire.moments import local_midnight, parse_time
from services.runtime.crash_points import reach


class OrderRequests:
    """Serves the requests about orders.

    Args:
        exchange: The book.
        faults: The armed faults.
        perform: Tells what happened to those it concerns.
        after_order: Called once a new order was taken.
        clock: Wall-clock seconds.
    """

    def __init__(
        self,
        exchange: Exchange,
        faults: ArmedFaults,
        perform: Callable[[Iterable[Step]], None],
        after_order: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._exchange = exchange
        self._faults = faults
        self._perform = perform
        self._after_order = after_order
        self._clock = clock
        self.handlers: dict[str, Callable[[Session, Fields], None]] = {
            "placeOrder": self._place_order,
            "cancelOrder": self._cancel_order,
            "reqGlobalCancel": self._global_cancel,
            "reqOpenOrders": self._open_orders,
            "reqAllOpenOrders": self._all_open_orders,
            "reqCompletedOrders": self._completed_orders,
            "reqExecutions": self._executions,
            "reqIds": self._ids,
        }

    def _place_order(self, session: Session, fields: Fields) -> None:
        reach("paper.order.received")
        ticket = read_ticket(client_of(session), fields)
        operation = injection.operation_of_ticket(self._exchange, ticket)
        injected = self._faults.for_order(operation)
        if injected:
            self._perform(injection.place(self._exchange, ticket, injected, self._clock()))
        else:
            self._perform(self._exchange.place(ticket, self._clock()))
        reach("paper.order.booked")
        if operation.on == "new":
            self._faults.order_seen()
            self._after_order()

    def _cancel_order(self, session: Session, fields: Fields) -> None:
        reach("paper.cancel.received")
        client_id, order_id, now = client_of(session), read_int(fields, "orderId"), self._clock()
        injected = self._faults.for_order(injection.operation_of_cancel(self._exchange, client_id, order_id))
        if injected:
            self._perform(injection.cancel(self._exchange, client_id, order_id, injected, now))
        else:
            self._perform(self._exchange.cancel(client_id, order_id, now))

    def _global_cancel(self, _session: Session, _fields: Fields) -> None:
        self._perform(self._exchange.cancel_all(self._clock()))

    def _open_orders(self, session: Session, _fields: Fields) -> None:
        self._tell_open_orders(session, session.client_id)

    def _all_open_orders(self, session: Session, _fields: Fields) -> None:
        self._tell_open_orders(session, None)

    def _tell_open_orders(self, session: Session, client_id: int | None) -> None:
        for order in self._exchange.open_orders(client_id):
            if not order.unknown:
                tell(session, render.open_order(order, order.told_status, self._exchange.account_id))
                tell(session, render.order_status(status_told(order, order.told_status)), order.ticket.order_ref)
        session.say("openOrderEnd")

    def _completed_orders(self, session: Session, _fields: Fields) -> None:
        for order in self._exchange.completed_orders(local_midnight(self._clock())):
            tell(session, render.completed_order(order, self._exchange.account_id))
        session.say("completedOrdersEnd")

    def _executions(self, session: Session, fields: Fields) -> None:
        request_id = read_int(fields, "reqId")
        client_id = read_int(fields, "clientId")
        since = max(local_midnight(self._clock()), parse_time(fields["time"]) or 0.0)
        for execution in self._exchange.executions:
            if execution.at >= since and self._matches(execution, fields, client_id):
                tell(session, render.execution_details(execution, self._exchange.account_id, request_id))
                tell(session, render.commission_report(execution), execution.order.ticket.order_ref)
        session.say("execDetailsEnd", reqId=request_id)

    def _ids(self, session: Session, _fields: Fields) -> None:
        session.say("nextValidId", orderId=self._exchange.next_order_id(client_of(session)))

    def _matches(self, execution: Execution, fields: Mapping[str, Any], client_id: int) -> bool:
        order = execution.order
        side = {"BUY": 1, "BOT": 1, "SELL": -1, "SLD": -1, "SSHORT": -1}.get(fields["side"].upper(), 0)
        return (
            client_id in (0, order.ticket.client_id)
            and fields["account"] in ("", self._exchange.account_id)
            and fields["symbol"] in ("", order.instrument.symbol)
            and fields["secType"] in ("", order.instrument.sec_type)
            and fields["exchange"] in ("", order.ticket.contract["exchange"], order.instrument.exchange)
            and side in (0, order.sign)
        )
