"""The stage in virtual time, between peers that speak its wire: strategies, one executor, people.

Every message goes through the real codec in both directions, and every batch into a history that keeps what
the journal keeps, as bytes. Nothing of ours is replaced.
"""

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import msgspec

from orderfuse.bus.codec import DecodeError, convert, decode, decode_map, encode, encode_map
from orderfuse.bus.control import (
    AcceptRequest,
    CancelRequest,
    ReportRequest,
    ResetRequest,
    ResolveRequest,
    StatusRequest,
    TripRequest,
)
from orderfuse.bus.events import Accepted, CancelFailed, Cancelled, Expired, Filled, NotPlaced, Rejected, Unknown
from orderfuse.bus.fields import VERSION
from orderfuse.bus.orders import Cancel, Heartbeat, Replace, Submit
from orderfuse.circuit import CircuitBreakerConfig
from orderfuse.settings import BreakerSettings, DispatchSettings, ExecutorSettings, Settings
from services.breaker.asked import Asked
from services.breaker.batch import AnsweredRequest, KeptHeartbeat, Numbering
from services.breaker.circuits.scopes import KeptCircuit
from services.breaker.dispatch.owed import OwedCancel
from services.breaker.inputs import FromControl, FromDispatch, FromFeedback, FromOrders, Started, Tick, UnreadableOrder
from services.breaker.orders import OrderRecord
from services.breaker.saved import Saved
from services.breaker.stage import Stage
from services.breaker.unsaved import Unsaved
from services.runtime.now import Now
from services.wire.dispatch import Fence, Fenced, FromExecutor, Hello, Joined, LeaseRequest, Place, ToExecutor, Welcome
from services.wire.feedback import Feedback, Tripped, Working, Written
from services.wire.standing import GatewayStatus
from tests.clocks import ManualClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {"submit": Submit, "cancel": Cancel, "replace": Replace, "heartbeat": Heartbeat}
OPS = {
    "status": StatusRequest,
    "trip": TripRequest,
    "reset": ResetRequest,
    "report": ReportRequest,
    "resolve": ResolveRequest,
    "cancel": CancelRequest,
    "accept": AcceptRequest,
}
STOCK = {"secType": "STK", "symbol": "SPY", "exchange": "SMART", "currency": "USD"}
# services.executor.orders.order_states and overdue; tests.simulation.judge plays the real one.
SUCCESS_STATUSES = ("Submitted", "Filled")
RESTING_SECS = 2
BUY = {"action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 10.5}
DECISIONS = ("passed", "blocked", "expired", "invalid")
MS = 1_000_000
JUMP = 100_000
SECOND = 1_000_000_000


def wall_ns_of(clock):
    """The wall clock to the nanosecond; `utcnow` knows microseconds only."""
    return (clock.utcnow() - EPOCH) // timedelta(microseconds=1) * 1000 + clock.monotonic_ns() % 1000


def now_of(clock):
    """The moment of an input, as the loop reads it."""
    return Now(clock.monotonic_ns(), wall_ns_of(clock))


def portrait(thing, seen=None):
    """All that an object of the middle holds, as plain values: two of them are equal if nothing has changed."""
    seen = {} if seen is None else seen
    if isinstance(thing, str | bytes | int | float | bool | None | Enum):
        return thing
    if id(thing) in seen:
        return f"the one at {seen[id(thing)]}"
    if isinstance(thing, dict):
        return [(portrait(key, seen), portrait(value, seen)) for key, value in thing.items()]
    if isinstance(thing, set | frozenset):
        return sorted(map(str, (portrait(each, seen) for each in thing)))
    if isinstance(thing, list | tuple | deque):
        return [portrait(each, seen) for each in thing]
    if not type(thing).__module__.startswith(("services.breaker.", "orderfuse.")) or isinstance(thing, Asked):
        return repr(thing) if type(thing).__module__ == "datetime" else type(thing).__name__
    seen[id(thing)] = len(seen)
    return type(thing).__name__, [(name, portrait(getattr(thing, name), seen)) for name in attributes(thing)]


def attributes(thing):
    """The names under which an object keeps something."""
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*slots, *getattr(thing, "__dict__", ()), *getattr(thing, "__struct_fields__", ())]


def parent_of(record, orders):
    """Whether one of the orders is a leg of this one."""
    return any(each.parent == record.order_id for each in orders)


