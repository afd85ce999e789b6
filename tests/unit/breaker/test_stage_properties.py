"""Any sequence of messages, garbage, time, answers and commands: what the stage must keep, whatever comes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orderfuse.bus.codec import DecodeError, convert, decode_map
from orderfuse.circuit import CircuitState
from services.breaker.deadlines import Deadline, Due
from services.breaker.gates import Wait, is_young_enough, there_is_something_to_change, turn_of, window_has_a_place
from services.breaker.inputs import FromOrders, UnreadableOrder
from tests.campaigns.fuzz.corpus import STRATEGY
from tests.campaigns.fuzz.mutate import case_of
from tests.unit.breaker.harness import DECISIONS, KINDS, Rig, settings_of, wall_ns_of

pytestmark = pytest.mark.long

WINDOW, QUEUE = 3, 5
CIRCUIT = {"failure_threshold": 2, "failure_window_secs": 5, "open_timeout_secs": 3, "half_open_timeout_secs": 4}
STRATEGIES = st.sampled_from(("alpha", "beta", STRATEGY))
# Longer than any time to live and any deadline of the stage in these runs.
CALM_SECS = 20


class StageMachine(RuleBasedStateMachine):
    """A stage between everything that can happen to it."""

    @initialize()
    def begin(self) -> None:
        limits: dict[str, Any] = {"queue_limit": QUEUE, "max_orders_per_second": 10, "max_strategies": 3}
        self.rig = Rig(settings_of(window=WINDOW, circuit=CIRCUIT, **limits))
        self.rig.executor.join()
        self.sent: dict[str, str] = {}
        self.number = 0

    def out(self) -> list[tuple[str, str]]:
        records = self.rig.stage.core.orders.values()
        return [(record.order_id, record.strategy_id) for record in records if record.state == "out"]

    # -- what happens

    @rule(strategy=STRATEGIES, ago=st.sampled_from((0.0, 0.5, 4.9, 6.0)))
    def submit(self, strategy: str, ago: float) -> None:
        self.number += 1
        self.rig.submit(f"o-{self.number}", strategy, ago=ago)
        self.sent[f"o-{self.number}"] = strategy

    @rule(back=st.integers(0, 5))
    def resend_or_use_twice(self, back: int) -> None:
        order_id = f"o-{max(1, self.number - back)}"
        self.rig.submit(order_id, self.sent.get(order_id, "alpha"), protect=back == 5)
        self.sent.setdefault(order_id, "alpha")

    @rule(back=st.integers(-1, 3), strategy=STRATEGIES)
    def cancel(self, back: int, strategy: str) -> None:
        self.rig.cancel(f"o-{self.number - back}", f"c-{self.number}-{back}", strategy)

    @rule(number=st.integers(0, 10_000))
    def garbage(self, number: int) -> None:
        case = case_of(1, number, wall_ns_of(self.rig.clock))
        if case.link != "orders" or len(case.frames) != 2:
            return
        try:
            fields = decode_map(case.frames[1])
            kind = fields.get("kind")
            if not isinstance(kind, str) or kind not in KINDS:
                raise DecodeError("unknown_kind", "kind", fields)
            message = convert(fields, KINDS[kind])
        except DecodeError as error:
            self.rig.step(UnreadableOrder(error))
        else:
            self.rig.step(FromOrders(message))

    @rule(
        how=st.sampled_from(("accepted", "filled", "rejected", "not_placed", "unknown", "cancelled")),
        which=st.integers(0, 2),
    )
    def answer(self, how: str, which: int) -> None:
        out = self.out()
        if out:
            order_id, strategy_id = out[which % len(out)]
            getattr(self.rig.executor, how)(order_id, strategy_id)

    @rule(seq=st.integers(1, 30))
    def answer_again(self, seq: int) -> None:
        if seq in self.rig.executor.sent:
            self.rig.executor.send(seq)

    @rule(secs=st.sampled_from((0.05, 0.5, 3.0, 6.0)))
    def wait(self, secs: float) -> None:
        self.rig.wait(secs, step=0.25)

    @rule(scope=st.sampled_from(("system", "strategy:alpha")), op=st.sampled_from(("trip", "reset")))
    def by_hand(self, scope: str, op: str) -> None:
        self.rig.ask(op, reason="a person", scope=scope)

    @rule()
    def gateway(self) -> None:
        self.rig.executor.usable = not self.rig.executor.usable
        self.rig.executor.lease()

    @rule()
    def restart(self) -> None:
        self.rig.start()
        self.rig.executor.join(known=[order_id for order_id, _ in self.out()])

    # -- what must hold

    @invariant()
    def bounds_hold(self) -> None:
        core = self.rig.stage.core
        assert len(core.out) <= WINDOW
        assert all(length <= QUEUE for length in core.queues.lengths().values())
        # Ended orders leave memory, but for those whose replace or whose cancels have no answer, and parents of legs.
        for record in core.orders.values():
            waits = record.change is not None or Deadline(Due.CANCEL_ANSWER, record.order_id) in core.deadlines
            has_leg = any(leg in core.orders for leg in record.attached)
            assert record.state != "done" or waits or has_leg
        assert len(core.scopes.strategies) <= 3

    @invariant()
    def no_transition_is_left_with_its_circuit(self) -> None:
        """Whatever moved one, its fence was raised and its state told in the same step."""
        left = {scope: circuit.take_transitions() for scope, circuit in self.rig.stage.core.scopes}
        assert not any(left.values()), left

    @invariant()
    def nothing_waits_that_could_be_decided(self) -> None:
        """Whoever walked through all that waits would find nothing to do."""
        core = self.rig.stage.core
        for strategy_id in core.queues.lengths():
            turn = turn_of(core, core.queues.head(strategy_id))
            assert there_is_something_to_change(core, turn) is None
            assert is_young_enough(core, turn) is None
            assert window_has_a_place(core, turn) is Wait.FOR_ROOM

    @invariant()
    def each_order_has_at_most_one_decision(self) -> None:
        decided: Counter[str] = Counter()
        for event in self.rig.events:
            if event["kind"] in DECISIONS and not event.get("again") and not event.get("conflict"):
                decided[event["order_id"]] += event["order_id"] in self.sent
        assert all(count == 1 for count in decided.values() if count), decided.most_common(3)

    @invariant()
    def open_passes_nothing(self) -> None:
        state = ""
        for topic, fields in self.rig.topics:
            if topic == "state/system/":
                state = fields["state"]
            assert not (fields["kind"] == "passed" and not fields.get("again") and state == "OPEN"), fields

    def teardown(self) -> None:
        """When all is quiet every order that was sent has its one decision."""
        if not hasattr(self, "rig"):
            return
        self.rig.wait(CALM_SECS, step=0.5)
        for order_id in self.sent:
            told = [e for e in self.rig.about(order_id) if e["kind"] in DECISIONS and not e.get("again")]
            assert [e for e in told if not e.get("conflict")], f"{order_id} has no decision"
        assert not self.rig.stage.core.queues.lengths()
        assert not self.rig.stage.core.out
        assert self.rig.circuit().state in CircuitState


# Each run takes a tenth of a second: to look for the shortest failing one would take minutes.
StageMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
)
TestStageWhateverComes = pytest.mark.filterwarnings("default")(StageMachine.TestCase)
