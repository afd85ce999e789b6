"""A program gone wild: it publishes orders as fast as the bus takes them, and waits for no answer."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

import zmq

from orderfuse.bus import codec, links
from orderfuse.bus.orders import Submit
from orderfuse.settings import Settings

STRATEGY_ID = "flood"
# A breaker that takes nothing for so long hangs.
SEND_TIMEOUT_MS = 10_000


class Flood:
    """Publishes orders. A context manager: what is not taken when it closes is gone."""

    def __init__(self, settings: Settings) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._orders = links.connect(self._context, settings, "orders")
        self._orders.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        self._orders.setsockopt(zmq.RCVTIMEO, SEND_TIMEOUT_MS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def publish(self, count: int, contract: dict[str, Any], order: dict[str, Any], account: str) -> list[str]:
        """Publish so many orders and return their ids.

        Raises:
            zmq.Again: the breaker takes nothing.
        """
        # Its subscription: whoever publishes before it publishes to nobody.
        self._orders.recv()
        order_ids = [f"{STRATEGY_ID}-{number:03}" for number in range(1, count + 1)]
        for order_id in order_ids:
            message = Submit(
                order_id=order_id,
                strategy_id=STRATEGY_ID,
                sent_ns=time.time_ns(),
                contract=contract,
                order=order,
                # Longer than the demo: none of them shall be stopped by its age.
                ttl_ms=60_000,
                account=account,
            )
            self._orders.send_multipart([b"order", codec.encode(message)])
        return order_ids
