"""Cancels on their way to IB: of single orders, and of everything. They leave whatever else stands. Pure."""

from __future__ import annotations

from services.executor.core import Core
from services.executor.global_cancel import GlobalCancelDebt, OwedCancel
from services.executor.inputs import Unsent
from services.gateway.frames import CancelEverything, CancelOrder
from services.runtime.notes import error, info, warning
from services.wire.dispatch import GlobalCancel
from services.wire.feedback import AllCancelled


class Cancelling:
    """Sends each cancel as soon as there is a connection and room in the pacing, ahead of every order.

    Args:
        core: the shared state.
        owed: the global cancel that an earlier process owed.
    """

    def __init__(self, core: Core, owed: OwedCancel | None) -> None:
        self._core = core
        self._everything = GlobalCancelDebt(owed)

    # -- what is asked for --------------------------------------------------------------------------------

    def cancel(self, order_id: str, request_id: str | None) -> None:
        """Cancel an order at IB, now or as soon as it can be sent."""
        core = self._core
        text = f"{order_id}: cancel asked for (request {request_id or 'of orderfuse itself'})"
        core.batch.notes.append(info(text))
        # Saved before it leaves: after a crash nobody else knows that an end is of our own making.
        core.take(core.ledger.cancels.on_asked(order_id, request_id))

    def cancel_ours(self, why: str) -> None:
        """Cancel our orders, except those that protect a position, because orderfuse itself wants them gone."""
        core = self._core
        chosen = core.ledger.cancels.unprotected()
        core.batch.notes.append(warning(f"{len(chosen)} of our orders are cancelled: {why}"))
        for order_id in chosen:
            core.take(core.ledger.cancels.on_asked(order_id, None, why))

    def cancel_everything(self, message: GlobalCancel) -> None:
        """Cancel every order of the account, manual ones too, until IB lists none of them."""
        if self._everything.ask(message, self._core.now.secs):
            text = f"cancelling every order of the account: {message.reason}"
            self._core.batch.notes.append(warning(text))
            self._keep_owed()

    def drop_everything(self, number: int) -> None:
        """The global cancel with this number is not wanted any more."""
        if self._everything.drop(number):
            text = "the cancel of every order of the account is not wanted any more; it is not sent again"
            self._core.batch.notes.append(warning(text))
            self._keep_owed()

    def keep_only(self, number: int) -> None:
        """Of global cancels that are owed the breaker knows this one only; 0: none."""
        if self._everything.keep_only(number):
            self._keep_owed()

    # -- what leaves --------------------------------------------------------------------------------------

    def send_due(self) -> None:
        """Hand out the cancels that can leave now."""
        core = self._core
        if not core.life.ready:
            return
        self._send_everything()
        for order_id, ib_order_id in core.ledger.cancels.to_send().items():
            # Before the connection is reconciled IB may not know our orders yet.
            if not core.life.usable or not core.life.pacer.free(core.now.secs, cancel=True):
                return
            core.life.send(CancelOrder(order_id, ib_order_id), core.now.secs)
            core.take(core.ledger.cancels.on_sent(order_id, core.now.secs))

    def _send_everything(self) -> None:
        core, now = self._core, self._core.now.secs
        if self._everything.give_up(now):
            text = "the cancel of every order of the account is given up: IB lists some of them still"
            core.batch.notes.append(error(text))
            self._keep_owed()
        elif self._everything.is_due(now) and core.life.pacer.free(now, cancel=True):
            core.life.send(CancelEverything(), now)
            self._everything.on_sent(now)
            core.take(core.ledger.cancels.on_everything_sent())
            # What is open now is what it was for.
            core.life.look_up()

    def on_sent(self, frame: CancelOrder, unsent: Unsent | None) -> None:
        """What became of the bytes of a cancel."""
        core = self._core
        if unsent is None:
            core.batch.notes.append(info(f"{frame.order_id}: cancel written"))
        else:
            core.take(core.ledger.cancels.on_unsent(frame.order_id))

    def on_everything_sent(self, unsent: Unsent | None) -> None:
        """What became of the bytes of the cancel of everything."""
        self._core.take(self._core.ledger.cancels.on_everything_written(left=unsent is None))
        if unsent is not None:
            self._everything.on_new_connection()

    # -- what IB lists ------------------------------------------------------------------------------------

    def on_new_connection(self) -> None:
        """What was under way when the connection broke may never have arrived."""
        self._core.take(self._core.ledger.cancels.on_new_connection())
        self._everything.on_new_connection()

    def on_listed(self, open_ids: set[int], asked_at: float) -> None:
        """IB has listed all open orders: is there still one that the cancel of everything was for?"""
        done = self._everything.on_listed(open_ids, asked_at)
        if done is not None:
            self._core.batch.notes.append(info("IB lists none of the orders any more that were to be cancelled"))
            self._core.tell(AllCancelled(number=done))
        if done is not None or self._everything.owed is not None:
            self._keep_owed()

    @property
    def waits_for_list(self) -> bool:
        """Whether IB has to be asked what is still open."""
        return self._everything.waits_for_list()

    def _keep_owed(self) -> None:
        self._core.keep.owed = [self._everything.owed]
