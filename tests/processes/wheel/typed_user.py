"""A user's program, checked with `mypy --strict` where only the wheel is installed; it says the types it relies on."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, assert_never, assert_type

from orderfuse import (
    Attached,
    CircuitBreakerConfig,
    CircuitBreakerOpenException,
    CircuitState,
    ControlClient,
    ControlRefused,
    OrderBlocked,
    OrderClient,
    OrderError,
    OrderHandle,
    OrderUnacknowledged,
    Settings,
    TradingCircuitBreaker,
    Transition,
    Verdict,
    Watcher,
    __version__,
    load_settings,
)
from orderfuse.events import (
    AnyOrderEvent,
    Cancelled,
    Expired,
    Filled,
    Gap,
    Health,
    Heard,
    Invalid,
    NotPlaced,
    OrderEvent,
    Passed,
    Rejected,
    RequestPassed,
    Silent,
    State,
    Unreadable,
)

CONTRACT = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
BUY: dict[str, Any] = {"action": "BUY", "orderType": "LMT", "totalQuantity": 10, "lmtPrice": 195.0}
STOP: dict[str, Any] = {"action": "SELL", "orderType": "STP", "totalQuantity": 10, "auxPrice": 180.0}


def trade(client: OrderClient) -> float:
    try:
        handle = client.submit(CONTRACT, BUY, ttl_ms=2000, attached=[STOP, Attached(order_id="s", order=STOP)])
    except CircuitBreakerOpenException as no:
        assert_type(no.state, CircuitState)
        assert_type(no.failure_count, int)
        return 0.0
    except OrderBlocked as no:
        assert_type(no.code, str)
        return 0.0
    except OrderUnacknowledged as unclear:
        assert_type(unclear.maybe_at_ib, bool)
        return 0.0
    except OrderError as no:
        assert_type(no.order_id, str)
        return 0.0
    assert_type(handle, OrderHandle)
    assert_type(handle.passed, Passed)
    assert_type(handle.events, tuple[AnyOrderEvent, ...])
    assert_type(handle.attached, tuple[OrderHandle, ...])
    assert_type(handle.cancel(), RequestPassed)
    assert_type(client.cancel(handle.order_id), RequestPassed)
    assert_type(client.replace(handle.order_id, {**BUY, "lmtPrice": 196.0}, revision=1), RequestPassed)
    assert_type(client.status(handle.order_id), dict[str, Any] | None)
    assert_type(client.reports(timeout=1), Iterator[AnyOrderEvent])
    return price_of(handle)


def price_of(handle: OrderHandle) -> float:
    end = handle.wait(timeout=60)
    assert_type(end.kind, str)
    match end:
        case Filled(avg_price=price):
            return assert_type(price, float)
        case Cancelled(filled=shares) if shares:
            return assert_type(shares, float)
        case Cancelled() | Rejected() | NotPlaced() | Expired() | Invalid():
            return 0.0
        case _:
            assert_never(end)


def watch(settings: Settings) -> None:
    with Watcher(settings, ("order/", "state/")) as watcher:
        for topic, item in watcher:
            assert_type(topic, str)
            match item:
                case State():
                    assert_type(item.conditions, list[str])
                case Health():
                    assert_type(item.queued, dict[str, int])
                case OrderEvent():
                    assert_type(item.order_id, str)
                case Silent() | Heard() | Gap() | Unreadable():
                    print(topic, item)
                case _:
                    assert_never(item)


def operate(settings: Settings) -> None:
    with ControlClient(settings) as control:
        try:
            assert_type(control.request("trip", reason="too fast", timeout_s=2.0), dict[str, Any])
        except ControlRefused as no:
            assert_type(no.code, str)


def guard() -> None:
    breaker = TradingCircuitBreaker(CircuitBreakerConfig(failure_threshold=3, open_timeout_secs=12.5))
    verdict = breaker.admit("o-1")
    assert_type(verdict, Verdict)
    assert_type(verdict.retry_at, datetime | None)
    if verdict:
        assert_type(breaker.record_failure("o-1"), CircuitState)
    assert_type(breaker.is_trading_allowed(), tuple[bool, str | None])
    assert_type(breaker.get_state(), dict[str, Any])
    assert_type(breaker.failures, list[datetime])
    told: list[Transition] = []
    breaker.on_transition = told.append
    again = TradingCircuitBreaker.restore(breaker.snapshot(), breaker.config)
    assert_type(again, TradingCircuitBreaker)


def main() -> None:
    settings = load_settings()
    assert_type(settings.ib.port, int)
    assert_type(__version__, str)
    with OrderClient("typed", settings=settings, after_seq=7) as client:
        assert_type(client, OrderClient)
        trade(client)
        client.heartbeat(cancel_after_ms=5000)
