"""The topology as one table, and opening a link with its options.

The breaker binds every link, everyone else connects, in any start order. On ipc the 0700 home folder is
the guard; tcp would need CURVE, since raw bytes from any program become messages on a plain tcp socket of
ZeroMQ (it accepts ZMTP/1.0), so a plain tcp endpoint is refused.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zmq

from orderfuse.bus.codec import MAX_FRAME_BYTES, MAX_REPLY_BYTES
from orderfuse.home import HOME_VARIABLE, check_socket_path, why
from orderfuse.settings import Settings, SettingsError, variable_name

Listener = socket.socket
LinkName = Literal["orders", "events", "control", "dispatch", "feedback"]

# The longest is `state/strategy:`, an id of 32, and `/`. The breaker cuts off who subscribes to a longer one.
MAX_TOPIC_BYTES = 48
# What a subscriber may send in one frame. A subscription to the longest topic has 58 bytes, and libzmq's greeting fits
# then; the rest is for those of other makes, which may say more of themselves. Each byte of a subscription costs the
# breaker memory and time before it hears of it, so that one of a megabyte would stop it.
MAX_SUBSCRIBER_BYTES = 128


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: its socket type and the options that differ from the common ones."""

    socket_type: int
    options: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A named pair of sockets."""

    breaker: End
    peer: End


# Messages that ZeroMQ lets wait unless it is told otherwise.
ZEROMQ_HWM = 1000

COMMON: dict[int, int] = {
    # No heartbeats of ZeroMQ: libzmq 4.3 aborts the process when one is due while a full queue has stopped its
    # reading and the peer is gone (zeromq/libzmq issues 4364, 3596, 3937), so any client could end the breaker. The
    # kernel tells of a peer that is dead, leases and states of one that is stuck.
    # A message that outlives its socket is stale: only `events` may take a second to leave.
    zmq.LINGER: 0,
    # libzmq's 30 s would let idle connections pile up.
    zmq.HANDSHAKE_IVL: 2000,
    zmq.RECONNECT_IVL: 50,
    zmq.RECONNECT_IVL_MAX: 1000,
}

# How much may wait for the breaker, or for who listens to it: a process may have 104 connections to each public link
# and 8 to each of the executor's (services/breaker/public/capacity.py), and with all of them it shall not cost more
# than some 100 MB on a link. RCVHWM is counted in messages of up to 16 KiB; what does not fit waits at the sender.
TOPOLOGY: dict[LinkName, Link] = {
    "orders": Link(
        # 53 MB of one process. A bare PUB keeps 1,000 orders of a burst itself, a client's XPUB waits.
        breaker=End(zmq.SUB, {zmq.RCVHWM: 32, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
        # IMMEDIATE and NODROP: refuse to send rather than keep an order for later. SNDHWM: few can be under way.
        peer=End(zmq.XPUB, {zmq.IMMEDIATE: 1, zmq.XPUB_NODROP: 1, zmq.SNDHWM: 64}),
    ),
    "events": Link(
        # Never NODROP: one slow monitor would hold up everybody. A gap in seq shows what was dropped.
        # XPUB, and VERBOSER: the breaker counts what each subscriber has standing, so it must hear of each subscription
        # and of each end of one, also where others have the same.
        # SNDHWM: a fifth of a second at 10,000 events a second, for a reader whose own queue is full or that gets no
        # time. An event has some 400 bytes, shared by all who wait for it, and 128 for each of them: 28 MB if all
        # connections of one process have stopped reading together, 110 MB if each at another time.
        # RCVHWM: a call to the socket does not return while subscriptions come in, and keeps all it takes. With one
        # at a time libzmq's thread has more work with each than the call has, so that it soon finds none; with 8, 20
        # connections that subscribe without end held the breaker up and cost it 400 MB in a minute.
        breaker=End(
            zmq.XPUB,
            {
                zmq.XPUB_VERBOSER: 1,
                zmq.LINGER: 1000,
                zmq.SNDHWM: 2000,
                zmq.RCVHWM: 1,
                zmq.MAXMSGSIZE: MAX_SUBSCRIBER_BYTES,
            },
        ),
        peer=End(zmq.SUB, {zmq.RCVHWM: 32_000, zmq.MAXMSGSIZE: MAX_REPLY_BYTES}),
    ),
    "control": Link(
        # SNDHWM: who asks and does not read is kept few replies, since each may have 256 KiB: 80 MB of one process with
        # the one that is being written, and 27 MB that wait in the breaker (services/breaker/public/replies.py).
        # RCVHWM: 14 MB of one process, which mostly asks one thing at a time.
        breaker=End(
            zmq.ROUTER,
            {zmq.ROUTER_MANDATORY: 1, zmq.SNDHWM: 2, zmq.RCVHWM: 8, zmq.MAXMSGSIZE: MAX_FRAME_BYTES},
        ),
        peer=End(zmq.DEALER, {zmq.IMMEDIATE: 1, zmq.MAXMSGSIZE: MAX_REPLY_BYTES}),
    ),
    "dispatch": Link(
        # RCVHWM: 16 MB of one process. SNDHWM stays at ZeroMQ's 1,000: a stop cancels many orders at once, with some
        # 200 bytes each; who is no executor is told no more than that.
        breaker=End(zmq.ROUTER, {zmq.ROUTER_MANDATORY: 1, zmq.RCVHWM: 128, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
        peer=End(zmq.DEALER, {zmq.IMMEDIATE: 1, zmq.MAXMSGSIZE: MAX_REPLY_BYTES}),
    ),
    "feedback": Link(
        # RCVHWM: a turn's worth, 32 MB of one process; the executor keeps 10,000 itself, and all of them on disk.
        breaker=End(zmq.PULL, {zmq.RCVHWM: 256, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
        # IMMEDIATE=0: facts must survive a breaker that is away; the journal covers what is lost on the way.
        peer=End(zmq.PUSH, {zmq.IMMEDIATE: 0, zmq.SNDHWM: 10_000}),
    ),
}


def endpoint(settings: Settings, link: LinkName) -> str:
    """Where `link` is.

    Raises:
        SettingsError: the endpoint is no ipc endpoint, or its path is too long for a socket.
    """
    given: str = getattr(settings.links, link)
    chosen = given or f"ipc://{settings.home / 'links' / link}"
    setting = f"links.{link}"
    scheme, separator, path = chosen.partition("://")
    if scheme == "tcp":
        raise SettingsError(
            f"{setting} is {chosen!r}: a plain tcp endpoint would take orders from any program that reaches "
            "it, and CURVE keys for tcp are not supported yet. Use ipc on one machine "
            f"(remove the setting and {variable_name('links', link)})."
        )
    if scheme != "ipc" or not separator or not path.startswith("/"):
        raise SettingsError(
            f"{setting} is {chosen!r}, allowed is ipc:// and an absolute path. "
            f"Change it, or set {variable_name('links', link)}."
        )
    check_socket_path(path, f"{setting} ({variable_name('links', link)})" if given else HOME_VARIABLE)
    return chosen


def bind(context: zmq.Context[Any], settings: Settings, link: LinkName) -> zmq.Socket[bytes]:
    """Open the breaker's end of `link`. The caller holds the home's lock, since a second breaker would steal the link.

    The breaker itself counts who comes, and uses `open_end` and `listen` instead.

    Raises:
        SettingsError: the endpoint cannot be used.
    """
    end = open_end(context, link)
    try:
        make_folder(settings, link)
        hand_over(end, listen(settings, link, backlog=100))
    except BaseException:
        end.close()
        raise
    return end


def waiting(link: LinkName) -> tuple[int, int]:
    """How many messages may wait at the breaker's end for each connection: to be read, and to be sent."""
    options = TOPOLOGY[link].breaker.options
    return options.get(zmq.RCVHWM, ZEROMQ_HWM), options.get(zmq.SNDHWM, ZEROMQ_HWM)


