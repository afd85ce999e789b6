"""One case: a pipeline trades, a stop is made in the middle of trouble, and nothing may reach the gateway any more."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import msgpack
import zmq

from orderfuse.exit_codes import NOTHING_ANSWERS
from tests.processes.pipeline.pipeline import DEADLINE_SECS, SERVICES, Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram

STOPS = ("command", "file", "control")
TROUBLES = ("kill", "end", "freeze")
# The trouble falls somewhere into this window, and the stop into the middle of it; a command needs a third of a
# second to start.
WINDOW_SECS = 1.8
STOP_SECS = (0.3, 1.0)
# Longer than a lease (500 ms) and than the grace of a breaker that is away.
AWAY_SECS = 0.9
# A trip is answered within 500 ms by whoever can answer.
ANSWER_MS = 1500
# How long nothing may pass with everything running, and orders coming in.
HOLD_SECS = 2.0
# Faster than the window of 8 empties, so that there is always something on its way.
ORDER_EVERY_SECS = 0.01
SETTLE_SECS = 30.0
# Only the stop of the case may stop trading; what the trouble causes must end by itself.
SETTINGS = {
    "ORDERFUSE_BREAKER__FAILURE_THRESHOLD": "1000",
    "ORDERFUSE_BREAKER__OPEN_TIMEOUT_SECS": "0.5",
    "ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "100000",
}


@dataclass(frozen=True)
class Trouble:
    """What happens to whom, when (seconds into the window), and for how long they are away."""

    at: float
    what: str
    names: tuple[str, ...]
    away: float

    def __str__(self) -> str:
        return f"{self.what} {'+'.join(self.names)}"


@dataclass(frozen=True)
class Case:
    """What happens under one seed."""

    seed: int
    stop: str
    stop_at: float
    troubles: tuple[Trouble, ...]
    # Once the stop is said to be done, and whatever went before is over.
    afterwards: tuple[Trouble, ...]


@dataclass
class Result:
    """How a case went. `complaints` empty: all is as it must be."""

    seed: int
    stop: str
    troubles: list[str]
    before: int = 0
    offered: int = 0
    complaints: list[str] = field(default_factory=list)


def case_of(seed: int) -> Case:
    """The case of this seed."""
    draw = random.Random(seed)
    both = ("breaker", "executor")

    def trouble(at: float) -> Trouble:
        names = draw.choice([both[:1], both[1:], both, both[::-1]])
        return Trouble(at, draw.choice(TROUBLES), names, draw.uniform(0.0, AWAY_SECS))

    troubles = [trouble(draw.uniform(0.0, WINDOW_SECS)) for _ in range(draw.randint(1, 3))]
    return Case(
        seed=seed,
        stop=STOPS[seed % len(STOPS)],
        stop_at=draw.uniform(*STOP_SECS),
        troubles=tuple(sorted(troubles, key=lambda trouble: trouble.at)),
        afterwards=(trouble(0.0),) if draw.random() < 0.5 else (),
    )


class Feed:
    """Market orders without a pause, from a thread of their own, whoever is there to take them."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._home = pipeline.home
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ids: list[str] = []
        self.filled: set[str] = set()

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with RawProgram(self._home, "feed") as program:
            # A breaker that is frozen takes nothing; the strategy goes on all the same.
            program.orders.setsockopt(zmq.SNDTIMEO, 0)
            while not self._over.is_set():
                order_id = f"feed-{time.time_ns()}"
                with contextlib.suppress(zmq.Again):
                    program.submit(order_id)
                    self.ids.append(order_id)
                end = time.monotonic() + ORDER_EVERY_SECS
                while (left := end - time.monotonic()) > 0:
                    event = program.next_event(left)
                    if event is not None and event["kind"] == "filled":
                        self.filled.add(event["order_id"])


class Stop:
    """The stop, made from a thread of its own, again until it is said to be done. `done_ns`: when that was."""

    def __init__(self, pipeline: Pipeline, how: str) -> None:
        self._pipeline, self._how = pipeline, how
        self._thread = threading.Thread(target=self._run)
        self.done_ns = 0
        self.said = ""

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(timeout=2 * DEADLINE_SECS)

    def _run(self) -> None:
        deadline = time.monotonic() + DEADLINE_SECS
        attempt: dict[str, Callable[[], bool]] = {
            "command": self._command,
            "file": self._file,
            "control": self._control,
        }
        while time.monotonic() < deadline:
            if attempt[self._how]():
                self.done_ns = time.monotonic_ns()
                return

    def _command(self) -> bool:
        done = self._pipeline.command("trip --reason 'the campaign stops'")
        self.said = (done.stdout + done.stderr)[-500:]
        return done.returncode == 0

    def _file(self) -> bool:
        (self._pipeline.home / "STOP").touch()
        return True

    def _control(self) -> bool:
        request = {
            "v": 1,
            "kind": "request",
            "op": "trip",
            "id": "trip",
            "reason": "the campaign stops",
            "cancel": "none",
        }
        with RawProgram(self._pipeline.home, "stop") as program:
            program.control.send(msgpack.packb(request))
            if not program.control.poll(ANSWER_MS):
                # It was killed or frozen with the request.
                return False
            reply = msgpack.unpackb(program.control.recv())
        self.said = str(reply)
        return bool(reply["ok"])


