"""Carries out what the stage wants: saves it, then writes it to IB, and says what became of it. It decides nothing.

The links to the breaker are the loop's: what is to be sent over them is handed to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from loguru import logger

from orderfuse.stopfile import StopFile
from services.executor.batch import Batch
from services.executor.inputs import Done, Input, Renamed, Unsent
from services.executor.journal import Journal, JournalError, JournalMismatch
from services.executor.stage import Stage
from services.gateway.frames import ChangeOrder, Frame, PlaceOrders
from services.gateway.line import Line
from services.gateway.reports import ErrorReport, ExecutionReport, Heard, OpenOrderReport, RequestEnd, StatusReport
from services.gateway.round import LISTS
from services.runtime.crash_points import reach
from services.runtime.now import Now
from services.wire.dispatch import FromExecutor
from services.wire.feedback import Fact, Outcome

Clock = Callable[[], Now]


def machine_now(monotonic_ns: int) -> Now:
    """The moment with what this machine says of the day: its wall clock and its time zone."""
    wall_ns = time.time_ns()
    return Now(monotonic_ns, wall_ns, time.localtime(wall_ns / 1e9).tm_gmtoff)


@dataclass(slots=True)
class Carried:
    """What was saved, and is now to be sent over the links.

    Attributes:
        messages: for the breaker, on `dispatch`.
        facts: what was told, as it stands in the journal now.
        feedback: the same as numbered bytes, and what is sent again of single orders.
        resend_after: all journaled feedback behind this number is to be sent again.
        unsent: what did not leave for IB.
    """

    messages: list[FromExecutor] = field(default_factory=list)
    facts: list[tuple[Fact, Outcome | None]] = field(default_factory=list)
    feedback: list[tuple[int, bytes]] = field(default_factory=list)
    resend_after: int | None = None
    unsent: list[Unsent] = field(default_factory=list)


class Rim:
    """The stage between its journal and the gateway.

    Args:
        stage: decides.
        journal: keeps.
        line: the connection to IB.
        clock: read once for each input.
        stop_file: looked for once more right before an order's bytes; None: a script has none.
    """

    def __init__(
        self, stage: Stage, journal: Journal, line: Line, clock: Clock, stop_file: StopFile | None = None
    ) -> None:
        self.stage = stage
        self.journal = journal
        self.line = line
        self._clock = clock
        self._stop_file = stop_file

    def take(self, inputs: Iterable[Input]) -> tuple[Carried, bool]:
        """Step through what has come, and carry out all of it at once; whether another tick would bring more.

        Raises:
            AccountRefused, JournalMismatch: the gateway or the journal is not the one to trade with.
        """
        batch, now = Batch(), None
        for each in inputs:
            if isinstance(each, Heard):
                _reach_heard(each)
            now = self._clock()
            batch.add(self.stage.step(each, now))
        assert now is not None, "nothing has come"
        return self._carry_out(batch, now.wall_ns), batch.more

    def _carry_out(self, batch: Batch, at_ns: int) -> Carried:
        carried = Carried(messages=batch.messages, resend_after=batch.resend_after)
        for note in batch.notes:
            logger.log(note.level, "{}", note.text)
        trouble = self._save(batch, carried, at_ns)
        carried.unsent = self._write(batch.frames, trouble)
        if batch.rename:
            self._rename()
        if batch.keep or batch.retry or batch.frames:
            self.stage.step(Done(trouble, tuple(carried.unsent)), self._clock())
        carried.feedback += batch.resend
        return carried

    # -- the disk -----------------------------------------------------------------------------------------

    def _save(self, batch: Batch, carried: Carried, at_ns: int) -> str:
        """Save what must be saved. Returns why it is not, or nothing."""
        try:
            if batch.retry:
                # Also without news: the error must go as soon as it is over.
                self.journal.prune()
            told = self.journal.save(batch.keep, at_ns) if batch.keep else []
        except JournalMismatch:
            raise
        except JournalError as error:
            return str(error)
        for seq, feedback, payload in told:
            carried.feedback.append((seq, payload))
            carried.facts.append((feedback.fact, feedback.outcome))
        if batch.keep.taken:
            self._note_taken(batch.keep.taken)
        return ""

    def _note_taken(self, seq: int) -> None:
        """Of use to the next process only: a disk that takes nothing must not stop a stop."""
        try:
            self.journal.note_taken(seq)
        except JournalError as error:
            logger.error("{}", error)

    def _rename(self) -> None:
        before = self.journal.journal_id
        try:
            self.journal.rename()
        except JournalError as error:
            logger.error("{}", error)
        else:
            logger.warning("this journal is an old copy of {}: it is {} from now on", before, self.journal.journal_id)
        self.stage.step(Renamed(self.journal.journal_id), self._clock())

    # -- IB -----------------------------------------------------------------------------------------------

    def _write(self, frames: list[Frame], trouble: str) -> list[Unsent]:
        """Write what leaves for IB, in order; without a journal all but orders and changes. Returns what did not."""
        unsent = []
        for frame in frames:
            missing = self._refusal(frame, trouble) if isinstance(frame, PlaceOrders | ChangeOrder) else None
            missing = missing or self._write_one(frame)
            if missing is not None:
                unsent.append(missing)
        return unsent

    def _refusal(self, frame: PlaceOrders | ChangeOrder, trouble: str) -> Unsent | None:
        """The disk may have taken longer than the lease lasts, and somebody may have said stop meanwhile."""
        if trouble:
            return Unsent(frame, trouble)
        if self._stop_file is not None and self._stop_file.look() is not None:
            return Unsent(frame, "STOP", "fenced")
        if self._clock().secs < frame.until:
            return None
        return Unsent(frame, "the breaker's lease ran out while the journal was written", "lease")

    def _write_one(self, frame: Frame) -> Unsent | None:
        written = 0
        try:
            if isinstance(frame, PlaceOrders):
                for order in frame.orders:
                    self.line.write_order(order)
                    reach("executor.order.written")
                    written += 1
            else:
                self.line.write(frame)
        except AssertionError:
            # A bug of ours is nothing that IB's side of the process has to say of an order: it ends the process.
            raise
        except Exception as error:  # noqa: BLE001 - ib_insync builds the whole message before it writes a byte
            return Unsent(frame, f"it could not be written: {error}", written=written)
        return None


def _reach_heard(heard: Heard) -> None:
    match heard.report:
        case ExecutionReport():
            reach("executor.fill.received")
        case RequestEnd(what) if what in LISTS:
            reach("executor.reconcile.answered")
            if what == LISTS[-1]:
                reach("executor.round.complete")
        case StatusReport() | OpenOrderReport() | ErrorReport():
            reach("executor.ack.received")
        case _:
            pass