def open_end(context: zmq.Context[Any], link: LinkName) -> zmq.Socket[bytes]:
    """Open the breaker's end of `link`, which nobody can reach yet."""
    return _open(context, TOPOLOGY[link].breaker)


def make_folder(settings: Settings, link: LinkName) -> None:
    """Make the folder that `link` is in. Only at the start: a home that has gone stays gone, or it would be a new one.

    Raises:
        SettingsError: it cannot be made.
    """
    address = endpoint(settings, link)
    try:
        Path(address.removeprefix("ipc://")).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_be_bound(link, address, error) from error


def listen(settings: Settings, link: LinkName, *, backlog: int, avoid: Container[str] = ()) -> Listener:
    """Put a new listening socket in the place of `link`, for its owner alone. The folder must be there.

    Whoever waits in the one that was there stays there; nobody new gets into it.

    Args:
        settings: where the link is.
        link: its name.
        backlog: as listen(2) has it.
        avoid: names of listeners that the new one must not have; see `name_of`.

    Raises:
        SettingsError: the endpoint cannot be used.
    """
    address = endpoint(settings, link)
    path = Path(address.removeprefix("ipc://"))
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.setblocking(False)
        made = _bind_beside(listener, path, avoid)
        # Outside of the home the folder may be anybody's, and the umask open: then the socket is the guard. Nobody
        # can connect before it listens.
        made.chmod(0o600)
        listener.listen(backlog)
        _move(made, path)
    except OSError as error:
        listener.close()
        raise _cannot_be_bound(link, address, error) from error
    return listener


