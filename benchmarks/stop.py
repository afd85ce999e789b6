"""What still reaches the broker after the decision to stop, and how long the stop takes.

    make bench-stop

500 orders are sent as fast as they can be; then somebody decides to stop. Through orderfuse that is a `trip`,
with ib_insync alone a `reqGlobalCancel`, the best that it offers. The paper gateway's wire record says which
orders arrived after the decision. The exit code is 1 if through orderfuse one arrived after the trip's reply, or
more than the window (8) after its request.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes.pipeline.pipeline import Pipeline, wait_until
from tests.processes.pipeline.raw import RawProgram

ORDERS = 500
ROUNDS = 7
WINDOW = 8
# Neither the strategy's limit of 50 a second nor the gateway's own pacing shall decide what is measured.
UNLIMITED = {"ORDERFUSE_BREAKER__MAX_ORDERS_PER_SECOND": "100000", "ORDERFUSE_PAPER__MESSAGES_PER_SECOND": "0"}


def main() -> int:
    """Measure both and print; 1 if orderfuse does not keep its promise."""
    replies_ms: list[float] = []
    after_request: list[int] = []
    after_reply: list[int] = []
    for _ in range(ROUNDS):
        with started("paper", "executor", "breaker") as pipeline, RawProgram(pipeline.home) as program:
            took_ms, late, later = trip_under_load(pipeline, program)
        replies_ms.append(took_ms)
        after_request.append(late)
        after_reply.append(later)
    with started("paper") as pipeline:
        arrived, secs = asyncio.run(ib_insync_alone(pipeline))
    print(f"{ORDERS} orders sent, then the decision to stop; median of {ROUNDS} rounds (worst)")
    print(f"  orderfuse: answered in           {statistics.median(replies_ms):8.1f} ms ({max(replies_ms):.1f})")
    print(f"             arrived after request {statistics.median(after_request):8.0f} orders ({max(after_request)})")
    print(f"             arrived after reply   {statistics.median(after_reply):8.0f} orders ({max(after_reply)})")
    print(f"  ib_insync: arrived after         {arrived:8.0f} orders, the last {secs:.1f} s later")
    # One window may be on its way when the request comes, and the turn that the breaker is in may fill it once more.
    return int(max(after_request) > 2 * WINDOW or max(after_reply) > 0)


@contextmanager
def started(*names: str) -> Iterator[Pipeline]:
    """A pipeline that is stopped in the end."""
    pipeline = Pipeline(**UNLIMITED)
    try:
        pipeline.start(*names)
        yield pipeline
    finally:
        pipeline.stop()


def trip_under_load(pipeline: Pipeline, program: RawProgram) -> tuple[float, int, int]:
    """Milliseconds until the trip's reply, orders that arrived after its request, and after its reply."""
    program.ready()
    program.wait_trading()
    for _ in range(ORDERS):
        program.submit(ttl_ms=60_000)
    wait_until(lambda: len(pipeline.at_the_wire("placeOrder")) >= WINDOW, "the first orders at the gateway")
    asked_ns = time.monotonic_ns()
    reply = program.request("trip", reason="benchmark")
    answered_ns = time.monotonic_ns()
    assert reply["fenced"], reply
    # Whatever was still under way has arrived when the executor has been quiet for a lease.
    time.sleep(1.0)
    arrived_ns = [entry["ns"] for entry in pipeline.at_the_wire("placeOrder")]
    late = sum(ns > asked_ns for ns in arrived_ns)
    return (answered_ns - asked_ns) / 1e6, late, sum(ns > answered_ns for ns in arrived_ns)


async def ib_insync_alone(pipeline: Pipeline) -> tuple[int, float]:
    """Orders that arrived after `reqGlobalCancel`, and when the last one did, in seconds after it."""
    # Not above: it can be imported only where there is an event loop.
    import ib_insync

    wait_until(lambda: "listening" in pipeline.log("paper"), "the gateway")
    logging.getLogger("ib_insync").setLevel(logging.CRITICAL)
    ib = ib_insync.IB()
    await ib.connectAsync("127.0.0.1", pipeline.port, clientId=9)
    contract = ib_insync.Stock("AAPL", "SMART", "USD")
    for _ in range(ORDERS):
        ib.placeOrder(contract, ib_insync.MarketOrder("BUY", 1))
    await asyncio.sleep(0.1)
    decided_ns = time.monotonic_ns()
    ib.reqGlobalCancel()
    deadline = time.monotonic() + 30.0
    while not pipeline.at_the_wire("reqGlobalCancel"):
        assert time.monotonic() < deadline, "the global cancel never arrived"
        # Rarely: reading the record keeps the client, which shares this thread, from sending.
        await asyncio.sleep(1.0)
    ib.disconnect()
    late = [entry["ns"] for entry in pipeline.at_the_wire("placeOrder") if entry["ns"] > decided_ns]
    return len(late), (max(late, default=decided_ns) - decided_ns) / 1e9


if __name__ == "__main__":
    sys.exit(main())
