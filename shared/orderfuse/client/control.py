"""Asking the breaker: one request, one reply, within a deadline."""

from __future__ import annotations

import itertools
import time
import uuid
from typing import Any

import zmq

from orderfuse.bus import links
from orderfuse.bus.codec import MAX_REPLY_BYTES, DecodeError, decode_map, encode_map
from orderfuse.bus.fields import VERSION
from orderfuse.client.birthplace import Birthplace
from orderfuse.client.closing import Closing
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.settings import Settings

# A breaker on this machine is connected to within a few milliseconds. With the start of Python it leaves
# a person less than a second without an answer when nobody is there.
CONNECT_TIMEOUT_S = 0.5
# Control is served before anything else, also under a flood; a second without an answer means: stuck or gone.
ANSWER_TIMEOUT_S = 1.0


class ControlClient(Closing):
    """Requests on the link `control`. For one thread; a context manager.

    Args:
        settings: where the breaker is.
        context: a zmq context to share; without one it makes and ends its own.

    Raises:
        SettingsError: the endpoint cannot be used.
    """

    def __init__(self, settings: Settings, *, context: zmq.Context[Any] | None = None) -> None:
        # Raises, if at all, before there is anything to close.
        links.endpoint(settings, "control")
        self._birthplace = Birthplace("ControlClient")
        self._own_context = context is None
        self._context = context or zmq.Context()
        self._socket = links.connect(self._context, settings, "control")
        # Unlike any other client's, so that a late reply to a request given up is never taken for another's.
        self._ids = (f"{uuid.uuid4().hex}-{number}" for number in itertools.count(1))

    def close(self) -> None:
        """Close the link; a second time does nothing, nor does it in a child of a fork: the link is the parent's."""
        if not self._birthplace.is_here:
            return
        self._socket.close()
        if self._own_context:
            self._context.term()

    def request(
        self,
        op: str,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        **fields: Any,
    ) -> dict[str, Any]:
        """Ask and return the reply's map. docs/PROTOCOL.md has the requests with their fields and replies.

        Args:
            op: the request: `status`, `trip`, `reset`, `orders`, `events`, `report`, `resolve`, `cancel` or `accept`.
            timeout_s: how many seconds to wait for the reply.
            connect_timeout_s: how many seconds to wait for a breaker.
            fields: what the request says; those that are None are left out.

        Raises:
            BreakerUnavailable: nobody is there, or no answer came within `timeout_s` after sending; the
                text says which. In the second case the breaker may have done what was asked.
            ControlRefused: the answer is no, or cannot be read (code `unreadable`); the request has more than
                16 KiB (`bad_request`; nothing was sent).
            UsedAfterFork: it was made before a fork, and this is the child.
        """
        self._birthplace.check()
        request_id = next(self._ids)
        request = {"v": VERSION, "kind": "request", "op": op, "id": request_id}
        given = {key: value for key, value in fields.items() if value is not None}
        self._send(encode_map(request | given), connect_timeout_s)
        reply = self._answer(request_id, time.monotonic() + timeout_s)
        if reply is None:
            raise BreakerUnavailable(
                f"the breaker did not answer {op} within {timeout_s:g} s; it may still do what was asked", sent=True
            )
        if reply.get("ok") is not True:
            raise ControlRefused(str(reply.get("error") or reply), code=str(reply.get("code") or ""))
        return reply

    def _send(self, frame: bytes, connect_timeout_s: float) -> None:
        # The breaker would cut the connection over it, which looks like a breaker that is gone.
        try:
            decode_map(frame)
        except DecodeError as error:
            raise ControlRefused(error.reason, code="bad_request") from None
        # With IMMEDIATE=1 the socket is writable only while the connection stands.
        try:
            self._socket.poll(_ms(connect_timeout_s), zmq.POLLOUT)
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            place = self._socket.last_endpoint.decode()
            raise BreakerUnavailable(f"no breaker answers at {place}; nothing was sent") from None

    def _answer(self, request_id: str, deadline: float) -> dict[str, Any] | None:
        while (left_s := deadline - time.monotonic()) > 0:
            if not self._socket.poll(_ms(left_s)):
                continue
            frames = self._socket.recv_multipart()
            try:
                reply = decode_map(frames[-1], limit=MAX_REPLY_BYTES)
            except DecodeError as error:
                raise _unreadable(error) from None
            # Others are late replies to requests that were given up.
            if reply.get("kind") == "reply" and reply.get("id") == request_id:
                return reply
        return None


def _unreadable(error: DecodeError) -> ControlRefused:
    text = f"the reply cannot be read, what was asked may have been done: {error.reason}"
    return ControlRefused(text, code="unreadable")


def _ms(seconds: float) -> int:
    """At least 1: a wait of 0 ms in a loop would spin."""
    return max(1, round(seconds * 1000))
