"""Programs that misbehave as a whole, until they are killed.

`python -m tests.campaigns.fuzz.hostile KIND HOME LINK CONNECTIONS`

`flood` sends on so many connections as fast as it can; `connect` opens connections in a loop and keeps so many; `lag`
subscribes to everything on so many and reads nothing, until it gets SIGUSR1; `subscribe` makes 300,000 different
subscriptions of the longest kind on so many, and begins anew when it is cut off; `replace` changes 45 resting orders
49 times a second, inside all limits. Instead of a link `flood` takes a kind of `ORDERS` as well.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import zmq

from tests.campaigns.fuzz.zmtp import GREETING, frame, ready
from tests.processes.pipeline.pipeline import ROOT
from tests.processes.pipeline.raw import RawProgram

# The names under which floods are sent, so that what comes of them is known by it, and under which somebody trades.
FLOODER, HONEST = "flooder", "honest"
KINDS = {
    "orders": (zmq.PUB, b"PUB"),
    "control": (zmq.DEALER, b"DEALER"),
    "events": (zmq.XSUB, b"SUB"),
    "dispatch": (zmq.DEALER, b"DEALER"),
    "feedback": (zmq.PUSH, b"PUSH"),
}
# Enough that the breaker takes longer than half a second for what waits in the queues of a flooder that is dead.
OF_ONE_PROCESS = 104
FLOOD = {"orders": 30, "control": 50, "events": 50}
CONNECTIONS = {"connect": 600, "replace": 1}
# Whose orders work at the gateway, and how many are changed how often.
REPLACER = "replacer"
RESTING, REPLACES = 45, 49
RESTING_ORDER = {"action": "BUY", "totalQuantity": 1, "orderType": "LMT", "lmtPrice": 1.0, "tif": "DAY"}
STOCK = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}


@contextlib.contextmanager
def hostile(kind: str, home: Path, link: str, connections: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run such a program; it has begun, and is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.campaigns.fuzz.hostile", kind, str(home), link, str(connections)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"begun\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Hostiles:
    """One such program after another beside a campaign, each kind in turn, for a few seconds each.

    Flooders are killed in mid flood. Subscribers read nothing, some are stopped as well; then they go on, then die.
    Others subscribe without end, or connect in a loop.
    """

    KINDS = (
        ("flood", "orders"),
        ("lag", "events"),
        ("flood", "control"),
        ("stop", "events"),
        ("flood", "events"),
        ("subscribe", "events"),
        *(("flood", kind) for kind in ("names", "refused", "honest", "requests")),
        ("replace", "orders"),
        *(("connect", link) for link in KINDS),
    )
    SECS, PAUSE_SECS = 2.0, 6.0
    LISTENERS = 20

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        # The most that one of them had: what it has sent is read to the end before its connections are closed.
        self.connections = 0
        self._running = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._next_at = 0.0
        self._reads_at = math.inf

    @property
    def all_were_there(self) -> bool:
        """Whether each kind has been there and gone."""
        return len(self.count) == len(self.KINDS) and self._process is None

    def step(self, home: Path, now: float) -> None:
        """Begin or end what is due."""
        if self._process is not None and now >= self._reads_at:
            self._reads_at = math.inf
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGUSR1)
        if now < self._next_at:
            return
        if self._process is not None:
            self.close()
            self._next_at = now + self.PAUSE_SECS
            return
        kind, link = self.KINDS[self.count.total() % len(self.KINDS)]
        connections = FLOOD.get(link, FLOOD["orders"]) if kind == "flood" else CONNECTIONS.get(kind, self.LISTENERS)
        # No process may have more of a link than this.
        self.connections = max(min(connections, OF_ONE_PROCESS), self.connections)
        program = hostile("lag" if kind == "stop" else kind, home, link, connections)
        self._process = self._running.enter_context(program)
        self.count[f"{kind}, {link}"] += 1
        # A listener needs longer to fall behind, and then is to read what it has.
        listens = kind in ("lag", "stop")
        self._next_at = now + self.SECS * (4 if listens or kind == "replace" else 1)
        if listens:
            self._reads_at = now + self.SECS * 3
        if kind == "stop":
            self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End the one that runs."""
        self._running.close()
        self._process = None


def submit(order_id: str, strategy_id: str, **fields: Any) -> dict[str, Any]:
    """An order that is too old, so that it never passes; what is wrong with it besides is given."""
    ids = {"v": 1, "kind": "submit", "order_id": order_id, "strategy_id": strategy_id}
    return {**ids, "sent_ns": 1, "ttl_ms": 1000, "contract": STOCK, "order": RESTING_ORDER, **fields}


def cancel(request_id: str, order_id: str, strategy_id: str) -> dict[str, Any]:
    """A cancel of an order that never was."""
    ids = {"v": 1, "kind": "cancel", "request_id": request_id, "order_id": order_id, "strategy_id": strategy_id}
    return {**ids, "sent_ns": time.time_ns()}


def names(number: int) -> dict[str, Any]:
    """Each message of another strategy: an order that is too old, one that is none, one of another's id, a cancel."""
    name = f"n-{number}"
    return (
        submit(f"o-{number}", name),
        submit(f"o-{number}", name, order={}),
        submit("o-0", name),
        cancel(f"r-{number}", f"none-{number}", name),
    )[number % 4]


