"""One point of the campaign: a pipeline under load, a process that dies at a named point, and the judgement.

Every other round of the points, a journal is lost on top of that before the next start.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from services.runtime.crash_points import POINTS
from tests.campaigns.crash import oracle
from tests.campaigns.crash.counted import Counted
from tests.campaigns.crash.load import SCENARIO, Load, history
from tests.campaigns.crash.losses import LOSSES, VICTIMS, Copies
from tests.processes.pipeline.pipeline import SERVICES, Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram

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
    `tripped`: a person has tripped the system before it. `closes`: when the day ends, "" for not at all.
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
    closes: str

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
    closes: str
    reached: bool
    orders: int
    executions: int
    replaces: int
    met: dict[str, int]
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
        closes=draw.choice(("", "away", "after")),
    )


def play(case: Case) -> Result:
    """Play one case with real processes."""
    with running(**SETTINGS) as pipeline:
        pipeline.env["ORDERFUSE_PAPER__STATE_FILE"] = str(pipeline.home / "state")
        scenario = pipeline.home / "scenario.toml"
        scenario.write_text(SCENARIO, encoding="utf-8")
        pipeline.env["ORDERFUSE_PAPER__SCENARIO"] = str(scenario)
        pipeline.start(*(name for name in SERVICES if name != case.dies))
        pipeline.start(case.dies, crash_at=f"{case.point}:{case.count}")
        with RawProgram(pipeline.home) as program:
            program.events.subscribe(b"order/adopted/")
            draw = random.Random(case.seed)
            load, copies, counted = Load(program, pipeline.home, draw), Copies(pipeline.home), Counted()
            reached = _until_it_dies(case, pipeline, load, copies, copy_at_step=draw.randint(1, 20))
            _while_it_is_away(case, pipeline, load)
            forgot = []
            for name in case.lost:
                forgot += _lose(case, name, pipeline, load, copies, counted)
            _start_the_dead(pipeline, counted)
            program.wait_trading(secs=SETTLE_SECS)
            if case.closes and not load.closed_ns:
                load.close_the_day()
            for _ in range(10):
                load.step()
            return _judge(case, pipeline, load, counted, reached=reached, forgot=forgot)


def _lose(case: Case, name: str, pipeline: Pipeline, load: Load, copies: Copies, counted: Counted) -> list[str]:
    """Lose the journal of this process and go on with all of them. Complains of a stop that was forgotten."""
    program = load.program
    if case.tripped:
        _start_missing(pipeline, program, counted)
        program.request("trip", reason="before the loss", cancel="none")
        load.hear(0.2)
    if "breaker" in pipeline.processes:
        load.look_up()
    talked = {"breaker", "executor"} <= set(pipeline.processes)
    counted.look(pipeline.home, program.request("status") if "breaker" in pipeline.processes else None)
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
    _start_missing(pipeline, program, counted)
    forgot = _hold(name, written, pipeline, load) if case.tripped else []
    if _is_latched(program):
        counted.look(pipeline.home, program.request("status"))
        program.request("reset", reason="the campaign has looked")
    program.wait_trading(secs=SETTLE_SECS)
    for _ in range(5):
        load.step()
    return forgot


def _hold(name: str, written: int, pipeline: Pipeline, load: Load) -> list[str]:
    """A trip must stand with orders coming in, whatever was lost."""
    end = time.monotonic() + HOLD_SECS
    forgot: list[str] = []
    while time.monotonic() < end and not forgot:
        load.step()
        if not _is_latched(load.program):
            forgot.append(f"the system was tripped, and is not OPEN and latched after {name}'s journal was lost")
    more = len(pipeline.at_the_wire("placeOrder")) - written
    if more:
        forgot.append(f"the system was tripped, and {more} orders were written after {name}'s journal was lost")
    return forgot


def _start_missing(pipeline: Pipeline, program: RawProgram, counted: Counted) -> None:
    """Start who is not there, and wait until the executor has been taken in and has its gateway.

    Before that a journal that was lost is not made up for, and to lose the other one would be to lose both at once.
    """

    def times_taken_in() -> int:
        return pipeline.log("executor").count("the breaker took this executor in")

    before = times_taken_in()
    missing = {each for each in SERVICES if each not in pipeline.processes}
    _start_the_dead(pipeline, counted)

    def connected() -> bool:
        status = program.request("status")
        joined = times_taken_in() > before or missing <= {"paper"}
        return bool(joined and status["executor"]["present"] and status["gateway"]["connected"])

    wait_until(connected, "an executor at the breaker, and a gateway at the executor", secs=SETTLE_SECS)
    # What the executor now learns from IB's lists it tells anew; the breaker has to have taken that, and said so.
    time.sleep(TAKEN_SECS)


def _start_the_dead(pipeline: Pipeline, counted: Counted) -> None:
    dead = [name for name in SERVICES if name not in pipeline.processes]
    if "executor" in dead:
        counted.executor_started_ns = time.time_ns()
    pipeline.start(*dead)


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
    if case.closes == "away" and "executor" not in pipeline.processes:
        # An executor that hears of it would find most of these orders too young for an ordinary end.
        load.close_the_day()
    if case.away:
        # What rests is filled while nobody hears it.
        pipeline.command("paper fault price symbol=AAPL price=0.5")
        pipeline.command("paper fault price symbol=AAPL price=190")
    if case.rollback:
        pipeline.command("paper fault restart roll_back_ids=5")
    load.hear(0.05)


def _judge(case: Case, pipeline: Pipeline, load: Load, counted: Counted, *, reached: bool, forgot: list[str]) -> Result:
    began = time.monotonic()
    while True:
        load.hear(0.2)
        # What the book has by now must be told when the events are read; it must not have moved meanwhile.
        book = oracle.read_book(pipeline)
        told, unknown = _told(load), set(load.program.request("status")["unknown"])
        working = _working(load.program)
        heard = oracle.Heard(load.ids, load.replaces, load.cancels, told, unknown, working, lost=case.lost)
        secs = time.monotonic() - began
        moved = oracle.read_book(pipeline) != book
        over = secs > SETTLE_SECS or not (moved or load.unanswered or oracle.still_open(heard, book))
        # What the breaker calls working and IB does not have becomes unknown after two rounds of questions.
        waits_for_proof = (case.patient and unknown) or oracle.ghosts(heard, book)
        if over and (secs > PROOF_SECS or not waits_for_proof):
            break
    wire = pipeline.at_the_wire("placeOrder")
    counted.look(pipeline.home, load.program.request("status"))
    return Result(
        **asdict(case),
        reached=reached,
        orders=len(load.ids),
        executions=sum(map(len, book.executions.values())),
        unknown=[f"{at}: {[e['kind'] for e in told.get(at, [])]}" for at in sorted(unknown)],
        replaces=len(load.replaces),
        met=_met(pipeline, told),
        complaints=[
            *forgot,
            *(f"{order_id} was sent again and again, and never answered" for order_id in load.unanswered),
            *oracle.back_steps(load.program.seen),
            *oracle.complaints(heard, book, wire),
            *counted.complaints(load.for_the_day(book.executions), load.closed_ns, lost=case.lost),
        ],
    )


def _met(pipeline: Pipeline, told: oracle.Events) -> dict[str, int]:
    """How often what this load is for has happened."""
    # What stands behind the last end of a line is being written.
    lines = pipeline.wire_record.read_text().rpartition("\n")[0].splitlines()
    said = Counter(str(entry["fields"]["code"]) for entry in map(json.loads, lines) if entry["message"] == "error")
    ends = [end for events in told.values() if (end := oracle.end_of(events)) and end["kind"] == "cancelled"]
    return {
        "ordinary": sum(end.get("request_id") is None for end in ends),
        "part": sum(end["filled"] > 0 for end in ends),
        **{code: said[code] for code in ("10147", "10148")},
    }


def _told(load: Load) -> oracle.Events:
    """Every event of every order: what was heard, and what stands in the breaker's journal, each once.

    A journal that was lost does not have all that was told; what was told while nobody heard it stands there only, or
    was heard as an answer to a resend, before the journal was lost. What nobody can say any more whether it was told
    may be told once more; and whose order it was may be forgotten, so that people are told of it, not its strategy.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    repeats: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in [*load.program.seen, *load.looked_up, *history(load.program)]:
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
