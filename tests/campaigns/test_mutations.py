"""The simulation can fail: ten ways to break the pipeline, each of which it must find within its seeds.

Each is a mistake that somebody could make in one line, and that costs money.
"""

from __future__ import annotations

from typing import Any

import pytest

from orderfuse.circuit import CircuitState, TradingCircuitBreaker
from services.breaker.core import Core
from services.executor.batch import Batch
from services.executor.breaker_link import BreakerLink
from services.executor.cancelling import Cancelling
from services.executor.orders import order_reports
from services.executor.orders.order_at_ib import OrderAtIb
from services.executor.stage import Stage
from services.gateway.order_ids import OrderIds
from tests.simulation.play import seeds
from tests.simulation.world import World

SEEDS = 250


def found() -> str:
    """What the first failing run says; empty if none fails."""
    for seed in seeds(SEEDS):
        try:
            World(seed).run()
        except AssertionError as error:
            return str(error)
    return ""


def test_a_window_that_is_one_too_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    def has_room(core: Core) -> bool:
        return len(core.out) <= core.window and core.executor.is_ready(core.now)

    monkeypatch.setattr(Core, "has_room", has_room)
    assert "beyond the breaker" in found()


def test_no_fence_at_a_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Core.raise_fence

    def raise_fence(core: Core, scope: str = "system") -> None:
        circuit = core.scopes.find(scope)
        if circuit is None or circuit.state is not CircuitState.OPEN:
            original(core, scope)

    monkeypatch.setattr(Core, "raise_fence", raise_fence)
    assert "no fence at a trip" in found()


def test_an_order_that_is_sent_before_its_intent_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Stage._hand_out
    late: list[Any] = []

    def hand_out(stage: Stage) -> Batch:
        batch = original(stage)
        now, batch.keep.intents = batch.keep.intents, list(late)
        late[:] = now
        return batch

    monkeypatch.setattr(Stage, "_hand_out", hand_out)
    assert "written before its intent was saved" in found()


def test_an_id_of_ib_that_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def take(ids: OrderIds) -> int:
        order_id = max(ids.next, 1)
        ids.next = order_id + 1
        return order_id

    monkeypatch.setattr(OrderIds, "take", take)
    monkeypatch.setattr(OrderIds, "go_on", lambda _: None)
    monkeypatch.setattr("services.executor.journal.Journal.highest_ib_order_id", 0)
    assert "for the change of another one" in found()


def test_a_fill_that_is_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    original = order_reports.on_execution

    def on_execution(order: OrderAtIb, report: Any, *more: Any) -> None:
        original(order, report, *more)
        order.executions = {f"{base}+": each for base, each in order.executions.items()}

    monkeypatch.setattr(order_reports, "on_execution", on_execution)
    assert found()


def test_a_lease_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    original = BreakerLink._on_lease

    def on_lease(link: BreakerLink, *more: Any) -> Any:
        effects = original(link, *more)
        link.lease_until = float("inf")
        return effects

    monkeypatch.setattr(BreakerLink, "_on_lease", on_lease)
    assert "written without a lease" in found()


def test_a_reset_that_keeps_the_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    original = TradingCircuitBreaker.reset

    def reset(circuit: TradingCircuitBreaker) -> None:
        failed = len(circuit.failures)
        original(circuit)
        for _ in range(failed):
            circuit.record_failure()

    monkeypatch.setattr(TradingCircuitBreaker, "reset", reset)
    assert "closed with failures" in found()


def test_a_cancel_behind_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Cancelling.send_due

    def send_due(cancelling: Cancelling) -> None:
        if not cancelling._core.ledger.unanswered():
            original(cancelling)

    monkeypatch.setattr(Cancelling, "send_due", send_due)
    assert "a cancel waits although it could leave" in found()


def test_a_generation_that_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    def counts(circuit: TradingCircuitBreaker, order_id: str | None) -> bool:
        return order_id is None or circuit._orders.pop(order_id, None) is not None

    monkeypatch.setattr(TradingCircuitBreaker, "_takes_outcome", counts)
    assert "of an earlier generation" in found()


def test_a_resend_that_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Core.find

    def find(core: Core, order_id: str) -> Any:
        record = original(core, order_id)
        return None if record is not None and record.state == "done" else record

    monkeypatch.setattr(Core, "find", find)
    assert "handed over twice" in found()
