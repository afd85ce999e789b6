"""The life of a connection to TWS or IB Gateway: made, guarded, reconciled, watched, and made again. Pure.

"Connected" is not enough to place orders. A connection is of use once IB has named the account that may be traded, and
has answered completely what is open, executed and over; and only while IB is behind the gateway and the gateway
answers. What is heard and the time go in; frames for the gateway and news for the owner come out.

    AWAY -> DIALLING -> LISTING -> SERVING      (IB is back, the gateway answers again) -> LISTING
                                   SERVING -> IB_AWAY, SILENT
    and from everywhere, at the end of the connection, to AWAY
"""

from __future__ import annotations

from typing import assert_never

from orderfuse.settings import IbSettings
from services.gateway import diagnosis
from services.gateway.accounts import allowed_account
from services.gateway.attempts import Attempts
from services.gateway.codes.meanings import Meaning
from services.gateway.codes.system_codes import for_system
from services.gateway.diagnosis import Trouble
from services.gateway.frames import Dial, Frame, HangUp
from services.gateway.look_ups import LookUps
from services.gateway.news import Connected, Out, RoundComplete
from services.gateway.order_ids import OrderIds
from services.gateway.outgoing import Outgoing
from services.gateway.pacing import Pacer
from services.gateway.phases import CONNECTED, DIALLING, ENDS, IB_AWAY, MOVES, PLANNED, SILENT, UNPLANNED, Phase, Sign
from services.gateway.probe import Probe
from services.gateway.reports import (
    ORDER_MESSAGES,
    POSITION_MESSAGE,
    Accounts,
    Closed,
    Dialled,
    ErrorReport,
    ExecutionReport,
    FromGateway,
    Heard,
    NextOrderId,
    NotDialled,
    OpenOrderReport,
    OrderReport,
    PositionReport,
    Report,
    RequestEnd,
    Unreadable,
)
from services.gateway.round import Round
from services.gateway.standing_lists import StandingLists
from services.gateway.timing import Timing
from services.runtime.notes import Note, info, warning
from services.wire.standing import GatewayStatus

CLIENT_ID_IN_USE = 326
# One message in so many may ask whether somebody is there: where few may leave, cancels and orders need the others.
PROBE_SHARE = 3


