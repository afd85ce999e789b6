"""Writes docs/bounds.md from the code: `make docs` runs it, and a test holds the page against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import zmq

from orderfuse import bounded
from orderfuse.bus import codec
from orderfuse.bus.links import TOPOLOGY
from orderfuse.cli import commands
from orderfuse.cli import watch as livewatch
from orderfuse.client import follower, handle, reports
from orderfuse.settings import BreakerSettings, DispatchSettings
from services.breaker import stage_bounds
from services.breaker.public import bounds, capacity
from services.breaker.public.bounds import Bound
from services.executor.account import foreign_orders
from services.executor.orders import attribution, found_orders, ledger

PAGE = Path(__file__).parent / "bounds.md"

HEAD = """# Bounds

Whatever a program can make grow has a bound: in memory, on disk, in a queue, in a socket. A bound counts for each
strategy or program where it can, and a full one refuses the one who filled it: nobody else is shut out, and nothing is
forgotten that was promised to another.

A **program** is a process. On ipc the system tells which one has sent a message (Linux), or is connected (Linux and
macOS); elsewhere a program is as good as its strategies or its connections. Many programs together can still fill what
all share.

This page is generated from the code, with the default settings.
"""

PARTS = {
    "The links": "As many as the breaker may open 16,384 files; with fewer there is less room.",
    "What the breaker keeps": "",
    "The executor": "It hears the breaker and the gateway, and nobody else.",
    "Programs that listen": "`OrderClient`, `Watcher`, the monitor and the command line.",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    tables = (
        bounds.of_links(capacity.MOST),
        stage_bounds.of_stage(BreakerSettings()),
        of_executor(),
        of_listeners(),
    )
    parts = zip(PARTS.items(), tables, strict=True)
    return HEAD + "".join(f"\n## {title}\n\n{_intro(text)}{table(rows)}" for (title, text), rows in parts)


def table(rows: Iterable[Bound]) -> str:
    """The bounds as a table."""
    lines = ["| what | at most | for | when it is full | counted as |", "|---|---|---|---|---|"]
    for row in rows:
        counted = f"`{row.counted}`" if row.counted else ""
        lines.append(f"| {row.what} | {row.most:,} | {row.whose} | {row.full} | {counted} |")
    return "\n".join(lines) + "\n"


def of_executor() -> Iterator[Bound]:
    """What can grow in the executor."""
    one = "the executor"
    window = DispatchSettings().window
    yield Bound("orders and changes in the inbox", window, one, "more are refused: `not_placed`, `undelivered`")
    yield Bound("orders that have ended and are at hand", ledger.MAX_ENDED, one, "the oldest are read from the journal")
    yield Bound("commissions before their execution", attribution.MAX_EARLY_COMMISSIONS, one, "the oldest is told late")
    yield Bound("orders that IB lists and nobody knows yet", found_orders.MAX_HELD, one, "more are found with the next")
    yield Bound("orders of others that are watched", foreign_orders.MAX_SEEN, one, "more are not told")


def of_listeners() -> Iterator[Bound]:
    """What can grow in a program that uses the library."""
    orders, events = TOPOLOGY["orders"].peer.options, TOPOLOGY["events"].peer.options
    one = "a client"
    yield Bound("orders on their way to the breaker", orders[zmq.SNDHWM], one, "it waits, and then says so")
    yield Bound("events that wait to be read", events[zmq.RCVHWM], one, "they are missed, and the gap is filled")
    yield Bound("bytes of a message", codec.MAX_REPLY_BYTES, one, "the connection is ended")
    yield Bound("events of one gap", follower.MOST_REPLAYED, one, "the rest is read in the next round")
    yield Bound("topics that are followed", bounded.MOST_NAMES, one, "the one that was quiet longest begins anew")
    yield Bound("events kept for `reports()`", reports.MAX_REPORTS, one, "the rest comes from the journal in its turn")
    yield Bound("events of an order", handle.MAX_EVENTS, "a handle", "the oldest go")
    yield Bound("events on the live page", livewatch.MAX_EVENTS, "a page", "the oldest go")
    yield Bound("strategies on the live page", livewatch.MAX_STRATEGIES, "a page", "more are counted as `others`")
    yield Bound("orders of `orderfuse orders`", commands.MOST_ORDERS, "a command", "it says that there are more")


def _intro(text: str) -> str:
    return f"{text}\n\n" if text else ""


if __name__ == "__main__":
    main()
