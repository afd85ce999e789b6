"""A whole pipeline in virtual time from one seed: the breaker's real stage between models of everything else.

The models lose, delay and double messages, and both processes die at any moment, also between saving and
sending. What the models know (what was written, what became of it at IB) is the truth that `Oracle` holds
against what the breaker said.
"""

import heapq
import random
from dataclasses import dataclass, field

from orderfuse.messages import (
    Accepted,
    Cancel,
    Cancelled,
    CancelOrder,
    Feedback,
    Fence,
    Fenced,
    Filled,
    GatewayStatus,
    Hello,
    Joined,
    Lease,
    LeaseRequest,
    NotPlaced,
    NotWelcome,
    Place,
    Rejected,
    ResendFeedback,
    ResetRequest,
    Submit,
    TripRequest,
    Unknown,
    Welcome,
    Written,
)
from services.breaker.stage import Stage
from tests.breaker.harness import BUY, SECOND, STOCK, MemoryHistory, settings_of, wall_ns_of
from tests.clocks import ManualClock

CHAOS_SECS, CALM_SECS = 25.0, 20.0
WINDOW = 3
STRATEGIES = ("alpha", "beta", "gamma")
CIRCUIT = {
    "failure_threshold": 3,
    "failure_window_secs": 10,
    "open_timeout_secs": 2,
    "half_open_max_tries": 2,
    "half_open_timeout_secs": 8,
}


@dataclass
class Story:
    """The truth about one order at IB."""

    strategy_id: str
    state: str = "sent"
    filled: float = 0.0
    end: str = ""


class World:
    """Time, chance, the links, and the peers."""

    def __init__(self, seed, *, history=MemoryHistory):
        self.seed, self.chance = seed, random.Random(seed)
        self.clock = ManualClock()
        self.history = history(self.clock)
        self.calm = False
        self._agenda, self._count = [], 0
        self.oracle = Oracle(self)
        self.ib = Ib(self)
        self.breaker = Breaker(self)
        self.executor = Executor(self, 1)
        self.strategies = [Strategy(self, name) for name in STRATEGIES]

    def run(self):
        self.executor.live()
        for strategy in self.strategies:
            strategy.live()
        for act in (self._kill_breaker, self._kill_executor, self._lose_gateway, self._person, self._rival):
            self.after(self.chance.expovariate(1 / 6), act)
        self._until(CHAOS_SECS)
        self.calm = True
        self._until(CHAOS_SECS + CALM_SECS)
        self.oracle.at_the_end()

    def after(self, secs, call):
        self._count += 1
        heapq.heappush(self._agenda, (self.clock.monotonic_ns() + round(secs * SECOND), self._count, call))

    def maybe(self, probability):
        """Chance, which rests when calm has come."""
        return not self.calm and self.chance.random() < probability

    def latency(self):
        return self.chance.uniform(0.0005, 0.02) if self.calm or self.chance.random() < 0.9 else self.chance.random()

    def _until(self, secs):
        end = round(secs * SECOND)
        while self._agenda and self._agenda[0][0] <= end:
            due, _, call = heapq.heappop(self._agenda)
            self.clock.advance(ns=due - self.clock.monotonic_ns())
            call()
        self.clock.advance(ns=end - self.clock.monotonic_ns())

    # -- what happens to the pipeline ----------------------------------------------------------------------

    def _again(self, mean_secs, act):
        if not self.calm:
            self.after(self.chance.expovariate(1 / mean_secs), act)

    def _kill_breaker(self):
        if not self.calm:
            self.breaker.crash_next = self.chance.choice(["now", "before_save", "after_save"])
        self._again(6, self._kill_breaker)

    def _kill_executor(self):
        if not self.calm:
            self.executor.die()
        self._again(7, self._kill_executor)

    def _lose_gateway(self):
        if not self.calm:
            self.ib.reachable = False
            self.after(self.chance.choice((0.3, 1, 6)), self.ib.come_back)
        self._again(10, self._lose_gateway)

    def _person(self):
        if not self.calm:
            scope = self.chance.choice(("system", "system", "strategy:alpha"))
            if self.chance.random() < 0.45:
                cancel = self.chance.choice((None, "none", "ours", "all"))
                self.breaker.ask(TripRequest(id=1, reason="person", scope=scope, cancel=cancel))
            else:
                self.breaker.ask(ResetRequest(id=1, reason="person", scope=scope))
        self._again(3, self._person)

    def _rival(self):
        if self.maybe(0.3):
            gateway = GatewayStatus(host="h", port=1, connected=True, usable=True)
            hello = Hello(executor_id="rival", journal_id="another", gateway=gateway)
            self.breaker.hear(lambda stage: stage.on_executor_message(b"rival", hello))
        self._again(8, self._rival)


