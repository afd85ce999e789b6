"""The engine on the paper gateway, with a circuit breaker and without one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orderfuse.circuit import CircuitBreakerConfig, CircuitBreakerOpenException, CircuitState, TradingCircuitBreaker
from services.paper.faults.around_orders import RejectOrders
from services.paper.server.gateway import PaperGateway
from services.wire.dispatch import GlobalCancel
from tests.orders import MARKET, RESTING, STOCK, record_of, submit
from tests.processes.executor.support import Engine, ManualClock, engine_on, orders_on_the_wire, paper, run, until


def new_breaker(**config: Any) -> tuple[TradingCircuitBreaker, ManualClock]:
    clock = ManualClock()
    return TradingCircuitBreaker(CircuitBreakerConfig(**config), clock=clock), clock


async def fail(gateway: PaperGateway, engine: Engine, count: int, name: str = "bad") -> None:
    gateway.faults.arm(RejectOrders(count=count, code=201, text="Order rejected - reason: not today"))
    for number in range(count):
        result = await engine.place_order(submit(f"{name}-{number}"))
        assert (result.status, result.ib_code) == ("rejected", 201)


def test_order_blocked_by_circuit_breaker() -> None:
    async def story() -> None:
        breaker, _ = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            await fail(gateway, engine, 5)
            with pytest.raises(CircuitBreakerOpenException) as caught:
                await engine.place_order(submit("blocked"))
            assert str(caught.value) == "Circuit breaker OPEN: 5 failures in 60s window"
            assert caught.value.state is CircuitState.OPEN
            assert (caught.value.failure_count, caught.value.failures_in_window) == (5, 5)
            assert "blocked" not in orders_on_the_wire(gateway)
            assert not engine.ledger.knows("blocked")

    run(story)


def test_circuit_breaker_transitions() -> None:
    async def story() -> None:
        breaker, clock = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            assert breaker.state.name == "CLOSED"
            await fail(gateway, engine, 5)
            assert breaker.state.name == "OPEN"
            clock.advance(299.999)
            with pytest.raises(CircuitBreakerOpenException):
                await engine.place_order(submit("too-early"))
            clock.advance(0.001)
            assert breaker.poll() is CircuitState.HALF_OPEN
            for number in range(3):
                assert breaker.state.name == "HALF_OPEN"
                assert (await engine.place_order(submit(f"trial-{number}"))).status == "filled"
            assert breaker.state.name == "CLOSED"
            assert breaker.failures == []

    run(story)


def test_an_order_is_placed_while_the_circuit_is_closed() -> None:
    async def story() -> None:
        breaker, _ = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            result = await engine.place_order(submit("o-1"))
            assert (result.status, result.filled) == ("filled", 100)
            assert result.ib_order_id > 0
            assert result.perm_id > 0
            assert result.avg_price > 0
            assert breaker.state is CircuitState.CLOSED
            assert orders_on_the_wire(gateway) == ["o-1"]

    run(story)


def test_five_rejections_open_the_circuit() -> None:
    async def story() -> None:
        breaker, _ = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            await fail(gateway, engine, 4)
            assert breaker.state.name == "CLOSED"
            await fail(gateway, engine, 1, name="fifth")
            assert breaker.state is CircuitState.OPEN

    run(story)


def test_a_failed_trial_opens_the_circuit_again() -> None:
    async def story() -> None:
        breaker, clock = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            await fail(gateway, engine, 5)
            clock.advance(300)
            assert (await engine.place_order(submit("trial"))).status == "filled"
            await fail(gateway, engine, 1, name="bad-trial")
            assert breaker.state is CircuitState.OPEN

    run(story)


def test_three_orders_resting_at_ib_close_a_half_open_circuit() -> None:
    async def story() -> None:
        breaker, clock = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            await fail(gateway, engine, 5)
            clock.advance(300)
            for number in range(3):
                result = await engine.place_order(submit(f"trial-{number}", order=RESTING))
                assert result.status == "accepted"
            assert breaker.state is CircuitState.CLOSED

    run(story)


def test_nothing_reaches_the_gateway_while_the_circuit_is_open() -> None:
    async def story() -> None:
        breaker, _ = new_breaker()
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            breaker.trip("by hand", latch=True)
            for number in range(20):
                with pytest.raises(CircuitBreakerOpenException, match="by hand"):
                    await engine.place_order(submit(f"o-{number}"))
            assert orders_on_the_wire(gateway) == []

    run(story)


def test_without_a_breaker_orders_are_placed_just_the_same() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            await fail(gateway, engine, 6)
            result = await engine.place_order(submit("o-1"))
            assert result.status == "filled"
            assert orders_on_the_wire(gateway)[-1] == "o-1"

    run(story)


def test_a_malformed_order_counts_as_a_failure_and_an_invalid_one_does_not() -> None:
    async def story() -> None:
        breaker, _ = new_breaker(failure_threshold=1)
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            result = await engine.place_order(submit("o-1", order={**MARKET, "transmit": False}))
            assert result.status == "invalid"
            assert "transmit" in result.reason
            assert breaker.state.name == "CLOSED"
            gateway.faults.arm(RejectOrders(count=1, code=110, text="The price does not conform"))
            assert (await engine.place_order(submit("o-2", order=RESTING))).ib_code == 110
            assert breaker.state is CircuitState.OPEN
            assert orders_on_the_wire(gateway) == ["o-2"]

    run(story)


def test_an_invalid_order_gives_its_trial_back() -> None:
    async def story() -> None:
        breaker, clock = new_breaker(half_open_max_tries=1)
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            breaker.trip("test")
            clock.advance(300)
            assert (await engine.place_order(submit("o-1", order={"action": "BUY"}))).status == "invalid"
            assert (await engine.place_order(submit("o-2"))).status == "filled"
            assert breaker.state is CircuitState.CLOSED

    run(story)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"attached": [{"order_id": "child", "order": MARKET}]}, "go through the breaker only"),
        ({"account": "DU9999999"}, "DU9999999"),
        ({"contract": {"symbol": "AAPL"}}, "secType"),
        ({"order": {**MARKET, "algoParams": [{"tag": "a", "value": "b"}]}}, "algoStrategy"),
        ({"order": {**MARKET, "faGroup": "mine"}}, "faGroup"),
    ],
)
def test_orders_that_must_not_leave_are_invalid(change: dict[str, Any], complaint: str) -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            result = await engine.place_order(submit("o-1", **change))
            assert result.status == "invalid"
            assert complaint in result.reason
            assert orders_on_the_wire(gateway) == []

    run(story)


def test_the_same_id_is_never_placed_twice() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            first, second = await asyncio.gather(engine.place_order(submit("o-1")), engine.place_order(submit("o-1")))
            assert {first.status, second.status} == {"filled", "invalid"}
            assert (await engine.place_order(submit("o-1"))).status == "invalid"
            assert orders_on_the_wire(gateway) == ["o-1"]

    run(story)


def test_without_a_gateway_an_order_is_not_placed_and_counts_for_nothing() -> None:
    async def story() -> None:
        breaker, _ = new_breaker(failure_threshold=1)
        async with paper() as gateway, engine_on(gateway, breaker) as engine:
            await gateway.stop()
            await until(lambda: not engine.connection.usable, "the loss of the gateway")
            result = await engine.place_order(submit("o-1"))
            assert result.status == "not_placed"
            assert breaker.state is CircuitState.CLOSED

    run(story)


def test_no_answer_within_five_seconds_is_unknown_and_a_failure() -> None:
    async def story() -> None:
        breaker, _ = new_breaker(failure_threshold=1)
        async with paper(ack_delay_ms=8000) as gateway, engine_on(gateway, breaker) as engine:
            result = await engine.place_order(submit("o-1"))
            assert result.status == "unknown"
            assert breaker.state is CircuitState.OPEN
            assert engine.ledger.unanswered() == ["o-1"]

    run(story)


def test_an_order_can_be_cancelled() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            await engine.place_order(submit("o-1", order=RESTING))
            engine.cancel("o-1", "r-1")
            await until(lambda: record_of(engine.ledger, "o-1").ended == "cancelled", "the cancel")
            assert [e.fields["orderId"] for e in gateway.record.entries("cancelOrder", direction="in")] == ["1"]

    run(story)


def test_a_global_cancel_ends_all_orders_as_asked() -> None:
    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            for number in range(3):
                await engine.place_order(submit(f"o-{number}", order=RESTING))
            engine.cancel_all(GlobalCancel(reason="test", number=1, left_ms=600_000))
            await until(
                lambda: all(record_of(engine.ledger, f"o-{n}").ended == "cancelled" for n in range(3)), "the cancels"
            )
            assert {record_of(engine.ledger, f"o-{n}").counted for n in range(3)} == {"success"}
            assert len(list(gateway.record.entries("reqGlobalCancel", direction="in"))) == 1

    run(story)


def test_the_pacing_of_ib_is_never_broken_and_a_cancel_is_not_held_up() -> None:
    async def story() -> None:
        # The gateway answers a message too many in one second with error 100.
        async with paper(messages_per_second=20) as gateway, engine_on(gateway, messages_per_second=18) as engine:
            placing = [asyncio.create_task(engine.place_order(submit(f"o-{n}", order=RESTING))) for n in range(40)]
            await until(lambda: len(orders_on_the_wire(gateway)) >= 10, "the first orders")
            engine.cancel("o-0", None)
            await until(lambda: record_of(engine.ledger, "o-0").ended == "cancelled", "the cancel")
            assert len(orders_on_the_wire(gateway)) < 40
            results = await asyncio.gather(*placing)
            assert {result.status for result in results} == {"accepted"}
            sent = [entry.ns / 1e9 for entry in gateway.record.entries(direction="in")]
            assert max(sum(1 for at in sent if start <= at < start + 1.0) for start in sent) <= 20
            assert not [e for e in gateway.record.entries("error") if e.fields.get("code") == "100"]

    run(story)


def test_the_contract_and_order_reach_the_wire_as_they_were_given() -> None:
    async def story() -> None:
        order = {
            "action": "SELL",
            "totalQuantity": 7,
            "orderType": "LMT",
            "lmtPrice": 5000.25,
            "tif": "GTC",
            "outsideRth": True,
            "algoStrategy": "Adaptive",
            "algoParams": [{"tag": "adaptivePriority", "value": "Normal"}],
            "conditions": [{"condType": 1, "conId": 265598, "exch": "SMART", "isMore": False, "price": 100.5}],
        }
        async with paper() as gateway, engine_on(gateway) as engine:
            await engine.place_order(submit("o-1", order=order, contract={**STOCK, "primaryExchange": "NASDAQ"}))
            (sent,) = gateway.record.entries("placeOrder", direction="in")
            expected = {
                "action": "SELL",
                "orderType": "LMT",
                "lmtPrice": "5000.25",
                "tif": "GTC",
                "outsideRth": "1",
                "transmit": "1",
                "orderRef": "o-1",
                "account": "DU0000000",
                "symbol": "AAPL",
                "primaryExchange": "NASDAQ",
                "algoStrategy": "Adaptive",
            }
            assert {name: sent.fields[name] for name in expected} == expected
            assert float(sent.fields["totalQuantity"]) == 7

    run(story)
