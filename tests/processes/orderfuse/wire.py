"""The breaker's ends of the links, played by a script: what a peer sees and says on the wire, and nothing more."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self

import msgspec
import zmq

from orderfuse.bus import links
from orderfuse.bus.codec import decode_map, encode_map
from orderfuse.bus.fields import Message
from orderfuse.settings import Settings
from tests.states import Fields, state

TICK_MS = 2
# Ten times as often as the real one, so that tests wait less.
STATE_EVERY_S = 0.05
DEADLINE_S = 30.0


def say_nothing(_: WireBreaker, __: Fields) -> None:
    """A breaker that takes an order and does not answer."""


class WireBreaker:
    """Binds orders, events and control, journals what it publishes, and answers as `on_order` says.

    `on_order` gets each message of the link orders and this object; None: it says nothing.
    """

    def __init__(
        self,
        settings: Settings,
        on_order: Callable[[WireBreaker, Fields], None] | None = None,
        *,
        journal: dict[str, list[Fields]] | None = None,
        subscribe: bool = True,
        tells_state: bool = True,
        answers_control: bool = True,
        version: int = 1,
    ) -> None:
        self.settings = settings
        self.on_order = on_order or say_nothing
        self.journal = defaultdict(list) if journal is None else journal
        self.known: dict[str, Fields] = {}
        self.answers_control = answers_control
        self.version = version
        self.subscribe = subscribe
        self.tells_state = tells_state
        #: Every message of the link orders, as its raw frames.
        self.frames: list[list[bytes]] = []
        self.requests: list[Fields] = []
        self._orders_seen: queue.Queue[Fields] = queue.Queue()
        self._commands: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Gone at once; what lies in its sockets is lost."""
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()

    # -- for tests ----------------------------------------------------------------------------------------

    def next_order(self, timeout: float = DEADLINE_S) -> Fields:
        """The next message of the link orders that no test has taken yet."""
        return self._orders_seen.get(timeout=timeout)

    def nothing_sent(self) -> bool:
        return self._orders_seen.empty()

    def tell(self, message: Message, *, lost: bool = False, unjournaled: bool = False) -> Fields:
        """Number, journal and publish an event; `lost`: it never reaches a subscriber."""
        fields = msgspec.to_builtins(message)
        topic = f"order/{fields['strategy_id']}/"
        events = self.journal.setdefault(topic, [])
        numbered = {**fields, "seq": (events[-1]["seq"] if events else 0) + 1, "at_ns": time.time_ns()}
        events.append({**numbered, "unjournaled": unjournaled})
        if not lost:
            self.publish(topic, numbered)
        return numbered

    def publish(self, topic: str, fields: Fields) -> None:
        self._commands.put(
            lambda: self._events.send_multipart([topic.encode(), encode_map({"v": self.version, **fields})])
        )

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        context = zmq.Context()
        self._orders = links.bind(context, self.settings, "orders")
        self._events = links.bind(context, self.settings, "events")
        self._control = links.bind(context, self.settings, "control")
        if self.subscribe:
            self._orders.subscribe(b"order")
        self._ready.set()
        next_state = 0.0
        try:
            while not self._stop.is_set():
                self._commands_now()
                if self.tells_state and time.monotonic() >= next_state:
                    next_state = time.monotonic() + STATE_EVERY_S
                    self._tell_state()
                if self._orders.poll(TICK_MS):
                    self._take_order(self._orders.recv_multipart())
                while self._control.poll(0):
                    self._answer(self._control.recv_multipart())
        finally:
            context.destroy(linger=0)

    def _commands_now(self) -> None:
        while True:
            try:
                self._commands.get_nowait()()
            except queue.Empty:
                return

    def _tell_state(self) -> None:
        now = msgspec.to_builtins(state(seq=1, at_ns=time.time_ns(), repeat=True))
        self._events.send_multipart([b"state/system/", encode_map({"v": self.version, **now})])

    def _take_order(self, frames: list[bytes]) -> None:
        self.frames.append(frames)
        fields = decode_map(frames[-1])
        self.on_order(self, fields)
        self._orders_seen.put(fields)

    def _answer(self, frames: list[bytes]) -> None:
        *envelope, payload = frames
        request = decode_map(payload)
        self.requests.append(request)
        if self.answers_control:
            reply = {"v": self.version, "kind": "reply", "id": request["id"], "ok": True, **self._reply(request)}
            self._control.send_multipart([*envelope, encode_map(reply)])

    def _reply(self, request: Fields) -> Fields:
        match request["op"]:
            case "events":
                events = [event for event in self.journal.get(request["topic"], []) if not event["unjournaled"]]
                after = request.get("after", request["after_seq"])
                found = [event for event in events if event["seq"] > after]
                page = list(itertools.islice(found, request["limit"]))
                more = len(page) < len(found)
                return {"events": page, "more": more, **({"next": page[-1]["seq"]} if more else {})}
            case "orders":
                known = self.known.get(str(request.get("order_id")))
                return {"orders": [known] if known else [], "more": False}
            case "status":
                return {"circuits": [msgspec.to_builtins(state())], "executor": {"present": True}, "gateway": {}}
            case _:
                return {"ok": False, "code": "unknown_op", "error": f"op is {request['op']!r}"}
