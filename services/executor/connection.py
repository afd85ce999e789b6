"""The connection to TWS or IB Gateway: made, guarded, reconciled, watched, and made again.

"Connected" is not enough to place orders. A connection is usable once IB has named the account we may
trade, and has answered completely what is open, executed and over; and only while IB is behind the gateway
and the gateway answers. An answer that does not end in time drops the connection: its late end would be
taken for the end of the next request.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from loguru import logger

from orderfuse.home import why
from orderfuse.messages import GatewayStatus
from orderfuse.settings import IbSettings
from services.crash_points import reach
from services.executor import diagnosis
from services.executor.asking import OVERDUE_SECS, Asking
from services.executor.diagnosis import OTHERS_FOLLOWED_BELOW, OURS_FOLLOWED_BELOW, Trouble, Unended
from services.executor.drift import Held
from services.executor.journal import Journal, JournalError, JournalMismatch
from services.executor.outcomes import Meaning, for_system
from services.executor.position_list import PositionList
from services.executor.tasks import until_one_ends
from services.gateway.accounts import allowed_account
from services.gateway.ib_client import NEEDED_VERSION, ORDER_MESSAGES, Session, quiet_libraries
from services.gateway.pacing import Pacer
from services.gateway.reports import (
    Accounts,
    Closed,
    CommissionReport,
    CompletedOrderReport,
    ErrorReport,
    ExecutionReport,
    NextOrderId,
    OpenOrderReport,
    OrderReport,
    PositionReport,
    Report,
    RequestEnd,
    StatusReport,
    Unreadable,
)

CLIENT_ID_IN_USE = 326
# A gateway notices the end of a connection by its own time-outs; a client id in use for longer is somebody's.
GHOST_SECS = 15.0
# Often enough for a rejection's text that never comes, and for orders that wait for a free place.
TURN_SECS = 0.05
# IB's message with one position.
POSITION_MESSAGE = 61
# While nobody answers, the log gets a line this often.
REMIND_SECS = 60.0


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the connection waits for what, in seconds.

    Attributes:
        connect: until IB has named accounts and the next order id.
        request: until a request's End message; a large account needs seconds.
        probe_every, silent, drop: a harmless question this often; unanswered for so long the gateway is silent
            and nothing is written, and for so long the connection is given up. Until then it is kept: a gateway
            that stood still has read what was written, and answers it over this connection only. Given up it
            must be: a connection whose other end is gone without a word is silent for ever.
        first_pause, longest_pause: between attempts, doubling.
        look_up_pause: between two rounds of questions about orders, so that doubt cannot eat up the pacing.
        positions_every: between two lists of positions, each two messages of the pacing.
        orders_every: between two lists of open orders, each one message, unless something was looked up meanwhile.
        renumber_every: between two new connections that ask whether order ids are in range again.
    """

    connect: float = 4.0
    request: float = 10.0
    probe_every: float = 1.0
    silent: float = 3.0
    drop: float = 15.0
    first_pause: float = 0.25
    longest_pause: float = 5.0
    look_up_pause: float = 1.0
    positions_every: float = 30.0
    orders_every: float = 30.0
    renumber_every: float = 10.0


class Listener(Protocol):
    """Who wants to know."""

    def on_report(self, report: OrderReport) -> None:
        """IB reported something."""

    def on_unreadable(self, report: Unreadable) -> None:
        """IB reported something about orders that could not be read."""

    def on_round_begun(self) -> None:
        """Open orders, executions and completed orders are asked for, from the first to the last."""

    def on_round(self, undisturbed_since: float) -> None:
        """Open orders, executions and completed orders were reported completely."""

    def on_positions_asked(self) -> None:
        """A list of positions is asked for."""

    def on_positions(self, held: list[Held]) -> None:
        """IB has listed all positions of the account."""

    def on_position(self, held: Held) -> None:
        """IB tells of one position unasked."""

    def on_orders_asked(self) -> None:
        """All open orders of the account are asked for."""

    def on_orders_listed(self) -> None:
        """IB has listed all open orders of the account."""

    def on_turn(self) -> None:
        """All reports that have come were handed over; or a moment has passed without any."""

    def on_status(self) -> None:
        """The connection's status has changed."""


