"""Answers to `orders` and `events` on `control`, cut to a size that every client accepts.

Each is put together row by row: whoever asks for large ones must not keep an order or a trip waiting.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import msgspec

from orderfuse.messages import EventsRequest, OrdersRequest
from services.breaker.journal import Journal
from services.breaker.orders import OrderRecord, Queues

MAX_REPLY_BYTES = 256 * 1024
# Waiting orders are numbered from here on, above every order of the journal.
QUEUED_FROM = 2**62


# Goes on at each step with the next row; its value is the answer.
Pieces = Generator[None, None, dict[str, Any]]


def answer_orders(request: OrdersRequest, journal: Journal, queues: Queues) -> Pieces:
    """The orders that fit the request. Those that still wait here are in memory only; they come last."""
    found = chain(_journaled(request, journal), _waiting(request, queues))
    return (yield from _page("orders", ((number, _order_fields(record)) for number, record in found), request.limit))


def _journaled(request: OrdersRequest, journal: Journal) -> Iterator[tuple[int, OrderRecord]]:
    """Those of the journal, until it has no more: some that waited are decided while it is read."""
    last, behind = request.after, -1
    while last > behind:
        behind = last
        for last, record in journal.orders(
            strategy_id=request.strategy_id, order_id=request.order_id, state=request.state, after=behind
        ):
            yield last, record


def _waiting(request: OrdersRequest, queues: Queues) -> Iterator[tuple[int, OrderRecord]]:
    """Those that wait in the moment in which the journal has no more."""
    for record in sorted(queues, key=lambda record: record.queue_number):
        number = QUEUED_FROM + record.queue_number
        if (
            number > request.after
            and request.state in (None, "queued")
            and request.strategy_id in (None, record.strategy_id)
            and request.order_id in (None, record.order_id)
        ):
            yield number, record


def answer_events(request: EventsRequest, journal: Journal) -> Pieces:
    """The journaled events behind `after_seq` (or behind `after`, from an earlier reply)."""
    behind = request.after_seq if request.after is None else request.after
    rows = ((fields["seq"], fields) for fields in journal.events(request.topic, behind))
    return (yield from _page("events", rows, request.limit))


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
