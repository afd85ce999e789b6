"""The link `orders`, from a strategy's end: it knows whether somebody is there to take a message now."""

from __future__ import annotations

from typing import Any

import zmq

from orderfuse.bus import links
from orderfuse.settings import Settings

_TOPIC = b"order"


class OrdersLink:
    """Sends frames to the breaker, or says that nobody takes them.

    Attributes:
        socket: for polling.
        newly_subscribed: whether a breaker has come since this was set to False: what was under way when the link went
            down is gone, so whoever waits for an answer sends again at once.
    """

    def __init__(self, context: zmq.Context[Any], settings: Settings) -> None:
        self.socket = links.connect(context, settings, "orders")
        self.newly_subscribed = False
        self._subscribed: set[bytes] = set()

    @property
    def place(self) -> str:
        """Where the breaker is looked for."""
        return str(self.socket.last_endpoint.decode())

    @property
    def is_subscribed(self) -> bool:
        """Whether somebody takes orders, as far as `read` has heard."""
        return any(_TOPIC.startswith(prefix) for prefix in self._subscribed)

    def read(self) -> None:
        """Read who has come and gone."""
        while True:
            try:
                notice = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            if notice[:1] == b"\x01":
                self._subscribed.add(notice[1:])
                self.newly_subscribed = True
            elif notice[:1] == b"\x00":
                self._subscribed.discard(notice[1:])

    def send(self, frame: bytes) -> bool:
        """Hand over a message if somebody is there to take it now. False: it was not sent."""
        self.read()
        # The socket would say yes and drop it, or with other options deliver it when it is stale.
        if not self.is_subscribed:
            return False
        try:
            self.socket.send_multipart([_TOPIC, frame], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True
