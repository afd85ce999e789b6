"""What a program outside can make grow in the breaker's links, each with its bound and what happens when it is full."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from orderfuse.bus.codec import MAX_FRAME_BYTES
from orderfuse.bus.links import MAX_SUBSCRIBER_BYTES, MAX_TOPIC_BYTES, LinkName, waiting
from services.breaker.control import requests
from services.breaker.public import capacity, connections, doors, holders, inbox, repeats, replies, subscriptions

# Linux and macOS tell the pid of who is at the other end.
SENDER = "a process; where its pid is not known, a connection"
CONNECTION = "a connection"
LINK = "a link"
ALL = "all together"
# A reply on `control` is cut at this; an event was seen to have some 400, and libzmq keeps two small frames for it.
REPLY_BYTES = 256 * 1024
EVENT_BYTES = 400 + 2 * 64


@dataclass(frozen=True, slots=True)
class Bound:
    """One of them.

    Attributes:
        what: what is bounded.
        most: how many, or how much.
        whose: for whom it is counted.
        full: what becomes of more.
        counted: the cause under which `dropped` in `health/` counts that; empty: it is not counted.
    """

    what: str
    most: int
    whose: str
    full: str
    counted: str = ""


def of_links(limit: int) -> Iterator[Bound]:
    """All bounds of the links.

    Args:
        limit: how many files the breaker may have open.
    """
    room = capacity.room(limit)
    for link in get_args(LinkName):
        yield from _of_connections(link, room[link])
    yield from _of_subscribers()
    for link in get_args(LinkName):
        to_read, to_send = waiting(link)
        frame = MAX_SUBSCRIBER_BYTES if link == "events" else MAX_FRAME_BYTES
        yield Bound(f"bytes of a frame on {link}", frame, CONNECTION, "ZeroMQ ends the connection")
        yield Bound(f"messages to be read from {link}", to_read, CONNECTION, "more wait at the sender")
        if link in _NOT_SENT:
            yield Bound(f"messages to be sent on {link}", to_send, CONNECTION, *_NOT_SENT[link])
    cut_off = f"it is cut off, and its connections to that link are refused for {subscriptions.BARRED_SECS:g} s"
    yield Bound("frames of a message", inbox.MOST_FRAMES, SENDER, cut_off, "too_many_frames")
    yield Bound(
        "megabytes in memory, with messages that have not ended",
        doors.MOST_MEMORY // 1_000_000,
        ALL,
        "connections by which no whole message has come of late are cut off, and may come again (Linux)",
        "memory_full",
    )
    yield Bound(
        "requests on control that wait",
        requests.MOST_OF_ONE,
        SENDER,
        "further ones are refused, `not_allowed`",
        "too_many_requests",
    )
    yield Bound(
        "requests on control that wait, in all",
        requests.MOST,
        ALL,
        "each program may have one; further ones are refused, `not_allowed`",
        "too_many_requests",
    )
    yield Bound(
        "bytes of replies on control that wait to be sent again",
        replies.MOST_BYTES,
        CONNECTION,
        f"further replies are dropped; all are when none is read for {replies.STUCK_SECS:g} s",
        "reply_to_nobody",
    )
    yield Bound(
        "things that the log tells apart on a link within a minute",
        repeats.MOST_TOLD_APART,
        LINK,
        "further ones are counted and not said",
    )


def bytes_of_one_process(link: LinkName, room: capacity.Room) -> int:
    """What may lie in the breaker of a process that has all connections it may have and fills all queues."""
    to_read, to_send = waiting(link)
    frame = MAX_SUBSCRIBER_BYTES if link == "events" else MAX_FRAME_BYTES
    each = to_read * frame
    if link == "control":
        # One more is being written to the connection.
        each += (to_send + 1) * REPLY_BYTES + replies.MOST_BYTES
    if link == "events":
        each += to_send * EVENT_BYTES
    return room.of_one_process * each


_NOT_SENT: dict[LinkName, tuple[str, str]] = {
    "events": ("who does not read misses further events, and sees it by the gap in seq", ""),
    "control": ("further replies wait in the breaker", ""),
    "dispatch": ("an order is taken for not handed over; what else is missed is told at the next hello", ""),
}


def _of_connections(link: LinkName, room: capacity.Room) -> Iterator[Bound]:
    yield Bound(
        f"connections to {link}",
        room.of_one_process,
        "a process; where its pid is not known, only the link's bound holds",
        "its newest are cut off at once",
        "too_many_connections",
    )
    yield Bound(
        f"connections to {link} that come in {holders.COUNT_SECS:g} s",
        holders.TIMES_AS_MANY * room.of_one_process,
        "a process whose pid is known",
        "its newest are cut off at once",
        "too_many_connections",
    )
    yield Bound(
        f"descriptors of all connections to {link}",
        room.descriptors,
        LINK,
        "who comes is refused",
        "connection_refused",
    )
    yield Bound(
        f"connections that wait at {link}", connections.MOST_AT_ONCE, LINK, "the system refuses more; clients try again"
    )


def _of_subscribers() -> Iterator[Bound]:
    cut_off = f"it is cut off, and its connections to events are refused for {subscriptions.BARRED_SECS:g} s"
    for what, most in (
        ("subscriptions that stand", subscriptions.MOST_STANDING),
        ("bytes of a subscription's topic", MAX_TOPIC_BYTES),
        (f"subscriptions and their ends in {subscriptions.COUNT_SECS:g} s", subscriptions.MOST_CHANGES),
    ):
        yield Bound(what, most, SENDER, cut_off, "too_many_subscriptions")
