"""What must hold, whatever happens: looked at after every step, and once more when everything has come to rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orderfuse.bus.control import ResetRequest, TripRequest
from orderfuse.bus.events import Filled
from services.breaker.batch import Batch as BreakerBatch
from services.breaker.deadlines import OF_ORDERS
from services.breaker.stage import Stage as BreakerStage
from services.executor.batch import Batch
from services.executor.journal import Journal
from services.executor.stage import Stage
from services.gateway.frames import PlaceOrders, WireOrder
from services.wire.dispatch import Lease, LeaseRequest, Place
from services.wire.feedback import Feedback
from tests.simulation.breaker import CIRCUIT, WINDOW
from tests.simulation.judge.model import IbOrder
from tests.unit.breaker.harness import SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

ENDS = ("filled", "cancelled", "rejected", "not_placed", "expired", "invalid")
DECISIONS = ("passed", "blocked", "expired", "invalid")
ANSWERS = ("accepted", "unknown", *ENDS)
TRIALS = int(CIRCUIT["half_open_max_tries"])


class Oracle:
    """Compares what is done and told with what is true."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.submitted: set[str] = set()
        self.requests_made: set[str] = set()
        self.kinds_seen: set[str] = set()
        self.by_order: dict[str, list[dict[str, Any]]] = {}
        self._last_seq: dict[str, int] = {}
        self._last_kept: dict[str, int] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._generations: dict[str, dict[int, str]] = {}
        # Orders, and requests for changes, that passed in each generation of the system; and orders that succeeded.
        self._passed_in: dict[int, set[str]] = {}
        self._succeeded: set[str] = set()
        self._answers: dict[str, int] = {}
        self._handed: set[str] = set()
        # The order ids that left for IB, and those that arrived, by IB's number.
        self._left: set[str] = set()
        self._arrived: dict[int, str] = {}
        self._beyond: set[str] = set()
        self._stopped = False
        # The fence of each scope, as it was after the last step.
        self._fences: dict[str, int] = {}
        # The generations of the system's circuit in which a condition held.
        self._troubled: set[int] = set()
        # When each lease was asked for, and until when the executor truly has one.
        self._lease_asked: dict[int, float] = {}
        self._leased_until = 0.0
        # Circuits that a person has reset, until they say another state.
        self._reset: set[str] = set()
        self._requests: dict[int, Any] = {}

    def check(self, holds: object, what: str, *more: object) -> None:
        """It holds, or the story ends here."""
        if not holds:
            at = self.world.clock.monotonic_ns() / SECOND
            raise AssertionError(f"seed {self.world.seed} at {at:.3f} s: {what} {more}")

    # -- the breaker --------------------------------------------------------------------------------------

    def breaker_saved(self, batch: BreakerBatch, stage: BreakerStage) -> None:
        """A batch is saved, and will be sent."""
        for item in batch.publications:
            if "seq" in item.fields and not item.fields.get("repeat"):
                self.check(item.seq > self._last_seq.get(item.topic, 0), "a number is used twice", item)
                self._last_seq[item.topic] = item.seq
                if item.fields["kind"] == "state":
                    self._on_state(item.fields, stage)
                else:
                    self._on_event(item.fields)
            if item.journaled:
                kept = self._last_kept.get(item.topic, 0)
                self.check(kept <= item.previous < item.seq, "a number is missing", item)
                self._last_kept[item.topic] = item.seq
        for scope, circuit in stage.core.scopes:
            self._on_generation(scope, circuit.generation, circuit.state.name)
            self._fences[scope] = stage.core.fence_of(scope)
        if stage.core.scopes.system.get_state()["conditions"]:
            self._troubled.add(stage.core.scopes.system.generation)
        self.check(len(self._beyond) <= WINDOW, "more orders beyond the breaker than the window", self._beyond)
        told = {each for each in stage.core.out if "~" not in each}
        self.check(self._beyond == told, "the window is not what was told", self._beyond, stage.core.out)

    def _on_generation(self, scope: str, generation: int, state: str) -> None:
        known = self._generations.setdefault(scope, {})
        self.check(generation >= max(known, default=0), "a generation went back", scope, generation, known)
        self.check(known.setdefault(generation, state) == state, "one generation, two states", scope, generation)

    def _on_state(self, state: dict[str, Any], stage: BreakerStage) -> None:
        self.world.note(f"{state['scope']} is {state['state']}: {state['reason']}")
        self.kinds_seen.add(state["state"])
        scope, before = state["scope"], self._states.get(state["scope"])
        if before and before["generation"] != state["generation"]:
            self.check(state["generation"] > before["generation"], "a state went back", before, state)
            if state["state"] == "CLOSED":
                self.check(state["failures"] == 0, "closed with failures", state)
            by_hand, self._reset = self._reset, self._reset - {scope}
            recovered = before["state"] == "HALF_OPEN" and state["state"] == "CLOSED" and scope not in by_hand
            if recovered and scope == "system":
                trials = self._passed_in.get(before["generation"], set())
                won = {each for each in trials if each in self._succeeded or each.startswith("r-")}
                self.check(len(won) >= TRIALS, "closed by orders of an earlier generation", before, state, won)
            # A condition that was short counts like a failed trial.
            untroubled = before["generation"] not in self._troubled
            if scope == "system" and untroubled and "a trial order failed" in (state["reason"] or ""):
                trials = self._passed_in.get(before["generation"], set())
                self.check(trials, "opened by an order of an earlier generation", before, state)
            if state["state"] == "OPEN" and scope in self._fences:
                raised = stage.core.fence_of(scope) > self._fences[scope]
                self.check(raised, "no fence at a trip: what is on its way is not void", state)
        self._on_generation(scope, state["generation"], state["state"])
        self._states[scope] = state

    def _on_event(self, event: dict[str, Any]) -> None:
        self.kinds_seen.add(event["kind"])
        if event.get("again") or event["kind"] == "duplicate":
            return
        self.world.note(f"{event['kind']} {event.get('order_id', '')} {event.get('reason', '')}")
        if event["kind"].startswith("request_"):
            self._answers[event["request_id"]] = self._answers.get(event["request_id"], 0) + 1
            if event["kind"] == "request_passed" and event["request_id"].startswith("r-"):
                # A change that was let through is a trial like any order.
                generation = max(self._generations["system"])
                self._passed_in.setdefault(generation, set()).add(event["request_id"])
            return
        self.by_order.setdefault(event["order_id"], []).append(event)
        if event["kind"] == "passed":
            self._beyond.add(event["order_id"])
            generation = event["generation"]
            self._passed_in.setdefault(generation, set()).add(event["order_id"])
            state = self._generations.get("system", {}).get(generation)
            self.check(state != "OPEN", "passed while the system was OPEN", event)
        elif event["kind"] in ANSWERS:
            self._beyond.discard(event["order_id"])

    def heard(self, feedback: Feedback) -> None:
        """The executor has told the breaker something."""
        if feedback.outcome == "success" or isinstance(feedback.fact, Filled):
            self._succeeded.add(getattr(feedback.fact, "order_id", ""))

    def handed_over(self, place: Place) -> None:
        """An order is sent to the executor."""
        self.check(place.order_id not in self._handed, "handed over twice", place)
        self._handed.add(place.order_id)

    def asked(self, token: int, request: Any) -> None:
        """A person asks."""
        self._requests[token] = request
        if isinstance(request, ResetRequest):
            self._reset = self._reset | {request.scope}
        if isinstance(request, ResetRequest) and request.scope == "system":
            self._stopped = False
            # Answers to trips from before it say nothing about what comes after it.
            self._requests = {token: request}

    def replied(self, token: Any, reply: dict[str, Any]) -> None:
        """A person is answered."""
        request = self._requests.get(token)
        if isinstance(request, TripRequest) and request.scope == "system" and reply["ok"]:
            self.world.note("the trip is answered")
            self._stopped = True

    # -- the executor -------------------------------------------------------------------------------------

    def lease_asked(self, request: LeaseRequest) -> None:
        """The executor asks for its lease."""
        self._lease_asked[request.nonce] = self.world.now().secs

    def leased(self, lease: Lease) -> None:
        """The lease has come: it runs from when it was asked for."""
        asked_at = self._lease_asked.get(lease.nonce)
        if asked_at is not None:
            self._leased_until = max(self._leased_until, asked_at + lease.lease_ms / 1000)

    def leaves(self, frame: PlaceOrders, journal: Journal) -> None:
        """An order's bytes are about to leave for IB."""
        for order in frame.orders:
            self.world.note(f"{order.order_id} leaves for IB as {order.ib_order_id}")
            self.check(order.order_id not in self._left, "written twice", order)
            self._left.add(order.order_id)
            self.check(not self._stopped, "written after a trip was answered", order)
            self.check(self.world.now().secs < self._leased_until, "written without a lease", order)
            kept = journal.find_order(order_id=order.order_id)
            self.check(kept is not None, "written before its intent was saved", order)

    def arrives(self, order: WireOrder, there: IbOrder | None) -> None:
        """An order's bytes have reached IB."""
        self.check(there is None, "IB takes a new order for the change of another one", order, there)
        self._arrived[order.ib_order_id] = order.order_id

    def executor_stepped(self, stage: Stage, batch: Batch) -> None:
        """The executor has handed out a batch."""
        core = stage.core
        if core.life.usable and core.life.pacer.free(core.now.secs, cancel=True):
            waiting = core.ledger.cancels.to_send()
            self.check(not waiting, "a cancel waits although it could leave", waiting, batch.frames)
        known = len(core.ledger.memory.orders)
        self.check(known <= len(self._handed), "the executor remembers too much", known)

    # -- when everything has come to rest -----------------------------------------------------------------

    def at_the_end(self) -> None:
        """Every order has one decision, and one end, which is true; nobody waits for anything."""
        stage = self.world.breaker.stage
        assert stage is not None
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
                self._has_passed(order_id, events, stage)
            else:
                self.check(order_id not in self._left, "at IB without having passed", order_id, events)
                self.check(len(events) == 1, "more was told of an order that was not sent", order_id, events)
        for request_id in self.requests_made:
            self.check(self._answers.get(request_id) == 1, "not exactly one answer to a request", request_id)
        last = self.world.executor.journal.feedback_range()[1]
        self.check(stage.core.taken_feedback() == last, "what the executor told has not arrived", last)
        self.check(not stage.core.out, "the window has leaked", stage.core.out)
        self.check(len(stage.core.queues) == 0, "orders wait for ever")
        self.check(all(len(c.snapshot()["orders"]) == 0 for _, c in stage.core.scopes), "a slot has leaked")
        self.check(not [each for each in stage.core.deadlines if each.what in OF_ORDERS], "deadlines are left")

    def _has_passed(self, order_id: str, events: list[dict[str, Any]], stage: BreakerStage) -> None:
        replaced = {event["supersedes"] for event in events if "supersedes" in event}
        ends = [
            event
            for event in events
            if event["kind"] in ENDS and event["seq"] not in replaced and (event["kind"] != "filled" or event["done"])
        ]
        found = [order for order in self.world.market.orders.values() if order.ref == order_id]
        self.check(len(found) <= 1, "two orders at IB", order_id, found)
        order = found[0] if found else None
        self.check(len(ends) == 1, "not exactly one end", order_id, events, order)
        end = ends[0]
        truths = {"Filled": ("filled",), "Cancelled": ("cancelled",), "Inactive": ("rejected",)}
        truth = truths[order.status] if order else ("not_placed", "expired", "invalid")
        self.check(end["kind"] in truth, "told an end that is not the truth", truth, order_id, events)
        if order is not None:
            shares = sum(event["shares"] for event in events if event["kind"] == "filled" and not event.get("again"))
            self.check(shares == order.filled, "told other fills than there were", shares, order, events)
            if end["kind"] == "cancelled":
                self.check(end["filled"] == order.filled, "told another quantity than was filled", order, events)
        kept = stage.core.orders.get(order_id)
        self.check(kept is None, "an ended order is still in memory", kept)
