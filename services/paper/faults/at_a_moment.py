"""Faults that happen at a moment: to connections, to the day, to the account, to what works. Data only."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from services.paper.faults.families import (
    Action,
    ClientId,
    Code,
    FaultError,
    How,
    Millis,
    Money,
    Orders,
    Price,
    Size,
    Text,
    Word,
)
from services.paper.market.orders import MAX_ORDER_ID
from services.paper.wire.framing import SERVER_VERSION_MAX


class Notice(Action, frozen=True, kw_only=True):
    """A message of the system, such as 1100, 1102 or 2103. 1300 ends the connections as well."""

    code: Code
    text: Text = ""
    client_id: ClientId | None = None


class Disconnect(Action, frozen=True, kw_only=True):
    """Connections break. The halves of `stop_reading` and `stop_writing` go on after `for_ms`; 0: never."""

    how: How = "rst"
    client_id: ClientId | None = None
    for_ms: Millis = 0


class Restart(Action, frozen=True, kw_only=True):
    """The gateway forgets every connection, is away for `down_ms`, and knows its book again."""

    down_ms: Millis = 0
    roll_back_ids: Orders = 0  # nextValidId is so much lower than it was


class Midnight(Action, frozen=True, kw_only=True):
    """A new day: executions and completed orders are gone."""

    day_orders: bool = False  # orders that are good for the day end as well


class CloseOfDay(Action, frozen=True, kw_only=True):
    """The close: orders that are good for the day end, and completed orders list them. Others work on."""

    reason: Text = ""  # what 202 gives as the reason


class NextId(Action, frozen=True, kw_only=True):
    """The next order id, in the greeting and as the answer to reqIds, is this one."""

    order_id: Annotated[int, Meta(ge=1, le=MAX_ORDER_ID)]
    client_id: ClientId | None = None


class LoggedOut(Action, frozen=True, kw_only=True):
    """Nobody is logged in: an empty list of accounts and no order id, until `active=false` or for `for_ms`."""

    active: bool = True
    for_ms: Millis = 0


class ServerVersion(Action, frozen=True, kw_only=True):
    """Who connects from now on is told at most this version, however old; 0: its own again."""

    version: Annotated[int, Meta(ge=0, le=SERVER_VERSION_MAX)] = 152


class ReadOnly(Action, frozen=True, kw_only=True):
    """The API is read-only, or (`active=false`) no longer."""

    active: bool = True


class MarginValues(Action, frozen=True, kw_only=True):
    """Account values are what is given here, whatever is held; without any they are true again."""

    excess_liquidity: Money | None = None
    available_funds: Money | None = None
    net_liquidation: Money | None = None
    cushion: Money | None = None


class FillOrders(Action, frozen=True, kw_only=True):
    """Working orders are filled, with `away` once their client is gone."""

    order_ref: Text = ""
    symbol: Word = ""
    shares: Size = 0.0  # 0: all that remains
    price: Price | None = None  # default: the limit, else the market
    away: bool = False
    twin: Literal["both", "older", "newer"] = "both"  # of two orders with one order id, see `twin`
    siblings_first: bool = False  # what the fill does to others is told before it, by `wait_ms`
    wait_ms: Millis = 0


class ReduceOrders(Action, frozen=True, kw_only=True):
    """IB lowers the quantity of working orders (481); one that is filled up to it ends."""

    order_ref: Text = ""
    symbol: Word = ""
    quantity: Size = 0.0  # at least what is filled
    ends: Literal["Cancelled", "Filled"] = "Cancelled"


class TradeByHand(Action, frozen=True, kw_only=True):
    """Somebody buys in TWS, or (below 0) sells: at the market, or at `price`, where it may rest."""

    symbol: Word
    shares: Annotated[float, Meta(ge=-1e9, le=1e9)]
    price: Price | None = None
    sec_type: Word = "STK"
    currency: Word = "USD"

    def __post_init__(self) -> None:
        """Refuse what is neither bought nor sold.

        Raises:
            FaultError: it is of 0 shares.
        """
        if self.shares == 0:
            raise FaultError("shares is 0; allowed are numbers from -1e+09 to 1000000000 but 0", "shares")


class MovePrice(Action, frozen=True, kw_only=True):
    """The market moves to a price."""

    symbol: Word
    price: Annotated[float, Meta(gt=0, le=1e9)]
    sec_type: Word = "STK"
    currency: Word = "USD"


class Liquidity(Action, frozen=True, kw_only=True):
    """From now on so many are bid and offered at each price step; 0: any number."""

    symbol: Word
    size: Size = 0.0
    sec_type: Word = "STK"
    currency: Word = "USD"
