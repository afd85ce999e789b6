"""The paper gateway put together: server, book, timers, control socket and wire record in one object."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loguru import logger

from services.paper.faults.armed import ArmedFaults
from services.paper.faults.at_a_moment import Liquidity, MovePrice, TradeByHand
from services.paper.faults.families import Fault
from services.paper.market.exchange import ACCOUNT_ID, TICK_SECS, Exchange
from services.paper.market.orders import CONTRACT_FIELDS
from services.paper.market.state import StateFile
from services.paper.server.actions import act, contract_of, is_ready
from services.paper.server.control import ControlSocket
from services.paper.server.hub import PaperHub
from services.paper.server.sessions import HANDSHAKE_SECS, Session
from services.paper.wire.record import WireRecord

HOST = "127.0.0.1"
# After a fill, account and position updates are told together and not for every single one.
ACCOUNT_PUSH_SECS = 0.25


class PaperGateway:
    """A TWS-protocol server on loopback with a book of its own.

    Args:
        port: Port to listen on; 0 takes a free one, see `port`.
        seed: Seed of prices and fills.
        messages_per_second: IB's pacing rule; 0 for none.
        ack_delay_ms: How long what happens to orders takes to be told.
        control_path: Unix socket for commands, None for none.
        record_path: File for the wire record, None for none.
        state_path: File that keeps the book over restarts, None for none.
        scenario: Faults to play from the start on.
        record_in_memory: Keep the wire record for `record.entries()`.
        handshake_secs: How long a connection may take until startApi.
        tick_secs: Time between two price steps; 0 stops the market, `move_price` moves it by hand.
        clock: Wall-clock seconds.
        max_working_orders: IB's limit of working orders for one contract and side; 0 for none.
        available_size: How many are bid and offered at each price step; 0 for any number.
        account_id: The account that it says it has.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 1,
        messages_per_second: int = 50,
        ack_delay_ms: float = 0,
        control_path: Path | None = None,
        record_path: Path | None = None,
        state_path: Path | None = None,
        scenario: Sequence[Fault] = (),
        record_in_memory: bool = False,
        handshake_secs: float = HANDSHAKE_SECS,
        tick_secs: float = TICK_SECS,
        clock: Callable[[], float] = time.time,
        max_working_orders: int = 0,
        available_size: int = 0,
        account_id: str = ACCOUNT_ID,
    ) -> None:
        self.port = port
        self.seed = seed
        self.exchange = Exchange(
            seed,
            clock(),
            tick_secs=tick_secs,
            max_working_orders=max_working_orders,
            available_size=available_size,
            account_id=account_id,
        )
        self.faults = ArmedFaults(time.monotonic)
        self.record = WireRecord(record_path, in_memory=record_in_memory)
        self.hub = PaperHub(
            self.exchange,
            self.faults,
            ack_delay_secs=ack_delay_ms / 1000,
            call_later=self._call_later,
            clock=clock,
            before_write=self._save,
            after_order=self.run_due,
        )
        self._state = StateFile(state_path, self.exchange) if state_path else None
        self._unsaved = ""
        self._scenario = scenario
        self._clock = clock
        self._messages_per_second = messages_per_second
        self._handshake_secs = handshake_secs
        self._tick_secs = tick_secs
        self._control = ControlSocket(control_path, self) if control_path else None
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._push_due = False
        self._reopening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen for clients and commands.

        Raises:
            OSError: The port or the control socket cannot be had.
            SocketInUseError: Another gateway answers on the control socket.
            StateError: The state file cannot be used.
            UnknownContractError: The scenario names a contract that there is not.
        """
        loop = asyncio.get_running_loop()
        if self._control is not None:
            await self._control.start()
        if self._state is not None:
            count = self._state.load(self._clock())
            logger.info("the state file knows {} orders, {} of them working", count, self.exchange.live_count)
        for fault in self._scenario:
            self.play(fault)
        try:
            self._server = await loop.create_server(self._new_session, HOST, self.port)
        except OSError:
            await self.stop()
            raise
        self.port = self._server.sockets[0].getsockname()[1]
        self._ticker = asyncio.create_task(self._tick_for_ever())
        account = self.exchange.account_id
        logger.info("paper gateway listening on {}:{} (account {}, seed {})", *(HOST, self.port, account, self.seed))

    async def stop(self) -> None:
        """Close every connection and remove the sockets."""
        tasks = [task for task in (self._ticker, self._reopening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ticker = self._reopening = None
        if self._server is not None:
            self._server.close()
            for session in list(self.hub.connections):
                session.close()
            await self._server.wait_closed()
            self._server = None
        if self._control is not None:
            await self._control.stop()
        if self._state is not None:
            self._state.close()
        self.record.close()

    def status(self) -> dict[str, Any]:
        """Return counts for people and tests."""
        exchange = self.exchange
        return {
            "account": exchange.account_id,
            "port": self.port,
            "connections": len(self.hub.connections),
            "clients": sorted(self.hub.sessions),
            "orders": exchange.order_count,
            "working": exchange.live_count,
            "executions": len(exchange.executions),
            "followers": len(self.record.followers),
        }

    def move_price(self, symbol: str, price: float, *, sec_type: str = "STK", currency: str = "USD") -> None:
        """Put an instrument's price somewhere, as if the market had moved there."""
        contract = dict.fromkeys(CONTRACT_FIELDS, "")
        contract |= {"symbol": symbol, "secType": sec_type, "currency": currency}
        instrument = self.exchange.instrument(contract)
        self.hub.perform(self.exchange.move_price(instrument, price, self._clock()))
        self.hub.tell_prices()
        self.hub.flush()

    def play(self, fault: Fault) -> None:
        """Arm a fault; one whose time has come happens at once.

        Raises:
            TooManyFaultsError: Too many wait already.
            UnknownContractError: It names a contract that there is not.
        """
        if isinstance(fault, MovePrice | Liquidity | TradeByHand):
            self.exchange.instrument(contract_of(fault))
        self.faults.arm(fault)
        self.run_due()

    def run_due(self) -> None:
        """Let the faults happen whose time has come."""
        for action in self.faults.due(lambda action: is_ready(self, action)):
            act(self, action, self._clock())

    def _save(self) -> bool:
        """Save what has changed; False if that cannot be done, and nobody may be told of it."""
        if self._state is not None:
            try:
                self._state.save()
            except OSError as error:
                if self._unsaved != str(error):
                    logger.error("the state file cannot be written, so nobody is told anything: {}", error)
                self._unsaved = str(error)
                return False
            if self._unsaved:
                logger.info("the state file can be written again")
                self._unsaved = ""
        return True

    def rewrite_state(self) -> None:
        """Write the state file anew, because something was forgotten."""
        if self._state is not None:
            self._state.rewrite()

    def cut_clients(self, how: str, client_id: int | None = None, for_secs: float = 0.0) -> None:
        """Break the connection of one client, or of all."""
        for number, session in list(self.hub.sessions.items()):
            if client_id in (None, number):
                session.cut(how, for_secs)

    def restart(self, down_secs: float) -> None:
        """Forget every connection and refuse new ones for a while; the book stays."""
        for session in list(self.hub.connections):
            session.close()
        if down_secs and self._server is not None:
            self._server.close()
            if self._reopening is not None:
                self._reopening.cancel()
            self._reopening = asyncio.create_task(self._reopen(down_secs))

    async def _reopen(self, down_secs: float) -> None:
        await asyncio.sleep(down_secs)
        self._server = await asyncio.get_running_loop().create_server(self._new_session, HOST, self.port)
        logger.info("paper gateway listening on {}:{} again", HOST, self.port)

    async def _tick_for_ever(self) -> None:
        # A tenth of a second at most between a fill and the timer that tells the account of it.
        pause = min(self._tick_secs or 0.1, 0.1)
        while True:
            await asyncio.sleep(pause)
            self.run_due()
            self.hub.tick()
            self.hub.before_write()
            if self.hub.account_changed and not self._push_due:
                self._push_due = True
                self._call_later(ACCOUNT_PUSH_SECS, self._push_account)

    def _push_account(self) -> None:
        self._push_due = False
        self.hub.push_account()

    def _call_later(self, secs: float, callback: Callable[[], None]) -> object:
        return asyncio.get_running_loop().call_later(secs, callback)

    def _new_session(self) -> asyncio.Protocol:
        return Session(
            self.hub,
            self.record,
            messages_per_second=self._messages_per_second,
            handshake_secs=self._handshake_secs,
        )
