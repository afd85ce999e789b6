"""What must be true after any crash, by the gateway's own record and book.

What the gateway received stands in its wire record, what it booked and executed in its state file. Both are
handed to the kernel before anybody is told, so they outlive the gateway's own death too.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.pipeline.pipeline import Pipeline

Events = dict[str, list[dict[str, Any]]]
DECISIONS = {"passed", "blocked", "expired", "invalid"}
ENDS = {"cancelled", "rejected", "not_placed", "expired", "invalid", "blocked"}
LIVE = {"PreSubmitted", "Submitted"}


@dataclass
class Book:
    """What the gateway has booked: the status of each order, and its executions, by our order_id."""

    status: dict[str, str] = field(default_factory=dict)
    executions: dict[str, dict[str, float]] = field(default_factory=dict)


def read_book(pipeline: Pipeline) -> Book:
    """The gateway's state file, the last line about anything being true; a torn last line is nothing."""
    book, refs = Book(), {}
    for line in (pipeline.home / "state").read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("is") == "order":
            refs[row["perm_id"]] = row["ticket"]["order_ref"]
            book.status[refs[row["perm_id"]]] = row["status"]
        elif row.get("is") == "execution":
            book.executions.setdefault(refs[row["perm_id"]], {})[row["exec_id"]] = row["shares"]
    return book


def end_of(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The event that ended an order, if it has ended."""
    for event in reversed(events):
        if event["kind"] in ENDS or (event["kind"] == "filled" and event["done"]):
            return event
        if event.get("supersedes") is not None:
            return None
    return None


def still_open(ids: list[str], told: Events, unknown: set[str], book: Book) -> list[str]:
    """Orders of which something is still to be heard: an end, a fill, or that they rest."""
    waits = []
    for order_id in ids:
        events = told.get(order_id, [])
        fills = {event["exec_id"] for event in events if event["kind"] == "filled"}
        rests = book.status.get(order_id) in LIVE and any(event["kind"] == "accepted" for event in events)
        settled = end_of(events) is not None or order_id in unknown or rests
        if not settled or not set(book.executions.get(order_id, ())) <= fills:
            waits.append(order_id)
    return waits


def complaints(ids: list[str], told: Events, unknown: set[str], book: Book, wire: list[dict[str, Any]]) -> list[str]:
    """Everything that is not as it must be."""
    found = []
    at_the_wire = Counter(entry["fields"]["orderRef"] for entry in wire)
    found += [f"{order_id} was placed {times} times" for order_id, times in at_the_wire.items() if times > 1]
    for order_id in ids:
        events = told.get(order_id, [])
        kinds = [event["kind"] for event in events]
        if sum(kind in DECISIONS for kind in kinds) != 1:
            found.append(f"{order_id} has not exactly one decision: {kinds}")
        end = end_of(events)
        if end is None and order_id not in unknown and book.status.get(order_id) not in LIVE:
            found.append(f"{order_id} has no end and is not named as unknown: {kinds}")
        found += _of_fills(order_id, events, book.executions.get(order_id, {}))
        if end is not None:
            found += _of_end(order_id, end, kinds, at_the_wire, book)
    return found


def _of_fills(order_id: str, events: list[dict[str, Any]], executed: dict[str, float]) -> list[str]:
    told = [event for event in events if event["kind"] == "filled"]
    found = []
    if Counter(event["exec_id"] for event in told) != Counter(executed):
        found.append(f"{order_id} was executed as {sorted(executed)}, told were {[e['exec_id'] for e in told]}")
    if told and told[-1]["cum_qty"] != sum(executed.values()):
        found.append(f"{order_id} has {sum(executed.values())} filled, told were {told[-1]['cum_qty']}")
    return found


def _of_end(order_id: str, end: dict[str, Any], kinds: list[str], wire: Counter[str], book: Book) -> list[str]:
    status = book.status.get(order_id)
    match end["kind"]:
        case "not_placed" if end["code"] == "reconciled":
            wrong = order_id in book.status
        case "not_placed" | "blocked" | "expired" | "invalid":
            wrong = wire[order_id] > 0
        case "filled":
            wrong = status != "Filled"
        case "cancelled":
            wrong = status != "Cancelled"
        case _:
            wrong = status in LIVE or status == "Filled"
    return [f"{order_id} was told {kinds}, IB has it as {status}, received {wire[order_id]} times"] if wrong else []