class IBConnectionManager:
    """Keeps one connection to TWS or IB Gateway.

    Args:
        settings: where the gateway is, and which account may be traded.
        journal: keeps IB's order ids and the orders over restarts; without one they are kept in memory.
        timing: how long to wait for what.
        clock: monotonic seconds.

    Use `run` in a service, or `start` and `stop` in a script.
    """

    def __init__(
        self,
        settings: IbSettings,
        journal: Journal | None = None,
        *,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.journal = journal or Journal(None, settings.client_id)
        self.account = ""
        self.clock = clock
        self.listener: Listener | None = None
        self.pacer = Pacer(settings.messages_per_second)
        self._timing = timing or Timing()
        self._session: Session | None = None
        self._positions = PositionList(self._timing.positions_every)
        # Whether IB's pushes of positions were asked for over this connection.
        self._positions_pushed = False
        # Whether open orders are listed now and then, for what others do in the account.
        self.lists_orders = False
        self._orders = Asking(self._timing.orders_every)
        self._reports: deque[tuple[int, Report]] = deque()
        self._wake = asyncio.Event()
        self._closed = asyncio.Event()
        self._ends: dict[str, asyncio.Event] = {}
        self._request_error = ""
        self._number = 0
        self._accounts: tuple[str, ...] = ()
        self._next_order_id = 0
        # The highest order id that was used here, as far as this connection knows.
        self._highest_used = 0
        # Since when there is no id for the next order.
        self._short_since: float | None = None
        self._request_id = 0
        self._unended = Unended()
        # How often in a row a connection was waited for in vain.
        self._waited_in_vain = 0
        self._ib_behind = True
        self._client_id_in_use = False
        self._ended_at = float("-inf")
        self._undisturbed_since = float("-inf")
        self._renew = ""
        # Away on purpose; the breaker need not count it against IB.
        self._planned = False
        self._reconciled = False
        self._look_up_wanted = asyncio.Event()
        self._answers = True
        self._detail, self._remedy = "not connected yet", ""
        self._status = self.status()
        self._usable_event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._attempts = 0
        self._reminded_at = 0.0

    # -- what others use ----------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Connected, reconciled, IB behind the gateway, and the gateway answers.

        Enough for cancels and for looking orders up. A new order needs an id as well: `status().usable`.
        """
        return self.ready and self._reconciled and self._ib_behind and self._answers

    @property
    def ready(self) -> bool:
        """Connected as far as that bytes would leave; enough for a cancel."""
        return self._session is not None and self._session.ready

    @property
    def buffer_empty(self) -> bool:
        """Whether everything written so far has left this process."""
        return self._session is not None and self._session.buffer_empty

    def status(self) -> GatewayStatus:
        """How it stands."""
        detail, remedy, usable = self._detail, self._remedy, self.usable
        if usable and (trouble := self._out_of_range()):
            detail, remedy, usable = str(trouble), trouble.remedy, False
        return GatewayStatus(
            host=self.settings.host,
            port=self.settings.port,
            connected=self.ready,
            usable=usable,
            account=self.account,
            detail="" if usable else detail,
            remedy="" if usable else remedy,
            planned=self._planned and not usable,
            silent=not self._answers,
        )

    def take_order_id(self) -> int:
        """IB's id for the next order: above every one ever used here, and never below what IB expects.

        Raises:
            ConnectionError: none is left.
        """
        used = self.journal.highest_ib_order_id
        order_id = max(self._next_order_id, used + 1)
        trouble = diagnosis.out_of_range(order_id, used)
        if trouble:
            raise trouble
        self._highest_used = order_id
        self._next_order_id = order_id + 1
        return order_id

    def _out_of_range(self) -> Trouble | None:
        """What is wrong with the next order id, if anything."""
        return diagnosis.out_of_range(self._next_order_id, self._highest_used)

    def place(self, ib_order_id: int, contract: Any, order: Any, order_ref: str, **bracket: Any) -> None:
        """Write an order of checked fields. Its intent is in the journal. `bracket`: its place in one, if any.

        Raises:
            ConnectionError: not connected; nothing was written.
        """
        self._connected().place_order(
            ib_order_id, contract, order, order_ref=order_ref, account=self.account, **bracket
        )

    def cancel(self, ib_order_id: int) -> None:
        """Write a cancel.

        Raises:
            ConnectionError: not connected; nothing was written.
        """
        self._connected().cancel_order(ib_order_id)

    def global_cancel(self) -> None:
        """Write `reqGlobalCancel`.

        Raises:
            ConnectionError: not connected; nothing was written.
        """
        self._connected().global_cancel()

    def look_up(self) -> None:
        """Ask IB soon for its open orders, executions and completed orders."""
        self._look_up_wanted.set()

    def list_orders_soon(self) -> None:
        """Ask IB for its open orders as soon as nothing else needs to be asked."""
        self._orders.hurry()

    @property
    def undisturbed_since(self) -> float:
        """When this connection was made, or IB came back behind it (monotonic seconds)."""
        return self._undisturbed_since

    def renew(self, why: str) -> None:
        """Make a new connection."""
        self._renew = why

    async def start(self, timeout_secs: float = 30.0) -> None:
        """Connect in the background and wait until orders can be placed.

        Raises:
            AccountRefused: the gateway's account is not the one to trade.
            JournalMismatch: the journal belongs to somebody else.
            TimeoutError: not usable in time; the text says what it waits for.
        """
        self._task = asyncio.create_task(self.run())
        usable = asyncio.create_task(self._usable_event.wait())
        try:
            await asyncio.wait({self._task, usable}, timeout=timeout_secs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            usable.cancel()
        if self._task.done():
            self._task.result()
        if not self.status().usable:
            detail = self.status().detail
            await self.stop()
            raise TimeoutError(f"the gateway is not usable after {timeout_secs:g} s: {detail}")

    async def stop(self) -> None:
        """End the connection that `start` made."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            AccountRefused: the gateway's account is not the one to trade.
            JournalMismatch: the journal belongs to somebody else.
        """
        quiet_libraries()
        tasks = {asyncio.create_task(self._hand_over()), asyncio.create_task(self._stay_connected())}
        try:
            await until_one_ends(tasks)
        finally:
            self._take_reports()
            await self._end_session("stopped")

    # -- connecting ---------------------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        pause = self._timing.first_pause
        was_usable = False
        while True:
            try:
                await self._connect_and_serve()
            except (OSError, TimeoutError) as error:
                was_usable = self._reconciled
                await self._end_session(*_words(error))
            if was_usable:
                pause = self._timing.first_pause
            await asyncio.sleep(self._timing.longest_pause if self._client_id_in_use else pause)
            pause = min(pause * 2, self._timing.longest_pause)

    async def _connect_and_serve(self) -> None:
        """One connection, from the first byte until it is lost, which is an OSError."""
        await self._connect()
        self.account = allowed_account(self.settings, self._accounts)
        try:
            self.journal.bind_account(self.account)
            self._number_on()
        except JournalMismatch:
            raise
        except JournalError as error:
            # A full disk may have room again; that is no reason to end.
            raise ConnectionError(str(error)) from error
        self._undisturbed_since = self.clock()
        self._say(*self._asking("connected"))
        # Ahead of every order of this connection, so that the first list of all holds none of their fills.
        self._positions.on_connection()
        self._positions_pushed = False
        self._orders.on_connection()
        await self._ask_for_positions()
        # The time is asked for also while a long list is awaited: a silence is noticed just as soon.
        await until_one_ends({asyncio.create_task(run()) for run in (self._serve, self._ask_the_time)})

    async def _connect(self) -> None:
        self._number += 1
        self._closed.clear()
        self._client_id_in_use = False
        self._ib_behind = True
        self._accounts = ()
        self._next_order_id, self._short_since = 0, None
        self._renew = ""
        await self._token()
        number = self._number
        session = Session(lambda report: self._hear(number, report), self.pacer, self.clock)
        self._session = session
        settings, timeout = self.settings, self._timing.connect
        connecting = asyncio.create_task(session.connect(settings.host, settings.port, settings.client_id, timeout))
        lost = asyncio.create_task(self._closed.wait())
        try:
            await asyncio.wait({connecting, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (connecting, lost):
                task.cancel()
            outcome, _ = await asyncio.gather(connecting, lost, return_exceptions=True)
        if outcome is not None or self._client_id_in_use:
            raise self._why_not_connected(session, outcome)
        self._waited_in_vain = 0
        self._answers = True

    def _why_not_connected(self, session: Session, outcome: BaseException | None) -> BaseException:
        """What a person should hear of an attempt that led to nothing: as far as it came, and what was missing."""
        waited_before, self._waited_in_vain = self._waited_in_vain, 0
        version = session.server_version
        if self._client_id_in_use:
            return diagnosis.client_id_in_use(self.settings.client_id)
        if 0 < version < NEEDED_VERSION:
            return diagnosis.too_old(version, NEEDED_VERSION)
        if isinstance(outcome, asyncio.CancelledError):
            return diagnosis.turned_away() if version else diagnosis.closed_at_once()
        if outcome is not None and not isinstance(outcome, TimeoutError):
            return outcome
        tries = self._waited_in_vain = waited_before + 1
        timeout = self._timing.connect
        if version:
            return diagnosis.not_logged_in("order id" if self._accounts else "account", timeout, tries)
        return diagnosis.no_gateway(timeout, tries) if session.reached else diagnosis.unreachable(timeout, tries)

    def _number_on(self) -> None:
        """Know from the start whether there are ids for orders."""
        self._highest_used = self.journal.highest_ib_order_id
        self._next_order_id = max(self._next_order_id, self._highest_used + 1)
        trouble = self._out_of_range()
        # Told once, not at each connection that asks again.
        if trouble and str(trouble) != self._detail:
            logger.warning("no order can be placed: {}", trouble)

    def _trouble_to_ask_about(self, now: float) -> Trouble | None:
        """The next order id is out of range, and it is time to ask: a gateway says another one to a new connection."""
        trouble = self._out_of_range()
        if trouble is None or self._short_since is None:
            self._short_since = now if trouble else None
            return None
        # Not at once: the last orders may have yet to be read, and answered over this connection.
        return trouble if self.buffer_empty and now - self._short_since >= self._timing.renumber_every else None

    async def _end_session(self, why: str, remedy: str = "") -> None:
        session, self._session = self._session, None
        if session is None:
            return
        if self.account and not self._client_id_in_use:
            self._ended_at = self.clock()
        self._reconciled = False
        # Whatever ends the next attempt is not on purpose any more.
        self._planned = bool(self._renew) and why == self._renew
        if self._closed.is_set() or not session.ready or not session.buffer_empty or why != "stopped":
            session.abort()
        else:
            session.close()
        if session.open:
            try:
                async with asyncio.timeout(1.0):
                    await self._closed.wait()
            except TimeoutError:
                session.abort()
        self._take_reports()
        self._say(why, remedy)
        self._log_waiting(why)

    def _log_waiting(self, why: str) -> None:
        """Once when it begins, and then a reminder: a gateway can be away for a weekend."""
        self._attempts += 1
        now = self.clock()
        if why == "stopped" or (self._attempts > 1 and now - self._reminded_at < REMIND_SECS):
            return
        self._reminded_at = now
        where = f"{self.settings.host}:{self.settings.port}"
        times = f" ({self._attempts} attempts so far)" if self._attempts > 1 else ""
        logger.warning("waiting for the gateway at {}: {}{}", where, why, times)

    # -- asking -------------------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        """Have all open orders, executions and completed orders reported, then be usable."""
        self._look_up_wanted.clear()
        await self._until_orders_listed()
        undisturbed_since = self._undisturbed_since
        if self.listener:
            self.listener.on_round_begun()
        await self._ask("open_orders", self._request_orders)
        request_id = self._request_id = diagnosis.next_request_id(self._request_id)
        await self._ask("executions", lambda: self._connected().request_executions(request_id, self.account))
        await self._ask("completed_orders", self._connected().request_completed_orders)
        # Lists that were asked for before a loss or a silence ended may lack what happened meanwhile.
        if self._ib_behind and self._answers and undisturbed_since == self._undisturbed_since:
            if self.listener:
                self.listener.on_round(self._undisturbed_since)
            first = not self._reconciled
            self._reconciled, self._planned = True, False
            self._say("")
            if first and self.status().usable:
                logger.info(
                    "the gateway at {}:{} is usable: account {}, next order id {}",
                    *(self.settings.host, self.settings.port, self.account, self._next_order_id),
                )
                self._attempts = 0

    async def _ask(self, what: str, send: Callable[[], None]) -> None:
        """Send a request and wait until its End has been handed over, and with it all that came before."""
        await self._token()
        end = self._ends[what] = asyncio.Event()
        self._request_error = ""
        send()
        reach("executor.reconcile.asking")
        timeout = self._timing.request
        try:
            async with asyncio.timeout(timeout):
                await end.wait()
        except TimeoutError:
            raise self._unended.on_missing(what, timeout) from None
        finally:
            self._ends.pop(what, None)
        if self._closed.is_set():
            raise ConnectionError("the connection was lost")
        if self._request_error:
            raise self._unended.on_refused(what, self._request_error)
        self._unended.on_end(what)
        reach("executor.reconcile.answered")

    async def _serve(self) -> None:
        """Reconcile, and until the connection is lost look up what is in doubt."""
        await self._reconcile()
        looked_up_at = self.clock()
        while not self._closed.is_set():
            now = self.clock()
            wanted = self._look_up_wanted.is_set() or (self._ib_behind and not self._reconciled)
            if wanted and self._answers and now - looked_up_at >= self._timing.look_up_pause:
                await self._reconcile()
                looked_up_at = self.clock()
            elif self._renew:
                raise ConnectionError(self._renew)
            elif self.usable and (trouble := self._trouble_to_ask_about(now)):
                raise trouble
            elif self.usable and self._positions.asking.due(now):
                await self._ask_for_positions()
            elif self.usable and self.lists_orders and self._may_list_orders(now):
                await self._token()
                self._request_orders()
            self._complain_of_missing_lists(now)
            await asyncio.sleep(TURN_SECS)
        raise ConnectionError("the connection was lost")

    def _complain_of_missing_lists(self, now: float) -> None:
        if self._positions.asking.overdue(now):
            logger.warning("no list of positions for {:g} s: drift is not checked", OVERDUE_SECS)
        if self._orders.overdue(now):
            logger.warning("no list of open orders for {:g} s: orders of others are not seen", OVERDUE_SECS)

    async def _ask_for_positions(self) -> None:
        """Nobody waits for the list: nothing depends on it but an alert. IB goes on telling changes behind it."""
        if self._positions_pushed:
            await self._token()
            self._connected().end_positions()
            self._positions_pushed = False
        await self._token()
        self._positions.on_asked(self.clock())
        if self.listener:
            self.listener.on_positions_asked()
        self._connected().request_positions()
        self._positions_pushed = True

    def _take_positions(self) -> None:
        held = self._positions.on_end()
        if held is not None and self.listener:
            self.listener.on_positions(held)

    def _may_list_orders(self, now: float) -> bool:
        """Whether the list is due and leaves the messages to orders, while they need them; but not for ever."""
        if not self._orders.due(now):
            return False
        return self.pacer.quiet(now) or self._orders.late(now) >= self._timing.orders_every

    def _request_orders(self) -> None:
        self._orders.on_asked(self.clock())
        if self.listener:
            self.listener.on_orders_asked()
        self._connected().request_open_orders()

    async def _until_orders_listed(self) -> None:
        """Wait for the list that was asked for in passing: its end must not be taken for that of the next one."""
        # Counted from now: a gateway that stood still for longer than that has yet to answer what it was asked before.
        since = self.clock()
        while self._orders.awaited:
            if self._closed.is_set():
                raise ConnectionError("the connection was lost")
            if self.clock() - since >= self._timing.request:
                raise self._unended.on_missing("open_orders", self._timing.request)
            await asyncio.sleep(TURN_SECS)

    async def _ask_the_time(self) -> None:
        """Until the connection is lost, make sure that somebody is there."""
        while not self._closed.is_set():
            asked_at = self.clock()
            await self._probe()
            await asyncio.sleep(max(0.0, asked_at + self._timing.probe_every - self.clock()))
        raise ConnectionError("the connection was lost")

    async def _probe(self) -> None:
        """Ask for the time. A gateway that is silent for a moment may come back; what it did must be looked up."""
        timing = self._timing
        await self._token()
        end = self._ends["current_time"] = asyncio.Event()
        self._connected().request_current_time()
        try:
            async with asyncio.timeout(timing.silent):
                await end.wait()
        except TimeoutError:
            self._answers = self._reconciled = False
            self._undisturbed_since = self.clock()
            self._say(f"the gateway has not answered for {timing.silent:g} s")
            logger.warning("the gateway has not answered for {:g} s", timing.silent)
            try:
                async with asyncio.timeout(timing.drop - timing.silent):
                    await end.wait()
            except TimeoutError:
                raise TimeoutError(f"the gateway has not answered for {timing.drop:g} s") from None
            if self._closed.is_set():
                return  # Every wait ends with the connection; that is no answer.
            # Not usable until everything has been looked up, and that is our own doing, no loss of the connection.
            self._answers = self._planned = True
            self._undisturbed_since = self.clock()
            logger.info("the gateway answers again; asking for orders and executions")
            self._say(*self._asking("the gateway answers again"))
        finally:
            self._ends.pop("current_time", None)

    async def _token(self) -> None:
        while not self.pacer.free(self.clock()):
            await asyncio.sleep(0.01)

    def _connected(self) -> Session:
        if self._session is None or not self._session.ready:
            raise ConnectionError("not connected to the gateway")
        return self._session

    # -- hearing ------------------------------------------------------------------------------------------

    def _hear(self, number: int, report: Report) -> None:
        """Take note, inside the socket's callback: an exception here would be swallowed by eventkit."""
        self._reports.append((number, report))
        if number == self._number:
            self._note(report)
        self._wake.set()

    def _note(self, report: Report) -> None:
        match report:
            case Accounts(names):
                self._accounts = names
            case NextOrderId(order_id):
                self._next_order_id = max(self._next_order_id, order_id)
            case OpenOrderReport() | ExecutionReport():
                self._note_order_id(report)
            case ErrorReport():
                self._note_error(report)
            case Closed():
                self._closed.set()
                for end in self._ends.values():
                    end.set()
            case _:
                pass

    def _note_order_id(self, report: OpenOrderReport | ExecutionReport) -> None:
        """Stay above orders placed with our client id by somebody else, or before the journal was lost.

        And above those of other clients: who has listed all open orders must (IB, "The Next Valid Identifier"). But not
        where that would use up our own numbers: up there we take IB's word for the next id, and no other's.
        """
        ours = report.client_id == self.settings.client_id
        if report.ib_order_id < (OURS_FOLLOWED_BELOW if ours else OTHERS_FOLLOWED_BELOW):
            self._next_order_id = max(self._next_order_id, report.ib_order_id + 1)

    def _note_error(self, report: ErrorReport) -> None:
        if diagnosis.is_request(report.req_id):
            self._request_error = f"{report.code} {report.text}"
            if "executions" in self._ends:
                self._ends["executions"].set()
            return
        if report.req_id > 0:
            return
        self._client_id_in_use = self._client_id_in_use or report.code == CLIENT_ID_IN_USE
        match for_system(report.code, report.text).meaning:
            case Meaning.DISCONNECTED:
                if self._ib_behind:
                    said = f"{report.code} {report.text}"
                    logger.warning("the gateway has lost IB, no order passes until it is back: {}", said)
                self._ib_behind = self._reconciled = self._planned = False
                self._detail, self._remedy = f"IB is not behind the gateway: {report.code}", ""
            case Meaning.RESTORED:
                logger.info("IB is back, orders and fills are looked up first: {} {}", report.code, report.text)
                self._ib_behind = True
                self._undisturbed_since = self.clock()
                self._reconciled = False
                self._detail, self._remedy = self._asking("IB is back")
            case _:
                pass

    async def _hand_over(self) -> None:
        """Hand reports to the listener, outside of the socket's callback, and let it look at the time."""
        while True:
            try:
                async with asyncio.timeout(TURN_SECS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self._take_reports()

    def _take_reports(self) -> None:
        listener = self.listener
        while self._reports:
            number, report = self._reports.popleft()
            match report:
                case PositionReport() | RequestEnd():
                    if number == self._number:
                        self._take_answer(report)
                case Unreadable():
                    self._take_unreadable(report)
                case (
                    StatusReport()
                    | OpenOrderReport()
                    | ExecutionReport()
                    | CommissionReport()
                    | CompletedOrderReport()
                    | ErrorReport()
                ):
                    reach("executor.fill.received" if isinstance(report, ExecutionReport) else "executor.ack.received")
                    if listener and not self._is_our_own_ghost(report):
                        listener.on_report(report)
                case _:
                    pass
        if listener:
            listener.on_turn()
        self._tell_status()

    def _take_answer(self, report: PositionReport | RequestEnd) -> None:
        if isinstance(report, PositionReport):
            pushed = self._positions.on_report(report, self.account)
            if pushed is not None and self.listener:
                self.listener.on_position(pushed)
            return
        if report.what == "positions":
            self._take_positions()
        elif report.what == "open_orders" and self._orders.on_end() and self.listener:
            self.listener.on_orders_listed()
        if report.what in self._ends:
            self._ends[report.what].set()

    def _is_our_own_ghost(self, report: OrderReport) -> bool:
        """A gateway may hold a lost connection of ours for a while; its 326 then names nobody else."""
        in_use = isinstance(report, ErrorReport) and report.code == CLIENT_ID_IN_USE
        return in_use and self.clock() - self._ended_at < GHOST_SECS

    def _take_unreadable(self, report: Unreadable) -> None:
        logger.error("a message of the gateway cannot be read: {}", report.text)
        if report.message_id == POSITION_MESSAGE:
            self._positions.spoil()
        if report.message_id in ORDER_MESSAGES and self.listener:
            self.listener.on_unreadable(report)

    def _say(self, detail: str, remedy: str = "") -> None:
        self._detail, self._remedy = detail, remedy
        self._tell_status()

    def _asking(self, since: str) -> tuple[str, str]:
        """That lists are asked for; or why that was in vain before, until it is no more. With what to do about it."""
        trouble = self._unended.trouble or self._out_of_range()
        return (str(trouble), trouble.remedy) if trouble else (f"{since}; asking for orders and executions", "")

    def _tell_status(self) -> None:
        status = self.status()
        if status == self._status:
            return
        self._status = status
        if status.usable:
            self._usable_event.set()
        else:
            self._usable_event.clear()
        if self.listener:
            self.listener.on_status()


def _words(error: OSError) -> tuple[str, str]:
    """Why there is no connection, for people, and what to do about it where that is known."""
    if isinstance(error, Trouble):
        return str(error), error.remedy
    if isinstance(error, ConnectionRefusedError):
        # What mostly helps, which `status` says by itself, is right here.
        return "nothing listens there; start it, or set ib.host and ib.port (ORDERFUSE_IB__PORT) to where it is", ""
    return why(error) or type(error).__name__, ""
