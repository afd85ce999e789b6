"""What a strategy does while processes die: orders of many kinds, cancels, changes, and questions.

What is not answered is sent again, unchanged. Which orders come, and what is to happen to each, the draw says when
they are sent; when it happens, the events say.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import msgpack
import zmq

from orderfuse.cli.paper_control import PaperUnavailable, ask_paper
from orderfuse.errors import ControlRefused
from tests.campaigns.crash import oracle
from tests.processes.pipeline.raw import RawProgram

# Orders whose ids begin so meet a gateway that does not know them at first, or that is slow to cancel them. It is a
# scenario, so that a gateway that was killed goes on with it.
EARLY, SLOW = "early-", "slow-"
SCENARIO = f"""\
[[fault]]
kind = "unknown_at_first"
order_ref = "{EARLY}"
count = 1000000
ms = 250

[[fault]]
kind = "slow_cancel"
order_ref = "{SLOW}"
count = 1000000
ms = 1500
"""
# The breaker does not pass a second cancel on to IB within a second of the first. This one still meets the slow
# cancel, and is answered with its state.
SECOND_CANCEL_SECS = 1.1
# Of some of these a part is filled before they end, so that an end has numbers that can be wrong.
PART_OF = 3


class Load:
    """One strategy's program, and what it has to remember of what it has asked for.

    Args:
        program: its sockets.
        home: where the paper gateway is told what else shall happen.
        draw: what the case's seed says.
    """

    def __init__(self, program: RawProgram, home: Path, draw: random.Random) -> None:
        self.program, self.draw = program, draw
        self._home = home
        self.ids: list[str] = []
        # What was asked for besides: events that came while this program was not connected again yet.
        self.looked_up: list[dict[str, Any]] = []
        # Since when and until when (wall clock) nobody can say any more what the breaker told.
        self.forgotten_ns: list[tuple[int, int]] = []
        # When the process that dies was alive last.
        self.alive_ns = 0
        # When (wall clock) days ended.
        self.closed_ns: list[int] = []
        self.replaces: dict[str, oracle.Replace] = {}
        # The cancels, and of which order.
        self.cancels: dict[str, str] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._siblings: dict[str, str] = {}
        self._undecided: dict[str, dict[str, Any]] = {}
        self._unreplaced: set[str] = set()
        self._uncancelled: dict[str, str] = {}
        self._revisions: dict[str, int] = {}
        self._acknowledged: set[str] = set()
        self._changeable: list[str] = []
        # What is to be done at the first event of a kind about an order; and second cancels, each at its time.
        self._deeds: dict[tuple[str, str], list[Callable[[], None]]] = {}
        self._second_cancels: list[tuple[float, str]] = []
        self._numbers = itertools.count(1)
        self._resend_at = 0.0

    def step(self) -> None:
        """One order or a pair, now and then a cancel, a change or a question, and what comes back."""
        roll = self.draw.random()
        if roll < 0.1:
            self._pair()
        elif roll < 0.2:
            self._day_order()
        elif roll < 0.4:
            self._cancelled_twice()
        else:
            self._plain_order()
        if self._changeable and self.draw.random() < 0.4:
            self._change(self.draw.choice(self._changeable))
        if self._changeable and self.draw.random() < 0.15:
            # One that works: most of those that are cancelled at once never leave the breaker.
            self._cancel(self._changeable.pop(self.draw.randrange(len(self._changeable))))
        if self.draw.random() < 0.2:
            question = {"v": 1, "kind": "request", "op": "status", "id": 1}
            with contextlib.suppress(zmq.ZMQError):
                self.program.control.send(msgpack.packb(question), zmq.NOBLOCK)
        self.hear(0.03)

    def close_the_day(self) -> None:
        """The gateway ends what is good for the day."""
        self.closed_ns.append(time.time_ns())
        self._strike("close")

    def for_the_day(self, filled: Container[str]) -> set[str]:
        """The orders that the close ends: of a pair not the one whose sibling has been `filled`.

        One at the market as well, where a death has kept its legs from the gateway and so holds it back.
        """
        for_the_day = (order_id for order_id, order in self._orders.items() if order.get("tif", "DAY") == "DAY")
        return {order_id for order_id in for_the_day if self._siblings.get(order_id) not in filled}

    # -- orders ---------------------------------------------------------------------------------------------

    def _plain_order(self) -> None:
        """One that is filled at once or rests, alone or with legs."""
        rests = self.draw.random() < 0.4
        fields: dict[str, Any] = {"order": _resting() if rests else _at_market()}
        if self.draw.random() < 0.15:
            fields["attached"] = self._legs()
        order_id = self._submit(self._id("raw-"), fields)
        if rests and self.draw.random() < 0.5:
            self._cancel(order_id)
            if self.draw.random() < 0.3:
                self._cancel(order_id)
        elif rests:
            self._may_change(order_id)

    def _pair(self) -> None:
        """Two of an OCA group: one is filled at once, or later, whole or in part, and IB ends the other."""
        group = self._id("oca-")
        of_group = {"ocaGroup": group, "ocaType": 1, "totalQuantity": PART_OF}
        roll, for_the_day = self.draw.random(), self.draw.random() < 0.5
        # Of some that rest either is filled only when the price comes there.
        at_once, rests_on = roll < 0.4, roll > 0.8
        first, second = f"{group}a", f"{group}b"
        self._siblings |= {first: second, second: first}
        resting = _resting("DAY" if for_the_day else "GTC")
        self._submit(first, {"order": {**resting, **of_group}})
        self._submit(second, {"order": {**(_at_market() if at_once else resting), **of_group}})
        how = {"shares": self.draw.choice((0, 1)), "siblings_first": self.draw.random() < 0.5}
        cancelled_then = self.draw.random() < 0.5
        if at_once or rests_on:
            return

        def fill() -> None:
            if {first, second} <= self._acknowledged:
                self._strike("fill", order_ref=second, **how)

        self._on("accepted", first, fill)
        self._on("accepted", second, fill)
        if cancelled_then:
            self._on("filled", second, lambda: self._cancel(second))

    def _day_order(self) -> None:
        """One that rests until the close. It says so, or nothing, which is the same."""
        order = {**_resting(self.draw.choice(("DAY", None))), "totalQuantity": PART_OF}
        order_id = self._submit(self._id("day-"), {"order": order})
        if self.draw.random() < 0.3:
            self._on("accepted", order_id, lambda: self._strike("fill", order_ref=order_id, shares=1))
        else:
            self._may_change(order_id)

    def _cancelled_twice(self) -> None:
        """Two cancels, the first one before IB knows the order, or while IB takes its time."""
        kind, moment = self.draw.choice(((EARLY, "passed"), (SLOW, "accepted"), (SLOW, "accepted")))
        later = self.draw.random() < 0.8
        order_id = self._submit(self._id(kind), {"order": _resting()})

        def cancel() -> None:
            self._cancel(order_id)
            if later:
                self._second_cancels.append((time.monotonic() + SECOND_CANCEL_SECS, order_id))
            else:
                self._cancel(order_id)

        self._on(moment, order_id, cancel)

    def _legs(self) -> list[dict[str, Any]]:
        leg = {"action": "SELL", "totalQuantity": 1, "tif": "GTC"}
        prices = {"target": {"orderType": "LMT", "lmtPrice": 250.0}, "stop": {"orderType": "STP", "auxPrice": 0.25}}
        return [{"order_id": self._id(f"{name}-"), "order": {**leg, **price}} for name, price in prices.items()]

    def _submit(self, order_id: str, fields: dict[str, Any]) -> str:
        fields |= {"sent_ns": time.time_ns(), "ttl_ms": 60_000}
        self._orders[order_id] = fields["order"]
        self._undecided[order_id] = fields
        self.ids += [order_id, *(leg["order_id"] for leg in fields.get("attached", ()))]
        self.program.submit(order_id, **fields)
        return order_id

    def _id(self, kind: str) -> str:
        return f"{kind}{time.time_ns()}-{next(self._numbers)}"

    def _strike(self, kind: str, **fields: Any) -> None:
        """Tell the paper gateway what shall happen; one that is away does nothing."""
        with contextlib.suppress(PaperUnavailable, ControlRefused):
            ask_paper(self._home, "fault", kind=kind, **fields)

    # -- cancels and changes --------------------------------------------------------------------------------

    def _cancel(self, order_id: str) -> None:
        request_id = self.program.cancel(order_id)
        self.cancels[request_id] = self._uncancelled[request_id] = order_id

    def _may_change(self, order_id: str) -> None:
        """Once IB has it, it may be changed, and cancelled."""
        self._revisions[order_id] = 0
        self._on("accepted", order_id, lambda: self._changeable.append(order_id))

    def _change(self, order_id: str) -> None:
        """Each change has a price of its own, by which it is known in the record and in the book."""
        self._revisions[order_id] += 1
        revision = self._revisions[order_id]
        request_id = f"r-{time.time_ns()}"
        self.replaces[request_id] = oracle.Replace(order_id, revision, oracle.FIRST_PRICE + revision / 100)
        self._unreplaced.add(request_id)
        self._send_change(request_id)

    def _send_change(self, request_id: str) -> None:
        replace = self.replaces[request_id]
        order = {**self._orders[replace.order_id], "lmtPrice": replace.price}
        self.program.replace(replace.order_id, request_id, replace.revision, order)

    # -- events ---------------------------------------------------------------------------------------------

    def look_up(self) -> None:
        """Ask for all events, as a strategy does that sees a gap in their numbers."""
        self.looked_up += history(self.program)

    def hear(self, secs: float) -> None:
        """Take what comes for so long."""
        end = time.monotonic() + secs
        while (left := end - time.monotonic()) > 0:
            event = self.program.next_event(left)
            if event is not None and event["kind"] != "state":
                self._take(event)
        now = time.monotonic()
        due = [order_id for at, order_id in self._second_cancels if at <= now]
        self._second_cancels = [later for later in self._second_cancels if later[0] > now]
        for order_id in due:
            self._cancel(order_id)
        if now >= self._resend_at:
            self._resend_at = now + 0.5
            for order_id, fields in self._undecided.items():
                self.program.submit(order_id, **fields)
            for request_id, order_id in self._uncancelled.items():
                self.program.cancel(order_id, request_id)
            for request_id in self._unreplaced:
                self._send_change(request_id)

    def _take(self, event: dict[str, Any]) -> None:
        order_id, kind = event["order_id"], event["kind"]
        if kind in oracle.DECISIONS:
            self._undecided.pop(order_id, None)
        if kind in ("request_passed", "request_refused"):
            self._unreplaced.discard(event["request_id"])
            self._uncancelled.pop(event["request_id"], None)
        if kind == "accepted":
            self._acknowledged.add(order_id)
        for deed in self._deeds.pop((kind, order_id), ()):
            deed()

    def _on(self, kind: str, order_id: str, deed: Callable[[], None]) -> None:
        self._deeds.setdefault((kind, order_id), []).append(deed)

    @property
    def unanswered(self) -> list[str]:
        """The orders and requests that have no answer yet, and the orders that are to be cancelled once more."""
        second = (order_id for _, order_id in self._second_cancels)
        return [*self._undecided, *self._uncancelled, *self._unreplaced, *second]


def history(program: RawProgram) -> Iterator[dict[str, Any]]:
    """All that the breaker's journal has told of this strategy's orders, and of those that it found at IB."""
    for strategy_id in (program.strategy_id, "adopted"):
        after = 0
        while True:
            reply = program.request("events", topic=f"order/{strategy_id}/", after_seq=after)
            yield from reply["events"]
            if not reply["more"]:
                break
            after = reply["next"]


def _resting(tif: str | None = "GTC") -> dict[str, Any]:
    order = {"action": "BUY", "totalQuantity": 1, "orderType": "LMT", "lmtPrice": oracle.FIRST_PRICE}
    return order if tif is None else {**order, "tif": tif}


def _at_market() -> dict[str, Any]:
    return {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"}
