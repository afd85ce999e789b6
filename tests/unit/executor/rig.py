"""The executor's stage in virtual time, between a breaker and a gateway that say what a test wants.

The journal is the real one, in memory. Nothing opens a socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orderfuse.settings import ExecutorSettings, IbSettings
from services.executor.batch import Batch
from services.executor.inputs import Done, Input, Renamed, Tick, Told, Unsent
from services.executor.journal import Journal
from services.executor.stage import Stage
from services.gateway.frames import Ask, Dial, Frame, PlaceOrders
from services.gateway.reports import Accounts, Dialled, Heard, NextOrderId, Report, RequestEnd
from services.runtime.now import Now
from services.runtime.sqlite import ReadError
from services.wire.dispatch import FromExecutor, Lease, LeaseRequest, ToExecutor, Welcome
from services.wire.feedback import Feedback
from services.wire.standing import GatewayStatus

ACCOUNT, CLIENT_ID = "DU1", 7
# Afternoon in New York and in Europe: nothing here is about the end of a day.
STARTED_AT_NS = 1_767_625_200 * 10**9


class Rig:
    """A stage and everything that it has wanted so far."""

    def __init__(
        self, *, journal: Journal | None = None, window: int = 8, alone: bool = False, **settings: Any
    ) -> None:
        self._secs = 1000.0
        # Of the machine's own zone.
        self.utc_offset_secs = 0
        self.journal = journal or Journal(None, CLIENT_ID, wall_ns=lambda: self._now().wall_ns)
        self.stage = Stage(
            IbSettings(account=ACCOUNT, client_id=CLIENT_ID, messages_per_second=0),
            ExecutorSettings(**settings),
            window=window,
            saved=self.journal.saved(),
            history=self.journal,
            executor_id="e",
            alone=alone,
        )
        self.frames: list[Frame] = []
        self.messages: list[FromExecutor] = []
        self.told: list[Feedback] = []
        self.lines: list[str] = []
        # What IB answers to a question, before its end; a question that is in `silent` has none.
        self.answers: dict[str, list[Report]] = {}
        self.silent: set[str] = set()
        self.disk_is_full = False
        # Why a frame is not written, or None.
        self.refuses: Callable[[Frame], Unsent | None] = lambda _: None
        self.stopped = False
        self.gives_leases = True
        # Whether the breaker takes what it is told; it may be lost on the way.
        self.takes_feedback = True
        self.resent_after: list[int] = []
        self.resent: list[tuple[int, bytes]] = []
        self._taken = 0
        self._number = 0

    # -- time and inputs ----------------------------------------------------------------------------------

    def _now(self) -> Now:
        return Now(round(self._secs * 1e9), STARTED_AT_NS + round(self._secs * 1e9), self.utc_offset_secs)

    def take(self, *inputs: Input) -> None:
        """Step, carry out, and step through what is answered at once."""
        waiting: list[Input] = [*inputs]
        while waiting:
            batch = self.stage.step(waiting.pop(0), self._now())
            waiting += self._carry_out(batch)

    def tick(self) -> None:
        """The time, again and again until nothing more leaves."""
        before = -1
        while before != len(self.frames) + len(self.messages) + len(self.told):
            before = len(self.frames) + len(self.messages) + len(self.told)
            self.take(Tick(stopped=self.stopped, feedback_sent=self._last_told))

    def wait(self, secs: float, step: float = 0.1) -> None:
        """Let time pass in small steps."""
        until = self._secs + secs
        while self._secs < until - 1e-9:
            self._secs = min(until, self._secs + step)
            self.tick()

    def say(self, *reports: Report) -> None:
        """IB says this, and time goes on."""
        self.take(*(Heard(self._number, report) for report in reports))
        self.tick()

    def hear(self, message: ToExecutor) -> None:
        """The breaker says this, and time goes on."""
        self.take(Told(message))
        self.tick()

    def connect(self) -> None:
        """Until the gateway is usable."""
        self.tick()
        assert self.stage.gateway_status().connected
        self.wait(0.2)

    def unread(self, *tables: str) -> None:
        """From now on the disk does not tell what these tables of the journal have."""

        database = self.journal._db

        def read(question: str, about: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
            if any(f"FROM {table}" in question for table in tables):
                raise ReadError("the journal in memory cannot be read: disk I/O error")
            return type(database).read(database, question, about)

        database.read = read  # type: ignore[method-assign,assignment]  # a disk that fails cannot be had

    def join(self, **more: Any) -> None:
        """The breaker takes this executor in, and gives it its lease from now on."""
        self.hear(Welcome(**{"fence": 1, "doubtful": [], "feedback_after": 0, **more}))
        self.wait(0.2)

    # -- carrying out -------------------------------------------------------------------------------------

    def _carry_out(self, batch: Batch) -> list[Input]:
        self.lines += [note.text for note in batch.notes]
        trouble = "the disk is full" if self.disk_is_full and (batch.keep or batch.retry) else ""
        if not trouble:
            self.told += [feedback for _, feedback, _ in self.journal.save(batch.keep, self._now().wall_ns)]
        if batch.keep.taken:
            self.journal.note_taken(batch.keep.taken)
        answers: list[Input] = []
        unsent = []
        for frame in batch.frames:
            missing = Unsent(frame, trouble) if trouble and isinstance(frame, PlaceOrders) else self.refuses(frame)
            if missing is not None:
                unsent.append(missing)
                continue
            self.frames.append(frame)
            answers += self._answer(frame)
        for message in batch.messages:
            self.messages.append(message)
            if isinstance(message, LeaseRequest) and self.gives_leases:
                fence = max(self.stage.link.fences.values(), default=1)
                self._taken = self._last_told if self.takes_feedback else self._taken
                answers.append(Told(Lease(nonce=message.nonce, fence=fence, lease_ms=500, feedback_taken=self._taken)))
        if batch.resend_after is not None:
            self.resent_after.append(batch.resend_after)
        self.resent += batch.resend
        if batch.rename:
            answers.insert(0, Renamed(self.journal.rename()))
        if batch.keep or batch.retry or batch.frames:
            answers.insert(0, Done(trouble, tuple(unsent)))
        return answers

    def _answer(self, frame: Frame) -> list[Input]:
        match frame:
            case Dial(number):
                self._number = number
                return [Heard(number, Accounts((ACCOUNT,))), Heard(number, NextOrderId(1)), Dialled(number)]
            case Ask(question) if question not in self.silent and question != "end_positions":
                said = [*self.answers.get(question, []), RequestEnd(question)]
                return [Heard(self._number, report) for report in said]
            case _:
                return []

    # -- what it wanted -----------------------------------------------------------------------------------

    @property
    def _last_told(self) -> int:
        return self.told[-1].seq if self.told else 0

    @property
    def status(self) -> GatewayStatus:
        """What is said of the gateway and of the account."""
        return self.stage.gateway_status()

    def facts(self, order_id: str = "") -> list[Any]:
        """The facts that were told, or those about one order."""
        told = [feedback.fact for feedback in self.told]
        return [fact for fact in told if not order_id or getattr(fact, "order_id", "") == order_id]

    def kinds(self, order_id: str) -> list[str]:
        """Their names."""
        return [type(fact).__name__ for fact in self.facts(order_id)]

    def written(self) -> list[str]:
        """The orders that left for IB, in their order."""
        return [order.order_id for frame in self.sent(PlaceOrders) for order in frame.orders]

    def sent(self, kind: type[Any]) -> list[Any]:
        """The frames of one kind that left."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    def said(self, kind: type[Any]) -> list[Any]:
        """The messages of one kind for the breaker."""
        return [message for message in self.messages if isinstance(message, kind)]
