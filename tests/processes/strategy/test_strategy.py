"""The example strategy: trades only with the paper gateway, and waits for whatever is away."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orderfuse.bus.events import Blocked, Filled, Passed, Rejected
from orderfuse.circuit import CircuitBreakerOpenException
from orderfuse.client.sync import OrderClient
from orderfuse.errors import BreakerUnavailable, OrderUnacknowledged
from orderfuse.settings import Settings
from services.strategy.__main__ import PAPER_ACCOUNT, traded
from services.strategy.obstacles import Obstacles
from tests.processes.orderfuse.process import Service
from tests.processes.orderfuse.wire import WireBreaker
from tests.states import Fields


class Log:
    """What was logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *values: Any) -> None:
        self.lines.append(text.format(*values))

    warning = info


def fill(breaker: WireBreaker, fields: Fields) -> None:
    about = {"order_id": fields["order_id"], "strategy_id": fields["strategy_id"]}
    shares = fields["order"]["totalQuantity"]
    numbers = {"shares": shares, "price": 190.5, "cum_qty": shares, "avg_price": 190.5, "remaining": 0}
    breaker.tell(Passed(**about, generation=1, trial=False))
    breaker.tell(Filled(**about, exec_id="e1", done=True, **numbers))


def block(breaker: WireBreaker, fields: Fields) -> None:
    breaker.tell(
        Blocked(
            order_id=fields["order_id"],
            strategy_id=fields["strategy_id"],
            reason="5 failures in 60s window",
            code="circuit_open",
            scope="system",
            state="OPEN",
            retry_at=None,
            failures=5,
            failure_count=5,
        )
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[OrderClient]:
    with OrderClient("example", settings=settings) as client:
        yield client


def test_an_order_names_the_paper_account_and_is_small(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, fill) as breaker:
        assert traded(client, "AAPL", "BUY", Obstacles(Log()))
        sent = breaker.next_order()
    assert sent["account"] == PAPER_ACCOUNT == "DU0000000"
    assert sent["strategy_id"] == "example"
    assert sent["order"] == {"action": "BUY", "orderType": "MKT", "totalQuantity": 10}
    assert sent["contract"]["symbol"] == "AAPL"


def test_a_blocked_order_may_be_tried_again_and_one_that_may_be_at_ib_may_not(
    settings: Settings, client: OrderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireBreaker(settings, block):
        assert not traded(client, "AAPL", "BUY", Obstacles(Log()))

    def unacknowledged(*_: Any, **__: Any) -> None:
        raise OrderUnacknowledged("nobody knows", maybe_at_ib=True)

    monkeypatch.setattr(client, "submit", unacknowledged)
    assert traded(client, "AAPL", "BUY", Obstacles(Log()))


def test_a_rejected_order_is_told_and_the_next_one_sent(settings: Settings, client: OrderClient) -> None:
    def reject(breaker: WireBreaker, fields: Fields) -> None:
        about = {"order_id": fields["order_id"], "strategy_id": fields["strategy_id"]}
        breaker.tell(Passed(**about, generation=1, trial=False))
        breaker.tell(Rejected(**about, ib_code=201, reason="no"))

    with WireBreaker(settings, reject):
        assert traded(client, "AAPL", "BUY", Obstacles(Log()))


def test_a_reason_is_said_once_and_its_repeats_are_counted() -> None:
    log = Log()
    obstacles = Obstacles(log)
    for _ in range(5):
        obstacles.note(BreakerUnavailable("no breaker"))
    for _ in range(2):
        obstacles.note(CircuitBreakerOpenException("5 failures"))
    obstacles.over()
    obstacles.over()
    assert log.lines == [
        "waiting: no breaker",
        "... and 4 more times",
        "waiting: Circuit breaker OPEN: 5 failures",
        "... and 1 more times",
        "trading again",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_waits_then_buys_and_sells_in_turn(home: Path, settings: Settings, number: int) -> None:
    with Service("strategy", home) as strategy:
        strategy.wait_for("waiting: no breaker")
        with WireBreaker(settings, block) as breaker:
            strategy.wait_for("waiting: Circuit breaker OPEN: 5 failures in 60s window")
            breaker.on_order = fill
            strategy.wait_for("trading again")
            strategy.wait_for("BUY 10 AAPL filled at 190.5")
            strategy.wait_for("SELL 10 AAPL filled at 190.5")
            assert strategy.stop(number) == 0
            orders = [breaker.next_order() for _ in breaker.frames]
        assert strategy.said("Traceback") == 0
    sides = [order["order"]["action"] for order in orders]
    assert sides[-2:] == ["BUY", "SELL"]
    assert {order["account"] for order in orders} == {PAPER_ACCOUNT}
    # A blocked order never comes back: whoever tries again does so under a new id.
    assert all(a["order_id"] != b["order_id"] for a, b in itertools.combinations(orders, 2))
