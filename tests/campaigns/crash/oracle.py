"""What must be true after any crash, by the gateway's own record and book.

What the gateway received stands in its wire record, what it booked and executed in its state file. Both are
handed to the kernel before anybody is told, so they outlive the gateway's own death too.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.campaigns.crash import cancels
from tests.processes.pipeline.pipeline import Pipeline

Events = dict[str, list[dict[str, Any]]]
DECISIONS = {"passed", "blocked", "expired", "invalid"}
ENDS = {"cancelled", "rejected", "not_placed", "expired", "invalid", "blocked"}
LIVE = {"PreSubmitted", "Submitted"}


# What a resting order begins with; each of its replaces has another price, so that the record tells them apart.
FIRST_PRICE = 1.0


@dataclass(frozen=True)
class Replace:
    """A change that was asked for."""

    order_id: str
    revision: int
    price: float


@dataclass
class Heard:
    """What was asked for, and what the breaker has told of it."""

    ids: list[str]
    replaces: dict[str, Replace]
    # Of which order each cancel is.
    cancels: dict[str, str]
    told: Events
    unknown: set[str]
    # What the breaker calls working.
    working: set[str]
    # Whose journals were lost. With the breaker's go decisions of which nothing had reached the executor.
    lost: tuple[str, ...] = ()


@dataclass
class Book:
    """What the gateway has booked, by our order_id; also under how many perm_ids."""

    status: dict[str, str] = field(default_factory=dict)
    quantity: dict[str, float] = field(default_factory=dict)
    price: dict[str, float | None] = field(default_factory=dict)
    bookings: dict[str, set[int]] = field(default_factory=dict)
    executions: dict[str, dict[str, float]] = field(default_factory=dict)


def read_book(pipeline: Pipeline) -> Book:
    """The gateway's state file, the last row about anything being true; a torn last line is nothing."""
    book, refs = Book(), {}
    for row in _rows((pipeline.home / "state").read_bytes()):
        if row.get("is") == "order":
            order_id = refs[row["perm_id"]] = row["ticket"]["order_ref"]
            book.status[order_id] = row["status"]
            book.quantity[order_id] = row["ticket"]["quantity"]
            book.price[order_id] = row["ticket"]["limit_price"]
            book.bookings.setdefault(order_id, set()).add(row["perm_id"])
        elif row.get("is") == "execution":
            book.executions.setdefault(refs[row["perm_id"]], {})[row["exec_id"]] = row["shares"]
    return book