class Life:
    """One connection after the other, to one gateway with one client id.

    Args:
        settings: where the gateway is, and which account may be traded.
        used_id: the highest of IB's order ids that was ever used here.
        timing: how long to wait for what.
        lists_orders: whether open orders are listed now and then, for what others do in the account.
    """

    def __init__(
        self, settings: IbSettings, *, used_id: int = 0, timing: Timing | None = None, lists_orders: bool = False
    ) -> None:
        self.settings = settings
        self.account = ""
        self.phase = Phase.AWAY
        # The connection before ended in silence: the gateway counts as silent until another one is made.
        self._ended_silent = False
        self.ids = OrderIds(used_id)
        # When this connection was made, or IB came back behind it (monotonic seconds).
        self.undisturbed_since = float("-inf")
        self._timing = timing or Timing()
        self._outgoing = Outgoing(settings.messages_per_second)
        every = self._timing.probe_every
        if settings.messages_per_second:
            every = max(every, PROBE_SHARE / settings.messages_per_second)
        self._probe = Probe(self._outgoing, every)
        self._lists = StandingLists(self._outgoing, self._timing, lists_orders=lists_orders)
        self._look_ups = LookUps(self._outgoing, self._timing, self._lists)
        self._attempts = Attempts(settings.client_id, self._timing)
        # Why a new connection is wanted; it waits for the end of the round under way.
        self._renew = ""
        # Of no use on purpose; the breaker need not count it against IB.
        self._planned = False
        self._detail, self._remedy = "not connected yet", ""

    # -- what the owner asks ------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Enough for cancels and for looking orders up. A new order needs an id as well: `status().usable`."""
        return self.phase is Phase.SERVING

    @property
    def listing(self) -> bool:
        """Whether IB is being asked for what a connection needs before it is of use."""
        return self.phase is Phase.LISTING

    @property
    def ready(self) -> bool:
        """Connected as far as that bytes would leave; enough for a cancel of everything."""
        return self.phase in CONNECTED

    def status(self) -> GatewayStatus:
        """How it stands."""
        detail, remedy, usable = self._detail, self._remedy, self.usable
        if usable and (trouble := self.ids.trouble):
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
            silent=self.phase in SILENT if self.ready else self._ended_silent,
        )

    @property
    def pacer(self) -> Pacer:
        """Counts the messages to IB."""
        return self._outgoing.pacer

    def look_up(self) -> None:
        """Ask IB soon for its open orders, executions and completed orders."""
        self._look_ups.want()

    def list_orders_soon(self) -> None:
        """Ask IB for its open orders as soon as nothing else needs to be asked."""
        self._lists.list_orders_soon()

    def renew(self, why: str) -> None:
        """Make a new connection."""
        self._renew = why

    def send(self, frame: Frame, now: float) -> None:
        """Have a frame leave; the owner has looked whether the pacing has room for it."""
        self._outgoing.send(frame, now)

    def take_out(self) -> Out:
        """What has come together since the last call."""
        return self._outgoing.take()

    # -- inputs -------------------------------------------------------------------------------------------

    def step(self, event: FromGateway, now: float) -> None:
        """Take what came from the gateway's side of the process.

        Raises:
            AccountRefused: the gateway's account is not the one to trade.
        """
        match event:
            case Heard(number, report):
                self._on_report(number, report, now)
            case Dialled(number) if number == self._attempts.number and self.phase in DIALLING:
                self._on_connected(now)
            case NotDialled(number) if number == self._attempts.number and self.phase in DIALLING:
                self._end(self._attempts.why_not(event), now)
            case Dialled() | NotDialled():
                pass
            case _:
                assert_never(event)

    def _on_connected(self, now: float) -> None:
        """IB has named accounts and the next order id."""
        trouble = self._attempts.on_connected()
        if trouble is not None:
            self._end(trouble, now)
            return
        self.account = allowed_account(self.settings, self._attempts.accounts)
        self._move(Sign.NAMED)
        self.undisturbed_since = now
        self._look_ups.on_connection()
        self._probe.on_connection()
        self._see_order_ids()
        self._outgoing.tell(Connected(self.account))
        if self.phase is Phase.LISTING:
            self._say(*self._asking("connected"))
        # Ahead of every order of this connection, so that the first list of all holds none of their fills.
        self._lists.on_connection()

    def _on_report(self, number: int, report: Report, now: float) -> None:
        """Something was heard over the connection with this number; what is about orders counts over any."""
        ours = number == self._attempts.number and self.phase is not Phase.AWAY
        match report:
            case Accounts(names) if ours:
                self._attempts.accounts = names
            case NextOrderId(order_id) if ours:
                self.ids.on_told(order_id)
            case PositionReport() if ours:
                self._lists.on_position(report, self.account)
            case RequestEnd(what) if ours:
                self._on_end_of(what, now)
            case Closed() if ours and self.phase in CONNECTED:
                self._end(ConnectionError("the connection was lost"), now)
            case Unreadable():
                self._on_unreadable(report)
            case Accounts() | NextOrderId() | PositionReport() | RequestEnd() | Closed():
                pass
            case _:
                self._on_order_report(report, now, ours=ours)

    def on_time(self, now: float, *, buffer_empty: bool) -> None:
        """Let time pass: dial, ask, give up. `buffer_empty`: all bytes written so far have left this process."""
        if self.phase is Phase.AWAY:
            self._dial(now)
        elif self.phase in DIALLING:
            overdue = self._attempts.overdue(now)
            if overdue is not None:
                self._end(overdue, now)
        else:
            self._watch(now, buffer_empty=buffer_empty)

    # -- making a connection ------------------------------------------------------------------------------

    def _dial(self, now: float) -> None:
        if not self._attempts.due(now) or not self.pacer.free(now):
            return
        self._renew = ""
        self.ids.on_connection()
        self._move(Sign.DIALLED)
        self.send(Dial(self._attempts.begin(now)), now)

    def _see_order_ids(self) -> None:
        """Know from the start whether there are ids for orders."""
        self.ids.go_on()
        trouble = self.ids.trouble
        # Told once, not at each connection that asks again.
        if trouble and str(trouble) != self._detail:
            self._outgoing.note(warning(f"no order can be placed: {trouble}"))

    def _end(self, error: OSError, now: float, sign: Sign = Sign.ENDED) -> None:
        """The connection is over, or must be."""
        why, remedy = (str(error), error.remedy) if isinstance(error, Trouble) else (str(error), "")
        self._attempts.on_end(now, connected=self.ready, served=self.usable)
        self._move(sign)
        self._look_ups.on_end_of_connection()
        self.send(HangUp(self._attempts.number), now)
        self._say(why, remedy)
        reminder = self._attempts.reminder(why, now)
        if reminder is not None:
            where = f"{self.settings.host}:{self.settings.port}"
            self._outgoing.note(warning(f"waiting for the gateway at {where}: {reminder}"))

    # -- asking -------------------------------------------------------------------------------------------

    def _watch(self, now: float, *, buffer_empty: bool) -> None:
        """Do what is due over a connection that there is; at most one thing that ends it."""
        trouble = self._see_silence(now) or self._go_on_with_round(now)
        if trouble is None and not self._look_ups.under_way:
            if self._renew:
                self._end(ConnectionError(self._renew), now, Sign.RENEWED)
                return
            trouble = self._lack_of_ids(now, buffer_empty=buffer_empty)
        if trouble is not None:
            self._end(trouble, now)
            return
        self._lists.ask_what_is_due(now, usable=self.usable, round_under_way=self._look_ups.under_way)
        self._lists.complain_of_missing(now)

    def _see_silence(self, now: float) -> OSError | None:
        """Ask whether somebody is there, and give up on who is not."""
        timing, owed_for = self._timing, self._probe.look(now)
        if owed_for >= timing.drop:
            return TimeoutError(f"the gateway has not answered for {timing.drop:g} s")
        if owed_for >= timing.silent and self.phase not in SILENT:
            # One that is silent for a moment may come back; what it did meanwhile must be looked up.
            self._move(Sign.SILENCE)
            self.undisturbed_since = now
            self._say(f"the gateway has not answered for {timing.silent:g} s")
            self._outgoing.note(warning(self._detail))
        return None

    def _on_answer(self, now: float) -> None:
        """The time has come, and with it the proof that somebody is there."""
        self._probe.on_answer()
        if self.phase not in SILENT:
            return
        self._move(Sign.ANSWER)
        self.undisturbed_since = now
        self._outgoing.note(info("the gateway answers again; asking for orders and executions"))
        self._say(*self._asking("the gateway answers again"))

    def _go_on_with_round(self, now: float) -> OSError | None:
        first, silent = self.phase is Phase.LISTING, self.phase in SILENT
        return self._look_ups.look(now, self.account, self.undisturbed_since, first=first, silent=silent)

    def _lack_of_ids(self, now: float, *, buffer_empty: bool) -> OSError | None:
        # Not at once: the last orders may have yet to be read, and answered over this connection. A gateway says
        # another next order id to a new connection only.
        short_for = self.ids.short_for(now) if self.usable else 0.0
        return self.ids.trouble if short_for >= self._timing.renumber_every and buffer_empty else None

    # -- hearing ------------------------------------------------------------------------------------------

    def _on_end_of(self, what: str, now: float) -> None:
        if what == "current_time":
            self._on_answer(now)
        self._lists.on_end(what)
        complete = self._look_ups.on_end(what, now)
        if complete is not None:
            self._on_round_done(complete)

    def _on_round_done(self, complete: Round) -> None:
        # Lists that were asked for before a loss or a silence ended may lack what happened meanwhile.
        if complete.undisturbed_since != self.undisturbed_since or self.phase not in (Phase.LISTING, Phase.SERVING):
            return
        first = self.phase is Phase.LISTING
        self._move(Sign.LISTED)
        self._say("")
        self._outgoing.tell(RoundComplete(self.undisturbed_since))
        if first and self.status().usable:
            self._attempts.on_usable()
            where = f"{self.settings.host}:{self.settings.port}"
            text = f"the gateway at {where} is usable: account {self.account}, next order id {self.ids.next}"
            self._outgoing.note(info(text))

    def _on_unreadable(self, report: Unreadable) -> None:
        self._outgoing.note(Note("ERROR", f"a message of the gateway cannot be read: {report.text}"))
        if report.message_id == POSITION_MESSAGE:
            self._lists.on_unreadable_position()
        if report.message_id in ORDER_MESSAGES:
            self._outgoing.tell(report)

    def _on_order_report(self, report: OrderReport, now: float, *, ours: bool) -> None:
        if ours and isinstance(report, OpenOrderReport | ExecutionReport):
            self.ids.on_seen(report.ib_order_id, ours=report.client_id == self.settings.client_id)
        if ours and isinstance(report, ErrorReport):
            self._on_error(report, now)
        if not self._is_our_own_ghost(report, now):
            self._outgoing.tell(report)

    def _on_error(self, report: ErrorReport, now: float) -> None:
        if diagnosis.is_request(report.req_id):
            refused = self._look_ups.on_refused(f"{report.code} {report.text}")
            if refused is not None:
                self._end(refused, now)
            return
        if report.req_id > 0:
            return
        if report.code == CLIENT_ID_IN_USE:
            self._attempts.client_id_in_use = True
        match for_system(report.code, report.text).meaning:
            case Meaning.DISCONNECTED:
                if self.phase not in IB_AWAY:
                    text = f"the gateway has lost IB, no order passes until it is back: {report.code} {report.text}"
                    self._outgoing.note(warning(text))
                self._move(Sign.IB_LOST)
                self._detail, self._remedy = f"IB is not behind the gateway: {report.code}", ""
            case Meaning.RESTORED:
                text = f"IB is back, orders and fills are looked up first: {report.code} {report.text}"
                self._outgoing.note(info(text))
                self._move(Sign.IB_BACK)
                self.undisturbed_since = now
                self._say(*self._asking("IB is back"))
            case _:
                pass

    def _is_our_own_ghost(self, report: OrderReport, now: float) -> bool:
        """A gateway may hold a lost connection of ours for a while; its 326 then names nobody else."""
        in_use = isinstance(report, ErrorReport) and report.code == CLIENT_ID_IN_USE
        return in_use and self._attempts.may_be_our_ghost(now)

    # -- state --------------------------------------------------------------------------------------------

    def _move(self, sign: Sign) -> None:
        """The one place that moves the phase, and what is remembered of the way that led there."""
        move = (self.phase, sign)
        if sign in ENDS and self.ready:
            self._ended_silent = self.phase in SILENT
        self._planned = move in PLANNED or (self._planned and sign not in UNPLANNED)
        self.phase = MOVES.get(move, self.phase)

    def _say(self, detail: str, remedy: str = "") -> None:
        self._detail, self._remedy = detail, remedy

    def _asking(self, since: str) -> tuple[str, str]:
        """That lists are asked for; or why that was in vain before, until it is no more. With what to do about it."""
        trouble = self._look_ups.trouble or self.ids.trouble
        return (str(trouble), trouble.remedy) if trouble else (f"{since}; asking for orders and executions", "")