class Crashed(Exception):
    """The breaker's process is gone."""


class Breaker:
    """The real stage in a process that dies and starts again on what was saved."""

    def __init__(self, world):
        self.world = world
        self.crash_next = ""
        self.stage = None
        self.tokens = 0
        self._start()
        self._tick()

    def _start(self):
        world = self.world
        if self.stage is not None:
            return
        self.stage = Stage(
            settings_of(window=WINDOW, circuit=CIRCUIT, queue_limit=20),
            clock=world.clock,
            wall_ns=lambda: wall_ns_of(world.clock),
            history=world.history,
            saved=world.history.saved(),
        )
        self._guarded(lambda: self._flush())

    def _tick(self):
        self.hear(lambda stage: stage.poll())
        self.world.after(self.world.chance.uniform(0.02, 0.2), self._tick)

    def hear(self, message):
        """Something arrives; lost if nobody is there."""
        if self.stage is not None:

            def turn():
                message(self.stage)
                self._flush()

            self._guarded(turn)

    def ask(self, request):
        self.tokens += 1
        token = self.tokens
        self.world.oracle.asked(token, request)
        self.hear(lambda stage: stage.on_request(token, request))

    def _guarded(self, turn):
        try:
            turn()
        except Crashed:
            self.stage = None
            self.world.oracle.breaker_died()
            self.world.after(self.world.chance.choice((0.05, 0.5, 4)), self._start)

    def _flush(self):
        for _ in range(3):
            batch = self.stage.drain()
            crash, self.crash_next = self.crash_next, ""
            if crash == "before_save":
                raise Crashed
            self.world.history.save(batch)
            self.world.oracle.saved(batch, self.stage)
            if crash:
                raise Crashed
            undelivered = [order_id for letter in batch.letters if (order_id := self._post(letter))]
            for item in batch.publications:
                self._publish(item)
            for reply in batch.replies:
                self.world.oracle.replied(reply.token, reply.fields)
            for order_id in undelivered:
                self.stage.on_undeliverable(order_id, "gone")
            if not undelivered:
                return

    def _post(self, letter):
        """Returns the id of an order that the link refused to take."""
        executor, message = self.world.executor, letter.message
        if isinstance(message, Place):
            self.world.oracle.handed_over(message)
        if letter.peer == executor.peer:
            executor.receive(message)
            if self.world.maybe(0.01):
                executor.reconnect()
        elif isinstance(message, Place) and self.world.chance.random() < 0.5:
            return message.order_id
        return None

    def _publish(self, item):
        if item.topic.startswith("order/"):
            for strategy in self.world.strategies:
                if item.topic == f"order/{strategy.name}/" and not self.world.maybe(0.1):
                    self.world.after(self.world.latency(), lambda s=strategy: s.read(item.fields))


class Fifo:
    """One direction of a connection: late, but in order."""

    def __init__(self, world):
        self._world, self._last_ns = world, 0

    def send(self, call):
        now = self._world.clock.monotonic_ns()
        self._last_ns = max(self._last_ns, now + round(self._world.latency() * SECOND))
        self._world.after((self._last_ns - now) / SECOND, call)


