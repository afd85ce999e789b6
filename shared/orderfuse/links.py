"""The topology as one table, and opening a link with its options.

The breaker binds every link, everyone else connects, in any start order. On ipc the 0700 home folder is
the guard; tcp would need CURVE, since raw bytes from any program become messages on a plain tcp socket of
ZeroMQ (it accepts ZMTP/1.0), so a plain tcp endpoint is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import zmq

from orderfuse.codec import MAX_FRAME_BYTES, MAX_REPLY_BYTES
from orderfuse.home import HOME_VARIABLE, check_socket_path, why
from orderfuse.settings import Settings, SettingsError, variable_name

LinkName = Literal["orders", "events", "control", "dispatch", "feedback"]

# A topic has at most 48 characters, and the greeting of a connection needs 300 bytes. Each byte of a
# subscription costs the breaker memory and time, so that one of a megabyte would stop it.
MAX_SUBSCRIPTION_BYTES = 512


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


COMMON: dict[int, int] = {
    # A message that outlives its socket is stale: only `events` may take a second to leave.
    zmq.LINGER: 0,
    zmq.HEARTBEAT_IVL: 500,
    zmq.HEARTBEAT_TIMEOUT: 1500,
    # libzmq's 30 s would let idle connections pile up.
    zmq.HANDSHAKE_IVL: 2000,
    zmq.RECONNECT_IVL: 50,
    zmq.RECONNECT_IVL_MAX: 1000,
}

TOPOLOGY: dict[LinkName, Link] = {
    "orders": Link(
        breaker=End(zmq.SUB, {zmq.RCVHWM: 1000, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
        # IMMEDIATE and NODROP: refuse to send rather than keep an order for later. SNDHWM: few can be under way.
        peer=End(zmq.XPUB, {zmq.IMMEDIATE: 1, zmq.XPUB_NODROP: 1, zmq.SNDHWM: 64}),
    ),
    "events": Link(
        # Never NODROP: one slow monitor would hold up everybody. A gap in seq shows what was dropped.
        breaker=End(zmq.PUB, {zmq.LINGER: 1000, zmq.SNDHWM: 10_000, zmq.MAXMSGSIZE: MAX_SUBSCRIPTION_BYTES}),
        peer=End(zmq.SUB, {zmq.RCVHWM: 10_000, zmq.MAXMSGSIZE: MAX_REPLY_BYTES}),
    ),
    "control": Link(
        breaker=End(zmq.ROUTER, {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
        peer=End(zmq.DEALER, {zmq.IMMEDIATE: 1, zmq.MAXMSGSIZE: MAX_REPLY_BYTES}),
    ),
    "dispatch": Link(
        breaker=End(zmq.ROUTER, {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
        peer=End(zmq.DEALER, {zmq.IMMEDIATE: 1, zmq.MAXMSGSIZE: MAX_REPLY_BYTES}),
    ),
    "feedback": Link(
        breaker=End(zmq.PULL, {zmq.RCVHWM: 10_000, zmq.MAXMSGSIZE: MAX_FRAME_BYTES}),
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
    """Open the breaker's end of `link`. The caller holds the home's lock: a second bind would steal the path.

    Raises:
        SettingsError: the endpoint cannot be used.
    """
    address = endpoint(settings, link)
    path = Path(address.removeprefix("ipc://"))
    socket = _open(context, TOPOLOGY[link].breaker)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket.bind(address)
        # Outside of the home the folder may be anybody's, and the umask open: then the socket is the guard.
        path.chmod(0o600)
    except (OSError, zmq.ZMQError) as error:
        socket.close()
        raise SettingsError(
            f"links.{link} is {address!r} and cannot be bound: {why(error)}. Move away what stands in its place, "
            f"or set {variable_name('links', link)} or {HOME_VARIABLE} to where you can write."
        ) from error
    return socket


def connect(context: zmq.Context[Any], settings: Settings, link: LinkName) -> Any:
    """Open the other end of `link`; the breaker may come later. With an asyncio context, an asyncio socket.

    Raises:
        SettingsError: the endpoint cannot be used.
    """
    address = endpoint(settings, link)
    socket = _open(context, TOPOLOGY[link].peer)
    socket.connect(address)
    return socket


def _open(context: zmq.Context[Any], end: End) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(end.socket_type)
    for option, value in {**COMMON, **end.options}.items():
        socket.setsockopt(option, value)
    return socket
