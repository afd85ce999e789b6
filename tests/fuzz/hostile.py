"""Programs that misbehave as a whole: `python -m tests.fuzz.hostile KIND HOME LINK CONNECTIONS`, until they are killed.

`flood` sends on so many connections as fast as it can; `connect` opens connections in a loop and keeps so many; `lag`
subscribes to everything on so many and reads nothing, until it gets SIGUSR1.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import zmq

from tests.fuzz.zmtp import GREETING, ready
from tests.pipeline.pipeline import ROOT

# The name under which floods are sent, so that what comes of them is known by it.
FLOODER = "flooder"
KINDS = {"orders": (zmq.PUB, b"PUB"), "control": (zmq.DEALER, b"DEALER"), "events": (zmq.XSUB, b"SUB")}
# Enough that the breaker takes longer than half a second for what waits in the queues of a flooder that is dead.
FLOOD = {"orders": 30, "control": 50, "events": 50}


@contextlib.contextmanager
def hostile(kind: str, home: Path, link: str, connections: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run such a program; it has begun, and is killed in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fuzz.hostile", kind, str(home), link, str(connections)],
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
    """

    KINDS = (("flood", "orders"), ("lag", "events"), ("flood", "control"), ("stop", "events"), ("flood", "events"))
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
        connections = FLOOD[link] if kind == "flood" else self.LISTENERS
        self.connections = max(connections, self.connections)
        program = hostile("flood" if kind == "flood" else "lag", home, link, connections)
        self._process = self._running.enter_context(program)
        self.count[f"{kind}, {link}"] += 1
        # A listener needs longer to fall behind, and then is to read what it has.
        self._next_at = now + self.SECS * (1 if kind == "flood" else 4)
        if kind != "flood":
            self._reads_at = now + self.SECS * 3
        if kind == "stop":
            self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End the one that runs."""
        self._running.close()
        self._process = None


def messages(link: str) -> Iterator[list[bytes]]:
    """What a flood is made of: each is read and answered, and does nothing."""
    for number in itertools.count():
        if link == "orders":
            fields = {"v": 1, "kind": "submit", "order_id": f"f-{time.time_ns()}", "strategy_id": FLOODER}
            fields |= {"sent_ns": 0, "ttl_ms": 0, "contract": {}, "order": {}}
            yield [b"order", msgpack.packb(fields)]
        elif link == "control":
            yield [msgpack.packb({"v": 1, "kind": "request", "op": "orders", "id": number, "limit": 1000})]
        else:
            yield [bytes([number % 2]) + b"order/%d/" % (number // 2 % 100)]


def flood(home: Path, link: str, connections: int) -> None:
    """Send on many connections as fast as possible."""
    context = zmq.Context()
    sockets = [connected(context, home, link) for _ in range(connections)]
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


def begun() -> None:
    """Tell whoever has started this."""
    sys.stdout.write("begun\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # It is to fill queues, not to take the processor from a gateway and an executor that keep times.
    os.nice(10)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard != resource.RLIM_INFINITY else 4096, hard))
    {"flood": flood, "connect": connect, "lag": lag}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