class Executor:
    """What every executor does; its journal (`known`, `facts`) outlives it, everything else does not."""

    def __init__(self, world, number, journal=None):
        self.world, self.number = world, number
        self.executor_id, self.peer = f"exec-{number}", f"peer-{number}".encode()
        # Ids on their way to IB, by whether their bytes have left; and facts by number.
        self.known, self.facts, self.fences = journal or ({}, [], {})
        self.alive, self.joined, self.connection = True, False, 0
        self.lease_until, self.asked, self.nonce = 0.0, {}, 0
        self.out, self.back = Fifo(world), Fifo(world)
        self.resent_at = 0.0

    def now(self):
        return self.world.clock.monotonic_ns() / SECOND

    def live(self):
        """Hello, or a request for the lease, again and again."""
        if not self.alive:
            return
        if self.joined and self.now() - max(self.asked.values(), default=self.now()) > 3:
            self.joined = False
        if self.joined:
            self.nonce += 1
            self.asked[self.nonce] = self.now()
            self._say(LeaseRequest(executor_id=self.executor_id, nonce=self.nonce, gateway=self._gateway()))
        else:
            ids = {"executor_id": self.executor_id, "journal_id": "journal"}
            last, fences = len(self.facts), dict(self.fences)
            self._say(Hello(**ids, gateway=self._gateway(), feedback_last=last, fences=fences))
        self.world.after(self.world.chance.uniform(0.1, 0.25), self.live)

    def _gateway(self):
        usable = self.world.ib.reachable
        return GatewayStatus(host="h", port=1, connected=usable, usable=usable, account="DU1")

    def _say(self, message):
        peer = self.peer

        def arrive():
            if peer == self.peer:
                self.world.breaker.hear(lambda stage: stage.on_executor_message(peer, message))

        self.out.send(arrive)

    def reconnect(self):
        """The connection breaks: what was under way is lost both ways, and the breaker sees another peer."""
        self.connection += 1
        self.peer = f"peer-{self.number}.{self.connection}".encode()

    def die(self):
        """The process is gone; the next one reads its journal and looks up what it may have written."""
        self.alive = False
        successor = Executor(self.world, self.number + 1, (self.known, self.facts, self.fences))
        self.world.executor = successor

        def start():
            successor.live()
            for order_id, written in successor.known.items():
                if not written:
                    self.world.ib.stories[order_id].end = "not_placed"
                    successor.known[order_id] = True
                    strategy_id = self.world.ib.stories[order_id].strategy_id
                    fact = NotPlaced(order_id=order_id, strategy_id=strategy_id, code="reconciled")
                    successor.tell(fact, "neutral")

        self.world.after(self.world.chance.choice((0.1, 1, 4)), start)

    # -- what the breaker says -----------------------------------------------------------------------------

    def receive(self, message):
        peer = self.peer
        self.back.send(lambda: self._take(message) if self.alive and peer == self.peer else None)

    def _take(self, message):
        match message:
            case Welcome():
                self.joined, self.lease_until = True, 0.0
                self.asked.clear()
                self._raise(message.fence, "system")
                known = [order_id for order_id in message.doubtful if order_id in self.known]
                self._say(Joined(executor_id=self.executor_id, fence=message.fence, known=known))
                self._resend(message.feedback_after)
            case Fence():
                self._raise(message.fence, message.scope)
                self._say(Fenced(executor_id=self.executor_id, fence=message.fence, written=[]))
            case Lease():
                self._on_lease(message)
            case Place():
                self.world.after(self.world.latency(), lambda: self._last_look(message, self.now()))
            case CancelOrder():
                self.world.ib.cancel(message.order_id, message.request_id)
            case ResendFeedback():
                self._resend(message.after_seq)
            case _:
                self.joined = self.joined and not isinstance(message, NotWelcome)

    def _raise(self, fence, scope):
        if scope == "system":
            self.fences.clear()
        self.fences[scope] = fence

    def _fence_of(self, scope):
        return max(self.fences.get("system", -1), self.fences.get(scope, -1))

    def _on_lease(self, lease):
        asked = self.asked.get(lease.nonce)
        if asked is None or not self.joined:
            return
        self.asked = {nonce: at for nonce, at in self.asked.items() if nonce >= lease.nonce}
        newest = max(self.fences.values(), default=-1)
        if lease.fence > newest:
            # A fence was lost, and nobody says whose it was.
            self.joined, self.lease_until = False, 0.0
        elif lease.fence == newest:
            self.lease_until = max(self.lease_until, asked + lease.lease_ms / 1000)
        if lease.feedback_taken < len(self.facts) and self.now() - self.resent_at > 1:
            self._resend(lease.feedback_taken)

    def _last_look(self, place, received_at):
        if not self.alive or place.order_id in self.known:
            return
        ids = {"order_id": place.order_id, "strategy_id": place.strategy_id}
        late = self.now() > received_at + place.ttl_left_ms / 1000
        fenced = place.fence != self._fence_of(place.scope)
        if fenced or self.now() >= self.lease_until or late or not self.world.ib.reachable:
            code = "fenced" if fenced else "lease"
            self.tell(NotPlaced(**ids, code=code), "neutral")
            return
        self.known[place.order_id] = False
        self.world.ib.stories[place.order_id] = Story(place.strategy_id)
        if self.world.maybe(0.03):
            self.die()
            return
        self.known[place.order_id] = True
        self.world.oracle.written(place)
        self.tell(Written(**ids, ib_order_id=1))
        self.world.ib.place(place.order_id)

    # -- feedback ------------------------------------------------------------------------------------------

    def tell(self, fact, outcome=None):
        """Into the journal, and on the link if it takes it."""
        seq = len(self.facts) + 1
        self.facts.append(Feedback(journal_id="journal", seq=seq, fact=fact, outcome=outcome))
        if self.alive:
            self._send(seq)

    def _send(self, seq):
        message = self.facts[seq - 1]
        if self.world.maybe(0.05):
            return
        for _ in range(2 if self.world.maybe(0.05) else 1):
            self.world.after(
                self.world.latency(), lambda: self.world.breaker.hear(lambda stage: stage.on_feedback(message))
            )

    def _resend(self, after):
        self.resent_at = self.now()
        for seq in range(after + 1, len(self.facts) + 1):
            self.out.send(lambda m=self.facts[seq - 1]: self.world.breaker.hear(lambda stage: stage.on_feedback(m)))