def play(case: Case) -> Result:
    """Play one case with real processes."""
    troubles = [str(trouble) for trouble in case.troubles]
    result = Result(case.seed, case.stop, troubles + [f"then {trouble}" for trouble in case.afterwards])
    with running(*SERVICES, **SETTINGS) as pipeline, RawProgram(pipeline.home) as person:
        person.wait_trading(secs=SETTLE_SECS)
        with Feed(pipeline) as feed:
            wait_until(lambda: feed.filled, "a first fill")
            stop = Stop(pipeline, case.stop)
            _do(pipeline, case.troubles, (case.stop_at, stop.start))
            stop.wait()
            # What had left the executor by then may be with the gateway only now; nothing may follow it.
            barrier_ns = _barrier(pipeline.port)
            _do(pipeline, case.afterwards)
            if not stop.done_ns:
                result.complaints.append(f"the stop was never said to be done: {stop.said}")
            _all_running(pipeline, person)
            _hold(case, pipeline, person, result)
            offered, placed = len(feed.ids), _placed(pipeline)
            result.before, result.offered = len(placed), offered
            late = [order_id for order_id, ns in placed if ns > barrier_ns]
            if late:
                lateness = [round((ns - stop.done_ns) / 1e6) for _, ns in placed if ns > barrier_ns]
                result.complaints.append(
                    f"{len(late)} orders reached the gateway after the stop: {late[:5]}, {lateness[:5]} ms after it"
                )
            result.complaints += _go_on(pipeline, feed)
        twice = [order_id for order_id, times in Counter(at for at, _ in _placed(pipeline)).items() if times > 1]
        if twice:
            result.complaints.append(f"placed twice: {twice}")
    return result


def _do(pipeline: Pipeline, troubles: tuple[Trouble, ...], *deeds_beside: tuple[float, Callable[[], None]]) -> None:
    """Do everything at its time; whoever was away is there again in the end."""
    deeds = list(deeds_beside)
    for trouble in troubles:
        for name in trouble.names:
            deeds += [
                (trouble.at, lambda trouble=trouble, name=name: _begin(trouble.what, name, pipeline)),  # type: ignore[misc]
                (trouble.at + trouble.away, lambda name=name: _end(name, pipeline)),  # type: ignore[misc]
            ]
    began = time.monotonic()
    for at, deed in sorted(deeds, key=lambda deed: deed[0]):
        time.sleep(max(0.0, began + at - time.monotonic()))
        deed()


def _begin(what: str, name: str, pipeline: Pipeline) -> None:
    if name not in pipeline.processes:
        return
    match what:
        case "kill":
            pipeline.kill(name)
        case "end":
            # Frozen by an earlier trouble, it could not end.
            pipeline.signal(name, signal.SIGCONT)
            pipeline.end(name)
        case _:
            pipeline.signal(name, signal.SIGSTOP)


def _end(name: str, pipeline: Pipeline) -> None:
    if name in pipeline.processes:
        pipeline.signal(name, signal.SIGCONT)
    else:
        pipeline.start(name)


def _all_running(pipeline: Pipeline, person: RawProgram) -> None:
    def connected() -> bool:
        for name in SERVICES:
            assert pipeline.processes[name].poll() is None, f"{name} ended by itself"
        status = person.request("status")
        return bool(status["executor"]["present"] and status["gateway"]["connected"])

    wait_until(connected, "everything running and connected again", secs=SETTLE_SECS)


def _hold(case: Case, pipeline: Pipeline, person: RawProgram, result: Result) -> None:
    """With everything running the stop must stand, also when the file that made it is taken away by hand."""
    end = time.monotonic() + HOLD_SECS
    while time.monotonic() < end:
        person.next_event(0.05)
        system = person.request("status")["circuits"][0]
        if not (system["state"] == "OPEN" and system["latched"]):
            result.complaints.append(f"the system is {system['state']}, latched: {system['latched']}, after the stop")
            return
        if case.stop == "file" and time.monotonic() > end - HOLD_SECS / 2:
            (pipeline.home / "STOP").unlink(missing_ok=True)


def _go_on(pipeline: Pipeline, feed: Feed) -> list[str]:
    deadline = time.monotonic() + SETTLE_SECS
    while (done := pipeline.command("reset --reason 'the campaign goes on'")).returncode:
        # On a machine that is busy with other things a breaker may be too late for the command; it says so.
        if done.returncode != NOTHING_ANSWERS or time.monotonic() > deadline:
            return [f"the reset ended with {done.returncode}: {done.stderr.strip()}"]
    first = len(feed.ids)
    try:
        wait_until(lambda: feed.filled.intersection(feed.ids[first:]), "a fill after the reset", secs=SETTLE_SECS)
    except AssertionError as error:
        return [f"trading did not go on: {error}"]
    return []


def _placed(pipeline: Pipeline) -> list[tuple[str, int]]:
    """The order ids that the gateway received, and when (monotonic, nanoseconds)."""
    return [(entry["fields"]["orderRef"], entry["ns"]) for entry in pipeline.at_the_wire("placeOrder")]


def _barrier(port: int) -> int:
    """A moment (monotonic, nanoseconds) by which the gateway has read all that had left for it before.

    It serves its connections in turn from one thread: what had arrived when the first greeting was answered is read
    before a second one is.
    """
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECS) as greeting:
            versions = b"v100..176"
            greeting.sendall(b"API\0" + struct.pack(">I", len(versions)) + versions)
            assert greeting.recv(100), "the gateway hung up"
    return time.monotonic_ns()
