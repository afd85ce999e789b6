"""How fast the paper gateway is and how much memory it takes, measured from outside with the protocol's bytes.

    make bench-paper        or: .venv/bin/python -m benchmarks.paper_gateway

Four figures with targets. The gateway runs as users run it (`python -m services.paper`), except that IB's pacing
rule and its limit of working orders are off; where the system allows it, gateway and client have a core each.

* start: from exec to the moment when a client's connection is accepted; the median of several starts.
* round trip: one limit order in flight at a time, from the client's send to the orderStatus in its hands. That is
  what the gateway takes from the frame read to the status written, and the kernel's way there and back on top.
* orders/s: limit orders that rest, then market orders that fill, with a window of orders in flight; an order is
  acknowledged by its first orderStatus, and one that fills has six more messages behind it.
* memory: resident size of the gateway's process after all of these orders of one kind.

The client makes its frames beforehand and looks into no answer further than it must, so that it is not the client
that is measured. The exit code is 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.paper.wire.layouts import REPLIES
from services.paper.wire.order_layouts import PLACE_ORDER

ROOT = Path(__file__).resolve().parents[1]
VERSION = 176
STARTS = 7
SEQUENTIAL = 3_000
WARM_UP = 500
ORDERS = 100_000
PARTS = 10
# Orders in flight of the client that pipelines: some 45 kB, what a socket takes without waiting.
WINDOW = 200
# Far above what anything here takes: it only ends a benchmark that hangs.
DEADLINE_SECS = 120.0

_LENGTH = struct.Struct(">I")
ORDER_STATUS = b"3\0"
NEXT_VALID_ID = b"9\0"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure and what it must be."""

    name: str
    measured: float
    unit: str
    target: float
    at_least: bool = False
    remark: str = ""

    @property
    def met(self) -> bool:
        """Tell whether the target is met."""
        return self.measured >= self.target if self.at_least else self.measured < self.target


# ---------------------------------------------------------------- the gateway


@contextmanager
def gateway(core: int | None) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Run a gateway; give its process, its port, and the seconds it took to listen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="orderfuse-bench-") as home:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORDERFUSE_")}
        environment |= {
            "ORDERFUSE_HOME": home,
            "ORDERFUSE_PAPER__PORT": str(port),
            "ORDERFUSE_PAPER__MESSAGES_PER_SECOND": "0",
            "ORDERFUSE_PAPER__MAX_WORKING_ORDERS": "0",
        }
        started = time.perf_counter()
        with (Path(home) / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.paper"], cwd=ROOT, env=environment, stderr=log, stdout=log
            )
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        try:
            wait_until_listening(process, port, started, Path(home) / "log")
            yield process, port, time.perf_counter() - started
        finally:
            process.kill()
            process.wait(DEADLINE_SECS)


def wait_until_listening(process: subprocess.Popen[bytes], port: int, started: float, log: Path) -> None:
    """Try to connect until it works.

    Raises:
        RuntimeError: The gateway ended, or the deadline has passed.
    """
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.perf_counter() - started > DEADLINE_SECS:
                raise RuntimeError(f"the gateway did not start:\n{log.read_text()}") from None
            time.sleep(0.001)
        else:
            return


