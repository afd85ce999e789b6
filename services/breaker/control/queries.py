"""Answers to `orders` and `events` on `control`, cut to a size that every client accepts.

Each is put together row by row: whoever asks for large ones must not keep an order or a trip waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import msgspec

from orderfuse.bus.control import EventsRequest, OrdersRequest
from services.breaker.batch import Numbering
from services.breaker.journal import Journal
from services.breaker.orders import OrderRecord
from services.breaker.publisher import Publisher
from services.breaker.queues import Queues

MAX_REPLY_BYTES = 256 * 1024
# Waiting orders are numbered from here on, above every order of the journal.
QUEUED_FROM = 2**62
# Orders of one reply, where the request does not say how many: so many are looked at by a person.
NEWEST = 50
MAX_LIMIT = 1000


# Goes on at each step with the next row; its value is the answer.
Pieces = Generator[None, None, dict[str, Any]]


def answer_orders(request: OrdersRequest, journal: Journal, queues: Queues) -> Pieces:
    """The orders that fit the request. Those that still wait here are in memory only, and are the newest."""
    newest_first = request.after is None
    limit = request.limit or (NEWEST if newest_first else MAX_LIMIT)
    journaled = _journaled(request, journal)
    waiting = _waiting(request, queues, limit)
    found = chain(waiting, journaled) if newest_first else chain(journaled, waiting)
    return (yield from _page("orders", ((number, _order_fields(record)) for number, record in found), limit))


def _journaled(request: OrdersRequest, journal: Journal) -> Iterator[tuple[int, OrderRecord]]:
    """Those of the journal. Some that wait are decided while it is read.

    Newest first, it is read as it is now, for those are told as they wait now. Oldest first, until it has no more.
    """
    before = request.before
    if request.after is None:
        behind = journal.newest_order() + 1
        before = behind if before is None else min(before, behind)
    return journal.orders(
        strategy_id=request.strategy_id,
        order_id=request.order_id,
        state=request.state,
        since_ns=request.since_ns,
        before=before,
        after=request.after,
    )


def _waiting(request: OrdersRequest, queues: Queues, limit: int) -> Iterator[tuple[int, OrderRecord]]:
    """Those that wait in the moment in which the first is asked for, in the order in which they are told.

    One more than a page has, to see that there is.
    """
    if request.state not in (None, "queued"):
        return
    behind = -1 if request.after is None else request.after - QUEUED_FROM
    ahead = 2**63 if request.before is None else request.before - QUEUED_FROM
    fitting = (
        record
        for record in queues.orders()
        if behind < record.queue_number < ahead
        and request.strategy_id in (None, record.strategy_id)
        and request.order_id in (None, record.order_id)
        and (request.since_ns is None or record.arrived_wall_ns >= request.since_ns)
    )
    pick = heapq.nlargest if request.after is None else heapq.nsmallest
    for record in pick(limit + 1, fitting, key=lambda record: record.queue_number):
        yield QUEUED_FROM + record.queue_number, record


def answer_events(request: EventsRequest, journal: Journal, publisher: Publisher) -> Pieces:
    """The journaled events behind `after_seq` (or behind `after`, from an earlier reply).

    `skipped`: numbers that were told and are not kept, as [first, last]: nothing was lost there.
    """
    behind = request.after_seq if request.after is None else request.after
    previous: dict[int, int] = {}

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for before, fields in journal.events(request.topic, behind):
            previous[fields["seq"]] = before
            yield fields["seq"], fields

    reply = yield from _page("events", rows(), request.limit)
    # Of what has no topic yet nothing is kept.
    numbering = publisher.topics.get(request.topic) or Numbering(publisher.floor, 0)
    reply["skipped"] = list(_skipped(behind, reply, previous, numbering))
    return reply


def _skipped(behind: int, reply: dict[str, Any], previous: dict[int, int], numbering: Numbering) -> Iterator[list[int]]:
    last = behind
    for fields in reply["events"]:
        seq = fields["seq"]
        # From the beginning nobody misses what was told before the topic began.
        if previous[seq] <= last < seq - 1 and last:
            yield [last + 1, seq - 1]
        last = seq
    if last and not reply["more"] and numbering.kept <= last < numbering.seq:
        yield [last + 1, numbering.seq]


def _order_fields(record: OrderRecord) -> dict[str, Any]:
    return {
        "order_id": record.order_id,
        "strategy_id": record.strategy_id,
        "contract": record.contract,
        "order": record.order,
        "state": record.state,
        "filled": record.filled,
        "last_event": record.last_event,
    }


def _page(name: str, rows: Iterator[tuple[int, dict[str, Any]]], limit: int) -> Pieces:
    """As many rows as fit; `more` and `next` say where to go on."""
    page: list[dict[str, Any]] = []
    size, last = 0, 0
    for number, fields in rows:
        size += len(msgspec.json.encode(fields))
        if page and (len(page) >= limit or size > MAX_REPLY_BYTES):
            return {name: page, "more": True, "next": last}
        page.append(fields)
        last = number
        yield
    return {name: page, "more": False}
