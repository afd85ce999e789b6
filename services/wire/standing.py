"""What the executor says of the gateway and of the account, at its hello and with each lease. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from orderfuse.bus.control import MAX_TOLD
from orderfuse.bus.fields import Nanos

# A position, or a difference of two, is none below this: the smallest fraction of a share that IB knows is larger.
DUST = 1e-6


class Drift(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """IB holds something else of a contract than our fills make, on top of what was there at the start."""

    con_id: int
    symbol: str
    expected: float
    actual: float
    sec_type: str = ""
    currency: str = ""
    expiry: str = ""
    strike: float = 0.0
    right: str = ""

    @property
    def difference(self) -> float:
        """How much more IB holds than the fills make; below 0: less."""
        return self.actual - self.expected


class ForeignOrder(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An open order of the account that is not ours, as IB lists it."""

    perm_id: int
    client_id: int
    ib_order_id: int
    action: str
    quantity: float
    order_type: str
    con_id: int
    symbol: str
    sec_type: str = ""
    currency: str = ""
    expiry: str = ""
    strike: float = 0.0
    right: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether a person placed it in TWS: IB gives those no client, and no number above 0."""
        return self.client_id == 0 and self.ib_order_id <= 0

    @property
    def key(self) -> tuple[int, int, int]:
        """Which order it is, whatever it is like: the permanent id; without one, whose it is and its number there."""
        return (self.perm_id, 0, 0) if self.perm_id else (0, self.client_id, self.ib_order_id)


class GatewayStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the executor knows of its gateway. `usable`: connected, reconciled, and IB is behind it."""

    host: str
    port: int
    connected: bool
    usable: bool
    account: str = ""
    detail: str = ""
    # What a person does about it, where that is known; the detail ends with it.
    remedy: str = ""
    # Not usable because the executor renews the connection by itself, to look up orders in doubt.
    planned: bool = False
    # It has not answered the question for the time, and has not answered anything since; orders are not written.
    silent: bool = False
    # Told with every lease request, so that neither side's restart loses it.
    drift: Annotated[tuple[Drift, ...], Meta(max_length=MAX_TOLD)] = ()
    foreign: Annotated[tuple[ForeignOrder, ...], Meta(max_length=MAX_TOLD)] = ()
    # No order may pass while there are foreign ones (`executor.foreign_orders`).
    foreign_trips: bool = False
    # Nobody looks for them (`executor.foreign_orders`).
    foreign_ignored: bool = False
    # When IB had last listed all positions, and all open orders of the account (wall clock); 0: not yet.
    drift_at_ns: Nanos = 0
    foreign_at_ns: Nanos = 0
