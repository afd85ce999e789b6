"""A run: garbage under one seed against a running pipeline, with the oracle beside it."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack
import zmq

from orderfuse.bus.codec import DecodeError, decode_map
from orderfuse.bus.codec import convert as typed
from orderfuse.bus.control import ReportRequest, ResetRequest, ResolveRequest, TripRequest
from orderfuse.bus.orders import FromStrategy, Submit
from tests.campaigns.fuzz.corpus import STRATEGY
from tests.campaigns.fuzz.dialer import Dialer
from tests.campaigns.fuzz.hostile import HONEST, Hostiles
from tests.campaigns.fuzz.mutate import Case, case_of
from tests.campaigns.fuzz.oracle import GROWTH_BESIDE_FLOODS_MB, Oracle, reset_the_fuzzers_circuit
from tests.campaigns.fuzz.validity import Orders
from tests.campaigns.fuzz.zmtp import Peer, connect
from tests.messages import ANY_REQUEST
from tests.processes.pipeline.pipeline import Pipeline
from tests.processes.pipeline.raw import RawProgram
from tests.processes.pipeline.trading import trading

# Messages between two quick looks; those of the last round are printed when something is wrong.
ROUND = 40
# What is seen only by a long look, once a second, came with one of these.
SUSPECTS = 20 * ROUND
# Connections that are left open are closed when there are more: the links must bear idle ones, not all there are.
MAX_IDLE = 32
WARM_SECS = 5.0
LONG_LOOK_SECS = 1.0
CANCEL_SECS = 10.0
# The gateway's limit of working orders would make the fuzzer's many orders failures of the honest strategy.
SETTINGS = {"ORDERFUSE_PAPER__MAX_WORKING_ORDERS": "0"}
SOCKET_TYPES = {"orders": b"PUB", "control": b"DEALER", "events": b"SUB"}


@dataclass
class Result:
    """How a run went. `complaints` empty: all is as it must be."""

    seed: int
    first: int
    sent: Counter[str] = field(default_factory=Counter)
    hostile: Counter[str] = field(default_factory=Counter)
    held_back: int = 0
    complaints: list[str] = field(default_factory=list)
    last: deque[tuple[int, Case]] = field(default_factory=lambda: deque(maxlen=SUSPECTS))
    dropped: dict[str, int] = field(default_factory=dict)
    memory_mb: dict[str, list[float]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    fills: int = 0
    held_up: int = 0
    placed: int = 0
    slowest_answer_s: float = 0.0
    slowest_send_s: float = 0.0


class Attacker:
    """The connections over which garbage goes."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._links = pipeline.home / "links"
        # The honest strategy is in this process: it must not be taken for the one that sends garbage.
        self._dialer = Dialer()
        self._peers = {link: Peer(self._links / link, kind, self._dialer) for link, kind in SOCKET_TYPES.items()}
        self._idle: deque[socket.socket] = deque()

    @property
    def idle(self) -> int:
        """Connections that are left open."""
        return len(self._idle)

    def send(self, case: Case) -> None:
        """Do what the case says.

        Raises:
            TimeoutError: the breaker takes nothing any more.
        """
        if case.stream is None:
            self._peers[case.link].send(case.frames)
            return
        for _ in range(case.connections):
            peer = connect(self._links / case.link, self._dialer)
            # It may be cut off before all is said.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.sendall(case.stream)
            self._idle.append(peer)
            while len(self._idle) > (MAX_IDLE if case.stays else 0):
                self._idle.popleft().close()

    def close(self) -> None:
        """Close every connection."""
        for idle in self._idle:
            idle.close()
        for peer in self._peers.values():
            peer.close()
        self._dialer.close()


def run(
    seed: int,
    until: Callable[[Result], bool],
    *,
    first: int = 0,
    tell: Callable[[Result], None],
    hostiles: Hostiles | None = None,
) -> Result:
    """Send the cases from number `first` on until `until` says so, or something is wrong. `tell` hears of each look.

    With `hostiles`, programs that flood and die or that lag are beside them.
    """
    return attack(
        Result(seed, first),
        ((number, case_of(seed, number, time.time_ns())) for number in _count_from(first)),
        until,
        tell,
        hostiles,
    )


def _count_from(first: int) -> Iterable[int]:
    while True:
        yield first
        first += 1


