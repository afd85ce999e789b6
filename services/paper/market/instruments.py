"""What can be traded, with plausible prices: any stock, currency pairs, futures, options, combinations.

Nothing is downloaded and no list is needed: an instrument that nobody asked for before gets its contract id
and its first price from its own description, so that both are the same in every run.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# Enough for any strategy; a client that invents symbols in a loop must not grow the gateway for ever.
MAX_INSTRUMENTS = 20_000

NO_DEFINITION = "No security definition has been found for the request"

_STOCK_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9 .\-/]{0,11}\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_EXPIRY = re.compile(r"\d{6}(\d{2})?\Z")
_LEG_RATIO = re.compile(r"[1-9][0-9]{0,5}\Z")
_CONTRACT_SIZE = re.compile(r"\d{1,9}(\.\d{1,6})?\Z")

# Well-known symbols, with the contract id that IB gives them and a price of the right size.
_KNOWN: dict[tuple[str, str, str], tuple[int, float]] = {
    ("STK", "AAPL", "USD"): (265598, 190.0),
    ("STK", "AMZN", "USD"): (3691937, 180.0),
    ("STK", "GOOG", "USD"): (208813720, 170.0),
    ("STK", "IBM", "USD"): (8314, 185.0),
    ("STK", "META", "USD"): (107113386, 490.0),
    ("STK", "MSFT", "USD"): (272093, 410.0),
    ("STK", "NVDA", "USD"): (4815747, 120.0),
    ("STK", "QQQ", "USD"): (320227571, 480.0),
    ("STK", "SPY", "USD"): (756733, 540.0),
    ("STK", "TSLA", "USD"): (76792991, 240.0),
    ("CASH", "AUD", "USD"): (14433401, 0.66),
    ("CASH", "EUR", "USD"): (12087792, 1.08),
    ("CASH", "GBP", "USD"): (12087797, 1.27),
    ("CASH", "USD", "CAD"): (15016062, 1.36),
    ("CASH", "USD", "CHF"): (12087820, 0.88),
    ("CASH", "USD", "JPY"): (15016059, 150.0),
}
# Futures by symbol: exchange, multiplier, tick, and a price of the right size. Anything else is a future like ES.
_FUTURES: dict[str, tuple[str, str, float, float]] = {
    "ES": ("CME", "50", 0.25, 5800.0),
    "MES": ("CME", "5", 0.25, 5800.0),
    "NQ": ("CME", "20", 0.25, 20000.0),
    "MNQ": ("CME", "2", 0.25, 20000.0),
    "RTY": ("CME", "50", 0.1, 2200.0),
    "YM": ("CBOT", "5", 1.0, 42000.0),
    "CL": ("NYMEX", "1000", 0.01, 70.0),
    "NG": ("NYMEX", "10000", 0.001, 3.0),
    "GC": ("COMEX", "100", 0.1, 2600.0),
    "SI": ("COMEX", "5000", 0.005, 31.0),
    "ZN": ("CBOT", "1000", 0.015625, 110.0),
    "ZB": ("CBOT", "1000", 0.03125, 118.0),
    "EUR": ("CME", "125000", 0.00005, 1.08),
    "FDAX": ("EUREX", "25", 1.0, 19000.0),
}
# What an option costs beyond its intrinsic value, as a share of the price of what it is on.
_TIME_VALUE = 0.02
# What one unit of a currency is worth in USD when the account adds up. Fixed on purpose: a margin that moves
# because a paper exchange rate moved would explain nothing to anybody.
_USD_PER = {
    "USD": 1.0,
    "EUR": 1.08,
    "GBP": 1.27,
    "CHF": 1.13,
    "AUD": 0.66,
    "CAD": 0.73,
    "JPY": 0.0066,
    "HKD": 0.128,
    "SEK": 0.095,
    "NOK": 0.094,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One contract as the gateway knows it: prices in `currency` per unit, `multiplier` units a contract."""

    con_id: int
    symbol: str
    sec_type: str
    expiry: str
    strike: float
    right: str
    multiplier: float
    multiplier_text: str
    exchange: str
    currency: str
    local_symbol: str
    trading_class: str
    min_tick: float
    first_price: float
    usd_rate: float

    def describe(self, exchange: str = "") -> dict[str, Any]:
        """Return the contract fields of a reply, with the exchange that the client asked for."""
        described: dict[str, Any] = {
            "conId": str(self.con_id),
            "symbol": self.symbol,
            "secType": self.sec_type,
            "lastTradeDateOrContractMonth": self.expiry,
            "multiplier": self.multiplier_text,
            "exchange": exchange or self.exchange,
            "currency": self.currency,
            "localSymbol": self.local_symbol,
            "tradingClass": self.trading_class,
        }
        if self.sec_type == "OPT":
            described["strike"] = self.strike
            described["right"] = self.right
        return described


