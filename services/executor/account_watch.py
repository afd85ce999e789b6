"""What others do in the account beside us: positions that our fills do not explain, and orders that are not ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from loguru import logger
from msgspec import structs

from orderfuse.contractname import contract_name, order_name
from orderfuse.messages import MAX_TOLD, Accept, Drift, ForeignOrder, GatewayStatus
from services.executor.drift import Baseline, DriftCheck, Held, LegFill
from services.executor.foreign_orders import ForeignOrders
from services.executor.journal import Journal, JournalError
from services.executor.pushed import PushedPositions
from services.gateway.reports import OpenOrderReport

ForeignPolicy = Literal["tell", "trip", "ignore"]
# Of what comes at once so many lines are written to the log, and one with the number of the others.
MAX_LINES = 20


class AccountWatch:
    """Looks, tells the log, keeps what must be kept, and carries out what a person accepts.

    Args:
        journal: keeps baselines, and what was accepted.
        policy: what to do about orders of others (`executor.foreign_orders`).
        on_change: called when something new stands, or stands no more.
        on_journal_error: called when the journal takes nothing.
    """

    def __init__(
        self,
        journal: Journal,
        policy: ForeignPolicy,
        *,
        on_change: Callable[[], None],
        on_journal_error: Callable[[JournalError], None],
    ) -> None:
        self.policy = policy
        self.drift = DriftCheck(journal.fill_sums(), journal.baselines())
        self._journal = journal
        self._foreign = ForeignOrders(journal.accepted_orders())
        self._pushed = PushedPositions()
        self._unkept: dict[int, Baseline] = {}
        # When the last complete list came (wall clock); 0 before the first.
        self._positions_at_ns = self._orders_at_ns = 0
        self._on_change = on_change
        self._on_journal_error = on_journal_error

    def told(self, status: GatewayStatus) -> GatewayStatus:
        """The gateway's status with what stands."""
        foreign = self._foreign.told
        return structs.replace(
            status,
            drift=self.drift.standing[:MAX_TOLD],
            drift_at_ns=self._positions_at_ns,
            foreign=foreign,
            foreign_trips=bool(foreign) and self.policy == "trip",
            foreign_ignored=self.policy == "ignore",
            foreign_at_ns=self._orders_at_ns,
        )

    # -- positions ----------------------------------------------------------------------------------------

    def on_fill(self, fill: LegFill, before: float) -> None:
        """An execution of ours; of a correction, what changes since it was `before`."""
        self.drift.on_fill(fill, before)

    def on_positions(self, held: list[Held], account: str) -> None:
        """IB has listed all positions: tell each new difference once."""
        findings = self.drift.on_positions(held)
        self._positions_at_ns = self._journal.wall_ns()
        if findings.first:
            logger.info("{} positions of {} are the baseline of the drift check", len(held), account)
        for drift in findings.new:
            logger.warning(
                "drift: {}: IB holds {:g}, expected are {:g}; traded by others, or fills are missing here",
                *(_name(drift), drift.actual, drift.expected),
            )
        for drift in findings.gone:
            logger.info("drift: {} is as expected again", _name(drift))
        self._unkept.update({each.con_id: each for each in findings.changed})
        try:
            if findings.first or self._unkept:
                self._journal.keep_baselines(list(self._unkept.values()))
            self._unkept.clear()
        except JournalError as error:
            self._on_journal_error(error)
        if findings.new or findings.gone:
            self._on_change()

    def on_push(self, held: Held, now: float) -> None:
        """IB tells of one position unasked."""
        self._pushed.on_push(held.con_id, held.quantity, now)

    def wants_orders(self, now: float) -> bool:
        """Whether the account's open orders should be listed soon: somebody trades, and may have more out."""
        return self._pushed.unexplained(self.drift.explains, now)

    # -- orders -------------------------------------------------------------------------------------------

    def on_list_begun(self) -> None:
        """IB is asked for all open orders."""
        self._foreign.on_list_begun()

    def on_foreign_order(self, report: OpenOrderReport) -> None:
        """An order is open that is not ours."""
        if self.policy != "ignore":
            self._foreign.on_order(report)

    def on_list_end(self) -> None:
        """IB has listed all open orders."""
        gone, forgotten = self._foreign.on_list_end()
        self._orders_at_ns = 0 if self.policy == "ignore" else self._journal.wall_ns()
        _log_some(logger.info, "{} has gone from IB's list", map(_order_name, gone))
        try:
            if forgotten:
                self._journal.forget_orders(forgotten)
        except JournalError as error:
            self._on_journal_error(error)
        if gone:
            self._on_change()

    def tell_new(self) -> None:
        """Tell each order of others once."""
        new = self._foreign.take_new()
        _log_some(logger.warning, "not an order of orderfuse, and open in this account: {}", map(_order_name, new))
        if new:
            self._on_change()

    # -- accepting ----------------------------------------------------------------------------------------

    def accept(self, message: Accept) -> None:
        """A person takes these as they are. Journaled before anything follows from it."""
        baselines = self.drift.accepted(message.drift)
        orders = self._foreign.accepted(message.foreign)
        try:
            if not (baselines or orders) or self._journal.has_accepted(message.number):
                return
            self._journal.accept(message, baselines, orders)
        except JournalError as error:
            self._on_journal_error(error)
            return
        self.drift.accept(baselines)
        self._foreign.accept(orders)
        for each in baselines:
            self._unkept.pop(each.con_id, None)
        by = f"accepted by {message.who or 'somebody'}: {message.reason}"
        differences = {each.con_id: each for each in message.drift}
        for drift in (differences[each.con_id] for each in baselines):
            logger.info("drift: {}: {:g} are as expected from now on, {}", _name(drift), drift.actual, by)
        for order in orders:
            logger.info("{}: told no more, {}", _order_name(order), by)
        self._on_change()


def _log_some(log: Callable[..., None], line: str, named: Iterable[str]) -> None:
    names = list(named)
    for name in names[:MAX_LINES]:
        log(line, name)
    if len(names) > MAX_LINES:
        log(line, f"{len(names) - MAX_LINES} more orders")


def _name(drift: Drift) -> str:
    return contract_name(structs.asdict(drift))


def _order_name(order: ForeignOrder) -> str:
    return order_name({**structs.asdict(order), "by_hand": order.by_hand})
