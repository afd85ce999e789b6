"""One point of the campaign: a pipeline under load, a process that dies at a named point, and the judgement.

Every other round of the points, a journal is lost on top of that before the next start.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgpack
import zmq

from services.crash_points import POINTS
from tests.crash import oracle
from tests.crash.losses import LOSSES, VICTIMS, Copies
from tests.pipeline.pipeline import SERVICES, Pipeline, running, wait_until
from tests.pipeline.raw import RawProgram

# Longer than any point takes to be reached under this load; a point that is not reached is told as such.
REACH_SECS = 8.0
# Longer than the five seconds without an answer, a reconnect and what is told then.
SETTLE_SECS = 45.0
# Longer than the proof that an unknown order was not placed: a connection of its own, two rounds 10 s apart.
PROOF_SECS = 90.0
# A stop that is latched must hold for this long with orders coming in, after everything runs again.
HOLD_SECS = 1.0
# An executor knows this late, or earlier, what the breaker has taken of what it told: with the lease, and a pause on a
# busy machine.
TAKEN_SECS = 2.0
# What happens once per start or per connection; all else happens with every order, or oftener.
RARE = {
    "executor.reconcile.asking": 3,
    "executor.reconcile.answered": 3,
    "executor.round.complete": 1,
    "executor.fence.taken": 1,
    "executor.welcome.taken": 1,
    "executor.cancel.unsent": 4,
    "executor.cancel.sent": 4,
    "breaker.fence.committed": 2,
    "breaker.reply.unsent": 4,
    "paper.cancel.received": 4,
}
OFTEN = 25
# Only the trips of this campaign's own making may stop trading, and a condition's, which ends by itself.
SETTINGS = {
    "ORDERFUSE_BREAKER__FAILURE_THRESHOLD": "1000",
    "ORDERFUSE_BREAKER__OPEN_TIMEOUT_SECS": "0.5",
    "ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "100000",
    "ORDERFUSE_PAPER__MAX_WORKING_ORDERS": "0",
}


@dataclass(frozen=True)
class Case:
    """What happens under one seed. All points come in turn, so that any stretch of seeds covers them evenly.

    `loss`: what becomes of a journal before the next start, "" for nothing; `lost`: whose, one after the other;
    `tripped`: a person has tripped the system before it.
    """

    seed: int
    point: str
    count: int
    both: bool
    rollback: bool
    away: bool
    patient: bool
    loss: str
    lost: tuple[str, ...]
    tripped: bool

    @property
    def dies(self) -> str:
        """The process that dies at the point."""
        return self.point.partition(".")[0]


@dataclass
class Result:
    """How a case went. `complaints` empty: all is as it must be."""

    seed: int
    point: str
    count: int
    both: bool
    rollback: bool
    away: bool
    patient: bool
    loss: str
    lost: tuple[str, ...]
    tripped: bool
    reached: bool
    orders: int
    executions: int
    replaces: int
    unknown: list[str]
    complaints: list[str]


def case_of(seed: int) -> Case:
    """The case of this seed."""
    draw = random.Random(seed)
    point = list(POINTS)[seed % len(POINTS)]
    other_service = not point.startswith("paper")
    return Case(
        seed=seed,
        point=point,
        count=draw.randint(1, RARE.get(point, OFTEN)),
        both=other_service and draw.random() < 0.25,
        rollback=draw.random() < 0.3,
        away=draw.random() < 0.4,
        patient=draw.random() < 0.25,
        loss=draw.choice(list(LOSSES)) if seed // len(POINTS) % 2 else "",
        lost=draw.choice(VICTIMS) if seed // len(POINTS) % 2 else (),
        tripped=draw.random() < 0.5,
    )


class Load:
    """Orders of two kinds, cancels, changes, and requests; what is not decided is sent again, unchanged."""

    def __init__(self, program: RawProgram, draw: random.Random) -> None:
        self.program, self.draw = program, draw
        self.ids: list[str] = []
        # What was asked for besides: events that came while this program was not connected again yet.
        self.looked_up: list[dict[str, Any]] = []
        # Since when and until when (wall clock) nobody can say any more what the breaker told.
        self.forgotten_ns: list[tuple[int, int]] = []
        # When the process that dies was alive last.
        self.alive_ns = 0
        self.replaces: dict[str, oracle.Replace] = {}
        self._undecided: dict[str, dict[str, Any]] = {}
        self._uncancelled: dict[str, str] = {}
        self._unreplaced: set[str] = set()
        self._resting: dict[str, int] = {}
        self._accepted: list[str] = []
        self._resend_at = 0.0

    def step(self) -> None:
        """One order, now and then a cancel or a question, and what comes back."""
        rests = self.draw.random() < 0.4
        order = _resting(oracle.FIRST_PRICE) if rests else {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"}
        fields = {"order": order, "sent_ns": time.time_ns(), "ttl_ms": 60_000}
        if self.draw.random() < 0.15:
            fields["attached"] = self._legs()
        order_id = self.program.submit(**fields)
        self.ids += [order_id, *(leg["order_id"] for leg in fields.get("attached", ()))]
        self._undecided[order_id] = fields
        if rests and self.draw.random() < 0.5:
            self._uncancelled[order_id] = self.program.cancel(order_id)
        elif rests:
            self._resting[order_id] = 0
        if self._accepted and self.draw.random() < 0.4:
            self._change(self.draw.choice(self._accepted))
        if self._accepted and self.draw.random() < 0.15:
            # One that works: most of those that are cancelled at once never leave the breaker.
            working = self._accepted.pop(self.draw.randrange(len(self._accepted)))
            self._uncancelled[working] = self.program.cancel(working)
        if self.draw.random() < 0.2:
            question = {"v": 1, "kind": "request", "op": "status", "id": 1}
            with contextlib.suppress(zmq.ZMQError):
                self.program.control.send(msgpack.packb(question), zmq.NOBLOCK)
        self.hear(0.03)

    def _take(self, event: dict[str, Any]) -> None:
        order_id = event["order_id"]
        if event["kind"] in oracle.DECISIONS:
            self._undecided.pop(order_id, None)
        if event["kind"] in ("request_passed", "request_refused"):
            self._unreplaced.discard(event["request_id"])
            if event["request_id"] == self._uncancelled.get(order_id):
                del self._uncancelled[order_id]
        if event["kind"] == "accepted" and order_id in self._resting:
            self._accepted.append(order_id)

    def _change(self, order_id: str) -> None:
        """Each change has a price of its own, by which it is known in the record and in the book."""
        self._resting[order_id] += 1
        revision = self._resting[order_id]
        request_id = f"r-{time.time_ns()}"
        self.replaces[request_id] = oracle.Replace(order_id, revision, oracle.FIRST_PRICE + revision / 100)
        self._unreplaced.add(request_id)
        self._send_change(request_id)

    def _send_change(self, request_id: str) -> None:
        replace = self.replaces[request_id]
        self.program.replace(replace.order_id, request_id, replace.revision, _resting(replace.price))

    def _legs(self) -> list[dict[str, Any]]:
        leg = {"action": "SELL", "totalQuantity": 1, "tif": "GTC"}
        prices = {"target": {"orderType": "LMT", "lmtPrice": 250.0}, "stop": {"orderType": "STP", "auxPrice": 0.25}}
        return [{"order_id": f"{name}-{time.time_ns()}", "order": {**leg, **price}} for name, price in prices.items()]

    def look_up(self) -> None:
        """Ask for all events, as a strategy does that sees a gap in their numbers."""
        self.looked_up += _history(self.program)

    def hear(self, secs: float) -> None:
        """Take what comes for so long."""
        end = time.monotonic() + secs
        while (left := end - time.monotonic()) > 0:
            event = self.program.next_event(left)
            if event is not None and event["kind"] != "state":
                self._take(event)
        if time.monotonic() >= self._resend_at:
            self._resend_at = time.monotonic() + 0.5
            for order_id, fields in self._undecided.items():
                self.program.submit(order_id, **fields)
            for order_id, request_id in self._uncancelled.items():
                self.program.cancel(order_id, request_id)
            for request_id in self._unreplaced:
                self._send_change(request_id)

    @property
    def unanswered(self) -> list[str]:
        """The orders and requests that have no answer yet."""
        return [*self._undecided, *self._uncancelled.values(), *self._unreplaced]


def _resting(price: float) -> dict[str, Any]:
    return {"action": "BUY", "totalQuantity": 1, "orderType": "LMT", "lmtPrice": price, "tif": "GTC"}


def play(case: Case) -> Result:
    """Play one case with real processes."""
    with running(**SETTINGS) as pipeline:
        pipeline.env["ORDERFUSE_PAPER__STATE_FILE"] = str(pipeline.home / "state")
        pipeline.start(*(name for name in SERVICES if name != case.dies))
        pipeline.start(case.dies, crash_at=f"{case.point}:{case.count}")
        with RawProgram(pipeline.home) as program:
            program.events.subscribe(b"order/adopted/")
            draw = random.Random(case.seed)
            load, copies = Load(program, draw), Copies(pipeline.home)
            reached = _until_it_dies(case, pipeline, load, copies, copy_at_step=draw.randint(1, 20))
            _while_it_is_away(case, pipeline, load)
            forgot = []
            for name in case.lost:
                forgot += _lose(case, name, pipeline, load, copies)
            pipeline.start(*(name for name in SERVICES if name not in pipeline.processes))
            program.wait_trading(secs=SETTLE_SECS)
            for _ in range(10):
                load.step()
            return _judge(case, pipeline, load, reached=reached, forgot=forgot)


def _lose(case: Case, name: str, pipeline: Pipeline, load: Load, copies: Copies) -> list[str]:
    """Lose the journal of this process and go on with all of them. Complains of a stop that was forgotten."""
    program = load.program
    if case.tripped:
        _start_missing(pipeline, program)
        program.request("trip", reason="before the loss", cancel="none")
        load.hear(0.2)
    if "breaker" in pipeline.processes:
        load.look_up()
    talked = {"breaker", "executor"} <= set(pipeline.processes)
    if name in pipeline.processes:
        pipeline.kill(name)
    copies.strike(case.loss, name)
    if name == "breaker":
        # What it told last may still be on its way.
        died_ns = time.time_ns()
        since_ns = copies.taken_ns if case.loss == "older" else died_ns
        if not talked:
            # Nobody told the executor what was taken since.
            since_ns = min(since_ns, load.alive_ns)
        load.forgotten_ns.append((since_ns - int(TAKEN_SECS * 1e9), died_ns))
    written = len(pipeline.at_the_wire("placeOrder"))
    _start_missing(pipeline, program)
    forgot = _hold(name, written, pipeline, load) if case.tripped else []
    if _is_latched(program):
        program.request("reset", reason="the campaign has looked")
    program.wait_trading(secs=SETTLE_SECS)
    for _ in range(5):
        load.step()
    return forgot


def _hold(name: str, written: int, pipeline: Pipeline, load: Load) -> list[str]:
    """A trip must stand with orders coming in, whatever was lost."""
    end = time.monotonic() + HOLD_SECS
    forgot = []
    while time.monotonic() < end and not forgot:
        load.step()
        if not _is_latched(load.program):
            forgot.append(f"the system was tripped, and is not OPEN and latched after {name}'s journal was lost")
    more = len(pipeline.at_the_wire("placeOrder")) - written
    if more:
        forgot.append(f"the system was tripped, and {more} orders were written after {name}'s journal was lost")
    return forgot


def _start_missing(pipeline: Pipeline, program: RawProgram) -> None:
    """Start who is not there, and wait until the executor has been taken in and has its gateway.

    Before that a journal that was lost is not made up for, and to lose the other one would be to lose both at once.
    """

    def times_taken_in() -> int:
        return pipeline.log("executor").count("the breaker took this executor in")

    before = times_taken_in()
    missing = {each for each in SERVICES if each not in pipeline.processes}
    pipeline.start(*missing)

    def connected() -> bool:
        status = program.request("status")
        joined = times_taken_in() > before or missing <= {"paper"}
        return bool(joined and status["executor"]["present"] and status["gateway"]["connected"])

    wait_until(connected, "an executor at the breaker, and a gateway at the executor", secs=SETTLE_SECS)


def _is_latched(program: RawProgram) -> bool:
    system = program.system()
    return system["state"] == "OPEN" and bool(system["latched"])


def _until_it_dies(case: Case, pipeline: Pipeline, load: Load, copies: Copies, *, copy_at_step: int) -> bool:
    deadline = time.monotonic() + REACH_SECS
    process = pipeline.processes[case.dies]
    while process.poll() is None and time.monotonic() < deadline:
        load.alive_ns = time.time_ns()
        load.step()
        copy_at_step -= 1
        if not copy_at_step and case.loss:
            copies.take()
    if case.loss and not copies.taken_ns:
        copies.take()
    reached = process.poll() == -signal.SIGKILL
    pipeline.kill(case.dies)
    return reached


def _while_it_is_away(case: Case, pipeline: Pipeline, load: Load) -> None:
    if case.both:
        pipeline.kill("breaker" if case.dies == "executor" else "executor")
    if case.dies == "paper":
        return
    if case.away:
        # What rests is filled while nobody hears it.
        pipeline.command("paper fault price symbol=AAPL price=0.5")
        pipeline.command("paper fault price symbol=AAPL price=190")
    if case.rollback:
        pipeline.command("paper fault restart roll_back_ids=5")
    load.hear(0.05)


def _judge(case: Case, pipeline: Pipeline, load: Load, *, reached: bool, forgot: list[str]) -> Result:
    began = time.monotonic()
    while True:
        load.hear(0.2)
        # What the book has by now must be told when the events are read; it must not have moved meanwhile.
        book = oracle.read_book(pipeline)
        told, unknown = _told(load), set(load.program.request("status")["unknown"])
        working = _working(load.program)
        heard = oracle.Heard(load.ids, load.replaces, told, unknown, working, lost=case.lost)
        secs = time.monotonic() - began
        moved = oracle.read_book(pipeline) != book
        over = secs > SETTLE_SECS or not (moved or load.unanswered or oracle.still_open(heard, book))
        # What the breaker calls working and IB does not have becomes unknown after two rounds of questions.
        waits_for_proof = (case.patient and unknown) or oracle.ghosts(heard, book)
        if over and (secs > PROOF_SECS or not waits_for_proof):
            break
    wire = pipeline.at_the_wire("placeOrder")
    return Result(
        **asdict(case),
        reached=reached,
        orders=len(load.ids),
        executions=sum(map(len, book.executions.values())),
        unknown=[f"{at}: {[e['kind'] for e in told.get(at, [])]}" for at in sorted(unknown)],
        replaces=len(load.replaces),
        complaints=[
            *forgot,
            *(f"{order_id} was sent again and again, and never answered" for order_id in load.unanswered),
            *oracle.back_steps(load.program.seen),
            *oracle.complaints(heard, book, wire),
        ],
    )


def _told(load: Load) -> oracle.Events:
    """Every event of every order: what was heard, and what stands in the breaker's journal, each once.

    A journal that was lost does not have all that was told; what was told while nobody heard it stands there only, or
    was heard as an answer to a resend, before the journal was lost. What nobody can say any more whether it was told
    may be told once more; and whose order it was may be forgotten, so that people are told of it, not its strategy.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    repeats: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in [*load.program.seen, *load.looked_up, *_history(load.program)]:
        # That an id belongs to another order already says nothing of that order.
        if event["kind"] != "duplicate" and event.get("order_id") and not event.get("conflict"):
            if event.get("again"):
                repeats.setdefault(_what(event), event)
            else:
                found[*_what(event), event["seq"], event["at_ns"]] = event
    first = {what[:4] for what in found}
    told = [*found.values(), *(event for what, event in repeats.items() if what not in first)]
    events: oracle.Events = {}
    to_strategy = {_what(event) for event in told if event["strategy_id"] != "adopted"}
    forgotten: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in sorted(told, key=lambda event: (event["at_ns"], event["seq"])):
        if event["strategy_id"] == "adopted" and _what(event) in to_strategy:
            continue
        if _what(event) in forgotten and (event.get("exec_id") or event.get("request_id")):
            # The later one counts: an order that is told anew from its beginning has its end behind that again.
            events[event["order_id"]].remove(forgotten.pop(_what(event)))
        if any(since <= event["at_ns"] <= until for since, until in load.forgotten_ns):
            forgotten[_what(event)] = event
        events.setdefault(event["order_id"], []).append(event)
    return events


def _what(event: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(event.get(key) for key in ("order_id", "kind", "exec_id", "request_id"))


def _history(program: RawProgram) -> Iterator[dict[str, Any]]:
    for strategy_id in (program.strategy_id, "adopted"):
        after = 0
        while True:
            reply = program.request("events", topic=f"order/{strategy_id}/", after_seq=after)
            yield from reply["events"]
            if not reply["more"]:
                break
            after = reply["next"]


def _working(program: RawProgram) -> set[str]:
    """The orders that the breaker calls working."""
    found: set[str] = set()
    after = 0
    while True:
        reply = program.request("orders", state="working", limit=1000, after=after)
        found.update(order["order_id"] for order in reply["orders"])
        if not reply["more"]:
            return found
        after = reply["next"]