class UnknownContractError(Exception):
    """No instrument fits what a client described; the text says why, in the words of error 200."""


class Catalogue:
    """Finds the instrument that a contract of a request means."""

    def __init__(self) -> None:
        self._by_description: dict[tuple[str, ...], Instrument] = {}
        self._by_con_id: dict[int, Instrument] = {}

    def resolve(self, contract: Mapping[str, Any]) -> Instrument:
        """Return the instrument for the contract fields of a request.

        A contract id that is not known yet is taken as a name for what the other fields describe, since
        users bring ids from IB.

        Raises:
            UnknownContractError: Nothing fits.
        """
        con_id = _contract_id(contract)
        known = self._by_con_id.get(con_id)
        symbol = contract["symbol"]
        if known is not None:
            if (symbol and symbol != known.symbol) or contract["secType"] not in ("", known.sec_type):
                raise UnknownContractError(
                    f"{NO_DEFINITION}: contract id {con_id} is {known.symbol} ({known.sec_type})"
                )
            return known
        found = self._by_description_of(contract)
        if con_id:
            self._remember(con_id, found)
        return found

    def adopt(self, instrument: Instrument, con_id_text: str = "") -> Instrument:
        """Take over an instrument from before a restart, also under the id that a client has for it."""
        known = self._by_con_id.setdefault(instrument.con_id, instrument)
        if con_id_text.isdecimal() and int(con_id_text):
            self._remember(int(con_id_text), known)
        return known

    def _by_description_of(self, contract: Mapping[str, Any]) -> Instrument:
        key = tuple(
            contract[name]
            for name in (
                "secType",
                "symbol",
                "currency",
                "lastTradeDateOrContractMonth",
                "strike",
                "right",
                "multiplier",
                "localSymbol",
            )
        )
        legs = contract.get("comboLegs") or ()
        # Two combinations of one symbol are two instruments.
        key += tuple(f"{leg['conId']}:{leg['ratio']}:{leg['action']}" for leg in legs)
        found = self._by_description.get(key)
        if found is None:
            found = self._price_of_legs(_describe(contract), legs)
            # Two descriptions may mean one contract ("AAPL" with and without its local symbol).
            found = self._by_con_id.get(found.con_id, found)
            if len(self._by_description) >= MAX_INSTRUMENTS:
                raise UnknownContractError(f"{NO_DEFINITION}: {MAX_INSTRUMENTS} contracts are in use already")
            self._by_description[key] = found
            self._by_con_id.setdefault(found.con_id, found)
        return found

    def _price_of_legs(self, instrument: Instrument, legs: Sequence[Mapping[str, Any]]) -> Instrument:
        """Give a combination the id and the price that follow from its legs.

        A leg that nobody has asked for here counts nothing: users bring contract ids from IB.
        """
        if not legs:
            return instrument
        worth, multiplier = 0.0, instrument.multiplier
        for leg in legs:
            if not _LEG_RATIO.match(leg["ratio"]) or leg["action"] not in ("BUY", "SELL", "SSHORT"):
                raise UnknownContractError(f"{NO_DEFINITION}: a leg needs a ratio and an action")
            known = self._by_con_id.get(_contract_id(leg))
            if known is not None:
                sign = 1 if leg["action"] == "BUY" else -1
                worth += sign * int(leg["ratio"]) * known.first_price * known.multiplier
                multiplier = max(multiplier, known.multiplier)
        # Quoted like its largest leg: 100 shares and an option on them cost what they do for one share.
        price = worth / multiplier or instrument.first_price
        name = f"{instrument.symbol}|" + "|".join(f"{leg['conId']}:{leg['ratio']}:{leg['action']}" for leg in legs)
        con_id = 1_000_000_000 + zlib.crc32(name.encode()) % 1_000_000_000
        return replace(instrument, con_id=con_id, multiplier=multiplier, first_price=round(price, 4))

    def _remember(self, con_id: int, instrument: Instrument) -> None:
        if len(self._by_con_id) < 2 * MAX_INSTRUMENTS:
            self._by_con_id[con_id] = instrument


def _contract_id(contract: Mapping[str, Any]) -> int:
    text = contract["conId"] or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise UnknownContractError(f"{NO_DEFINITION}: '{text[:20]}' is no contract id")
    return int(text)


