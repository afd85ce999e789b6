"""What the monitor says of each event. Pure, so that every line can be tested without a bus."""

from __future__ import annotations

from collections.abc import Iterator

from orderfuse.bus.events import Health, OrderEvent, State
from orderfuse.bus.notices import Gap, Heard, Message, Notice, Unreadable
from orderfuse.bus.words import Severity, Words, unknown_orders_words, words_of
from orderfuse.client.replies import a_list


def lines_about(topic: str, item: Message | Notice) -> Iterator[Words]:
    """The lines for one message or notice; none for what is no news, or is told by the breaker's own log."""
    if isinstance(item, State | Health) or (isinstance(item, OrderEvent) and item.again):
        return
    severity, sentence = words_of(item)
    if severity is Severity.DEBUG:
        return
    if isinstance(item, OrderEvent):
        yield Words(severity, f"{item.strategy_id} {item.order_id} {sentence}")
    elif isinstance(item, Gap | Unreadable):
        yield Words(severity, f"{topic} {sentence}")
    else:
        yield Words(severity, sentence)
    if isinstance(item, Heard) and (unknown := a_list((item.status or {}).get("unknown"))):
        yield unknown_orders_words(unknown)
