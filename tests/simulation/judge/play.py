"""One seeded story: a strategy's orders, what IB does with them, and what the executor and the breaker tell of it.

The real stage of the executor judges, on its real journal, the real stage of the breaker numbers and publishes; IB is a
model, and the messages that it sends come in any order, twice, or not at all. After a reconnect its lists tell the
truth, and then this holds: each order has one end that is true, or is unknown; what is told of fills is what IB has; an
ordinary end counts against nobody; a cancel is answered once; and an end that is taken back is marked as such.
"""

from __future__ import annotations

import random
from typing import Any

from orderfuse.bus.events import CancelFailed, Cancelled
from orderfuse.bus.orders import Submit
from orderfuse.settings import ExecutorSettings, IbSettings
from services.executor.inputs import Done, Input, Ordered, Tick, Told
from services.executor.journal import Journal
from services.executor.stage import Stage
from services.gateway import frames
from services.gateway.checks import check
from services.gateway.frames import Frame
from services.gateway.reports import Accounts, Closed, Dialled, Heard, NextOrderId, OrderReport, Report
from services.runtime.now import Now
from services.wire.dispatch import CancelOrder, ReplaceOrder
from services.wire.feedback import AllCancelled, Feedback, Tripped
from tests.simulation.judge.model import CODES, Ib
from tests.unit.breaker.harness import Rig

STOCK = {"secType": "STK", "symbol": "SPY", "exchange": "SMART", "currency": "USD"}
ENDS = {"filled", "cancelled", "rejected", "not_placed", "expired", "invalid"}
FAILURES = ("failure", "malformed")