class MemoryHistory:
    """What the journal keeps, as bytes in memory: a stage that is dropped leaves no live object behind."""

    def __init__(self, clock):
        self.clock = clock
        self.circuits, self.records, self.requests, self.cancels = {}, {}, {}, {}
        self.feedback_taken, self.seqs, self.events, self.decisions = {}, {}, {}, []
        self.fence = 0
        self.executions, self.heartbeats, self.owed, self.retold = set(), {}, None, {}
        self.refused_marks, self.floor, self.last_failures = {}, 0, {}

    def save(self, batch):
        for scope, kept in batch.circuits.items():
            self.circuits[scope] = None if kept is None else msgspec.json.encode(kept)
        for order_id, record in batch.orders.items():
            self.records[order_id] = msgspec.json.encode(record)
        for request_id, answer in batch.requests.items():
            self.requests[request_id] = msgspec.json.encode(answer)
        self.cancels.update(batch.remembered_cancels)
        self.feedback_taken.update(batch.feedback_taken)
        self.retold.update(batch.retold)
        self.decisions.extend(batch.decisions)
        self.executions |= batch.executions
        for strategy_id, kept in batch.heartbeats.items():
            self.heartbeats[strategy_id] = None if kept is None else msgspec.json.encode(kept)
        self.last_failures.update(batch.last_failures)
        self.owed = self.owed if batch.owed is None else msgspec.json.encode(batch.owed)
        self.fence = batch.fence if batch.fence is not None else self.fence
        self.refused_marks.update(batch.refused_marks)
        self.floor = batch.floor if batch.floor is not None else self.floor
        for topic in batch.topics_given_up:
            self.seqs.pop(topic, None)
        self.seqs.update(batch.reserved)
        for item in batch.publications:
            if item.journaled:
                self.seqs[item.topic] = max(item.seq, self.seqs.get(item.topic, 0))
                self.events.setdefault(item.topic, []).append(item.fields)

    def find_order(self, order_id):
        return self.read_order(order_id)

    def read_order(self, order_id):
        blob = self.records.get(order_id)
        return None if blob is None else msgspec.json.decode(blob, type=OrderRecord)

    def find_request(self, request_id):
        blob = self.requests.get(request_id)
        return None if blob is None else msgspec.json.decode(blob, type=AnsweredRequest)

    def find_resting_circuit(self, scope):
        blob = self.circuits.get(scope)
        kept = None if blob is None else msgspec.json.decode(blob, type=KeptCircuit)
        return kept if kept is not None and kept.resting else None

    def knows_execution(self, order_id, kind, exec_id):
        return (order_id, kind, exec_id) in self.executions

    def saved(self):
        """What a new process finds. The clock of the test goes on, so monotonic times stay as they are."""
        records = [self.read_order(order_id) for order_id in self.records]
        alive = [record for record in records if record.state != "done"]
        parents = [record for record in records if record.state == "done" and parent_of(record, alive)]
        # As after an end that was not clean: numbering goes on above all that may have been told and is not kept.
        jump = JUMP if self.fence else 0
        return Saved(
            fence=self.fence,
            circuits={
                scope: msgspec.json.decode(blob, type=KeptCircuit)
                for scope, blob in self.circuits.items()
                if blob is not None
            },
            orders=[*alive, *parents],
            feedback_taken=dict(self.feedback_taken),
            retold=dict(self.retold),
            remembered_cancels={key: until for key, until in self.cancels.items() if until is not None},
            topics={topic: Numbering(seq + jump, seq + jump) for topic, seq in self.seqs.items()},
            floor=self.floor + jump,
            refused_marks=dict(self.refused_marks),
            heartbeats={
                name: msgspec.json.decode(kept, type=KeptHeartbeat)
                for name, kept in self.heartbeats.items()
                if kept is not None
            },
            last_failures={scope: said for scope, said in self.last_failures.items() if said is not None},
            owed=None if self.owed is None else msgspec.json.decode(self.owed, type=OwedCancel),
        )


def complete(pieces):
    """An answer that is put together row by row, whole."""
    while True:
        try:
            next(pieces)
        except StopIteration as done:
            return done.value


def settings_of(home="/nowhere", *, window=8, allow=(), circuit=None, **breaker):
    """Settings as the breaker process would have read them."""
    return Settings(
        home=home,
        breaker=BreakerSettings(circuit=CircuitBreakerConfig(**(circuit or {})), **breaker),
        dispatch=DispatchSettings(window=window),
        executor=ExecutorSettings(allow_order_fields=tuple(allow)),
    )


