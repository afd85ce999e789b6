"""What the gateway says of contracts and their prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from services.paper.market.exchange import Exchange
from services.paper.market.instruments import Instrument, UnknownContractError
from services.paper.market.orders import read_int
from services.paper.market.walk import Quote
from services.paper.server import render
from services.paper.server.answers import tell
from services.paper.server.sessions import Session
from services.paper.server.subscriptions import Ticker
from services.paper.wire.framing import Fields
from services.paper.wire.order_layouts import flagged

# IB gives every account 100 market data lines.
MAX_TICKERS = 100
# IB's tick types.
BID, ASK, LAST, CLOSE = 1, 2, 4, 9
TICK_SIZE = "100"


class MarketDataRequests:
    """Serves the requests about contracts and market data.

    Args:
        exchange: Where they are traded.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.handlers: dict[str, Callable[[Session, Fields], None]] = {
            "reqContractDetails": self._contract_details,
            "reqMktData": self._market_data,
            "cancelMktData": self._cancel_market_data,
            "reqMarketDataType": self._market_data_type,
        }

    def tell_prices(self, sessions: Iterable[Session]) -> None:
        """Tell each subscriber the prices that changed."""
        for session in sessions:
            for request_id, ticker in session.subscriptions.tickers.items():
                self._tell_quote(session, request_id, ticker)

    def _contract_details(self, session: Session, fields: Fields) -> None:
        request_id = read_int(fields, "reqId")
        instrument = self._instrument(session, request_id, fields)
        if instrument is not None:
            tell(session, render.contract_details(instrument, request_id))
            session.say("contractDetailsEnd", reqId=request_id)

    def _instrument(self, session: Session, request_id: int, contract: Mapping[str, Any]) -> Instrument | None:
        try:
            return self._exchange.instrument(contract)
        except UnknownContractError as error:
            session.say("error", id=request_id, code=200, text=str(error))
            return None

    def _market_data(self, session: Session, fields: Fields) -> None:
        request_id = read_int(fields, "reqId")
        instrument = self._instrument(session, request_id, fields)
        if instrument is None:
            return
        tickers = session.subscriptions.tickers
        snapshot = flagged(fields["snapshot"])
        if request_id in tickers:
            session.say("error", id=request_id, code=102, text="Duplicate ticker id")
            return
        if not snapshot and len(tickers) >= MAX_TICKERS:
            text = "Max number of tickers has been reached"
            session.say("error", id=request_id, code=101, text=text)
            return
        ticker = Ticker(instrument)
        session.say("marketDataType", reqId=request_id, marketDataType=session.market_data_type)
        session.say("tickReqParams", reqId=request_id, minTick=instrument.min_tick)
        self._tell_quote(session, request_id, ticker)
        if snapshot:
            session.say("tickSnapshotEnd", reqId=request_id)
        else:
            tickers[request_id] = ticker

    def _tell_quote(self, session: Session, request_id: int, ticker: Ticker) -> None:
        quote = self._exchange.quote(ticker.instrument)
        told = ticker.told
        if quote is told:
            return
        ticker.told = quote
        for tick_type, price in _changed(quote, told):
            session.say("tickPrice", reqId=request_id, tickType=tick_type, price=price, size=TICK_SIZE)

    def _cancel_market_data(self, session: Session, fields: Fields) -> None:
        request_id = read_int(fields, "reqId")
        if session.subscriptions.tickers.pop(request_id, None) is None:
            session.say("error", id=request_id, code=300, text=f"Can't find EId with tickerId:{request_id}")

    def _market_data_type(self, session: Session, fields: Fields) -> None:
        session.market_data_type = read_int(fields, "marketDataType")


def _changed(quote: Quote, told: Quote | None) -> Iterable[tuple[int, float]]:
    now = ((BID, quote.bid), (ASK, quote.ask), (LAST, quote.last), (CLOSE, quote.close))
    if told is None:
        return now
    before = (told.bid, told.ask, told.last, told.close)
    return [pair for pair, old in zip(now, before, strict=True) if pair[1] != old]