class Play:
    """One story. `trace` is what happened, for a person who has to find out why it failed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        settings = IbSettings(account="DU1", messages_per_second=0)
        self.journal = Journal(None, settings.client_id)
        self.ib = Ib(self.rng, settings.client_id)
        self.ib.now = self.now
        executor = ExecutorSettings(foreign_orders="ignore")
        saved = self.journal.saved()
        self.stage = Stage(settings, executor, window=8, saved=saved, history=self.journal, executor_id="e", alone=True)
        self.number = 0
        self.rig = Rig()
        self.rig.executor.join()
        self.counted: dict[str, list[str]] = {}
        self.asked: dict[str, list[str]] = {}
        self.answers: list[str] = []
        self.trace: list[str] = []
        self.unsure: set[str] = set()
        self.names = [f"o-{number}" for number in range(self.rng.choice([1, 1, 2, 3]))]
        self.revisions = dict.fromkeys(self.names, 0)

    # -- the story ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it, and look at how it stands.

        Raises:
            AssertionError: something is told that is not true.
        """
        self._turn()
        assert self.stage.core.life.usable
        group = self.rng.choice(["", "", "exit"])
        for name in self.names:
            order = {"action": "BUY", "totalQuantity": 10.0, "orderType": "LMT", "lmtPrice": 10.0}
            order |= {"tif": self.rng.choice(["", "DAY", "GTC", "IOC"]), "ocaGroup": group}
            self.note(f"{name}: placed {order['tif']!r} {group!r}")
            self.rig.submit(name, contract=STOCK, order=order)
            submit = Submit(order_id=name, strategy_id="alpha", sent_ns=0, contract=STOCK, order=order)
            self._take(Ordered(check(submit, "DU1")))
        for _ in range(self.rng.randrange(5, 40)):
            self._step()
        self._reconnect()
        for _ in range(self.rng.randrange(0, 8)):
            self._step()
        self._come_to_rest()
        self._check()

    def _step(self) -> None:
        ib, rng = self.ib, self.rng
        known = [order for order in ib.orders.values() if order.ref in self.names]
        order = rng.choice(known)
        match rng.choices(range(10), [12, 2, 2, 4, 3, 1, 1, 2, 3, 1])[0]:
            case 0 | 1 if ib.wire:
                self._deliver()
            case 3:
                self.note(f"IB shows {order.ref}")
                ib.show(order)
            case 4:
                self.note(f"IB fills some of {order.ref}")
                ib.fill(order, rng.random())
            case 5:
                self.note("the day ends")
                ib.close()
            case 6:
                self.note(f"IB drops {order.ref}")
                ib.drop(order)
            case 7:
                code = rng.choice(CODES)
                self.note(f"IB says {code} of {order.ref}")
                ib.err(order, code)
            case 8:
                self._ask(order.ref)
            case _:
                self._wait(rng.choice([0.05, 0.5, 1.0, 2.5, 6.0]))
        self._turn()

    def _deliver(self) -> None:
        """Some message comes: the next one mostly, or any; once, twice, or never."""
        wire, rng = self.ib.wire, self.rng
        at = 0 if rng.random() < 0.6 else rng.randrange(len(wire))
        report = wire.pop(at)
        fate = rng.random()
        if fate < 0.1:
            self.note(f"lost: {report}")
            self._late([report])
            return
        self.note(f"comes: {report}")
        self._hear(report)
        if fate > 0.9:
            self.note("and again")
            self._hear(report)

    def _hear(self, report: OrderReport) -> None:
        order = self.ib.orders.get(getattr(report, "ib_order_id", 0))
        if order is not None:
            order.heard_at = min(order.heard_at, self.now)
        self._take(Heard(self.number, report))

    def _ask(self, name: str) -> None:
        """The strategy wants its order cancelled, or changed."""
        if self.rng.random() < 0.6:
            request_id = f"c-{len(self.answers) + sum(map(len, self.asked.values()))}-{name}"
            self.asked.setdefault(name, []).append(request_id)
            self.note(f"{name}: cancel {request_id}")
            self._take(Told(CancelOrder(order_id=name, request_id=request_id)))
            return
        self.revisions[name] += 1
        order = {"action": "BUY", "totalQuantity": self.rng.choice([4.0, 10.0, 15.0]), "orderType": "LMT"}
        tif = next(each.tif for each in self.ib.orders.values() if each.ref == name)
        order |= {"lmtPrice": self.rng.choice([9.0, 10.0, 11.0]), "tif": tif}
        self.note(f"{name}: replace by {order['totalQuantity']:g} at {order['lmtPrice']:g}")
        change: dict[str, Any] = {"request_id": f"r-{name}-{self.revisions[name]}", "revision": self.revisions[name]}
        ids: dict[str, Any] = {"order_id": name, "strategy_id": "alpha", "account": "", "contract": STOCK}
        fences: dict[str, Any] = {"fence": 1, "scope": "strategy:alpha", "ttl_left_ms": 5000}
        if self.stage.core.life.usable:
            # Where it is not, the final check has refused it.
            self.stage.placing.replace(ReplaceOrder(**ids, **change, **fences, order=order))
        self._turn()

    # -- the executor's rims ------------------------------------------------------------------------------

    def _take(self, event: Input) -> bool:
        """One step, saved and sent, and then what IB answers at once; whether anything has left."""
        heard: list[Input] = [event]
        left = False
        while heard:
            batch = self.stage.step(heard.pop(0), self._at())
            for seq, feedback, _ in self.journal.save(batch.keep, self._at().wall_ns):
                self._feedback(seq, feedback)
            for frame in batch.frames:
                heard += self._write(frame)
            left = left or bool(batch.frames)
            self.stage.step(Done(), self._at())
        return left

    def _at(self) -> Now:
        return Now(round(self.now * 1e9), self.journal.wall_ns())

    def _write(self, frame: Frame) -> list[Input]:
        """What leaves reaches IB at once; returns what it answers at once."""
        match frame:
            case frames.Dial(number):
                self.number = number
                return [Heard(number, Accounts(("DU1",))), Heard(number, NextOrderId(1)), Dialled(number)]
            case frames.Ask(question):
                if question == "end_positions":
                    return []
                if question == "completed_orders":
                    self.note("IB has listed everything")
                return [Heard(self.number, report) for report in self._answer(question)]
            case frames.PlaceOrders(orders):
                for order in orders:
                    self.ib.place(order.ib_order_id, dict(order.order), order.order_id)
            case frames.ChangeOrder(order):
                self.ib.place(order.ib_order_id, dict(order.order), order.order_id)
            case frames.CancelOrder(_, number):
                self.ib.cancel(number)
            case frames.HangUp() | frames.CancelEverything():
                pass
        return []

    def _answer(self, question: str) -> list[Report]:
        answer = self.ib.answer(question)
        for report in answer:
            order = self.ib.orders.get(getattr(report, "ib_order_id", 0))
            if order is not None:
                order.heard_at = min(order.heard_at, self.now)
        return answer

    def _reconnect(self) -> None:
        self.note("reconnect: what was under way is lost")
        self._late(self.ib.wire)
        self.ib.wire.clear()
        self._take(Heard(self.number, Closed()))
        self._wait(6.0)
        assert self.stage.core.life.usable

    def _turn(self) -> None:
        while self._take(Tick()):
            pass  # What IB has answered may bring the next question.
        self.rig.poll()

    def _late(self, reports: list[Any]) -> None:
        """What became of an order's group is not told in time: whether its own end is ordinary cannot be known."""
        numbers = {getattr(report, "ib_order_id", 0) for report in reports}
        if any(order.group for number, order in self.ib.orders.items() if number in numbers):
            self.unsure.update(self.names)

    def _wait(self, secs: float) -> None:
        self._late(self.ib.wire)
        self.now += secs
        self.ib.now = self.now
        self.rig.clock.advance(ns=round(secs * 1e9))
        self._turn()

    def _come_to_rest(self) -> None:
        """Nothing more happens at IB, what was under way is lost, and its lists are asked until all is known."""
        self._reconnect()
        for _ in range(5):
            self._wait(11.0)
            self.stage.core.life.look_up()
            self._wait(3.0)

    # -- what is told -------------------------------------------------------------------------------------

    def _feedback(self, _seq: int, feedback: Feedback) -> None:
        fact = feedback.fact
        if feedback.outcome is not None and not isinstance(fact, Tripped | AllCancelled):
            self.counted.setdefault(fact.order_id, []).append(feedback.outcome)
        if isinstance(fact, Cancelled):
            self.answers += fact.request_ids or ([fact.request_id] if fact.request_id else [])
        if isinstance(fact, CancelFailed) and fact.request_id:
            self.answers.append(fact.request_id)
        self.note(f"    told: {fact} {feedback.outcome or ''}")
        self.rig.executor.tell(fact, feedback.outcome)

    def _check(self) -> None:
        for order in self.ib.orders.values():
            self._check_order(order)
        doubled = {answer for answer in self.answers if self.answers.count(answer) > 1}
        assert not doubled, f"answered twice: {doubled}"

    def _check_order(self, order: Any) -> None:
        name, events = order.ref, self.rig.about(order.ref)
        record = self.rig.stage.core.find(name)
        assert record is not None
        said = f"{name} is {order.status} at IB with {order.filled:g} filled, and told as {record.state}"
        if order.alive:
            assert record.state in ("working", "unknown"), said
        else:
            assert record.state in ("done", "unknown"), said
        shares = sum(event["shares"] for event in events if event["kind"] == "filled")
        assert shares == order.filled or record.state == "unknown", f"{said}; fills told: {shares:g}"
        end = record.end
        if end is not None:
            assert end["kind"] in ENDS
            if end["kind"] == "cancelled":
                assert end["filled"] == order.filled, f"{said}: {end}"
        self._check_chain(events, said)
        counted = [outcome for outcome in self.counted.get(name, []) if outcome in FAILURES]
        assert len(counted) <= 1 + sum("replace" in line for line in self.trace), f"{said}: counted {counted}"
        if name not in self.ib.faulted | self.unsure:
            assert not counted or any("change refused" in line for line in self.trace), f"{said}: counted {counted}"
        if record.state == "done":
            missing = [each for each in self.asked.get(name, []) if each not in self.answers]
            late = [each for each in missing if end is not None and end["kind"] == "cancelled"]
            assert not [each for each in missing if each not in late], f"{said}: no answer to {missing}"

    @staticmethod
    def _check_chain(events: list[dict[str, Any]], said: str) -> None:
        """At most one end stands, and whatever follows an end says that it takes its place."""
        standing: int | None = None
        for event in events:
            kind = event["kind"]
            ends = kind in ENDS - {"filled"} or (kind == "filled" and event["done"])
            if standing is not None and (ends or kind in ("filled", "accepted")):
                assert event.get("supersedes") is not None, f"{said}: {event} follows an end"
                standing = None
            if ends:
                standing = event.get("seq")

    def note(self, line: str) -> None:
        """One line of the story."""
        self.trace.append(f"{self.now - 1000:8.2f} {line}")


def play(seed: int) -> str:
    """Play the story with this seed; the story if it fails, or nothing."""
    story = Play(seed)
    try:
        story.run()
    except AssertionError as error:
        return "\n".join([f"seed {seed}", *story.trace, f"FAILED: {error}"])
    finally:
        story.journal.close()
    return ""
