"""`python -m services.gateway.panic`: cancel everything at IB, with neither breaker nor executor.

`orderfuse panic` starts it. It stops all new orders first (the file STOP, which stays), shows what IB lists, asks, and
sends `reqGlobalCancel`, which takes the orders of all clients and those placed by hand, until IB lists none.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import typer

from orderfuse.cli.panic import stop_all_orders
from orderfuse.cli.show import clean, columns, counted, discard, number, say, say_aside, stdin_is_a_person
from orderfuse.exit_codes import DONE, INTERRUPTED, NOTHING_ANSWERS, REFUSED, USAGE
from orderfuse.home import why
from orderfuse.settings import IbSettings, SettingsError, load_settings
from services.gateway.accounts import AccountRefused, allowed_account
from services.gateway.ib_client import NEEDED_VERSION, IbConnection
from services.gateway.ib_logs import quiet_libraries
from services.gateway.reports import Accounts, Closed, ErrorReport, OpenOrderReport, Report, RequestEnd, Unreadable
from services.runtime.log import configure_log

WORD = "panic"
# The executor has ib.client_id. These are tried one after another where another program has them.
FIRST_CLIENT_ID, LAST_CLIENT_ID = 2, 10
CLIENT_ID_IN_USE = 326
# A read-only API says so, and then answers nothing.
REQUEST_REFUSED = 321
# Until IB has named accounts and the next order id.
CONNECT_SECS = 4.0
# A large account needs seconds for its list.
LIST_SECS = 10.0
# How long orders may take to go, and how often IB is asked: far below its 50 messages a second.
CANCEL_SECS, LIST_EVERY_SECS = 10.0, 0.25
# openOrder, and what it says of an order that is over.
OPEN_ORDER = 5
ENDED = ("Filled", "Cancelled", "ApiCancelled")
# IB's way to say that an order has no such price.
NO_PRICES = (0.0, sys.float_info.max)
# What a cancel brings along, and what the gateway says of its data farms.
NOT_WORTH_SAYING = frozenset({202, *range(2100, 2170)})


_Key = tuple[int, int, int]


class NoAnswer(Exception):
    """The gateway is not there, or does not answer as one."""


class GatewayRefused(Exception):
    """The gateway answers with a no."""


def main(arguments: Sequence[str]) -> int:
    """Cancel everything. Returns the exit code: 0 none is left, 1 refused or some are, 2 usage, 3 no gateway."""
    parser = argparse.ArgumentParser(prog="python -m services.gateway.panic", description="See: orderfuse panic --help")
    parser.add_argument("--home", type=Path, required=True, help="the home folder")
    parser.add_argument("--yes", action="store_true", help="cancel without being asked")
    options = parser.parse_args(arguments)
    if sys.stderr is not None:
        configure_log()
    quiet_libraries()
    _tell(stop_all_orders(options.home))
    try:
        return _panic(load_settings(options.home, create_home=False).ib, ask=not options.yes)
    except SettingsError as error:
        return _complain(USAGE, f"nothing was cancelled: {error}")
    except (AccountRefused, GatewayRefused) as error:
        return _complain(REFUSED, f"nothing was cancelled: {error}")
    except NoAnswer as error:
        return _complain(NOTHING_ANSWERS, str(error))
    except typer.Abort:
        say_aside("")
        return _complain(REFUSED, "given up: nothing was cancelled")
    except KeyboardInterrupt:
        return _complain(INTERRUPTED, "interrupted: what was to be cancelled may be. Run it again to see what is left")


def _panic(settings: IbSettings, *, ask: bool) -> int:
    if ask and not stdin_is_a_person():
        return _complain(USAGE, "nothing was cancelled: nobody can be asked here, so it needs --yes")
    listed = asyncio.run(_list(settings))
    if not listed:
        _tell("IB lists no working order: there is nothing to cancel")
        return DONE
    _tell(f"IB lists {counted(len(listed), 'working order')}:", *_rows(listed))
    if ask and _word() != WORD:
        return _complain(REFUSED, "given up: nothing was cancelled")
    left, said = asyncio.run(_cancel_all(settings))
    for report in said:
        _tell(f"IB says: {report.code} {clean(report.text)}")
    if left:
        _tell(*_rows(left))
        text = f"IB STILL LISTS {counted(len(left), 'working order')} after {CANCEL_SECS:g} s: cancel them in TWS"
        return _complain(REFUSED, text)
    _tell("IB lists no working order any more")
    return DONE


def _word() -> str:
    question = f"All of them will be cancelled. Type {WORD}"
    return str(typer.prompt(question, default="", show_default=False, err=True)).strip().lower()


async def _list(settings: IbSettings) -> list[OpenOrderReport]:
    async with _connected(settings) as gateway:
        _tell(f"connected to {gateway.where} with client id {gateway.client_id}, account {clean(gateway.account)}")
        return await gateway.list_orders()


async def _cancel_all(settings: IbSettings) -> tuple[list[OpenOrderReport], list[ErrorReport]]:
    """What is left when time is up, and what IB said meanwhile."""
    # Not over the connection that listed: that one may be long gone when the person has answered.
    async with _connected(settings) as gateway:
        left = await gateway.list_orders()
        gateway.cancel_all()
        deadline = time.monotonic() + CANCEL_SECS
        asked_for: set[_Key] = set()
        while True:
            asked_for.update(map(_key, left))
            await asyncio.sleep(LIST_EVERY_SECS)
            left = await gateway.list_orders()
            if not left or time.monotonic() >= deadline:
                return left, gateway.said
            if not asked_for.issuperset(map(_key, left)):
                # One came after the cancel: it was on its way, or somebody goes on placing by hand.
                gateway.cancel_all()


@asynccontextmanager
async def _connected(settings: IbSettings) -> AsyncIterator[_Gateway]:
    """A connection to an account that may be traded.

    Raises:
        NoAnswer: there is none.
        AccountRefused: its account is not the one to trade.
    """
    first, last = settings.client_id + FIRST_CLIENT_ID, settings.client_id + LAST_CLIENT_ID
    where = f"{settings.host}:{settings.port}"
    for client_id in range(first, last + 1):
        gateway = _Gateway(where, client_id)
        try:
            if await gateway.connect(settings):
                gateway.account = allowed_account(settings, gateway.accounts)
                yield gateway
                return
        finally:
            gateway.close()
    raise NoAnswer(f"the client ids {first} to {last} are all in use at {where}: end a program that has one")


class _Gateway:
    """One connection, and what it has said."""

    def __init__(self, where: str, client_id: int) -> None:
        self.where = where
        self.client_id = client_id
        self.accounts: tuple[str, ...] = ()
        self.account = ""
        self.said: list[ErrorReport] = []
        self._listed: dict[_Key, OpenOrderReport] = {}
        self._in_use = False
        self._refusal = ""
        self._cancelled = False
        self._ended = asyncio.Event()
        self._closed = asyncio.Event()
        # A handful of messages, each waited for: no pacing of ours may stand before a stop.
        self._connection = IbConnection(self._hear)

    async def connect(self, settings: IbSettings) -> bool:
        """Whether it is connected; False if another program has its client id.

        Raises:
            NoAnswer: nobody is there, or no gateway.
        """
        connecting = asyncio.create_task(
            self._connection.connect(settings.host, settings.port, self.client_id, CONNECT_SECS)
        )
        lost = asyncio.create_task(self._closed.wait())
        await asyncio.wait({connecting, lost}, return_when=asyncio.FIRST_COMPLETED)
        for task in (connecting, lost):
            task.cancel()
        outcome, _ = await asyncio.gather(connecting, lost, return_exceptions=True)
        if self._in_use:
            return False
        check = "check ib.host and ib.port (ORDERFUSE_IB__PORT)"
        version = self._connection.server_version
        match outcome:
            case None:
                return True
            case _ if 0 < version < NEEDED_VERSION:
                text = f"the gateway at {self.where} is too old (server version {version}, needed is {NEEDED_VERSION})"
            case TimeoutError() if version:
                text = f"the gateway at {self.where} answers, but names no account: nobody has logged in there"
            case TimeoutError():
                text = f"what listens at {self.where} does not answer as TWS or IB Gateway within {CONNECT_SECS:g} s"
            case ConnectionRefusedError():
                text = f"nothing listens at {self.where}"
            case OSError():
                text = f"no gateway answers at {self.where}: {why(outcome)}"
            case _:
                text = f"what listens at {self.where} closed the connection at once"
        raise NoAnswer(f"{text}; nothing was cancelled. Is it running, and logged in? Else {check}")

    def close(self) -> None:
        """End the connection; what was written has been answered."""
        self._connection.close()

    def cancel_all(self) -> None:
        """Write `reqGlobalCancel`.

        Raises:
            NoAnswer: the connection is lost.
        """
        try:
            self._connection.global_cancel()
        except ConnectionError as error:
            raise NoAnswer(self._lost()) from error
        self._cancelled = True

    async def list_orders(self) -> list[OpenOrderReport]:
        """The orders of all clients that are not over.

        Raises:
            NoAnswer: the list does not come, or not to its end.
            GatewayRefused: the gateway lets no program have it.
        """
        self._listed.clear()
        self._ended.clear()
        waits = {asyncio.create_task(event.wait()) for event in (self._ended, self._closed)}
        try:
            self._connection.request_open_orders()
            await asyncio.wait(waits, timeout=LIST_SECS, return_when=asyncio.FIRST_COMPLETED)
        except ConnectionError:
            raise NoAnswer(self._lost()) from None
        finally:
            for wait in waits:
                wait.cancel()
        if self._refusal:
            raise GatewayRefused(f"{self.where} refuses: {self._refusal}. Allow it in the API settings of TWS")
        if not self._ended.is_set():
            raise NoAnswer(self._lost())
        return list(self._listed.values())

    def _lost(self) -> str:
        done = "the global cancel WAS SENT, what is left is not known" if self._cancelled else "nothing was cancelled"
        return f"{self.where} does not list its orders; {done}. Run it again, or look into TWS"

    def _hear(self, report: Report) -> None:
        """Take note, inside the socket's callback: an exception here would be swallowed by eventkit."""
        match report:
            case Accounts(names):
                self.accounts = names
            case OpenOrderReport():
                if report.status in ENDED:
                    self._listed.pop(_key(report), None)
                else:
                    self._listed[_key(report)] = report
            case Unreadable(message_id=message, text=text, order_ref=ref) if message == OPEN_ORDER:
                # Whatever it is, it is an order that IB lists.
                unread = OpenOrderReport(0, 0, 0, ref or "", "", "UNREADABLE", 0.0, warning=text)
                self._listed[_key(unread)] = unread
            case ErrorReport():
                self._in_use = self._in_use or report.code == CLIENT_ID_IN_USE
                if report.code not in NOT_WORTH_SAYING:
                    self.said.append(report)
                if report.code == REQUEST_REFUSED:
                    self._refusal = f"{report.code} {report.text}"
                    self._ended.set()
            case RequestEnd("open_orders"):
                self._ended.set()
            case Closed():
                self._closed.set()
            case _:
                pass


def _key(order: OpenOrderReport) -> _Key:
    return order.perm_id, order.client_id, order.ib_order_id


def _rows(orders: Sequence[OpenOrderReport]) -> Iterator[str]:
    yield from columns([("order", "client", "account", "status", "what"), *map(_row, orders)])


def _row(order: OpenOrderReport) -> tuple[str, ...]:
    named = order.contract.get("localSymbol") or order.contract.get("symbol", "")
    what = [order.action, number(order.quantity), named, order.order_type]
    for before, name in (("at", "lmtPrice"), ("stop", "auxPrice")):
        price = order.terms.get(name)
        if price is not None and price not in NO_PRICES:
            what += [before, number(price)]
    ours = order.order_ref or ("by hand" if order.client_id == 0 else f"number {order.ib_order_id}")
    client = str(order.client_id)
    return clean(ours), client, clean(order.account), clean(order.status), clean(" ".join(filter(None, what)))


def _tell(*lines: str) -> None:
    """Print lines. Output that nobody can be given is no reason to cancel nothing."""
    try:
        say(*lines)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        discard(sys.stdout)


def _complain(code: int, text: str) -> int:
    say_aside(f"orderfuse: {clean(text)}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
