"""What one program that floods does to another that trades.

    make bench-flood

A flooder in a process of its own offers 20,000 messages a second of each kind in turn, while an honest strategy sends
20 orders a second and an operator trips and resets a strategy's circuit. Printed are, of the honest one, how long a
submit took until `passed`; of the operator, how long a trip took until its reply; and how large the breaker and its
home have become. The exit code is 1 where a limit was not kept.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import msgpack
import zmq

from tests.campaigns.fuzz.hostile import hostile
from tests.processes.pipeline.pipeline import Pipeline, running, wait_until
from tests.processes.pipeline.raw import RawProgram

RATE = 20_000
SECS = 20
# SQLite's logs reach their size in the first seconds.
WARM_UP_SECS = 6
HONEST_EVERY_SECS = 0.05
TRIP_EVERY_SECS = 0.25
# Neither the gateway's limits nor the executor's pacing shall decide what is measured.
SETTINGS = {
    "ORDERFUSE_PAPER__MESSAGES_PER_SECOND": "0",
    "ORDERFUSE_PAPER__MAX_WORKING_ORDERS": "0",
    "ORDERFUSE_IB__MESSAGES_PER_SECOND": "0",
}
ON_ORDERS = ("submits", "names", "invalid", "cancels", "resends")
ON_CONTROL = ("status", "crowd", "pages")
KINDS = ("nothing", *ON_ORDERS, *ON_CONTROL, "replaces", "paced")
# Milliseconds that the honest one may wait, beside what is named and beside all else. Orders under ever new names are
# within all limits: hundreds a second pass, go to IB with the honest one's in turn, and are kept for good.
P99_MS = {"nothing": 5.0, "names": 150.0, "paced": 150.0}
FLOODED_P99_MS, TRIP_P99_MS, MEMORY_MB = 10.0, 50.0, 120.0
GROWTH_MB = {"names": math.inf}
FLOODED_GROWTH_MB = 20.0
# So many connections has one process that asks as a crowd.
CROWD = 100
BURST = 10
CONTRACT = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
BUY = {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"}


def main() -> int:
    """Measure each kind and print; 1 if a limit was not kept."""
    if len(sys.argv) == 4 and sys.argv[1] == "--flood":
        flood(Path(sys.argv[2]), sys.argv[3])
        return 0
    print(f"{RATE:,} messages/s offered for {SECS} s of each kind, beside a strategy that sends 20 orders/s")
    took = syncs_ms()
    p50, p99, longest = percentile(took, 0.5), percentile(took, 0.99), max(took)
    print(
        f"fdatasync of 8 KiB on this disk, which a trip waits for: p50 {p50:.1f} ms, p99 {p99:.1f}, max {longest:.1f}"
    )
    print("             honest submit -> passed, ms    trip -> reply, ms   breaker     home grows")
    print("              p50      p99      max        p99      max         MB          MB/min")
    kept = [measure(kind) for kind in sys.argv[1:] or KINDS]
    return int(not all(kept))


def measure(kind: str) -> bool:
    """Print a line about one kind of flood; whether every limit was kept."""
    settings = SETTINGS | ({"ORDERFUSE_IB__MESSAGES_PER_SECOND": "45"} if kind == "paced" else {})
    with (
        # The logs of so many orders are not what somebody wants to read here.
        redirect_stdout(io.StringIO()),
        running("paper", "executor", "breaker", **settings) as pipeline,
        RawProgram(pipeline.home, "honest") as honest,
    ):
        honest.ready()
        honest.wait_trading()
        with flooding(pipeline, kind):
            passed_ms, trips_ms, growth = trade(pipeline, honest)
            most_between = replaces_between(pipeline, honest) if kind == "paced" else 0
        memory_mb = resident_mb(pipeline.processes["breaker"].pid)
    growth_mb = growth / 1e6 * 60 / (SECS - WARM_UP_SECS)
    p99, trip_p99 = percentile(passed_ms, 0.99), percentile(trips_ms, 0.99)
    print(
        f"  {kind:10} {percentile(passed_ms, 0.5):6.1f} {p99:8.1f} {max(passed_ms):8.1f}   {trip_p99:8.1f} "
        f"{max(trips_ms):8.1f}   {memory_mb:8.0f}      {growth_mb:8.1f}",
        flush=True,
    )
    if kind == "paced":
        print(f"             replaces of the other between two waiting orders at the wire: {most_between} at most")
    in_time = p99 < P99_MS.get(kind, FLOODED_P99_MS) and trip_p99 < TRIP_P99_MS and most_between <= 1
    return in_time and memory_mb < MEMORY_MB and growth_mb < GROWTH_MB.get(kind, FLOODED_GROWTH_MB)


def trade(pipeline: Pipeline, honest: RawProgram) -> tuple[list[float], list[float], int]:
    """Milliseconds from each submit to `passed`, from each trip to its reply, and by how many bytes the home grew."""
    passed_ms, trips_ms = [], []
    start, size, next_trip = time.monotonic(), 0, 0.0
    while (began := time.monotonic()) < start + SECS:
        if not size and began >= start + WARM_UP_SECS:
            size = home_size(pipeline.home)
        order_id = honest.submit(contract=CONTRACT, order=BUY)
        honest.wait_event("passed", order_id)
        passed_ms.append((time.monotonic() - began) * 1000)
        honest.seen.clear()
        if began >= next_trip:
            next_trip = began + TRIP_EVERY_SECS
            asked = time.monotonic()
            honest.request("trip", reason="benchmark", scope="strategy:other")
            trips_ms.append((time.monotonic() - asked) * 1000)
        # The events of its orders are read while it waits for the next one.
        while time.monotonic() < began + HONEST_EVERY_SECS:
            honest.next_event(max(0.001, began + HONEST_EVERY_SECS - time.monotonic()))
        honest.seen.clear()
    return passed_ms, trips_ms, home_size(pipeline.home) - size


def replaces_between(pipeline: Pipeline, honest: RawProgram) -> int:
    """The most replaces of the other that went to IB between two orders of a burst, all of which were waiting."""
    ids = [honest.submit(contract=CONTRACT, order=BUY) for _ in range(BURST)]
    for order_id in ids:
        honest.wait_event("passed", order_id)

    def written() -> list[str]:
        return [entry["fields"]["orderRef"] for entry in pipeline.at_the_wire("placeOrder")]

    wait_until(lambda: set(ids) <= set(written()), "the burst at the gateway")
    places = [written().index(order_id) for order_id in ids]
    return max(later - earlier - 1 for earlier, later in itertools.pairwise(places))


@contextmanager
def flooding(pipeline: Pipeline, kind: str) -> Iterator[None]:
    """A flooder runs inside the block."""
    if kind == "nothing":
        yield
        return
    if kind in ("replaces", "paced"):
        # One who changes 45 resting orders, 49 times a second: inside all limits.
        with hostile("replace", pipeline.home, "orders", 1) as replacer:
            yield
            assert replacer.poll() is None, "the flooder has ended"
        return
    command = [sys.executable, "-m", "benchmarks.flood", "--flood", str(pipeline.home), kind]
    flooder = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert flooder.stdout is not None
        flooder.stdout.readline()
        yield
        assert flooder.poll() is None, "the flooder has ended"
    finally:
        flooder.kill()
        flooder.wait()


# -- the flooder --------------------------------------------------------------------------------------------


def flood(home: Path, kind: str) -> None:
    """Offer `RATE` messages of this kind a second until killed."""
    context: zmq.Context[Any] = zmq.Context()
    on_control = kind in ON_CONTROL
    sockets = [context.socket(zmq.DEALER if on_control else zmq.PUB) for _ in range(CROWD if kind == "crowd" else 1)]
    for socket in sockets:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(f"ipc://{home}/links/{'control' if on_control else 'orders'}")
    # Made before, or the flooder would need the processor more than what it floods.
    frames = [[msgpack.packb(made)] for made in itertools.islice(MESSAGES[kind](), RATE * 4)]
    time.sleep(0.5)
    print("ready", flush=True)
    began = time.monotonic()
    for sent, (frame, socket) in enumerate(zip(itertools.cycle(frames), itertools.cycle(sockets), strict=False), 1):
        try:
            socket.send_multipart(frame if on_control else [b"order", *frame], zmq.NOBLOCK)
        except zmq.Again:
            time.sleep(0.001)
        if sent % 100 == 0:
            if on_control:
                for each in sockets:
                    drain(each)
            time.sleep(max(0.0, began + sent / RATE - time.monotonic()))


def drain(socket: zmq.Socket[bytes]) -> None:
    """Read what has come, as a program would that wants its answers."""
    while True:
        try:
            socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return


def submits() -> Iterator[dict[str, Any]]:
    """Valid orders of one strategy, each under its own id."""
    for number in itertools.count():
        yield submit(f"f-{number}", "flooder")


def names() -> Iterator[dict[str, Any]]:
    """Valid orders, each of another strategy."""
    for number in itertools.count():
        yield submit(f"n-{number}", f"name-{number}")


def invalid() -> Iterator[dict[str, Any]]:
    """Orders that no one could place."""
    for number in itertools.count():
        yield {**submit(f"i-{number}", "flooder"), "order": {"action": "BUY", "totalQuantity": -number}}


def cancels() -> Iterator[dict[str, Any]]:
    """Cancels of orders that never were."""
    for number in itertools.count():
        ids = {"request_id": f"c-{number}", "order_id": f"none-{number}", "strategy_id": "flooder"}
        yield {"v": 1, "kind": "cancel", "sent_ns": time.time_ns(), **ids}


def resends() -> Iterator[dict[str, Any]]:
    """The same thousand orders again and again."""
    return (submit(f"r-{number % 1000}", "flooder") for number in itertools.count())


def statuses() -> Iterator[dict[str, Any]]:
    """Questions how everything stands."""
    return ({"v": 1, "kind": "request", "op": "status", "id": number} for number in itertools.count())


def pages() -> Iterator[dict[str, Any]]:
    """The largest pages that may be asked for."""
    for number in itertools.count():
        yield {"v": 1, "kind": "request", "op": "orders", "id": number, "limit": 1000, "after": 0}


def submit(order_id: str, strategy_id: str) -> dict[str, Any]:
    """A valid order that is never too old."""
    ids = {"order_id": order_id, "strategy_id": strategy_id, "sent_ns": time.time_ns(), "ttl_ms": 3_600_000}
    return {"v": 1, "kind": "submit", **ids, "contract": CONTRACT, "order": BUY}


MESSAGES: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
    "submits": submits,
    "names": names,
    "invalid": invalid,
    "cancels": cancels,
    "resends": resends,
    "status": statuses,
    "crowd": statuses,
    "pages": pages,
}


# -- measuring ----------------------------------------------------------------------------------------------


def syncs_ms() -> list[float]:
    """Milliseconds that the disk takes for what a journal asks of it, many times."""
    took = []
    with tempfile.TemporaryFile(dir="/tmp") as file:
        for _ in range(400):
            file.write(bytes(8192))
            file.flush()
            began = time.monotonic()
            os.fdatasync(file.fileno())
            took.append((time.monotonic() - began) * 1000)
            time.sleep(0.005)
    return took


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def resident_mb(pid: int) -> float:
    """What a process has in memory."""
    fields = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    line = next(line for line in fields.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def home_size(home: Path) -> int:
    """Bytes of all files in the home but what this benchmark itself has the processes write."""
    return sum(
        path.stat().st_size for path in home.rglob("*") if path.is_file() and path.suffix not in (".jsonl", ".log")
    )


if __name__ == "__main__":
    sys.exit(main())
