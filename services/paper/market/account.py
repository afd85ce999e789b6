"""The one paper account: cash, positions and the values that follow from them. All sums are in USD."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.paper.market.instruments import Instrument

START_CASH_USD = 1_000_000.0

# Margin as a share of a position's value: IB's usual figures for a margin account, rounded.
_INIT_MARGIN = {"STK": 0.25, "CASH": 0.03, "FUT": 0.10, "OPT": 1.0, "BAG": 1.0}
_MAINT_MARGIN = {"STK": 0.25, "CASH": 0.025, "FUT": 0.08, "OPT": 1.0, "BAG": 1.0}
# What AvailableFunds can buy, with 25 percent of initial margin.
_BUYING_POWER = 4.0
_DUST = 1e-9


@dataclass(slots=True)
class Position:
    """What is held of one instrument. `average_price` is per unit, without commission."""

    instrument: Instrument
    quantity: float = 0.0
    average_price: float = 0.0
    realized_usd: float = 0.0

    @property
    def unit_usd(self) -> float:
        """Return what one price point of one contract is worth."""
        return self.instrument.multiplier * self.instrument.usd_rate

    @property
    def average_cost(self) -> float:
        """Return the cost of one contract in the instrument's currency, as IB reports it."""
        return self.average_price * self.instrument.multiplier

    def unrealized_usd(self, price: float) -> float:
        """Return profit or loss at a price."""
        return (price - self.average_price) * self.quantity * self.unit_usd

    def value_usd(self, price: float) -> float:
        """Return the market value at a price."""
        return price * self.quantity * self.unit_usd


@dataclass(frozen=True, slots=True)
class Totals:
    """The account at one moment, in USD."""

    cash: float
    positions: float  # what positions add to the net liquidation value
    gross: float
    init_margin: float
    maint_margin: float
    unrealized: float
    realized: float

    @property
    def net_liquidation(self) -> float:
        """Return what would be left after closing everything."""
        return self.cash + self.positions

    @property
    def available_funds(self) -> float:
        """Return what new orders may still bind as initial margin."""
        return self.net_liquidation - self.init_margin

    @property
    def excess_liquidity(self) -> float:
        """Return the distance to a liquidation."""
        return self.net_liquidation - self.maint_margin

    @property
    def cushion(self) -> float:
        """Return the excess liquidity as a share of the net liquidation value."""
        return self.excess_liquidity / self.net_liquidation if self.net_liquidation > 0 else 0.0

    @property
    def buying_power(self) -> float:
        """Return the value of stock that the available funds can buy."""
        return max(0.0, self.available_funds) * _BUYING_POWER


class Account:
    """Cash and positions; every fill goes through `apply`."""

    def __init__(self, price_of: Callable[[Instrument], float]) -> None:
        self.cash = START_CASH_USD
        self.commissions = 0.0
        self.positions: dict[int, Position] = {}
        self._price_of = price_of

    def apply(self, instrument: Instrument, shares: float, price: float, commission: float) -> float | None:
        """Book one fill.

        Args:
            instrument: What was traded.
            shares: Bought if positive, sold if negative.
            price: Per unit, in the instrument's currency.
            commission: In USD.

        Returns:
            The realized profit or loss of what was closed, None if nothing was.
        """
        position = self.positions.get(instrument.con_id)
        if position is None:
            position = self.positions[instrument.con_id] = Position(instrument)
        closed, realized = _close(position, shares, price)
        _open(position, shares - closed, price)
        self.cash -= commission
        self.commissions += commission
        if instrument.sec_type == "FUT":
            # A future is not paid for: only what a closed one has earned or lost moves cash.
            self.cash += realized
        else:
            self.cash -= shares * price * position.unit_usd
        if not closed:
            return None
        position.realized_usd += realized - commission
        return realized - commission

    def totals(self, extra: Iterable[tuple[Instrument, float]] = ()) -> Totals:
        """Return the account's values, with further shares added for the margins only (for a preview)."""
        quantities = {con_id: position.quantity for con_id, position in self.positions.items()}
        instruments = {con_id: position.instrument for con_id, position in self.positions.items()}
        for instrument, shares in extra:
            instruments[instrument.con_id] = instrument
            quantities[instrument.con_id] = quantities.get(instrument.con_id, 0.0) + shares
        worth = gross = init = maint = unrealized = 0.0
        for con_id, instrument in instruments.items():
            price = self._price_of(instrument)
            size = abs(quantities[con_id] * price) * instrument.multiplier * instrument.usd_rate
            init += size * _INIT_MARGIN[instrument.sec_type]
            maint += size * _MAINT_MARGIN[instrument.sec_type]
            position = self.positions.get(con_id)
            if position is None:
                continue
            gain = position.unrealized_usd(price)
            unrealized += gain
            if instrument.sec_type == "FUT":
                worth += gain
            else:
                worth += position.value_usd(price)
                gross += abs(position.value_usd(price))
        realized = sum(position.realized_usd for position in self.positions.values())
        return Totals(self.cash, worth, gross, init, maint, unrealized, realized)


def _close(position: Position, shares: float, price: float) -> tuple[float, float]:
    """Set `shares` against an opposite position; return how many closed and what that earned in USD."""
    if position.quantity * shares >= 0:
        return 0.0, 0.0
    closed = min(abs(shares), abs(position.quantity)) * (1 if shares > 0 else -1)
    earned = (price - position.average_price) * -closed * position.unit_usd
    position.quantity += closed
    if abs(position.quantity) < _DUST:
        position.quantity = 0.0
        position.average_price = 0.0
    return closed, earned


def _open(position: Position, shares: float, price: float) -> None:
    if abs(shares) < _DUST:
        return
    total = position.quantity + shares
    position.average_price = (position.average_price * position.quantity + price * shares) / total
    position.quantity = total


def commission_usd(instrument: Instrument, shares: float, price: float) -> float:
    """Return IB's fixed commission for one execution, as far as it matters here: never zero, plausible."""
    contracts = abs(shares)
    value = contracts * price * instrument.multiplier * instrument.usd_rate
    match instrument.sec_type:
        case "STK":
            commission = min(max(1.0, 0.005 * contracts), max(0.01 * value, 0.01))
        case "CASH":
            commission = max(2.0, 0.00002 * value)
        case "FUT":
            commission = 2.25 * contracts
        case _:
            commission = max(1.0, 0.65 * contracts)
    return round(commission, 4)