def _cannot_be_bound(link: LinkName, address: str, error: OSError) -> SettingsError:
    return SettingsError(
        f"links.{link} is {address!r} and cannot be bound: {why(error)}. Move away what stands in its place, "
        f"or set {variable_name('links', link)} or {HOME_VARIABLE} to where you can write."
    )


def _bind_beside(listener: Listener, path: Path, avoid: Container[str]) -> Path:
    """Bind to a free name in the same folder: from there it can be moved into its place in one step."""
    for number in range(1, 10_000):
        # Not longer than the links' own names, so that a home which is short enough for these is for it.
        made = path.with_name(f"~{path.name[0]}{number}")
        if str(made) in avoid:
            continue
        with contextlib.suppress(FileExistsError):
            _bind_new(listener, made)
            return made
    raise FileExistsError(None, f"{path.parent} is full of sockets that were left there")


def _bind_new(listener: Listener, path: Path) -> None:
    try:
        listener.bind(str(path))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise FileExistsError from None
        raise


def _move(made: Path, path: Path) -> None:
    try:
        made.replace(path)
    except OSError:
        made.unlink()
        raise


def name_of(listener: Listener) -> str:
    """What tells one listener of a link from another: where it was bound, before it was put into the link's place."""
    return str(listener.getsockname())


def hand_over(end: zmq.Socket[bytes], listener: Listener) -> str:
    """Have ZeroMQ accept those who wait in `listener`, which it owns from now on. Returns the endpoint for `unbind`.

    `unbind` ends the connections that came in by this listener, and no others.
    """
    name = name_of(listener)
    end.setsockopt(zmq.USE_FD, listener.detach())
    end.bind(f"ipc://{name}")
    return f"ipc://{name}"


def connect(context: zmq.Context[Any], settings: Settings, link: LinkName) -> Any:
    """Open the other end of `link`; the breaker may come later. With an asyncio context, an asyncio socket.

    Raises:
        SettingsError: the endpoint cannot be used.
    """
    address = endpoint(settings, link)
    end = _open(context, TOPOLOGY[link].peer)
    end.connect(address)
    return end


def _open(context: zmq.Context[Any], end: End) -> zmq.Socket[bytes]:
    opened: zmq.Socket[bytes] = context.socket(end.socket_type)
    for option, value in {**COMMON, **end.options}.items():
        opened.setsockopt(option, value)
    return opened