class Ib:
    """A broker with moods. `stories` is what really happened."""

    def __init__(self, world):
        self.world = world
        self.stories = {}
        self.reachable = True
        self.mood = 0.1

    def come_back(self):
        self.reachable = True
        self.mood = self.world.chance.choice((0.0, 0.1, 0.9))

    def place(self, order_id):
        slow = self.world.maybe(0.1)
        self.world.after(
            self.world.chance.uniform(4, 7) if slow else self.world.latency(), lambda: self._answer(order_id)
        )

    def _tell(self, kind, order_id, outcome=None, **fields):
        story = self.stories[order_id]
        self.world.executor.tell(kind(order_id=order_id, strategy_id=story.strategy_id, **fields), outcome)

    def _answer(self, order_id):
        story = self.stories[order_id]
        if story.end:
            return
        if self.world.maybe(0.05):
            self._tell(Unknown, order_id, self.world.chance.choice((None, "failure")))
        if not self.world.calm and self.world.chance.random() < self.mood:
            story.end = "rejected"
            outcome = self.world.chance.choice(("failure", "malformed"))
            self._tell(Rejected, order_id, outcome, ib_code=201, reason="no")
            return
        story.state = "working"
        status = self.world.chance.choice(("Submitted", "PreSubmitted"))
        outcome = "success" if status == "Submitted" else None
        self._tell(Accepted, order_id, outcome, ib_order_id=1, perm_id=2, status=status)
        self.world.after(self._fill_secs(), lambda: self._fill(order_id))

    def _fill_secs(self):
        # At most this long, so that everything has its end when the calm is over.
        return min(8.0, self.world.chance.expovariate(1 / 2))

    def _fill(self, order_id):
        story = self.stories[order_id]
        if story.end:
            return
        if self.world.maybe(0.05):
            self._tell(Unknown, order_id)
        rest = 100.0 - story.filled
        part = rest if self.world.calm or self.world.chance.random() < 0.5 else rest / 2
        story.filled += part
        done = story.filled == 100.0
        if done:
            story.end = "filled"
        else:
            self.world.after(self._fill_secs(), lambda: self._fill(order_id))
        self._told_fill(order_id, part, done)

    def _told_fill(self, order_id, part, done):
        story = self.stories[order_id]
        self._tell(
            Filled,
            order_id,
            "success",
            exec_id=f"{order_id}-{story.filled}",
            shares=part,
            price=1.0,
            cum_qty=story.filled,
            avg_price=1.0,
            remaining=100.0 - story.filled,
            done=done,
        )

    def cancel(self, order_id, request_id):
        story = self.stories.get(order_id)
        if story is None or story.end or story.state != "working":
            return
        story.end = "cancelled"
        late = 10.0 if story.filled < 50 and self.world.maybe(0.3) else 0.0
        self._tell(
            Cancelled,
            order_id,
            "neutral",
            filled=story.filled,
            remaining=100.0 - story.filled,
            reason="202",
            request_id=request_id,
        )
        if late:
            story.filled += late
            self._told_fill(order_id, late, False)


