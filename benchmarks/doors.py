"""What others notice of a program that subscribes without end, or connects in a loop.

    .venv/bin/python -m benchmarks.doors [KIND:LINK:CONNECTIONS ...]

A strategy with an executor that accepts sends an order every few milliseconds; from its submit to the breaker's
decision is what is measured, first alone, then beside each such program. The exit code is 1 if p99 beside one of them
is 10 ms or more, or a newcomer waits for longer than its deadline.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from tests.campaigns.fuzz.hostile import hostile
from tests.processes.breaker.process import Home

KINDS = ("subscribe:events:1", "subscribe:events:20", *(f"connect:{link}:600" for link in ("orders", "events")))
MORE = ("connect:control:600", "connect:dispatch:600", "connect:feedback:600")
ORDERS = 1000
NEWCOMERS = 20
PACE_SECS = 0.004
ALLOWED_MS = 10.0
UNLIMITED = {"ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "100000"}


def main() -> int:
    """Measure and print; 1: somebody else noticed too much."""
    worst = 0.0
    for given in ("alone", *(sys.argv[1:] or (*KINDS, *MORE))):
        home: Any = Home()
        try:
            worst = max(worst, _measure(home, given))
        finally:
            home.close()
    return int(worst >= ALLOWED_MS)


def _measure(home: Any, what: str) -> float:
    """Print a line; returns p99 in ms."""
    process = home.serve(**UNLIMITED)
    home.executor()
    honest = home.peer()
    honest.ready()
    honest.allowed()
    before = _megabytes(process.pid)
    if what == "alone":
        took, joined = _orders(honest), _newcomers(home)
    else:
        kind, link, connections = what.split(":")
        with hostile(kind, home.path, link, int(connections)):
            took, joined = _orders(honest), _newcomers(home)
    honest.seen.clear()
    dropped = honest.until(lambda event: event["kind"] == "health")["dropped"]
    p50, p99, longest = took[len(took) // 2], took[len(took) * 99 // 100], took[-1]
    memory = f"{before:.0f} -> {_megabytes(process.pid):.0f} MB (most {_most_megabytes(process.pid):.0f})"
    print(
        f"{what:22} decision p50 {p50:6.2f} ms, p99 {p99:6.2f}, max {longest:6.2f}; slowest newcomer {joined:6.0f} ms; "
        f"breaker {memory}; {dropped}",
        flush=True,
    )
    return p99


def _orders(honest: Any) -> list[float]:
    took = []
    for number in range(ORDERS):
        sent = time.perf_counter()
        honest.submit(f"o-{number}")
        honest.seen.clear()
        honest.event(f"o-{number}", "passed")
        took.append((time.perf_counter() - sent) * 1000)
        time.sleep(PACE_SECS)
    return sorted(took)


def _newcomers(home: Any) -> float:
    """How many ms the slowest of some needs until it is on the three public links and answered. They leave again."""
    took = []
    for number in range(NEWCOMERS):
        began = time.perf_counter()
        late = home.peer(f"late-{number}")
        late.ready()
        late.status()
        took.append((time.perf_counter() - began) * 1000)
        late.close()
    return max(took)


def _megabytes(pid: int) -> float:
    return _status(pid, "VmRSS")


def _most_megabytes(pid: int) -> float:
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


if __name__ == "__main__":
    sys.exit(main())