def attack(
    result: Result,
    cases: Iterable[tuple[int, Case]],
    until: Callable[[Result], bool],
    tell: Callable[[Result], None] = lambda _: None,
    hostiles: Hostiles | None = None,
) -> Result:
    """Send cases to a pipeline of their own, and look."""
    with trading(HONEST, **SETTINGS) as (pipeline, program):
        orders = Orders()
        attacker = Attacker(pipeline)
        ending = contextlib.closing(hostiles) if hostiles else contextlib.nullcontext()
        with contextlib.closing(attacker), ending, news_of(pipeline, "health/") as health:
            oracle = begin(pipeline, program, orders)
            if hostiles:
                oracle.growth_mb = GROWTH_BESIDE_FLOODS_MB
            _bombard(result, iter(cases), until, tell, attacker, oracle, orders, program, hostiles)
            if not result.complaints:
                # It comes once a second: by then the last case has had its effect, too.
                result.dropped = health()["dropped"]
                result.complaints += oracle.quick_look()
        result.memory_mb, result.lines = oracle.memory_mb, oracle.lines
        result.fills, result.held_up, result.placed = oracle.honest.fills, oracle.honest.held_up, oracle.placed
        result.slowest_answer_s = oracle.slowest_answer_s
    return result


def begin(pipeline: Pipeline, program: RawProgram, orders: Orders) -> Oracle:
    """An oracle that knows both circuits: each strategy has had an order filled."""
    honest = program.submit()
    program.wait_event("filled", honest)
    return Oracle(pipeline, program, orders)


def _bombard(
    result: Result,
    cases: Any,
    until: Callable[[Result], bool],
    tell: Callable[[Result], None],
    attacker: Attacker,
    oracle: Oracle,
    orders: Orders,
    program: RawProgram,
    hostiles: Hostiles | None,
) -> None:
    started = time.monotonic()
    long_look_at, cancel_at, warm = started + LONG_LOOK_SECS, started, False
    exhausted = False
    while not (result.complaints or exhausted or until(result)):
        exhausted = not _one_round(result, cases, attacker, oracle, orders)
        result.complaints += oracle.quick_look()
        now = time.monotonic()
        if hostiles:
            hostiles.step(oracle.home, now)
            result.hostile = hostiles.count
        if result.complaints or now < long_look_at:
            continue
        long_look_at = now + LONG_LOOK_SECS
        if not warm and now - started > WARM_SECS and (hostiles is None or hostiles.all_were_there):
            warm = True
            oracle.warm()
        reset_the_fuzzers_circuit(oracle, program, cancel=now >= cancel_at)
        cancel_at = now + CANCEL_SECS if now >= cancel_at else cancel_at
        result.complaints += oracle.long_look(connections=attacker.idle + _beside(hostiles))
        tell(result)
    if hostiles:
        hostiles.close()
    if not result.complaints:
        result.complaints += oracle.long_look(connections=attacker.idle + _beside(hostiles))


def _beside(hostiles: Hostiles | None) -> int:
    """Connections that hostile programs may have: those of the last are not all closed when the next has begun."""
    return 2 * hostiles.connections if hostiles else 0


def _one_round(result: Result, cases: Any, attacker: Attacker, oracle: Oracle, orders: Orders) -> bool:
    """Send some cases; False: there are no more."""
    for _ in range(ROUND):
        number, case = next(cases, (0, None))
        if case is None:
            return False
        if is_somebodys_will(case):
            result.held_back += 1
            continue
        result.last.append((number, case))
        result.sent[case.mutation] += 1
        if case.link == "orders" and case.stream is None:
            orders.sent(case.frames)
        began = time.monotonic()
        try:
            attacker.send(case)
        except OSError as error:
            result.complaints.append(f"the breaker takes nothing on {case.link}: {error!r}")
            return True
        result.slowest_send_s = max(result.slowest_send_s, time.monotonic() - began)
        # After each: one that had to wait long must not look as if the strategy had.
        oracle.honest.step()
    return True


def is_somebodys_will(case: Case) -> bool:
    """Whether garbage has become what a person or another strategy could have meant.

    A valid trip must trip, and a valid order of another strategy must pass: they show nothing, and move circuits.
    """
    if case.stream is not None or not case.frames:
        return False
    by_hand = TripRequest | ResetRequest | ReportRequest | ResolveRequest
    try:
        fields = decode_map(case.frames[-1])
        if case.link == "control":
            return isinstance(typed(fields, ANY_REQUEST), by_hand)
        message: FromStrategy = typed(fields, FromStrategy)
    except DecodeError:
        return False
    return isinstance(message, Submit) and message.strategy_id != STRATEGY


@contextlib.contextmanager
def news_of(pipeline: Pipeline, topic: str) -> Iterator[Callable[[], dict[str, Any]]]:
    """Give a function that returns what is told next on a topic, older ones left out."""
    context = zmq.Context()
    listener = context.socket(zmq.SUB)
    listener.connect(f"ipc://{pipeline.home}/links/events")
    listener.subscribe(topic.encode())

    def latest() -> dict[str, Any]:
        while listener.poll(0):
            listener.recv_multipart()
        assert listener.poll(5000), f"the breaker tells nothing on {topic}"
        told: dict[str, Any] = msgpack.unpackb(listener.recv_multipart()[1])
        return told

    try:
        yield latest
    finally:
        context.destroy(linger=0)