@dataclass
class Strategy:
    """Sends orders and sends them again until it has read a decision; cancels some."""

    world: World
    name: str
    number: int = 0
    waiting: dict = field(default_factory=dict)
    asking: dict = field(default_factory=dict)

    def live(self):
        if not self.world.calm:
            self._submit()
            self.world.after(self.world.chance.expovariate(2.5), self.live)

    def _submit(self):
        self.number += 1
        order_id = f"{self.name}-{self.number}"
        message = Submit(
            order_id=order_id,
            strategy_id=self.name,
            sent_ns=wall_ns_of(self.world.clock),
            contract=STOCK,
            order=BUY,
            ttl_ms=self.world.chance.choice((300, 2000, 10_000)),
            protect=self.world.chance.random() < 0.2,
        )
        self.waiting[order_id] = message
        self.world.oracle.submitted.add(order_id)
        self._send(order_id)
        if self.world.maybe(0.3):
            self.world.after(self.world.chance.choice((-0.0, 0.05, 2)), lambda: self._cancel(order_id))

    def _send(self, order_id):
        message = self.waiting.get(order_id)
        if message is None:
            return
        if not self.world.maybe(0.1):
            self._deliver(message)
        self.world.after(self.world.chance.uniform(0.25, 1), lambda: self._send(order_id))

    def _cancel(self, order_id):
        request_id = f"c-{order_id}"
        self.asking[request_id] = Cancel(
            request_id=request_id, order_id=order_id, strategy_id=self.name, sent_ns=wall_ns_of(self.world.clock)
        )
        self.world.oracle.cancels.add(request_id)
        self._ask(request_id)

    def _ask(self, request_id):
        if request_id in self.asking:
            if not self.world.maybe(0.1):
                self._deliver(self.asking[request_id])
            self.world.after(self.world.chance.uniform(0.25, 1), lambda: self._ask(request_id))

    def _deliver(self, message):
        hear = self.world.breaker.hear
        self.world.after(self.world.latency(), lambda: hear(lambda stage: stage.on_order_message(message)))

    def read(self, event):
        if event["kind"].startswith("request_"):
            self.asking.pop(event["request_id"], None)
        elif event["kind"] in ("passed", "blocked", "expired", "invalid"):
            self.waiting.pop(event["order_id"], None)


ENDS = ("filled", "cancelled", "rejected", "not_placed", "expired", "invalid")
DECISIONS = ("passed", "blocked", "expired", "invalid")
ANSWERS = ("accepted", "unknown", *ENDS)


