"""`python -m services.strategy`: the example strategy, in the few lines that a strategy needs."""

from __future__ import annotations

import itertools
import signal
import sys
import time

from loguru import logger

from orderfuse.client.sync import OrderClient
from orderfuse.errors import OrderError
from orderfuse.exit_codes import DONE, USAGE
from orderfuse.settings import SettingsError
from services.runtime.process import STOP_SIGNALS, begin, refuse
from services.strategy.obstacles import Obstacles
from services.strategy.report import tell_end

# The paper gateway's account. Named in every order, so that none can be traded anywhere else.
PAPER_ACCOUNT = "DU0000000"
SYMBOLS = ("AAPL", "MSFT")
SHARES = 10
PAUSE_S = 2.0
# A market order is filled at once; one that is not in this time is cancelled.
FILL_TIMEOUT_S = 10.0


def main() -> int:
    """Run until a signal. Returns the exit code (`orderfuse.exit_codes`)."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: sys.exit(DONE))
    try:
        with OrderClient("example", settings=begin()) as client:
            trade(client)
    except SettingsError as error:
        return refuse("strategy", error, USAGE)
    return DONE


def trade(client: OrderClient, *, pause_s: float = PAUSE_S) -> None:
    """Buy and sell in turn, for ever. What is blocked is tried again until it passes."""
    obstacles = Obstacles(logger)
    for symbol, action in itertools.cycle(itertools.product(SYMBOLS, ("BUY", "SELL"))):
        while not traded(client, symbol, action, obstacles):
            time.sleep(pause_s)
        time.sleep(pause_s)


def traded(client: OrderClient, symbol: str, action: str, obstacles: Obstacles) -> bool:
    """Send one order and tell how it ended. False: it was not sent, so it may be tried again."""
    contract = {"secType": "STK", "symbol": symbol, "exchange": "SMART", "currency": "USD"}
    order = {"action": action, "orderType": "MKT", "totalQuantity": SHARES}
    try:
        handle = client.submit(contract, order, account=PAPER_ACCOUNT)
    except OrderError as no:
        obstacles.note(no)
        # Whoever may have it already must not get another one.
        return bool(getattr(no, "maybe_at_ib", False))
    obstacles.over()
    try:
        tell_end(logger, f"{action} {SHARES} {symbol}", handle.wait(FILL_TIMEOUT_S))
    except TimeoutError as late:
        logger.warning("{}; cancelling it", late)
        _cancel(client, handle.order_id)
    return True


def _cancel(client: OrderClient, order_id: str) -> None:
    try:
        client.cancel(order_id)
    except OrderError as no:
        logger.warning("{}", no)


if __name__ == "__main__":
    sys.exit(main())