def _rows(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        with contextlib.suppress(ValueError):
            yield from json.loads(line)


def end_of(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The event that ended an order, if it has ended."""
    for event in reversed(events):
        if event["kind"] in ENDS or (event["kind"] == "filled" and event["done"]):
            return event
        if event.get("supersedes") is not None or event["kind"] == "passed":
            # What was said before it, by a breaker whose journal is lost, is void.
            return None
    return None


def still_open(heard: Heard, book: Book) -> list[str]:
    """Orders of which something is still to be heard: an end, a fill, that they rest, or what a change became."""
    waits = []
    for order_id in heard.ids:
        events = heard.told.get(order_id, [])
        fills = {event["exec_id"] for event in events if event["kind"] == "filled"}
        rests = book.status.get(order_id) in LIVE and any(event["kind"] == "accepted" for event in events)
        if "breaker" not in heard.lost and cancels.lost_of(order_id, heard.cancels, events, lives=rests):
            rests = False
        settled = end_of(events) is not None or order_id in heard.unknown or rests
        changing = _changes_without_end(events) and order_id not in heard.unknown
        if "breaker" in heard.lost and order_id not in book.status:
            # Nobody may know it any more; whether it should be known is judged in the end.
            continue
        if not settled or changing or not set(book.executions.get(order_id, ())) <= fills:
            waits.append(order_id)
    return waits


def ghosts(heard: Heard, book: Book) -> list[str]:
    """Orders that the breaker calls working and IB does not have."""
    return sorted(order_id for order_id in heard.working if book.status.get(order_id) not in LIVE)


def back_steps(seen: list[dict[str, Any]]) -> list[str]:
    """Numbers of events, as they came, that are not above the one before: a follower takes those for old ones."""
    found, last = [], dict[str, int]()
    for event in seen:
        strategy_id, seq = event["strategy_id"], event["seq"]
        if seq <= last.get(strategy_id, 0):
            found.append(f"the events of {strategy_id} went back from number {last[strategy_id]} to {seq}")
        last[strategy_id] = seq
    return found


def unlisted(heard: Heard, book: Book) -> list[str]:
    """Orders that rest at IB and that the breaker neither calls working nor unknown: nobody can cancel them."""
    resting = {order_id for order_id, status in book.status.items() if status in LIVE}
    return sorted(resting - heard.working - heard.unknown)


def complaints(heard: Heard, book: Book, wire: list[dict[str, Any]]) -> list[str]:
    """Everything that is not as it must be."""
    found = _of_the_wire(heard, book, wire)
    found += [f"{at} is working for the breaker, IB has it as {book.status.get(at)}" for at in ghosts(heard, book)]
    found += [f"{at} rests at IB, and the breaker does not list it" for at in unlisted(heard, book)]
    received = Counter(entry["fields"]["orderRef"] for entry in wire)
    at_the_wire = {(entry["fields"]["orderRef"], float(entry["fields"]["lmtPrice"] or 0)) for entry in wire}
    written = {at for at, replace in heard.replaces.items() if (replace.order_id, replace.price) in at_the_wire}
    for order_id in heard.ids:
        events = heard.told.get(order_id, [])
        kinds = [event["kind"] for event in events]
        knowable = "breaker" not in heard.lost or order_id in book.status
        decisions = sum(kind in DECISIONS for kind in kinds)
        # A breaker that died with its journal may have told its decision to nobody, and decided anew on a blocked one.
        if (decisions == 0 and knowable and not ("breaker" in heard.lost and kinds)) or (
            decisions > 1 and "breaker" not in heard.lost
        ):
            found.append(f"{order_id} has not exactly one decision: {kinds}")
        end = end_of(events)
        if end is None and knowable and order_id not in heard.unknown and book.status.get(order_id) not in LIVE:
            found.append(f"{order_id} has no end and is not named as unknown: {kinds}, IB: {book.status.get(order_id)}")
        found += _of_fills(order_id, events, book.executions.get(order_id, {}))
        found += _of_changes(order_id, heard, events, book, written)
        if end is not None:
            found += _of_end(order_id, end, kinds, received, book)
        rests = book.status.get(order_id) in LIVE and order_id not in heard.unknown
        found += cancels.complaints(order_id, heard.cancels, events, lives=rests, breaker_lost="breaker" in heard.lost)
    return found


def _of_the_wire(heard: Heard, book: Book, wire: list[dict[str, Any]]) -> list[str]:
    """One placement for each order, then each of its changes at most once and under the same number."""
    found = [
        f"{order_id} stands {len(ids)} times in the book" for order_id, ids in book.bookings.items() if len(ids) > 1
    ]
    asked = {(replace.order_id, replace.price) for replace in heard.replaces.values()}
    numbers: dict[str, int] = {}
    seen: set[tuple[str, float]] = set()
    for entry in wire:
        fields = entry["fields"]
        order_id, number, price = fields["orderRef"], fields["orderId"], fields["lmtPrice"]
        if numbers.setdefault(order_id, number) != number:
            found.append(f"{order_id} was placed again, under another number: {number} after {numbers[order_id]}")
        first = not any(order_id == earlier for earlier, _ in seen)
        change = (order_id, float(price)) if price else (order_id, 0.0)
        if change in seen or not (first or change in asked):
            found.append(f"{order_id} was written again with the price {price}, which nobody asked for")
        seen.add(change)
    return found


def _changes_without_end(events: list[dict[str, Any]]) -> set[str]:
    passed = {event["request_id"] for event in events if event["kind"] == "request_passed"}
    over = {event["request_id"] for event in events if event["kind"] in ("replaced", "replace_failed")}
    return {request_id for request_id in passed - over if request_id.startswith("r-")}


def _of_changes(order_id: str, heard: Heard, events: list[dict[str, Any]], book: Book, written: set[str]) -> list[str]:
    answers = Counter(event["request_id"] for event in events if event["kind"] in ("replaced", "replace_failed"))
    kinds = [event["kind"] for event in events]
    found = [
        f"{order_id}: change {at} was answered {times} times: {kinds}"
        for at, times in answers.items()
        # Once both journals have been lost, nobody knows what was told of it.
        if times > 1 and not {"breaker", "executor"} <= {*heard.lost}
    ]
    if order_id in heard.unknown:
        return found
    found += [
        f"{order_id}: nobody was told what became of change {at}"
        for at in _changes_without_end(events)
        if "breaker" not in heard.lost or at in written
    ]
    replaced = [heard.replaces[event["request_id"]].price for event in events if event["kind"] == "replaced"]
    price = book.price.get(order_id)
    if replaced and price != replaced[-1]:
        found.append(f"{order_id} was told to be changed to {replaced[-1]}, IB has it at {price}")
    changes = any(replace.order_id == order_id for replace in heard.replaces.values())
    if changes and not replaced and price not in (FIRST_PRICE, None):
        found.append(f"{order_id} was changed to {price}, and nobody was told")
    return found


def _of_fills(order_id: str, events: list[dict[str, Any]], executed: dict[str, float]) -> list[str]:
    told = [event for event in events if event["kind"] == "filled"]
    found = []
    if Counter(event["exec_id"] for event in told) != Counter(list(executed)):
        found.append(f"{order_id} was executed as {sorted(executed)}, told were {[e['exec_id'] for e in told]}")
    if told and told[-1]["cum_qty"] != sum(executed.values()):
        found.append(f"{order_id} has {sum(executed.values())} filled, told were {told[-1]['cum_qty']}")
    return found


def _of_end(order_id: str, end: dict[str, Any], kinds: list[str], received: Counter[str], book: Book) -> list[str]:
    status = book.status.get(order_id)
    match end["kind"]:
        case "not_placed" if end["code"] == "reconciled":
            wrong = order_id in book.status
        case "not_placed" | "blocked" | "expired" | "invalid":
            wrong = received[order_id] > 0
        case "filled":
            wrong = status != "Filled"
        case "cancelled":
            wrong = status != "Cancelled"
            filled = sum(book.executions.get(order_id, {}).values())
            remaining = book.quantity.get(order_id, 0.0) - filled
            if not wrong and (end["filled"], end["remaining"]) != (filled, remaining):
                told = f"{end['filled']:g} filled and {end['remaining']:g} not"
                return [f"{order_id} was told to be cancelled with {told}, IB has {filled:g} and {remaining:g}"]
        case _:
            wrong = status in LIVE or status == "Filled"
    return [f"{order_id} was told {kinds}, IB has it as {status}, received {received[order_id]} times"] if wrong else []