# What floods of `orders` are made of, by number.
ORDERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "orders": lambda number: submit(f"f-{number}", FLOODER, order={}),
    "names": names,
    # The same thousand orders, refused again and again.
    "refused": lambda number: submit(f"again-{number % 1000}", FLOODER),
    # A second program under the name of the one that trades.
    "honest": lambda number: submit(f"h-{number}", HONEST, order={}),
    # Two strategies count their requests alike.
    "requests": lambda number: cancel(f"r-{number // 2 % 5000}", f"x-{number}", (FLOODER, "counts-too")[number % 2]),
}


def messages(link: str) -> Iterator[list[bytes]]:
    """What a flood is made of: each is read and answered, and does nothing."""
    for number in itertools.count():
        if link in ORDERS:
            yield [b"order", msgpack.packb(ORDERS[link](number))]
        elif link == "control":
            yield [msgpack.packb({"v": 1, "kind": "request", "op": "orders", "id": number, "limit": 1000})]
        else:
            yield [bytes([number % 2]) + b"order/%d/" % (number // 2 % 100)]


def flood(home: Path, link: str, connections: int) -> None:
    """Send on many connections as fast as possible."""
    context = zmq.Context()
    sockets = [connected(context, home, "orders" if link in ORDERS else link) for _ in range(connections)]
    begun()
    for frames in messages(link):
        for each in sockets:
            with contextlib.suppress(zmq.Again):
                each.send_multipart(frames, zmq.NOBLOCK)


def connected(context: zmq.Context[Any], home: Path, link: str) -> zmq.Socket[bytes]:
    """A socket that would send to nobody but this link."""
    made = context.socket(KINDS[link][0])
    made.setsockopt(zmq.LINGER, 0)
    made.connect(f"ipc://{home}/links/{link}")
    return made


def connect(home: Path, link: str, connections: int) -> None:
    """Open connections in a loop; the oldest go when there are more than so many."""
    said = GREETING + ready(KINDS[link][1])
    held: list[socket.socket] = []
    begun()
    while True:
        peer = socket.socket(socket.AF_UNIX)
        peer.setblocking(False)
        try:
            peer.connect(f"{home}/links/{link}")
            peer.send(said)
        except OSError:
            peer.close()
            continue
        held.append(peer)
        if len(held) > connections:
            held.pop(0).close()


def lag(home: Path, link: str, connections: int) -> None:
    """Subscribe to everything, read nothing until the signal comes, then read on."""
    # Blocked, so that it can be waited for; and before there are threads, which do without it from their start then.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    context = zmq.Context()
    sockets = [context.socket(zmq.SUB) for _ in range(connections)]
    poller = zmq.Poller()
    for each in sockets:
        each.subscribe(b"")
        each.connect(f"ipc://{home}/links/{link}")
        poller.register(each, zmq.POLLIN)
    begun()
    signal.sigwait([signal.SIGUSR1])
    while True:
        for each, _ in poller.poll():
            each.recv_multipart()


SUBSCRIPTIONS = 300_000


def subscribe(home: Path, link: str, connections: int) -> None:
    """Subscribe to more and more, each time as much as the other end takes at once."""
    topics = b"".join(frame(b"\1" + b"%047d/" % number) for number in range(SUBSCRIPTIONS))
    said = GREETING + ready(KINDS[link][1])
    sent: dict[socket.socket, int] = {}
    begun()
    while True:
        while len(sent) < connections:
            peer = socket.socket(socket.AF_UNIX)
            try:
                peer.connect(f"{home}/links/{link}")
                peer.sendall(said)
            except OSError:
                peer.close()
                break
            peer.setblocking(False)
            sent[peer] = 0
        for peer, at in list(sent.items()):
            try:
                sent[peer] = at + peer.send(topics[at : at + (1 << 20)])
            except BlockingIOError:
                continue
            except OSError:
                peer.close()
                del sent[peer]


def replace(home: Path, link: str, connections: int) -> None:  # noqa: ARG001 - as the others
    """Change one resting order after the other."""
    with RawProgram(home, REPLACER) as program:
        program.ready()
        ids = []
        for _ in range(RESTING):
            ids.append(program.submit(contract=STOCK, order=RESTING_ORDER))
            time.sleep(1 / RESTING)
        begun()
        began = time.monotonic()
        for number in itertools.count():
            program.seen.clear()
            order = {**RESTING_ORDER, "lmtPrice": 1.0 + (number // RESTING % 50) / 100}
            program.replace(ids[number % RESTING], f"{REPLACER}-{number}", number // RESTING + 1, order)
            while (left := began + (number + 1) / REPLACES - time.monotonic()) > 0:
                program.next_event(left)


def begun() -> None:
    """Tell whoever has started this."""
    sys.stdout.write("begun\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # It is to fill queues, not to take the processor from a gateway and an executor that keep times.
    os.nice(10)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard != resource.RLIM_INFINITY else 4096, hard))
    {"flood": flood, "connect": connect, "lag": lag, "subscribe": subscribe, "replace": replace}[sys.argv[1]](
        Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    )
