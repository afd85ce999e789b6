"""What a client wants to be told from then on, once it has asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.paper.market.instruments import Instrument
from services.paper.market.walk import Quote


@dataclass(slots=True)
class Ticker:
    """A market data subscription and the prices it was told last."""

    instrument: Instrument
    told: Quote | None = None


@dataclass(slots=True)
class Subscriptions:
    """What a client wants to be told unasked, by request id where it has one."""

    positions: bool = False
    account: bool = False
    multi: set[int] = field(default_factory=set)
    summaries: dict[int, list[str]] = field(default_factory=dict)
    tickers: dict[int, Ticker] = field(default_factory=dict)
