"""The executor's process in virtual time: its real stage on its real journal, and a rim that may die anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderfuse.bus.fields import Message
from orderfuse.settings import ExecutorSettings, IbSettings
from services.breaker.inputs import FromDispatch, FromFeedback
from services.executor.batch import Batch
from services.executor.inputs import Done, Input, Renamed, Tick, Told, Unsent
from services.executor.journal import Journal
from services.executor.stage import Stage
from services.gateway.frames import ChangeOrder, Dial, Frame, PlaceOrders
from services.wire.dispatch import FromExecutor, Lease, LeaseRequest
from services.wire.feedback import Feedback
from tests.simulation.breaker import WINDOW, Died
from tests.unit.breaker.harness import wall_ns_of

if TYPE_CHECKING:
    from tests.simulation.world import World

CLIENT_ID = 7
# More than IB allows, so that pacing is seldom what an order waits for; and less than it takes to never wait.
MESSAGES_PER_SECOND = 45
RESEND_CHUNK = 200


class ExecutorProcess:
    """A process that dies and starts again on what was saved."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal = Journal(None, CLIENT_ID, wall_ns=lambda: wall_ns_of(world.clock))
        self.stage: Stage | None = None
        self.crash_next = ""
        self.peer = b""
        self.disk_is_full = False
        self._number = self._connection = 0
        # What the last batch told, as the journal has numbered it.
        self._told: list[tuple[int, Feedback, bytes]] = []
        self._feedback_sent = 0

    def start(self) -> None:
        """Start, unless one runs."""
        self._start()
        self._tick()

    def _start(self) -> None:
        if self.stage is not None:
            return
        world = self.world
        self._number += 1
        world.note(f"executor {self._number} starts")
        self.stage = Stage(
            IbSettings(account="DU1", client_id=CLIENT_ID, messages_per_second=MESSAGES_PER_SECOND),
            ExecutorSettings(),
            window=WINDOW,
            saved=self.journal.saved(),
            history=self.journal,
            executor_id=f"exec-{self._number}",
            alone=False,
            first_nonce=self._number * 1_000_000,
        )
        self._feedback_sent = 0
        self.reconnect()

    def _tick(self) -> None:
        self.hear()
        self.world.after(self.world.turn_secs(0.01), self._tick)

    def fill_disk(self, secs: float) -> None:
        """The disk takes nothing for a while."""
        self.disk_is_full = True
        self.world.note("the executor's disk is full")

        def has_room() -> None:
            self.disk_is_full = False

        self.world.after(secs, has_room)

    # -- the links ----------------------------------------------------------------------------------------

    def reconnect(self) -> None:
        """The connection to the breaker is a new one: what was under way is lost both ways."""
        from tests.simulation.world import Fifo

        self._connection += 1
        self.peer = f"peer-{self._connection}".encode()
        self._out, self._back, self._feedback = Fifo(self.world), Fifo(self.world), Fifo(self.world)

    def receive(self, message: Message) -> None:
        """The breaker sends something."""
        peer = self.peer

        def arrive() -> None:
            if peer == self.peer and self.stage is not None:
                if isinstance(message, Lease):
                    self.world.oracle.leased(message)
                self.hear(Told(message))  # type: ignore[arg-type]

        self._back.send(arrive)

    def _say(self, message: FromExecutor) -> None:
        peer = self.peer
        if isinstance(message, LeaseRequest):
            self.world.oracle.lease_asked(message)

        def arrive() -> None:
            if peer == self.peer:
                self.world.breaker.hear(FromDispatch(peer, message))

        self._out.send(arrive)

    def _tell(self, seq: int, feedback: Feedback) -> None:
        """Feedback may be lost and doubled, but keeps its order."""
        world = self.world
        self._feedback_sent = max(self._feedback_sent, seq)
        if not world.maybe(0.05):
            for _ in range(2 if world.maybe(0.05) else 1):
                self._feedback.send(lambda: world.breaker.hear(FromFeedback(feedback)))

    # -- a turn -------------------------------------------------------------------------------------------

    def hear(self, *inputs: Input) -> None:
        """Something arrives, and the time behind it; lost if nobody is there."""
        if self.stage is None:
            return
        try:
            more = self._turn(*inputs, self._now())
            while more:
                more = self._turn(self._now())
        except Died:
            self.world.note("the executor dies")
            self.stage = None
            # Its sockets die with it.
            self.peer = b""
            self.world.market.hang_up()
            self.world.after(self.world.chance.choice((0.1, 1, 4)), self._start)

    def _now(self) -> Tick:
        return Tick(feedback_sent=self._feedback_sent)

    def _turn(self, *inputs: Input) -> bool:
        assert self.stage is not None
        batch = Batch()
        for each in inputs:
            batch.add(self.stage.step(each, self.world.now()))
        self._carry_out(batch)
        return batch.more

    def _carry_out(self, batch: Batch) -> None:
        """Save, then send, as the real rim does."""
        world, stage = self.world, self.stage
        assert stage is not None
        crash = ""
        if batch.keep or batch.frames:
            crash, self.crash_next = self.crash_next, ""
        for note in batch.notes:
            world.note(f"    executor: {note.text}")
        trouble = self._save(batch, crash)
        unsent = []
        for frame in batch.frames:
            missing = self._write(frame, trouble)
            unsent += [missing] if missing else []
            if crash == "amid_sending":
                raise Died
        world.oracle.executor_stepped(stage, batch)
        self._send(batch)
        if crash:
            raise Died
        if batch.rename:
            stage.step(Renamed(self.journal.rename()), world.now())
        stage.step(Done(trouble, tuple(unsent)), world.now())

    def _save(self, batch: Batch, crash: str) -> str:
        """Save what must be saved; returns why it is not."""
        self._told = []
        if crash == "before_save":
            raise Died
        trouble = "the disk is full" if self.disk_is_full and (batch.keep or batch.retry) else ""
        if not trouble:
            self._told = self.journal.save(batch.keep, self.world.now().wall_ns)
        if batch.keep.taken:
            self.journal.note_taken(batch.keep.taken)
        if crash == "after_save":
            raise Died
        return trouble

    def _send(self, batch: Batch) -> None:
        for message in batch.messages:
            self._say(message)
        for seq, feedback, _ in self._told:
            self.world.note(f"    told {seq}: {feedback.fact} {feedback.outcome or ''}")
            self._tell(seq, feedback)
        self._tell_again(batch)

    def _write(self, frame: Frame, trouble: str) -> Unsent | None:
        world = self.world
        if isinstance(frame, Dial):
            world.market.dial(frame.number)
            return None
        if isinstance(frame, PlaceOrders | ChangeOrder):
            if trouble:
                return Unsent(frame, trouble)
            if world.now().secs >= frame.until:
                return Unsent(frame, "the lease ran out", "lease")
        if isinstance(frame, PlaceOrders):
            world.oracle.leaves(frame, self.journal)
        return None if world.market.write(frame) else Unsent(frame, "not connected")

    def _tell_again(self, batch: Batch) -> None:
        from orderfuse.bus.codec import decode

        rows: list[tuple[int, bytes]] = []
        if batch.resend_after is not None:
            rows += self.journal.feedback_after(batch.resend_after, RESEND_CHUNK)
        rows += batch.resend
        for seq, payload in rows:
            self._tell(seq, decode(payload, Feedback))
