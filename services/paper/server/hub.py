"""What the gateway answers: every request of the protocol that is served, and what is told unasked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from services.paper.faults.armed import ArmedFaults
from services.paper.faults.on_the_wire import DuplicateMessages, LateMessages, OmitMessages
from services.paper.faults.texts import TEXTS
from services.paper.market.exchange import Exchange
from services.paper.market.orders import read_int
from services.paper.market.updates import Cut, Later, Pause, Step, client_told, order_ref_of
from services.paper.server import render
from services.paper.server.accounts import AccountRequests
from services.paper.server.answers import client_of
from services.paper.server.orders import OrderRequests
from services.paper.server.prices import MarketDataRequests
from services.paper.server.sessions import Session
from services.paper.wire.framing import SERVER_VERSION_SKIPPED, Fields, negotiate

# What a real gateway says of its farms right after a client has connected.
FARM_CODES = (2104, 2106, 2158)
CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
READ_ONLY = "Error validating request.-'bW' : cause - The API interface is currently in Read-Only mode."
# What a read-only API does not serve. The fields that name what is refused; "" for a request without an id.
_NOT_READ_ONLY = {
    "placeOrder": "orderId",
    "cancelOrder": "orderId",
    "reqGlobalCancel": "",
    "reqOpenOrders": "",
    "reqAutoOpenOrders": "",
    "reqCompletedOrders": "",
}
# What a gateway answers to which nobody has logged in.
_NEEDS_NO_LOGIN = frozenset({"reqCurrentTime", "setServerLogLevel"})
# IB's own limit of API clients; here those still in their handshake count too.
MAX_CONNECTIONS = 32
_AT_ONCE = (0.0,)


class PaperHub:
    """Serves sessions from one exchange.

    Args:
        exchange: The book.
        faults: The armed faults.
        ack_delay_secs: How long what the book says takes to reach the clients.
        call_later: Calls a function after some seconds.
        clock: Wall-clock seconds.
        before_write: Called before anything is written to a client; False forbids it.
        after_order: Called once a new order was taken.
    """

    def __init__(
        self,
        exchange: Exchange,
        faults: ArmedFaults,
        *,
        ack_delay_secs: float = 0.0,
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = time.time,
        before_write: Callable[[], bool],
        after_order: Callable[[], None],
    ) -> None:
        self.exchange = exchange
        self.faults = faults
        self.accounts = AccountRequests(exchange, clock)
        self.prices = MarketDataRequests(exchange)
        self.connections: set[Session] = set()
        self.sessions: dict[int, Session] = {}
        self.account_changed = False
        self.read_only = False
        self.logged_out = False
        self.highest_version = 0  # that is told to clients; 0: the highest that is spoken here
        self.before_write = before_write
        self._log_outs = 0
        self._clock = clock
        self._ack_delay_secs = ack_delay_secs
        self._call_later = call_later
        self._with_output: list[Session] = []
        orders = OrderRequests(exchange, faults, self.perform, after_order, clock)
        self._handlers: dict[str, Callable[[Session, Fields], None]] = {
            "reqAutoOpenOrders": _nothing,
            "reqCurrentTime": self._current_time,
            "setServerLogLevel": _nothing,
            "startApi": _nothing,
            **orders.handlers,
            **self.accounts.handlers,
            **self.prices.handlers,
        }

    # ------------------------------------------------------------ sessions

    def admit(self, session: Session, client_id: int) -> bool:
        """Take a startApi: make the session known, and say what a client waits for."""
        if client_id in self.sessions or self.faults.for_connection(client_id) is not None:
            session.say("error", id=-1, code=326, text=CLIENT_ID_IN_USE)
            session.drop(f"client id {client_id} is in use")
            return False
        session.client_id = client_id
        self.sessions[client_id] = session
        self._unless_unanswered(session, "startApi", self._welcome)
        return True

    def version_for(self, offered: str) -> int:
        """Return the server version for a client that offered, for example, ``v157..176``."""
        version = negotiate(offered)
        if self.highest_version and self.highest_version != SERVER_VERSION_SKIPPED:
            version = min(version, self.highest_version)
        return version

    def log_out(self, for_secs: float) -> None:
        """Be a gateway to which nobody has logged in, for a while or (0) until `log_in`."""
        self.logged_out = True
        self._log_outs += 1
        if for_secs:
            self._call_later(for_secs, partial(self._end_log_out, self._log_outs))

    def _end_log_out(self, number: int) -> None:
        if number == self._log_outs:
            self.log_in()

    def log_in(self) -> None:
        """Greet whoever has waited for somebody to log in."""
        if self.logged_out:
            self.logged_out = False
            for session in self.sessions.values():
                self._welcome(session)
            self.flush()

    def _welcome(self, session: Session) -> None:
        if self.logged_out:
            session.say("managedAccounts", accounts="")
            return
        session.say("managedAccounts", accounts=self.exchange.account_id)
        session.say("nextValidId", orderId=self.exchange.next_order_id(client_of(session)))
        for code in FARM_CODES:
            session.say("error", id=-1, code=code, text=TEXTS[code])

    def opened(self, session: Session) -> bool:
        """Count a new connection; False if there are too many."""
        if len(self.connections) >= MAX_CONNECTIONS:
            return False
        self.connections.add(session)
        fault = self.faults.for_connection(None)
        if fault is not None:
            session.cut("stop_writing" if fault.how == "silent" else fault.how)
        return True

    def lost(self, session: Session) -> None:
        """Forget a session that ended."""
        self.connections.discard(session)
        if session.client_id is not None and self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]

    def has_output(self, session: Session) -> None:
        """Note that a session has something to write."""
        self._with_output.append(session)

    def flush(self) -> None:
        """Write what sessions have to say, one write each."""
        sessions, self._with_output = self._with_output, []
        for session in sessions:
            session.flush()

    def handle(self, session: Session, message: str, fields: Fields) -> None:
        """Answer a request."""
        if self.logged_out and message not in _NEEDS_NO_LOGIN:
            if message == "reqManagedAccts":
                session.say("managedAccounts", accounts="")
            return
        if self.read_only and message in _NOT_READ_ONLY:
            name = _NOT_READ_ONLY[message]
            session.say("error", id=read_int(fields, name) if name else -1, code=321, text=READ_ONLY)
            return
        self._unless_unanswered(session, message, lambda session: self._handlers[message](session, fields))

    def _unless_unanswered(self, session: Session, request: str, answer: Callable[[Session], None]) -> None:
        fault = self.faults.for_request(request, client_of(session))
        if fault is None:
            answer(session)
        elif fault.late_ms:

            def late() -> None:
                if session.open:
                    answer(session)
                    self.flush()

            self._call_later(fault.late_ms / 1000, late)

    # ------------------------------------------------------------ what the book says

    def perform(self, script: Iterable[Step]) -> None:
        """Tell what happened to those it concerns, as far as they are connected."""
        self._perform(script, self._ack_delay_secs)

    def _perform(self, script: Iterable[Step], delay_secs: float) -> None:
        for step in script:
            if isinstance(step, Pause):
                delay_secs += step.secs
            elif isinstance(step, Later):
                self._call_later(delay_secs, partial(self._perform_later, step))
            elif isinstance(step, Cut):
                self._cut(step, delay_secs)
            else:
                message, values = render.render(step, self.exchange.account_id)
                self.account_changed = self.account_changed or message == "execDetails"
                session = self.sessions.get(client_told(step))
                if session is not None:
                    session.tell(message, values, order_ref=order_ref_of(step), delay_secs=delay_secs)

    def _perform_later(self, later: Later) -> None:
        self._perform(later.do(self._clock()), 0.0)
        self.flush()

    def _cut(self, cut: Cut, delay_secs: float) -> None:
        session = self.sessions.get(cut.client_id)
        if session is None:
            return
        if delay_secs:
            self._call_later(delay_secs, lambda: session.cut(cut.how))
        else:
            session.cut(cut.how)

    def copies(self, session: Session, message: str, order_ref: str, *, listed: bool) -> Sequence[float]:
        """Return after how many seconds each copy of a message leaves."""
        number, delay_secs = 1, 0.0
        injected = self.faults.for_message(message, session.client_id, order_ref, listed=listed)
        if not injected:
            return _AT_ONCE
        for fault in injected:
            match fault:
                case OmitMessages():
                    number = 0
                case DuplicateMessages():
                    number *= 2
                case LateMessages():
                    delay_secs += fault.ms / 1000
                case _:
                    pass  # What changes a message's words changes no copies of it.
        return [delay_secs] * number

    def tick(self) -> None:
        """Let the market move up to now, and tell prices to those who asked."""
        self.perform(self.exchange.advance(self._clock()))
        self.tell_prices()
        self.flush()

    def tell_prices(self) -> None:
        """Tell each subscriber the prices that changed."""
        self.prices.tell_prices(self.sessions.values())

    def push_account(self) -> None:
        """Tell subscribers what has changed in the account."""
        self.account_changed = False
        self.accounts.push(self.sessions.values())
        self.flush()

    def tell_all(self, message: str, client_id: int | None = None, /, **values: Any) -> None:
        """Send a message to one client, or to all."""
        for number, session in self.sessions.items():
            if client_id in (None, number):
                session.say(message, **values)
        self.flush()

    def _current_time(self, session: Session, _fields: Fields) -> None:
        session.say("currentTime", time=int(self._clock()))


def _nothing(_session: Session, _fields: Fields) -> None:
    """Take a request that has no answer and, here, no effect."""
