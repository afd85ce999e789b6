"""Orders found at IB that the journal does not have: it was lost, is an old copy, or belongs to another time. Pure.

What IB says of such an order is held back until its lists are complete: only then is it known how much of it had been
filled by executions that are listed no more, and only then can all of it be told in one piece.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from orderfuse.bus.fields import ADOPTED
from services.executor.orders.records import DECIMALS, Change, OrderRecord, split_exec_id
from services.gateway.reports import (
    AboutOrder,
    CompletedOrderReport,
    ExecutionReport,
    OpenOrderReport,
    OrderReport,
    StatusReport,
)
from services.wire.dispatch import Expect
from services.wire.feedback import Adopted

# As many as IB lets work at once in the largest accounts, many times over.
MAX_HELD = 10_000
# The alphabet of our order ids, which travel as `orderRef`.
_OUR_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}\Z")


@dataclass(slots=True)
class FoundOrder:
    """What IB has said of one order since its lists were asked for, in that order."""

    order_id: str
    reports: list[AboutOrder] = field(default_factory=list)

    @property
    def in_order(self) -> list[AboutOrder]:
        """The reports in the order in which they are told: how it ended comes last."""
        return sorted(self.reports, key=lambda each: isinstance(each, CompletedOrderReport))

    @property
    def open(self) -> OpenOrderReport | None:
        """How IB lists it as open, if it does."""
        found = [report for report in self.reports if isinstance(report, OpenOrderReport)]
        return found[-1] if found else None

    @property
    def executions(self) -> list[ExecutionReport]:
        """Its executions that IB lists; of each the last revision."""
        latest: dict[str, ExecutionReport] = {}
        for report in self.reports:
            if isinstance(report, ExecutionReport):
                base, revision = split_exec_id(report.exec_id)
                if base not in latest or revision > split_exec_id(latest[base].exec_id)[1]:
                    latest[base] = report
        return list(latest.values())

    def filled_before(self, *, combo: bool) -> float:
        """What IB calls filled beyond the executions that it lists: those of earlier days."""
        said = 0.0
        for report in self.in_order:
            if isinstance(report, StatusReport) or (isinstance(report, CompletedOrderReport) and report.quantities):
                said = report.filled
        listed = sum(each.shares for each in self.executions if not combo or each.sec_type == "BAG")
        return max(0.0, round(said - listed, DECIMALS))

    def record(self, now_ns: int) -> OrderRecord:
        """A record for it, of which nobody here knows the strategy. `now_ns`: wall clock."""
        first = next(report for report in self.reports if isinstance(report, OpenOrderReport | ExecutionReport))
        open_order = self.open
        over = [report for report in self.reports if isinstance(report, CompletedOrderReport)]
        if open_order is not None:
            quantity = open_order.quantity
        elif over and over[-1].status != "Filled":
            quantity = max(over[-1].quantities, default=0.0)
        else:
            quantity = sum(each.shares for each in self.executions) + self.filled_before(combo=False)
        return OrderRecord(
            order_id=self.order_id,
            strategy_id=ADOPTED,
            ib_order_id=max(first.ib_order_id, 0),
            quantity=quantity,
            tif=str(open_order.terms.get("tif", "")) if open_order else "",
            combo=any(each.sec_type == "BAG" for each in self.executions),
            placed_ns=now_ns,
            perm_id=first.perm_id,
            answered=True,
            counted="neutral",
            adopting=True,
        )

    def told(self, record: OrderRecord) -> Adopted:
        """What it is, as far as IB's lists say."""
        contract: dict[str, Any] = {}
        order: dict[str, Any] = {"totalQuantity": record.quantity}
        if self.open is not None:
            contract = dict(self.open.contract)
            prices = {name: price for name, price in self.open.terms.items() if isinstance(price, float) and price}
            order |= {"action": self.open.action, "orderType": self.open.order_type, **prices}
        for each in self.executions:
            contract = contract or {"secType": each.sec_type, "symbol": each.symbol, "conId": each.con_id}
            order.setdefault("action", "BUY" if each.side == "BOT" else "SELL")
        return Adopted(
            order_id=record.order_id,
            strategy_id=record.strategy_id,
            ib_order_id=record.ib_order_id,
            perm_id=record.perm_id,
            contract=contract,
            order=order,
        )


def expected(message: Expect) -> OrderRecord:
    """The record of an order that the breaker handed over under another journal."""
    change = message.change
    return OrderRecord(
        order_id=message.order_id,
        strategy_id=message.strategy_id,
        ib_order_id=max(message.ib_order_id, 0),
        quantity=message.quantity,
        tif=message.tif,
        combo=message.combo,
        placed_ns=message.placed_ns,
        perm_id=message.perm_id,
        answered=message.accepted,
        accepted=message.accepted,
        parent=message.parent,
        legs=message.legs,
        protect=message.protect,
        adopting=True,
        revision=change.revision if change else 0,
        change=Change(change.request_id, change.revision, change.terms) if change else None,
        oca_group=message.oca_group,
    )


class FoundOrders:
    """The reports that are held back.

    Args:
        client_id: our API client id: under another one, an order is somebody else's whatever its reference says.
    """

    def __init__(self, client_id: int) -> None:
        self._client_id = client_id
        self._found: dict[str, FoundOrder] = {}
        self._by_perm: dict[int, str] = {}
        # Ids that IB has listed once: none of them may be placed again, also while it is asked anew.
        self._ids: set[str] = set()

    def on_round_begun(self) -> None:
        """IB is asked for everything anew: what it said before, it will say again."""
        self._found.clear()
        self._by_perm.clear()

    def hold(self, report: OrderReport, order_id: str = "") -> bool:
        """Hold a report back; whether it is about an order of ours. `order_id`: whose it is, if that is known."""
        match report:
            case OpenOrderReport() | ExecutionReport():
                order_id = order_id or (report.order_ref if self.is_ours(report) else "")
            case StatusReport() | CompletedOrderReport():
                order_id = order_id or self._by_perm.get(report.perm_id, "")
            case _:
                return False
        if not order_id:
            return False
        if order_id not in self._found and len(self._found) >= MAX_HELD:
            return False
        self._found.setdefault(order_id, FoundOrder(order_id)).reports.append(report)
        self._ids.add(order_id)
        if report.perm_id:
            self._by_perm[report.perm_id] = order_id
        return True

    def is_ours(self, report: OpenOrderReport | ExecutionReport) -> bool:
        """Whether an order has our client id and a reference of ours."""
        return report.client_id == self._client_id and bool(_OUR_REF.match(report.order_ref))

    def knows(self, order_id: str) -> bool:
        """Whether IB has ever listed an order under this id."""
        return order_id in self._ids

    def of(self, order_id: str) -> FoundOrder:
        """What was said of this order."""
        return self._found.get(order_id) or FoundOrder(order_id)

    def ids(self) -> list[str]:
        """The orders of which something was said."""
        return list(self._found)
