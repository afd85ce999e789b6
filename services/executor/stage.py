"""The executor's stage: what comes and the time in, one batch of effects out. Pure.

    dispatch -> Told    -> breaker_link (lease, fence) -> inbox, judged at its turn -> written | refused
    IB       -> Heard   -> life of the connection -> ledger -> facts for the breaker
    time     -> Tick    -> what is due: questions, cancels, the lease, the next order

Whatever a step brings stands in its batch: first to be saved in one transaction, then to be sent. What became of that
comes back as `Done`, and what follows from it goes with the next batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

from orderfuse.bus.events import NotPlaced
from orderfuse.settings import ExecutorSettings, IbSettings
from services.executor import link_effects
from services.executor.account.others_in_account import OthersInAccount
from services.executor.account.position_breaks import PositionBreaks
from services.executor.batch import Batch, Keep
from services.executor.breaker_link import BreakerLink
from services.executor.cancelling import Cancelling
from services.executor.core import Core, History, JournalUnread, Saved
from services.executor.inputs import Done, Input, Ordered, Renamed, Stopping, Tick, Told, Unsent
from services.executor.invariants import check_batch
from services.executor.orders.found_orders import FoundOrders
from services.executor.orders.ledger import Ledger
from services.executor.placing import Placing
from services.executor.reconcile import Reconciliation
from services.gateway.frames import (
    Ask,
    CancelEverything,
    CancelOrder,
    ChangeOrder,
    Dial,
    Frame,
    HangUp,
    PlaceOrders,
    messages_in,
)
from services.gateway.life import Life
from services.gateway.news import (
    Connected,
    News,
    OrdersAsked,
    OrdersListed,
    PositionsAsked,
    PositionsListed,
    PositionTold,
    RoundBegun,
    RoundComplete,
)
from services.gateway.reports import Dialled, Heard, NotDialled, Unreadable
from services.gateway.timing import Timing
from services.runtime.notes import error, info
from services.runtime.now import Now
from services.wire.dispatch import Fenced, Joined
from services.wire.standing import GatewayStatus

# A full disk is asked again this often whether it has room.
JOURNAL_RETRY_SECS = 1.0
# What the journal did not tell is made up for by a new connection to IB, which must not come again and again.
LOOK_AGAIN_SECS = 10.0
# Often enough for a rejection's text that never comes, and for orders that wait for a free place.
LOOK_EVERY_SECS = 0.05
# Orders in doubt named in one message: 150 of 40 bytes, beside 150 and more known ones, stay inside a frame.
MAX_IN_DOUBT = 100


class Stage:
    """The whole decision logic of the executor process.

    Args:
        ib: where the gateway is, which account may be traded.
        executor: what may be sent, what to do about others' orders and without a breaker.
        window: how many orders may be written and unanswered.
        saved: what the journal had at the start.
        history: what the journal can be asked.
        executor_id: of this process; another one for each.
        alone: no breaker is there, as under a script. So orders of ours that only IB knows of are taken on from the
            start, and not once a breaker has said which ones it knows; and what a breaker says in its log stands here.
        first_nonce: lease requests of this process are numbered from here; an earlier process did not use it.
        timing: how long the connection waits for what.
    """

    def __init__(
        self,
        ib: IbSettings,
        executor: ExecutorSettings,
        *,
        window: int,
        saved: Saved,
        history: History,
        executor_id: str,
        alone: bool,
        first_nonce: int = 0,
        timing: Timing | None = None,
    ) -> None:
        lists_orders = executor.foreign_orders != "ignore"
        life = Life(ib, used_id=saved.highest_ib_order_id, timing=timing, lists_orders=lists_orders)
        ledger = Ledger(history, ib.client_id)
        ledger.restore(saved.orders)
        self.core = Core(life, ledger, history, FoundOrders(ib.client_id))
        breaks = PositionBreaks(saved.fills, saved.baselines)
        self.others = OthersInAccount(self.core, breaks, saved.accepted, executor.foreign_orders, alone=alone)
        self.cancelling = Cancelling(self.core, saved.owed)
        had_baseline = saved.baselines is not None
        self.reconciliation = Reconciliation(
            self.core, self.cancelling, self.others, had_baseline=had_baseline, may_adopt=alone
        )
        self.placing = Placing(self.core, window, frozenset(executor.allow_order_fields))
        self.link = BreakerLink(
            executor_id=executor_id,
            journal_id=saved.journal_id,
            inbox_limit=window,
            first_nonce=first_nonce,
            fences=dict(saved.fences),
        )
        self._settings = executor
        self._looked_at = float("-inf")
        self._retry_at = float("-inf")
        # What leaves since the last `Done`, and whether that is to show that the journal works again.
        self._leaving = list[Frame]()
        self._retries = False
        # The orders that outlived the breaker were cancelled; once for each time that it is lost.
        self._cancelled_for_loss = False
        # When what the journal did not tell is looked up in other ways (monotonic seconds).
        self._look_again_at = float("-inf")

    def step(self, event: Input, now: Now) -> Batch:
        """Take one input.

        Raises:
            AccountRefused: the gateway's account is not the one to trade.
        """
        core = self.core
        assert now.monotonic_ns >= core.now.monotonic_ns, "the clock of decisions went back"
        core.now = now
        match event:
            case Told(message):
                self._perform(self.link.take(message, now.secs))
                self.cancelling.send_due()
            case Heard() | Dialled() | NotDialled():
                core.life.step(event, now.secs)
                self._hear_news()
            case Tick():
                self._on_tick(event)
            case Ordered(order):
                self.placing.write([order])
            case Done():
                self._on_done(event)
                return Batch()
            case Renamed(journal_id):
                self.link.on_renamed(journal_id)
                return Batch()
            case Stopping():
                # A disk that was full has one more chance.
                self._retry_at = now.secs
            case _:
                assert_never(event)
        return self._hand_out()

    def gateway_status(self) -> GatewayStatus:
        """How the gateway is, and what stands in its account."""
        core = self.core
        return core.without_journal(self.others.told(core.life.status()))

    # -- time ---------------------------------------------------------------------------------------------

    def _on_tick(self, tick: Tick) -> None:
        core, now = self.core, self.core.now.secs
        self.link.on_feedback_sent(tick.feedback_sent, now)
        core.life.on_time(now, buffer_empty=tick.buffer_empty)
        self._hear_news()
        if now - self._looked_at >= LOOK_EVERY_SECS:
            self._look()
        self._see_whether_the_breaker_is_lost()
        self.cancelling.send_due()
        self._look_again()
        gateway = self.gateway_status()
        with self._unless_unread():
            self._talk_to_breaker(gateway)
        with self._unless_unread():
            core.batch.more = self.placing.write_next(
                self.link, gateway, stopped=tick.stopped, buffer_empty=tick.buffer_empty
            )

    def _look(self) -> None:
        """What the mere passing of time brings."""
        core, now = self.core, self.core.now.secs
        self._looked_at = now
        self.others.look()
        core.take(core.ledger.poll(now, forget=not core.journal_error))
        self.reconciliation.look_into_doubts()

    def _see_whether_the_breaker_is_lost(self) -> None:
        """Without a breaker for too long, cancel what nobody watches any more, if that is wished."""
        settings = self._settings
        lost_for = self.link.breaker_lost_for(self.core.now.secs)
        if lost_for == 0:
            self._cancelled_for_loss = False
        elif settings.on_breaker_loss == "cancel" and lost_for >= settings.on_breaker_loss_secs:
            if not self._cancelled_for_loss:
                self.cancelling.cancel_ours(f"no breaker for {settings.on_breaker_loss_secs:g} s")
            self._cancelled_for_loss = True

    def _talk_to_breaker(self, gateway: GatewayStatus) -> None:
        told = (0, 0, 0)
        if not self.link.joined:
            # A breaker that is greeted now needs these: wrong numbers would make it take facts for lost, or this
            # journal for another one.
            told = (*self.core.history.feedback_range(), self.core.history.taken)
        self._perform(self.link.tick(self.core.now.secs, gateway, told))

    # -- the gateway --------------------------------------------------------------------------------------

    def _hear_news(self) -> None:
        """Take what the life of the connection has brought, and what that brings in turn."""
        core = self.core
        out = core.life.take_out()
        while out.news or out.notes or out.frames:
            core.batch.notes += out.notes
            core.batch.frames += out.frames
            for each in out.news:
                with self._unless_unread():
                    self._on_news(each)
            out = core.life.take_out()

    def _on_news(self, news: News) -> None:
        match news:
            case Connected(account):
                self.core.keep.account = account
            case RoundBegun():
                self.reconciliation.on_round_begun()
            case RoundComplete(undisturbed_since):
                self.reconciliation.on_round(undisturbed_since)
            case PositionsAsked():
                self.others.on_positions_asked()
            case PositionsListed(held):
                self.others.on_positions(held)
            case PositionTold(held):
                self.others.on_position(held)
            case OrdersAsked():
                self.others.on_list_begun()
                self.reconciliation.on_orders_asked()
            case OrdersListed():
                self.others.on_list_end()
                self.reconciliation.on_orders_listed()
            case Unreadable():
                self.reconciliation.on_unreadable(news)
            case _:
                self.reconciliation.on_report(news)

    # -- the breaker --------------------------------------------------------------------------------------

    def _perform(self, effects: list[link_effects.Effect]) -> None:
        """What the talk with the breaker wants done."""
        for effect in effects:
            with self._unless_unread():
                self._perform_one(effect)

    def _perform_one(self, effect: link_effects.Effect) -> None:
        batch = self.core.batch
        match effect:
            case link_effects.Send(message):
                batch.messages.append(message)
            case link_effects.Resend(after_seq):
                batch.add(Batch(resend_after=after_seq))
            case link_effects.AnswerWelcome(doubtful, fence, owed, tell_open):
                self._answer_welcome(doubtful, fence)
                self.cancelling.keep_only(owed)
                if tell_open:
                    self.reconciliation.tell_open()
            case link_effects.AnswerFence(fence):
                self._answer_fence(fence)
            case link_effects.KeepFence(scope, fence):
                self.core.keep.fences.append((scope, fence))
            case link_effects.NoteTaken(seq):
                self.core.keep.taken = max(self.core.keep.taken, seq)
                self.reconciliation.adopt_now()
            case link_effects.RenameJournal():
                batch.rename = True
            case link_effects.Note(text):
                batch.notes.append(info(text))
            case _:
                self._see_to(effect)

    def _see_to(self, effect: link_effects.AboutOrders) -> None:
        """What is to become of orders."""
        match effect:
            case link_effects.Tell(fact):
                self._refuse(fact)
            case link_effects.CancelWaiting(refusal, request_id):
                self._cancel_waiting(refusal, request_id)
            case link_effects.RefuseReplace(message, reason):
                self.placing.refuse_replace(message, reason)
            case link_effects.LookUp(message):
                self.reconciliation.expect(message)
            case link_effects.CancelAtIB(order_id, request_id):
                self.cancelling.cancel(order_id, request_id)
            case link_effects.CancelAll(message):
                self.cancelling.cancel_everything(message)
            case link_effects.EndCancelAll(number):
                self.cancelling.drop_everything(number)
            case link_effects.ResolveByHand(order_id):
                self.core.take(self.core.ledger.on_resolved_by_hand(order_id))
            case link_effects.AcceptByHand(message):
                self.others.accept(message)
            case _:
                assert_never(effect)

    def _cancel_waiting(self, refusal: NotPlaced, request_id: str | None) -> None:
        if self.core.was_at_ib(refusal.order_id):
            self.cancelling.cancel(refusal.order_id, request_id)
        self._refuse(refusal)

    def _refuse(self, fact: NotPlaced) -> None:
        """An order leaves the inbox; one that was handed over again may be at IB, and is no order that IB never had."""
        if self.core.was_at_ib(fact.order_id):
            self.placing.tell_again(fact.order_id, waits=False)
        else:
            self.core.tell(fact, "neutral")

    def _answer_welcome(self, doubtful: list[str], fence: int) -> None:
        ledger = self.core.ledger
        known = [order_id for order_id in doubtful if ledger.knows(order_id)]
        in_doubt = ledger.in_doubt()[:MAX_IN_DOUBT]
        joined = Joined(executor_id=self.link.executor_id, fence=fence, known=known, in_doubt=in_doubt)
        self.core.batch.messages.append(joined)

    def _answer_fence(self, fence: int) -> None:
        written = self.core.ledger.unanswered()
        self.core.batch.messages.append(Fenced(executor_id=self.link.executor_id, fence=fence, written=written))
        text = f"fence {fence} taken; written and unanswered: {written or 'nothing'}"
        self.core.batch.notes.append(info(text))

    # -- a journal that does not tell ---------------------------------------------------------------------

    @contextmanager
    def _unless_unread(self) -> Iterator[None]:
        """What depends on the unread part is left undone; all else goes on, cancels above all."""
        try:
            yield
        except JournalUnread as unread:
            core = self.core
            if not core.unread:
                core.unread = str(unread)
                self._look_again_at = core.now.secs + LOOK_AGAIN_SECS
                text = f"{unread}; what depends on it is left undone, and no order is placed"
                core.batch.notes.append(error(text))

    def _look_again(self) -> None:
        """IB and the breaker say again whatever was left undone.

        Not before the connection that there is has served its cancels: while lists take long, each would be given up
        as soon as a cancel could leave.
        """
        core, life = self.core, self.core.life
        if not core.unread or core.now.secs < self._look_again_at:
            return
        if life.listing or (life.usable and core.ledger.cancels.to_send()):
            return
        core.unread = ""
        why = "what the journal did not tell is asked for anew"
        if life.usable:
            # Else all of it is listed anyway before orders pass again.
            life.renew(why)
        self._perform(self.link.greet_anew(why))

    # -- saving and sending -------------------------------------------------------------------------------

    def _hand_out(self) -> Batch:
        """The batch of this step; without a journal what is to be saved waits for the next attempt."""
        core = self.core
        out = core.life.take_out()
        assert not out.news, "what the connection has to say was not heard"
        batch, core.batch = core.batch, Batch()
        batch.frames += out.frames
        check_batch(batch, core.now.secs, usable=core.life.usable, journal_error=core.journal_error)
        if core.journal_error:
            core.unsaved.add(batch.keep)
            batch.keep = Keep()
            if core.now.secs >= self._retry_at:
                batch.keep, core.unsaved = core.unsaved, Keep()
                batch.retry = self._retries = True
        core.handed.add(batch.keep)
        self._leaving += batch.frames
        return batch

    def _on_done(self, done: Done) -> None:
        core = self.core
        handed, core.handed = core.handed, Keep()
        frames, self._leaving = self._leaving, []
        retried, self._retries = self._retries, False
        if done.trouble:
            self._journal_failed(handed, done.trouble)
        else:
            for accepted in handed.by_hand:
                self.others.on_accepted(accepted)
            if retried:
                core.journal_error = ""
                core.batch.notes.append(info("the journal can be written again"))
        core.life.pacer.restamp(sum(map(messages_in, frames)), core.now.secs)
        unsent = {id(each.frame): each for each in done.unsent}
        assert unsent.keys() <= {id(each) for each in frames}, "a frame was not written that was not handed out"
        for frame in frames:
            self._on_sent(frame, unsent.get(id(frame)))

    def _journal_failed(self, lost: Keep, why: str) -> None:
        core = self.core
        self._retry_at = core.now.secs + JOURNAL_RETRY_SECS
        # What was about to be written to IB is not: it is refused. What a person wanted is not done, and they are told.
        lost.intents, lost.by_hand = [], []
        lost.add(core.unsaved)
        core.unsaved = lost
        if core.journal_error != why:
            core.journal_error = why
            core.batch.notes.append(error(f"{why}; no order is placed until it can be"))

    def _on_sent(self, frame: Frame, unsent: Unsent | None) -> None:
        match frame:
            case PlaceOrders():
                self.placing.on_sent(frame, unsent)
            case ChangeOrder():
                self.placing.on_change_sent(frame, unsent)
            case CancelOrder():
                self.cancelling.on_sent(frame, unsent)
            case CancelEverything():
                self.cancelling.on_everything_sent(unsent)
            case Ask() | Dial() | HangUp():
                pass  # If it could not be written the connection is at its end, which is told by itself.
            case _:
                assert_never(frame)