def resident_mb(pid: int) -> float:
    """Return a process's resident memory in MB."""
    # Small containers have no ps, and other systems than Linux have no /proc.
    status = Path(f"/proc/{pid}/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_SECS)
    return int(shown.stdout) * 1024 / 1e6


# ---------------------------------------------------------------- a client that knows only frames


class Client:
    """A connection after its handshake."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        versions = f"v157..{VERSION}".encode()
        self._socket.sendall(b"API\0" + _LENGTH.pack(len(versions)) + versions)
        assert self._frames()[0].startswith(str(VERSION).encode())
        self.send(framed(b"71\x002\x007\0\0"))
        while not any(body.startswith(NEXT_VALID_ID) for body in self._frames()):
            pass

    def send(self, data: bytes) -> None:
        """Write frames."""
        self._socket.sendall(data)

    def _frames(self) -> list[bytes]:
        """Read once; return the bodies of the frames that are whole."""
        received = self._socket.recv(1 << 18)
        if not received:
            raise ConnectionError("the gateway closed the connection")
        data = self._data + received
        bodies, at = [], 0
        while len(data) - at >= 4:
            (length,) = _LENGTH.unpack_from(data, at)
            if len(data) - at - 4 < length:
                break
            bodies.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        self._data = data[at:]
        return bodies

    def statuses(self) -> list[bytes]:
        """Read once; return the bodies of the order statuses that have become whole."""
        return [body for body in self._frames() if body.startswith(ORDER_STATUS)]

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()


def framed(body: bytes) -> bytes:
    """Return a body behind its length."""
    return _LENGTH.pack(len(body)) + body


def order_frames(first_id: int, count: int, *, limit: bool) -> list[bytes]:
    """Return placeOrder frames: limit orders that rest, or market orders that buy and sell in turn."""
    values = {
        "symbol": "AAPL",
        "secType": "STK",
        "exchange": "SMART",
        "currency": "USD",
        "totalQuantity": "1",
        "orderType": "LMT" if limit else "MKT",
        "lmtPrice": "100" if limit else "",
        "tif": "DAY",
        "orderRef": "bench",
        "transmit": "1",
        "orderId": "ID",
    }
    sides = [{**values, "action": "BUY"}, {**values, "action": "BUY" if limit else "SELL"}]
    bodies = [("\0".join(PLACE_ORDER.encode(VERSION, side)) + "\0").encode() for side in sides]
    return [
        framed(bodies[number % 2].replace(b"\0ID\0", f"\0{number}\0".encode(), 1))
        for number in range(first_id, first_id + count)
    ]


# ---------------------------------------------------------------- measuring


def round_trips(client: Client, first_id: int, count: int) -> list[float]:
    """Place limit orders one after the other; return the microseconds that each took."""
    took = []
    for placed in order_frames(first_id, count, limit=True):
        started = time.perf_counter_ns()
        client.send(placed)
        while not client.statuses():
            pass
        took.append((time.perf_counter_ns() - started) / 1000)
    return took


def pipelined(client: Client, first_id: int, count: int, *, limit: bool) -> float:
    """Keep a window of orders in flight; return the orders acknowledged a second."""
    frames = order_frames(first_id, count, limit=limit)
    ended = time.perf_counter() + DEADLINE_SECS
    acknowledged: set[bytes] = set()
    sent = 0
    started = time.perf_counter()
    while len(acknowledged) < count:
        room = WINDOW - (sent - len(acknowledged))
        if room >= WINDOW // 4 and sent < count:
            client.send(b"".join(frames[sent : sent + room]))
            sent = min(count, sent + room)
        for status in client.statuses():
            order_id, word = status.split(b"\0", 3)[1:3]
            # A rejected order is acknowledged as well, and would make a benchmark of rejections.
            assert word in (b"Submitted", b"PreSubmitted", b"Filled"), status
            acknowledged.add(order_id)
        assert time.perf_counter() < ended, f"{len(acknowledged)} of {count} orders were acknowledged in time"
    return count / (time.perf_counter() - started)


def measure_starts(core: int | None) -> Figure:
    """Start a few times."""
    took = []
    for _ in range(STARTS):
        with gateway(core) as (_, _, seconds):
            took.append(seconds)
    remark = f"median of {STARTS}, worst {max(took):.2f}"
    return Figure("start: exec to listening", statistics.median(took), "s", 1.0, remark=remark)


def measure_round_trip(core: int | None) -> Figure:
    """Place orders one by one."""
    with gateway(core) as (_, port, _):
        client = Client(port)
        round_trips(client, 1, WARM_UP)
        took = sorted(round_trips(client, WARM_UP + 1, SEQUENTIAL))
        client.close()
    remark = f"p99 {took[len(took) * 99 // 100]:.0f}, {SEQUENTIAL} orders, seen by the client"
    return Figure("frame sent to status received, median", statistics.median(took), "us", 200.0, remark=remark)


def measure_orders(core: int | None, count: int, *, limit: bool) -> list[Figure]:
    """Place many orders in one gateway, in parts, so that a machine that is busy for a moment does not decide."""
    kind = "resting limit orders" if limit else "market orders that fill"
    size = count // PARTS
    with gateway(core) as (process, port, _):
        client = Client(port)
        before = cpu_secs(process.pid)
        rates = [pipelined(client, 1 + part * size, size, limit=limit) for part in range(PARTS)]
        used = cpu_secs(process.pid) - before
        memory = resident_mb(process.pid)
        client.close()
    placed = size * PARTS
    remark = f"median of {PARTS} parts, worst {min(rates):,.0f}, window {WINDOW}"
    remark += f", {used / placed * 1e6:.0f} us CPU each" if used else ""
    return [
        Figure(f"{kind}, acknowledged", statistics.median(rates), "orders/s", 3_000, at_least=True, remark=remark),
        Figure(f"memory after {placed} {kind}", memory, "MB", 500, remark="resident"),
    ]


def cpu_secs(pid: int) -> float:
    """Return the processor time that a process has used; 0 where it cannot be read."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin() -> tuple[int | None, str]:
    """Take a core for this process; return the gateway's and a line about it."""
    if not hasattr(os, "sched_setaffinity"):
        return None, "this system pins no process to a core"
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return None, "there is one core for gateway and client together"
    os.sched_setaffinity(0, {cores[0]})
    return cores[1], f"client on core {cores[0]}, gateway on core {cores[1]}"


def main() -> int:
    """Measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Speed and size of the paper gateway.")
    parser.add_argument("--orders", type=int, default=ORDERS, help=f"orders of each kind (default {ORDERS})")
    count = parser.parse_args().orders
    assert REPLIES["orderStatus"].message_id == int(ORDER_STATUS[:-1])
    core, where = pin()
    print(f"Python {sys.version.split()[0]}, {where}")
    figures = [measure_starts(core), measure_round_trip(core)]
    for limit in (True, False):
        figures += measure_orders(core, count, limit=limit)
    width = max(len(figure.name) for figure in figures)
    print(f"{'figure'.ljust(width)}  {'measured':>17}  {'target':>19}  met")
    for figure in figures:
        digits = 2 if figure.unit == "s" else 0
        measured = f"{figure.measured:,.{digits}f} {figure.unit}"
        target = f"{'>=' if figure.at_least else '<'} {figure.target:,.0f} {figure.unit}"
        met = "yes" if figure.met else "NO"
        print(f"{figure.name.ljust(width)}  {measured:>17}  {target:>19}  {met:3}  {figure.remark}")
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
