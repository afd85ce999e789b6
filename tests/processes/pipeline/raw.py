"""A strategy, an operator and a monitor with nothing but pyzmq and msgpack, written from docs/PROTOCOL.md.

On purpose it shares no line with the project: it is what somebody else's program would be.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import msgpack
import zmq

DEADLINE_SECS = 15.0


class RawProgram:
    """One strategy's sockets. Orders are for the paper gateway: a resting limit is far below the market."""

    def __init__(self, home: Path, strategy_id: str = "raw") -> None:
        self.strategy_id = strategy_id
        self._ids = itertools.count(1)
        self._context = zmq.Context()
        self.events = self._context.socket(zmq.SUB)
        self.events.connect(f"ipc://{home}/links/events")
        self.events.subscribe(f"order/{strategy_id}/".encode())
        self.events.subscribe(b"state/")
        self.orders = self._context.socket(zmq.XPUB)
        for option, value in ((zmq.IMMEDIATE, 1), (zmq.XPUB_NODROP, 1), (zmq.SNDHWM, 64), (zmq.LINGER, 0)):
            self.orders.setsockopt(option, value)
        self.orders.connect(f"ipc://{home}/links/orders")
        self.control = self._context.socket(zmq.REQ)
        for option, value in ((zmq.REQ_RELAXED, 1), (zmq.REQ_CORRELATE, 1), (zmq.LINGER, 0)):
            self.control.setsockopt(option, value)
        self.control.connect(f"ipc://{home}/links/control")
        self.states: dict[str, dict[str, Any]] = {}
        self.seen: list[dict[str, Any]] = []

    def close(self) -> None:
        self._context.destroy(linger=0)

    def __enter__(self) -> RawProgram:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- orders

    def ready(self) -> None:
        """Wait for the breaker's subscription and for a first state."""
        assert self.orders.poll(int(DEADLINE_SECS * 1000)), "no breaker subscribed"
        assert self.orders.recv() == b"\x01order"
        self.wait_state()

    def publish(self, fields: dict[str, Any]) -> None:
        self.orders.send_multipart([b"order", msgpack.packb(fields)])

    def submit(self, order_id: str | None = None, **changes: Any) -> str:
        order_id = order_id or f"{self.strategy_id}-{time.time_ns()}-{next(self._ids)}"
        message = {
            "v": 1,
            "kind": "submit",
            "order_id": order_id,
            "strategy_id": self.strategy_id,
            "sent_ns": time.time_ns(),
            "contract": {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"},
            "order": {"action": "BUY", "orderType": "MKT", "totalQuantity": 1},
        }
        message.update(changes)
        self.publish({key: value for key, value in message.items() if value is not None})
        return order_id

    def submit_resting(self, order_id: str | None = None) -> str:
        order = {"action": "BUY", "orderType": "LMT", "totalQuantity": 1, "lmtPrice": 1.0, "tif": "GTC"}
        return self.submit(order_id, order=order)

    def cancel(self, order_id: str, request_id: str | None = None) -> str:
        request_id = request_id or f"c-{time.time_ns()}-{next(self._ids)}"
        self.publish(
            {
                "v": 1,
                "kind": "cancel",
                "request_id": request_id,
                "order_id": order_id,
                "strategy_id": self.strategy_id,
                "sent_ns": time.time_ns(),
            }
        )
        return request_id

    def replace(self, order_id: str, request_id: str, revision: int, order: dict[str, Any]) -> None:
        self.publish(
            {
                "v": 1,
                "kind": "replace",
                "request_id": request_id,
                "order_id": order_id,
                "strategy_id": self.strategy_id,
                "sent_ns": time.time_ns(),
                "revision": revision,
                "order": order,
            }
        )

    # -- events

    def next_event(self, secs: float) -> dict[str, Any] | None:
        if not self.events.poll(int(secs * 1000)):
            return None
        topic, payload = self.events.recv_multipart()
        event: dict[str, Any] = msgpack.unpackb(payload)
        if event["kind"] == "state":
            assert topic.decode() == f"state/{event['scope']}/"
            self.states[event["scope"]] = event
        else:
            self.seen.append(event)
        return event

    def wait_event(self, kind: str, order_id: str, secs: float = DEADLINE_SECS, **wanted: Any) -> dict[str, Any]:
        """The event of this kind about this order, already seen or still to come."""

        def fits(event: dict[str, Any]) -> bool:
            return (
                event["kind"] == kind
                and event.get("order_id") == order_id
                and all(event.get(key) == value for key, value in wanted.items())
            )

        for event in self.seen:
            if fits(event):
                return event
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            came = self.next_event(0.1)
            if came is not None and fits(came):
                return came
        raise AssertionError(f"no {kind} {wanted} of {order_id}; seen: {self.kinds(order_id)}; {self.states}")

    def wait_state(self, scope: str = "system", secs: float = DEADLINE_SECS, **wanted: Any) -> dict[str, Any]:
        """A state of this circuit that fits, from now on."""
        deadline = time.monotonic() + secs
        while time.monotonic() < deadline:
            event = self.next_event(0.1)
            told = event is not None and event["kind"] == "state" and event["scope"] == scope
            if event is not None and told and all(event[key] == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"{scope} never was {wanted}; last: {self.states.get(scope)}")

    def wait_trading(self, secs: float = DEADLINE_SECS) -> None:
        """Wait until the next order would pass, and for the state that says so.

        The breaker is asked: of the states some that wait to be read may be older than a restart.
        """
        deadline = time.monotonic() + secs
        while not self.system()["trading_allowed"]:
            assert time.monotonic() < deadline, f"no order passes; last: {self.states}"
            time.sleep(0.05)
        while self.next_event(0):
            pass
        self.wait_state(trading_allowed=True, secs=secs)

    def system(self) -> dict[str, Any]:
        """The system's circuit as the breaker says it is now."""
        circuits = self.request("status")["circuits"]
        system: dict[str, Any] = next(circuit for circuit in circuits if circuit["scope"] == "system")
        return system

    def kinds(self, order_id: str) -> list[str]:
        return [event["kind"] for event in self.seen if event.get("order_id") == order_id]

    # -- control

    def request(self, op: str, **fields: Any) -> dict[str, Any]:
        self.control.send(msgpack.packb({"v": 1, "kind": "request", "op": op, "id": f"{op}-1", **fields}))
        assert self.control.poll(int(DEADLINE_SECS * 1000)), f"no reply to {op}"
        reply: dict[str, Any] = msgpack.unpackb(self.control.recv())
        assert reply["v"] == 1
        assert reply["kind"] == "reply"
        assert reply["id"] == f"{op}-1"
        return reply
