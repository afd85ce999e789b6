"""Orders as lines, and all that happened to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from orderfuse.cli.show import at_time, clean, columns, event_words, number, order_words, since, span
from orderfuse.client.control import ControlClient
from orderfuse.client.replies import a_map, maps

# Events asked for at once, and how often: those of an order are looked for in the strategy's last 20,000.
PAGE, PAGES = 1000, 20
# A reply has no more orders than this, and no more than 256 KiB.
REPLY = 1000
# With one of these the events of every order begin.
DECISIONS = ("passed", "blocked", "expired", "invalid")


def newest_orders(control: ControlClient, limit: int, **wanted: Any) -> dict[str, Any]:
    """The newest `limit` orders that fit, newest first, as one reply's map, in however many replies they came."""
    # One that waited, and is decided while the pages are read, comes once more: it keeps its place, as told last.
    found: dict[str, dict[str, Any]] = {}
    before: int | None = None
    while True:
        reply = control.request("orders", before=before, limit=min(limit - len(found), REPLY), **wanted)
        page = maps(reply.get("orders"))
        for order in page:
            found[str(order.get("order_id"))] = order
        behind, before = before, reply.get("next")
        goes_on = isinstance(before, int) and (behind is None or before < behind)
        if not (page and reply.get("more") and goes_on and len(found) < limit):
            return {**reply, "orders": list(found.values())}


def order_rows(orders: list[dict[str, Any]], now: datetime) -> Iterator[str]:
    """A line for each order: what it wants, where it is and since when, the last event with its reason."""
    yield from columns(
        [("order", "strategy", "what", "state", "filled", "last event"), *(_row(o, now) for o in orders)]
    )


def order_events(control: ControlClient, order: dict[str, Any]) -> Iterator[str]:
    """All events of one order, oldest first. If they go further back than it looks, it says so."""
    last = a_map(order.get("last_event"))
    events: list[dict[str, Any]] = []
    # The journal can only be read forward, and the last event says where they end.
    end = last.get("seq") if isinstance(last.get("seq"), int) else 0
    for _ in range(PAGES):
        if not end or any(event.get("kind") in DECISIONS for event in events):
            break
        begin = max(0, end - PAGE)
        events = [*_events(control, order, begin, end), *events]
        end = begin
    yield ""
    if end and not any(event.get("kind") in DECISIONS for event in events):
        yield "what happened before is too far back to be looked for"
    for event in events:
        at = at_time(event.get("at_ns"))
        yield f"{f'{at:%Y-%m-%d %H:%M:%S.%f}'[:-3] if at else '?'}  {event_words(event)}"
    if not events:
        yield "nothing has happened to it yet" if not last else "its events are no longer kept"


def _events(control: ControlClient, order: dict[str, Any], begin: int, end: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: int | None = None
    topic = f"order/{order.get('strategy_id')}/"
    while True:
        reply = control.request("events", topic=topic, after_seq=begin, after=after, limit=end - begin)
        events = maps(reply.get("events"))
        found += [event for event in events if event.get("order_id") == order.get("order_id")]
        after = reply.get("next")
        if not (events and reply.get("more") and isinstance(after, int) and after < end):
            return [event for event in found if isinstance(event.get("seq"), int) and event["seq"] <= end]


def _row(entry: dict[str, Any], now: datetime) -> tuple[str, ...]:
    last = a_map(entry.get("last_event"))
    at = at_time(last.get("at_ns"))
    passed = (now - at).total_seconds() if at else -1
    ago = f", {span(passed)} ago" if passed >= 0 else f", at {since(at, now)}" if at else ""
    return (
        clean(entry.get("order_id")),
        clean(entry.get("strategy_id")),
        order_words(entry),
        clean(entry.get("state")),
        number(entry.get("filled")),
        f"{event_words(last)}{ago}" if last else "none yet",
    )