class Oracle:
    """What must hold, whatever happens."""

    def __init__(self, world):
        self.world = world
        self.submitted, self.cancels = set(), set()
        self.by_order, self.last_seq, self.last_kept, self.states, self.generations = {}, {}, {}, {}, {}
        self.answers, self.handed, self.at_ib = {}, set(), set()
        self.beyond = set()
        self.stopped, self.requests = False, {}
        self.kinds_seen = set()

    def check(self, holds, what, *more):
        if not holds:
            raise AssertionError(
                f"seed {self.world.seed} at {self.world.clock.monotonic_ns() / SECOND:.3f} s: {what} {more}"
            )

    # -- as it happens -------------------------------------------------------------------------------------

    def saved(self, batch, stage):
        for item in batch.publications:
            if "seq" in item.fields and not item.fields.get("repeat"):
                self.check(item.seq > self.last_seq.get(item.topic, 0), "a number is used twice", item)
                self.last_seq[item.topic] = item.seq
                self._state(item.fields) if item.fields["kind"] == "state" else self._event(item.fields)
            if item.journaled:
                kept = self.last_kept.get(item.topic, 0)
                self.check(kept <= item.previous < item.seq, "a number is missing", item)
                self.last_kept[item.topic] = item.seq
        for scope, circuit in stage.core.scopes:
            self._generation(scope, circuit.generation, circuit.state.name)
        for fields in [item.fields for item in batch.publications if item.fields["kind"] == "passed"]:
            if not fields.get("again"):
                state = self.generations["system"].get(fields["generation"])
                self.check(state != "OPEN", "passed while the system was OPEN", fields)
        self.check(len(self.beyond) <= WINDOW, "more orders beyond the breaker than the window", self.beyond)
        self.check(self.beyond == stage.core.out, "the window is not what was told", self.beyond, stage.core.out)

    def _generation(self, scope, generation, state):
        known = self.generations.setdefault(scope, {})
        self.check(generation >= max(known, default=0), "a generation went back", scope, generation, known)
        self.check(known.setdefault(generation, state) == state, "one generation, two states", scope, generation)

    def _state(self, state):
        self.kinds_seen.add(state["state"])
        before = self.states.get(state["scope"])
        if before and before["generation"] != state["generation"]:
            self.check(state["generation"] > before["generation"], "a state went back", before, state)
        self._generation(state["scope"], state["generation"], state["state"])
        self.states[state["scope"]] = state

    def _event(self, event):
        self.kinds_seen.add(event["kind"])
        if event.get("again") or event["kind"] == "duplicate":
            return
        if event["kind"].startswith("request_"):
            self.answers[event["request_id"]] = self.answers.get(event["request_id"], 0) + 1
            return
        self.by_order.setdefault(event["order_id"], []).append(event)
        if event["kind"] == "passed":
            self.beyond.add(event["order_id"])
        elif event["kind"] in ANSWERS:
            self.beyond.discard(event["order_id"])

    def breaker_died(self):
        pass

    def handed_over(self, place):
        self.check(place.order_id not in self.handed, "handed over twice", place)
        self.handed.add(place.order_id)

    def written(self, place):
        self.check(place.order_id not in self.at_ib, "written twice", place)
        self.at_ib.add(place.order_id)
        self.check(not self.stopped, "written after a trip was answered", place)

    def asked(self, token, request):
        self.requests[token] = request
        if isinstance(request, ResetRequest) and request.scope == "system":
            self.stopped = False
            # Answers to trips from before it say nothing about what comes after it.
            self.requests = {token: request}

    def replied(self, token, reply):
        request = self.requests.get(token)
        if isinstance(request, TripRequest) and request.scope == "system" and reply["ok"]:
            self.stopped = True

    # -- when everything has come to rest ------------------------------------------------------------------

    def at_the_end(self):
        stage = self.world.breaker.stage
        for order_id in self.submitted:
            events = self.by_order.get(order_id, [])
            decisions = [event for event in events if event["kind"] in DECISIONS]
            if events and events[0]["kind"] == "passed":
                decisions = [event for event in decisions if event["kind"] in ("passed", "blocked")]
            # A breaker that does not know what the one before refused says no as well, and says so.
            refused_by_another = [event for event in decisions[1:] if "a breaker that is gone" in event["reason"]]
            decisions = [event for event in decisions if event not in refused_by_another]
            events = [event for event in events if event not in refused_by_another]
            self.check(len(decisions) == 1, "not exactly one decision", order_id, events)
            if decisions[0]["kind"] == "passed":
                self._passed(order_id, events, stage)
            else:
                self.check(order_id not in self.at_ib, "at IB without having passed", order_id, events)
                self.check(len(events) == 1, "more was told of an order that was not sent", order_id, events)
        for request_id in self.cancels:
            self.check(self.answers.get(request_id) == 1, "not exactly one answer to a cancel", request_id)
        self.check(not stage.core.out, "the window has leaked", stage.core.out)
        self.check(len(stage.core.queues) == 0, "orders wait for ever")
        self.check(all(len(c.snapshot()["orders"]) == 0 for _, c in stage.core.scopes), "a slot has leaked")
        self.check(len(stage.core._timers) == 0, "timers are left")

    def _passed(self, order_id, events, stage):
        replaced = {event["supersedes"] for event in events if "supersedes" in event}
        ends = [
            event
            for event in events
            if event["kind"] in ENDS and event["seq"] not in replaced and (event["kind"] != "filled" or event["done"])
        ]
        story = self.world.ib.stories.get(order_id)
        self.check(len(ends) == 1, "not exactly one end", order_id, events, story)
        end = ends[0]
        truth = story.end if story else "not_placed"
        self.check(end["kind"] == truth, "told an end that is not the truth", truth, order_id, events)
        if truth == "cancelled":
            self.check(end["filled"] == story.filled, "told another quantity than was filled", story, events)
        self.check(order_id not in stage.core.orders, "an ended order is still in memory", order_id)
