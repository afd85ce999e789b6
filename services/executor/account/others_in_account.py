"""What others do in the account: positions that our fills do not explain, and orders that are not ours. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from msgspec import structs

from orderfuse.bus.control import MAX_TOLD
from orderfuse.ibfields.names import contract_name, order_name
from services.executor.account.foreign_orders import ForeignOrders
from services.executor.account.position_breaks import Baseline, Findings, LegFill, PositionBreaks
from services.executor.account.told_positions import ToldPositions
from services.executor.batch import ByHand
from services.executor.core import Core
from services.gateway.position_list import Held
from services.gateway.reports import OpenOrderReport
from services.runtime.notes import Note, info, warning
from services.wire.dispatch import Accept
from services.wire.standing import Drift, ForeignOrder, GatewayStatus

ForeignPolicy = Literal["tell", "trip", "ignore"]
# Of what comes at once so many lines are written to the log, and one with the number of the others.
MAX_LINES = 20


class OthersInAccount:
    """Looks, tells the log, has kept what must be kept, and carries out what a person accepts.

    Args:
        core: the shared state.
        breaks: finds where the positions are not what our fills make.
        accepted: orders of others that a person has accepted.
        policy: what to do about orders of others (`executor.foreign_orders`).
        alone: no breaker is there to tell of position breaks.
    """

    def __init__(
        self,
        core: Core,
        breaks: PositionBreaks,
        accepted: list[ForeignOrder],
        policy: ForeignPolicy,
        *,
        alone: bool,
    ) -> None:
        self.breaks = breaks
        self._alone = alone
        self._core = core
        self._policy = policy
        self._foreign = ForeignOrders(accepted)
        self._told_positions = ToldPositions()
        # When the last complete list came (wall clock); 0 before the first.
        self._positions_at_ns = self._orders_at_ns = 0

    def told(self, status: GatewayStatus) -> GatewayStatus:
        """The gateway's status with what stands."""
        foreign = self._foreign.told
        return structs.replace(
            status,
            drift=self.breaks.standing[:MAX_TOLD],
            drift_at_ns=self._positions_at_ns,
            foreign=foreign,
            foreign_trips=bool(foreign) and self._policy == "trip",
            foreign_ignored=self._policy == "ignore",
            foreign_at_ns=self._orders_at_ns,
        )

    # -- positions ----------------------------------------------------------------------------------------

    def on_fill(self, fill: LegFill, before: float) -> None:
        """An execution of ours; of a correction, what changes since it was `before`."""
        self.breaks.on_fill(fill, before)

    def on_positions_asked(self) -> None:
        """A list of positions is asked for."""
        self.breaks.on_asked()

    def on_positions(self, held: list[Held]) -> None:
        """IB has listed all positions."""
        if self.breaks.has_baseline and not self._core.life.usable:
            return  # Fills made while we were away are still being asked for.
        before = self.breaks.standing[:MAX_TOLD]
        findings = self.breaks.on_positions(held)
        self._positions_at_ns = self._core.now.wall_ns
        if findings.first:
            text = (
                f"{len(held)} positions of {self._core.life.account} are the baseline of the search for position breaks"
            )
            self._say(info(text))
        self._say_breaks(findings, (*before, *self.breaks.standing[:MAX_TOLD]))
        if findings.first or findings.changed:
            self._keep(findings.changed)

    def _say_breaks(self, findings: Findings, told: Iterable[Drift]) -> None:
        """Say each new difference once, and when it has gone. What is told with the status, a breaker says."""
        said_there = set() if self._alone else {each.con_id for each in told}
        for each in (each for each in findings.new if each.con_id not in said_there):
            self._say(
                warning(
                    f"position break: {_name(each)}: IB holds {each.actual:g}, expected are {each.expected:g}; "
                    "traded by others, or fills are missing here"
                )
            )
        for each in (each for each in findings.gone if each.con_id not in said_there):
            self._say(info(f"position break: {_name(each)} is as expected again"))

    def on_position(self, held: Held) -> None:
        """IB tells of one position unasked."""
        self._told_positions.on_told(held.con_id, held.quantity, self._core.now.secs)

    def _keep(self, baselines: Iterable[Baseline]) -> None:
        kept = self._core.keep.baselines or {}
        self._core.keep.baselines = {**kept, **{each.con_id: each for each in baselines}}

    # -- orders -------------------------------------------------------------------------------------------

    def on_list_begun(self) -> None:
        """IB is asked for all open orders."""
        self._foreign.on_list_begun()

    def on_foreign_order(self, report: OpenOrderReport) -> None:
        """An order is open that is not ours."""
        if self._policy != "ignore":
            self._foreign.on_order(report)

    def on_list_end(self) -> None:
        """IB has listed all open orders."""
        gone, forgotten = self._foreign.on_list_end()
        self._orders_at_ns = 0 if self._policy == "ignore" else self._core.now.wall_ns
        self._say_some(info, "{} has gone from IB's list", map(_order_name, gone))
        self._core.keep.forgotten += forgotten

    def look(self) -> None:
        """Tell each order of others once, and have orders listed soon if somebody trades and may have more out."""
        new = map(_order_name, self._foreign.take_new())
        self._say_some(warning, "not an order of orderfuse, and open in this account: {}", new)
        if self._told_positions.unexplained(self.breaks.explains, self._core.now.secs):
            self._core.life.list_orders_soon()

    # -- accepting ----------------------------------------------------------------------------------------

    def accept(self, message: Accept) -> None:
        """A person takes these as they are. Nothing follows from it before it is saved: `on_accepted`."""
        if self._core.journal_error:
            # Kept for later it would be carried out after the breaker has told them that it is not done.
            self._say(warning(f"what a person would accept is dropped: {self._core.journal_error}"))
            return
        baselines = self.breaks.accepted(message.drift)
        orders = self._foreign.accepted(message.foreign)
        if (baselines or orders) and not self._core.has_accepted(message.number):
            self._core.keep.by_hand.append(ByHand(message, baselines, orders))

    def on_accepted(self, accepted: ByHand) -> None:
        """What a person has accepted is on the disk."""
        self.breaks.accept(accepted.baselines)
        self._foreign.accept(accepted.orders)

    # -- the log ------------------------------------------------------------------------------------------

    def _say(self, note: Note) -> None:
        self._core.batch.notes.append(note)

    def _say_some(self, note: Callable[[str], Note], line: str, named: Iterable[str]) -> None:
        names = list(named)
        for name in names[:MAX_LINES]:
            self._say(note(line.format(name)))
        if len(names) > MAX_LINES:
            self._say(note(line.format(f"{len(names) - MAX_LINES} more orders")))


def _name(found: Drift) -> str:
    return contract_name(structs.asdict(found))


def _order_name(order: ForeignOrder) -> str:
    return order_name({**structs.asdict(order), "by_hand": order.by_hand})