def _describe(contract: Mapping[str, Any]) -> Instrument:
    sec_type = contract["secType"]
    rule = _RULES.get(sec_type)
    if rule is None:
        raise UnknownContractError(f"{NO_DEFINITION}: security type '{sec_type[:20]}'")
    symbol = contract["symbol"] or (contract["localSymbol"] if sec_type in ("FUT", "OPT") else "")
    currency = contract["currency"] or "USD"
    expiry = contract["lastTradeDateOrContractMonth"]
    strike = _strike(contract["strike"]) if sec_type == "OPT" else 0.0
    right = contract["right"][:1] if sec_type == "OPT" else ""
    if not _STOCK_SYMBOL.match(symbol):
        raise UnknownContractError(f"{NO_DEFINITION}: symbol '{symbol[:20]}'")
    if not _CURRENCY.match(currency):
        raise UnknownContractError(f"{NO_DEFINITION}: currency '{currency[:20]}'")
    if sec_type in ("FUT", "OPT") and not (_EXPIRY.match(expiry) or contract["localSymbol"]):
        raise UnknownContractError(f"{NO_DEFINITION}: {sec_type} without an expiry")
    if sec_type == "OPT" and not (strike > 0 and right in ("C", "P")) and not contract["localSymbol"]:
        raise UnknownContractError(f"{NO_DEFINITION}: an option needs a strike and a right")

    exchange, tick = rule.exchange, _min_tick(rule, currency)
    multiplier_text = contract["multiplier"] or rule.multiplier_text
    if sec_type == "FUT" and symbol in _FUTURES:
        exchange, multiplier, tick, _ = _FUTURES[symbol]
        multiplier_text = contract["multiplier"] or multiplier
    if multiplier_text and not (_CONTRACT_SIZE.match(multiplier_text) and float(multiplier_text) > 0):
        raise UnknownContractError(f"{NO_DEFINITION}: multiplier '{multiplier_text[:20]}'")
    name = "|".join((sec_type, symbol, currency, expiry, f"{strike:g}", right, multiplier_text))
    known_id, known_price = _KNOWN.get((sec_type, symbol, currency), (0, 0.0))
    digest = zlib.crc32(name.encode())
    price = known_price or _invented_price(sec_type, digest)
    if sec_type == "FUT" and symbol in _FUTURES:
        price = _FUTURES[symbol][3]
    elif sec_type == "OPT" and strike:
        price = _option_price(symbol, currency, strike, right, tick)
    return Instrument(
        # Above what IB has handed out so far, so that an invented id is not another's real one.
        con_id=known_id or 1_000_000_000 + digest % 1_000_000_000,
        symbol=symbol,
        sec_type=sec_type,
        expiry=expiry,
        strike=strike,
        right=right,
        multiplier=float(multiplier_text or 1),
        multiplier_text=multiplier_text,
        exchange=exchange,
        currency=currency,
        local_symbol=contract["localSymbol"] or (f"{symbol}.{currency}" if sec_type == "CASH" else symbol),
        trading_class=contract["tradingClass"] or rule.trading_class or symbol,
        min_tick=tick,
        first_price=round(price, 4),
        usd_rate=_USD_PER.get(currency, 1.0),
    )


def _invented_price(sec_type: str, digest: int) -> float:
    low, high = _RULES[sec_type].price_range
    return low + (high - low) * (digest % 10_007) / 10_007


def _option_price(symbol: str, currency: str, strike: float, right: str, tick: float) -> float:
    """Return an option's first price from that of the stock it is on; it moves by itself from there."""
    name = "|".join(("STK", symbol, currency, "", "0", "", ""))
    _, known = _KNOWN.get(("STK", symbol, currency), (0, 0.0))
    underlying = known or _invented_price("STK", zlib.crc32(name.encode()))
    intrinsic = underlying - strike if right == "C" else strike - underlying
    price = max(intrinsic, 0.0) + underlying * _TIME_VALUE
    return round(price / tick) * tick


def _strike(text: str) -> float:
    try:
        strike = float(text or 0)
    except ValueError:
        raise UnknownContractError(f"{NO_DEFINITION}: strike '{text[:20]}'") from None
    return strike if 0 <= strike < 1e9 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What instruments of one security type have in common."""

    exchange: str
    min_tick: float
    price_range: tuple[float, float]
    trading_class: str = ""
    multiplier_text: str = ""


_RULES = {
    "STK": _Rule(exchange="NASDAQ", min_tick=0.01, price_range=(20.0, 400.0), trading_class="NMS"),
    "CASH": _Rule(exchange="IDEALPRO", min_tick=0.00005, price_range=(0.6, 1.6)),
    "FUT": _Rule(exchange="CME", min_tick=0.25, price_range=(1000.0, 6000.0), multiplier_text="50"),
    "OPT": _Rule(exchange="AMEX", min_tick=0.01, price_range=(2.0, 15.0), multiplier_text="100"),
    "BAG": _Rule(exchange="SMART", min_tick=0.01, price_range=(1.0, 10.0)),
}


def _min_tick(rule: _Rule, currency: str) -> float:
    return 0.005 if rule.exchange == "IDEALPRO" and currency == "JPY" else rule.min_tick
