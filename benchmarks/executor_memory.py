"""`make bench-executor`: what 100,000 orders leave behind in one executor, and how long its collector stops it.

The real line: a strategy's socket, the breaker, the executor and the paper gateway, all pacing off. Half of the
orders fill at once, the others rest and are cancelled. The limits are 300 MB and 50 ms.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import deque
from pathlib import Path

from tests.processes.pipeline.pipeline import Pipeline, running
from tests.processes.pipeline.raw import RawProgram

LIMIT_MB, LIMIT_MS = 300, 50
# Beyond the breaker's window, so that it never waits for us; far below its queue.
MOST_UNDER_WAY = 200
SETTINGS = {
    "ORDERFUSE_IB__MESSAGES_PER_SECOND": "0",
    "ORDERFUSE_PAPER__MESSAGES_PER_SECOND": "0",
    "ORDERFUSE_PAPER__MAX_WORKING_ORDERS": "0",
    "ORDERFUSE_PAPER__WIRE_RECORD": "",
    "ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "100000",
}
BUY = {"action": "BUY", "orderType": "MKT", "totalQuantity": 1}
SELL = {"action": "SELL", "orderType": "MKT", "totalQuantity": 1}
RESTING = {"action": "BUY", "orderType": "LMT", "totalQuantity": 1, "lmtPrice": 1.0}


def main() -> int:
    """Print the figures; 1: a limit was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=100_000)
    orders = parser.parse_args().orders
    with running("paper", "executor", "breaker", **SETTINGS) as pipeline, RawProgram(pipeline.home) as program:
        program.ready()
        program.wait_trading()
        first, last = send(program, orders)
        peaks = {name: peak_mb(pipeline, name) for name in ("executor", "breaker")}
        pauses = {name: longest_ms(pipeline, name) for name in peaks}
        for name in ("paper", "executor", "breaker"):
            # The logs of this many orders are not what somebody wants to read here.
            (pipeline.home / f"{name}.log").unlink()
    sys.stdout.write(f"{orders:,} orders, {first:.0f} a second in the first tenth, {last:.0f} in the last\n")
    for name, peak in peaks.items():
        sys.stdout.write(f"{name}: at most {peak:.0f} MB, longest collection {pauses[name]:.1f} ms\n")
    kept = peaks["executor"] < LIMIT_MB and pauses["executor"] < LIMIT_MS
    sys.stdout.write(f"executor under {LIMIT_MB} MB and {LIMIT_MS} ms: {'yes' if kept else 'NO'}\n")
    return 0 if kept else 1


def send(program: RawProgram, orders: int) -> tuple[float, float]:
    """Send the orders and wait for their ends; orders a second in the first tenth and in the last."""
    ended, sent, under_way = 0, 0, 0
    tenth = max(1, orders // 10)
    marks: deque[float] = deque([time.perf_counter()])
    while ended < orders:
        while sent < orders and under_way < MOST_UNDER_WAY:
            # Bought and sold in turn: the account would run out of margin.
            program.submit(order=(BUY, RESTING, SELL, RESTING)[sent % 4])
            sent, under_way = sent + 1, under_way + 1
        event = program.next_event(30.0)
        if event is None:
            raise SystemExit(f"nothing comes any more; {ended} of {orders} orders have ended")
        program.seen.clear()
        if event["kind"] == "accepted" and event["status"] in ("Submitted", "PreSubmitted"):
            program.cancel(event["order_id"])
        if event["kind"] in ("rejected", "expired", "invalid", "unknown"):
            raise SystemExit(f"an order went wrong: {event}")
        # On a busy machine a lease may run out; what it refuses has ended too.
        refused = event["kind"] in ("blocked", "not_placed")
        if refused or event["kind"] == "cancelled" or (event["kind"] == "filled" and event["done"]):
            ended, under_way = ended + 1, under_way - 1
            if ended % tenth == 0:
                marks.append(time.perf_counter())
    return tenth / (marks[1] - marks[0]), tenth / (marks[-1] - marks[-2])


def peak_mb(pipeline: Pipeline, name: str) -> float:
    """The most memory that a process ever had, in MB (Linux only)."""
    status = Path(f"/proc/{pipeline.processes[name].pid}/status")
    if not status.exists():
        raise SystemExit("the peak memory of another process is read from /proc, which this system has not")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
    return int(found[1]) / 1000 if found else 0.0


def longest_ms(pipeline: Pipeline, name: str) -> float:
    """End the process, and read the longest pause in its last words."""
    pipeline.end(name)
    found = re.search(r"garbage collections: \d+, the longest took ([\d.]+) ms; [1-9]", pipeline.log(name))
    if not found:
        raise SystemExit(f"{name} did not say how long its collections took")
    return float(found[1])


if __name__ == "__main__":
    sys.exit(main())
