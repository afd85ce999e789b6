"""What the script asks of a client, in words that belong to no client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

# Loopback and a gateway that answers in milliseconds: whatever takes this long has been lost.
STEP_SECS = 10.0


class TimeoutOfStep(AssertionError):
    """Something that the script waited for did not come."""


@dataclass(frozen=True, slots=True)
class Made:
    """An object of the client's own, named as all of the clients name it."""

    kind: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An order as the script wants it."""

    order_ref: str
    quantity: int = 100
    limit_price: float | None = None  # None for a market order
    action: str = "BUY"
    symbol: str = "AAPL"
    legs: tuple[Made, ...] = ()  # of a combination
    extras: Mapping[str, object] = field(default_factory=dict)  # IB's own names, which all of the clients use


@dataclass(slots=True, kw_only=True)
class FillSeen:
    """An execution as the client told it. `commission` is None until its report has come."""

    exec_id: str
    order_id: int
    perm_id: int
    order_ref: str
    side: str
    shares: float
    price: float
    cumulative: float
    commission: float | None = None


@dataclass(slots=True, kw_only=True)
class OrderSeen:
    """An order as the client shows it. `statuses` are those it passed through, the latest last."""

    order_id: int = 0
    perm_id: int = 0
    order_ref: str = ""
    limit_price: float = 0.0
    quantity: float = 0.0
    statuses: list[str] = field(default_factory=list)
    filled: float = 0.0
    remaining: float = 0.0
    fills: list[FillSeen] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Return the latest status."""
        return self.statuses[-1] if self.statuses else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """What the client knows of a contract."""

    con_id: int
    symbol: str
    exchange: str
    currency: str
    min_tick: float
    long_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The answer to a whatIf, in USD."""

    init_margin_before: float
    init_margin_change: float
    init_margin_after: float
    commission: float


class Driver(Protocol):
    """One client under one set of names. Every wait ends after `STEP_SECS` with `TimeoutOfStep`."""

    client_version: str  # of the package
    offers: tuple[int, int]  # the server versions that the client speaks

    def connect(self, port: int, client_id: int) -> None:
        """Connect and come to the point where orders may be placed."""

    def disconnect(self) -> None:
        """Disconnect; the client id is free again when this returns."""

    def server_version(self) -> int:
        """Return the version that was negotiated."""

    def accounts(self) -> list[str]:
        """Return the accounts that the gateway named."""

    def sync(self) -> None:
        """Ask for orders, executions, positions and the account, and wait for the end of each answer."""

    def contract_details(self, symbol: str) -> list[Details]:
        """Ask what stocks there are of a symbol."""

    def current_time(self) -> float:
        """Ask for the gateway's clock, in seconds."""

    def account_values(self) -> dict[str, str]:
        """Return the account's values by key."""

    def account_summary(self) -> dict[str, str]:
        """Ask for NetLiquidation and TotalCashValue."""

    def positions(self) -> dict[str, float]:
        """Ask for the positions, by symbol."""

    def place(self, wish: Wish, order_id: int | None = None) -> int:
        """Place an order, with the next free id if none is given; return the id."""

    def change(self, order_id: int, wish: Wish) -> None:
        """Change a working order."""

    def cancel(self, order_id: int) -> None:
        """Cancel an order, also one that the client has never heard of."""

    def cancel_everything(self) -> None:
        """Cancel the orders of all clients."""

    def preview(self, wish: Wish) -> Preview:
        """Ask what an order would do to the margin."""

    def order(self, order_id: int) -> OrderSeen:
        """Return an order that was placed in this connection."""

    def told(self, order_id: int, name: str) -> object:
        """Return a field of an order, named as IB names it, as `open_orders` brought it in this connection."""

    def codes(self, order_id: int) -> list[int]:
        """Return the error codes that came for an id, oldest first."""

    def open_orders(self) -> list[OrderSeen]:
        """Ask for this client's open orders."""

    def completed_orders(self) -> list[OrderSeen]:
        """Ask for the orders that have ended."""

    def executions(self) -> list[FillSeen]:
        """Ask for the fills of the day."""

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        """Let the client work until a condition holds."""

    def decode(self, version: int, fields: list[str]) -> list[tuple[str, tuple[object, ...]]]:
        """Let the client's own decoder read a message; return what it reported, by its callback's name."""

    def complaints(self) -> list[str]:
        """Return what the client could not read or handle so far."""