@dataclass
class Rig:
    """A stage and everything that it has said so far."""

    settings: Settings = field(default_factory=settings_of)
    clock: ManualClock = field(default_factory=ManualClock)
    history: Any = None
    stage: Stage = field(init=False)
    # Maps as published, those of `order/` and `state/` apart; repeats of a state apart again.
    events: list = field(default_factory=list)
    states: list = field(default_factory=list)
    repeats: list = field(default_factory=list)
    topics: list = field(default_factory=list)
    dispatched: list = field(default_factory=list)
    replies: dict = field(default_factory=dict)
    syncs: int = 0
    # What the journal said instead of answers.
    unread: list = field(default_factory=list)
    unsaved: Unsaved = field(init=False)
    in_turn: bool = False
    executor: "Executor" = field(init=False)

    def __post_init__(self):
        if self.history is None:
            self.history = MemoryHistory(self.clock)
        self.start()
        self.executor = Executor(self)

    def start(self):
        """A breaker process starts and finds what the one before had saved."""
        saved = self.open_history()
        self.unsaved = Unsaved(self.history)
        self.stage = Stage(
            self.settings,
            now=now_of(self.clock),
            history=self.unsaved,
            saved=saved,
            version="test",
        )
        self.step(Started())

    def open_history(self):
        return self.history.saved()

    # -- time ----------------------------------------------------------------------------------------------

    def poll(self):
        self.executor.let_time_pass()
        self.step(Tick())

    def wait(self, secs, *, step=None, leases=True):
        """Let time pass in small steps, the executor asking for its lease as it goes, if it may."""
        # As often as the executor asks for its lease; for long, as seldom as keeps it alive.
        step = step or (0.1 if secs <= 10 else 0.25)
        end = self.clock.monotonic_ns() + round(secs * SECOND)
        while self.clock.monotonic_ns() < end:
            self.clock.advance(ns=min(round(step * SECOND), end - self.clock.monotonic_ns()))
            if leases and self.executor.is_in:
                self.executor.lease()
            self.poll()

    def step(self, given):
        """One input, and what the loop does then; returns the batch, or None inside of a turn."""
        batch = self.stage.step(given, now_of(self.clock))
        self.unread += [batch.unread] if batch.unread else []
        self.unsaved.add(batch)
        return None if self.in_turn else self.carry_out()

    @contextmanager
    def one_turn(self):
        """What happens here is saved and sent together, as the loop does with what it reads in one turn."""
        self.in_turn = True
        yield
        self.in_turn = False
        self.carry_out()

    def carry_out(self):
        """Save, then send. Orders in `dispatch` reach the executor, publications everybody."""
        batch = self.unsaved.take()
        self.syncs += batch.sync
        self.history.save(batch)
        for each in batch.dispatch:
            message = decode(encode(each.message), ToExecutor, limit=1 << 20)
            self.dispatched.append((each.peer, message))
        for item in batch.publications:
            fields = decode_map(encode_map({"v": VERSION, **item.fields}))
            self.topics.append((item.topic, fields))
            if fields["kind"] == "state":
                (self.repeats if fields["repeat"] else self.states).append(fields)
            elif fields["kind"] != "health":
                self.events.append(fields)
        for reply in batch.replies:
            self.replies[reply.token] = reply.fields
        return batch

    # -- strategies ----------------------------------------------------------------------------------------

    def say(self, *, sender="", **fields):
        """A strategy publishes a map on `orders`; `sender`: the program that does, where the system tells."""
        frame = encode_map({"v": VERSION, **fields})
        try:
            read = decode_map(frame)
            message = convert(read, KINDS[read["kind"]])
        except DecodeError as error:
            self.step(UnreadableOrder(error, sender))
        else:
            self.step(FromOrders(message, sender))

    def submit(self, order_id, strategy_id="alpha", *, ago=0.0, contract=STOCK, order=BUY, **fields):
        """Submit an order that was sent `ago` seconds ago."""
        sent_ns = wall_ns_of(self.clock) - round(ago * SECOND)
        self.say(
            kind="submit",
            order_id=order_id,
            strategy_id=strategy_id,
            **{"sent_ns": sent_ns, "contract": contract, "order": order, **fields},
        )

    def cancel(self, order_id, request_id, strategy_id="alpha", **fields):
        self.say(
            kind="cancel",
            request_id=request_id,
            order_id=order_id,
            strategy_id=strategy_id,
            sent_ns=wall_ns_of(self.clock),
            **fields,
        )

    # -- people --------------------------------------------------------------------------------------------

    def ask(self, op, envelope="t", **fields):
        """A request on `control`; its reply, or None if it is not there yet."""
        self.replies.pop(envelope, None)
        request = convert({"op": op, "id": 1, **fields}, OPS[op])
        self.step(FromControl(envelope, request))
        return self.replies.get(envelope)

    # -- what was said -------------------------------------------------------------------------------------

    def about(self, order_id):
        """The events about one order, oldest first."""
        return [event for event in self.events if event["order_id"] == order_id]

    def kinds(self, order_id):
        return [event["kind"] for event in self.about(order_id)]

    def last(self, order_id):
        return self.about(order_id)[-1]

    def decisions(self, order_id):
        return [e for e in self.about(order_id) if e["kind"] in DECISIONS and not e.get("again")]

    def state(self, scope="system"):
        """The latest state told of a circuit."""
        return next(state for state in reversed(self.states) if state["scope"] == scope)

    def circuit(self, scope="system"):
        return self.stage.core.scopes.find(scope)

    def placed(self):
        """Ids handed to an executor, in order."""
        return [message.order_id for _, message in self.dispatched if isinstance(message, Place)]

    def sent(self, kind):
        """Messages of one kind sent on `dispatch`."""
        return [message for _, message in self.dispatched if isinstance(message, kind)]


class Executor:
    """Plays an executor, its journal and IB behind it, one message at a time."""

    def __init__(self, rig, *, executor_id="exec-1", journal_id="journal-1", peer=b"peer-1"):
        self.rig = rig
        self.executor_id, self.journal_id, self.peer = executor_id, journal_id, peer
        self.usable, self.planned, self.is_in = True, False, False
        self.connected, self.silent, self.drift = True, False, ()
        self.foreign, self.foreign_trips = (), False
        # When IB's lists came, as a test says it.
        self.listed = {}
        before = getattr(rig, "executor", None)
        # A process that reads the same journal goes on numbering.
        self.seq = before.seq if before is not None and before.journal_id == journal_id else 0
        self.nonce = 0
        # What its journal has taken; a test says so, where it matters.
        self.fences = {}
        self.in_doubt = []
        self.sent = {}
        # What counts as a success is the executor's to say: here as the real one does, by the same two statuses and
        # the same two seconds. Orders that rest, with the status and since when; and those that were counted.
        self.resting, self.counted = {}, set()

    def gateway(self):
        detail = "" if self.usable else "1100"
        return GatewayStatus(
            host="127.0.0.1",
            port=4010,
            connected=self.connected,
            usable=self.usable and not self.silent,
            account="DU1",
            detail=detail,
            planned=self.planned,
            silent=self.silent,
            drift=self.drift,
            foreign=self.foreign,
            foreign_trips=self.foreign_trips,
            **self.listed,
        )

    def say(self, message):
        self.rig.step(FromDispatch(self.peer, decode(encode(message), FromExecutor)))

    def hello(self, **fields):
        self.is_in = False
        hello = {"feedback_last": self.seq, "fences": self.fences, **fields}
        self.say(Hello(executor_id=self.executor_id, journal_id=self.journal_id, gateway=self.gateway(), **hello))
        return self.answers()

    def answers(self):
        """What was sent to this executor's connection."""
        return [message for peer, message in self.rig.dispatched if peer == self.peer]

    def joined(self, known=(), fence=None):
        fence = self.rig.sent(Welcome)[-1].fence if fence is None else fence
        joined = Joined(executor_id=self.executor_id, fence=fence, known=list(known), in_doubt=self.in_doubt)
        self.say(joined)
        self.is_in = True

    def join(self, known=()):
        """Hello, joined and the first lease."""
        self.hello()
        self.joined(known)
        self.lease()

    def lease(self):
        self.nonce += 1
        self.say(LeaseRequest(executor_id=self.executor_id, nonce=self.nonce, gateway=self.gateway()))

    def fenced(self, fence=None, written=()):
        """Confirm a fence, by default the last one sent."""
        fences = self.rig.sent(Fence) + self.rig.sent(Welcome)
        fence = max(message.fence for message in fences) if fence is None else fence
        self.say(Fenced(executor_id=self.executor_id, fence=fence, written=list(written)))

    # -- feedback ------------------------------------------------------------------------------------------

    def tell(self, fact, outcome=None, seq=None):
        """One fact on `feedback`, with the next number of the journal."""
        if seq is None:
            self.seq += 1
            seq = self.seq
        if outcome is not None:
            self.counted.add(fact.order_id)
        message = Feedback(journal_id=self.journal_id, seq=seq, fact=fact, outcome=outcome)
        self.sent[seq] = encode(message)
        self.send(seq)

    def send(self, seq):
        """Send a fact of the journal (again)."""
        self.rig.step(FromFeedback(decode(self.sent[seq], Feedback)))

    def skip(self, fact, outcome=None):
        """A fact that gets lost on the way."""
        self.seq += 1
        self.sent[self.seq] = encode(Feedback(journal_id=self.journal_id, seq=self.seq, fact=fact, outcome=outcome))

    def tripped(self, ib_code, reason):
        self.tell(Tripped(ib_code=ib_code, reason=reason))

    def written(self, order_id, strategy_id="alpha"):
        self.tell(Written(order_id=order_id, strategy_id=strategy_id, ib_order_id=7))

    def accepted(self, order_id, strategy_id="alpha", status="Submitted"):
        self.tell(accepted(order_id, strategy_id, status), self.outcome_of(order_id, strategy_id, status))

    def working(self, order_id, status, strategy_id="alpha"):
        fact = Working(order_id=order_id, strategy_id=strategy_id, status=status)
        self.tell(fact, self.outcome_of(order_id, strategy_id, status))

    def outcome_of(self, order_id, strategy_id, status):
        """What a status counts as."""
        if order_id in self.counted:
            return None
        if status in SUCCESS_STATUSES:
            self.counted.add(order_id)
            return "success"
        if status in ("PreSubmitted", "Inactive"):
            self.resting.setdefault(order_id, (strategy_id, status, self.rig.clock.monotonic_ns()))
        return None

    def let_time_pass(self):
        """What has rested long enough is a success."""
        now = self.rig.clock.monotonic_ns()
        for order_id, (strategy_id, status, since) in list(self.resting.items()):
            if order_id in self.counted:
                del self.resting[order_id]
            elif now - since >= RESTING_SECS * SECOND:
                self.counted.add(order_id)
                self.tell(Working(order_id=order_id, strategy_id=strategy_id, status=status), "success")

    def filled(self, order_id, strategy_id="alpha", *, shares=100.0, of=100.0, cum=None):
        self.tell(filled(order_id, strategy_id, shares=shares, of=of, cum=cum), "success")

    def rejected(self, order_id, strategy_id="alpha", outcome="failure", code=201):
        self.tell(Rejected(order_id=order_id, strategy_id=strategy_id, ib_code=code, reason="no"), outcome)

    def cancelled(self, order_id, strategy_id="alpha", *, filled=0.0, of=100.0, outcome="neutral", request_id=None):
        fact = Cancelled(
            order_id=order_id,
            strategy_id=strategy_id,
            filled=filled,
            remaining=of - filled,
            reason="202",
            request_id=request_id,
        )
        self.tell(fact, outcome)

    def cancel_failed(self, order_id, request_id, strategy_id="alpha"):
        self.tell(
            CancelFailed(
                order_id=order_id, strategy_id=strategy_id, request_id=request_id, ib_code=10148, reason="filled"
            )
        )

    def not_placed(self, order_id, strategy_id="alpha", code="fenced"):
        self.tell(NotPlaced(order_id=order_id, strategy_id=strategy_id, code=code), "neutral")

    def expired(self, order_id, strategy_id="alpha"):
        self.tell(Expired(order_id=order_id, strategy_id=strategy_id, age_ms=6000), "neutral")

    def unknown(self, order_id, strategy_id="alpha", outcome=None, **fields):
        self.tell(Unknown(order_id=order_id, strategy_id=strategy_id, **fields), outcome)


def accepted(order_id, strategy_id="alpha", status="Submitted"):
    return Accepted(order_id=order_id, strategy_id=strategy_id, ib_order_id=7, perm_id=700, status=status)


def filled(order_id, strategy_id="alpha", *, shares=100.0, of=100.0, cum=None):
    cum = shares if cum is None else cum
    return Filled(
        order_id=order_id,
        strategy_id=strategy_id,
        exec_id=f"e-{order_id}-{cum:g}",
        shares=shares,
        price=10.5,
        cum_qty=cum,
        avg_price=10.5,
        remaining=of - cum,
        done=cum == of,
    )


def rig(**settings):
    """A breaker on a new home, no executor yet."""
    return Rig(settings_of(**settings))


def trading(**settings):
    """A breaker whose executor has joined, with a usable gateway, at second 0."""
    made = rig(**settings)
    made.executor.join()
    return made


def open_by_rejections(made, strategy_id="alpha", prefix="bad", times=5):
    """Five orders that IB rejects."""
    for number in range(times):
        order_id = f"{prefix}-{number}"
        made.submit(order_id, strategy_id)
        made.executor.rejected(order_id, strategy_id)
