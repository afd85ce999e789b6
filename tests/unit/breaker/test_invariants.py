"""A stage that would do what must never be ends the process instead: each invariant, broken once."""

import pytest

from orderfuse.bus.events import Expired
from orderfuse.circuit import CircuitState, TradingCircuitBreaker
from orderfuse.circuit.types import Verdict
from services.breaker.core import Core
from services.breaker.deadlines import Deadline, Due
from services.breaker.queues import Queues
from services.wire.dispatch import Place
from tests.unit.breaker.harness import BUY, trading, wall_ns_of


def test_more_orders_than_the_window_has_places(monkeypatch):
    r = trading(window=2)
    monkeypatch.setattr(Core, "has_room", lambda _: True)
    r.submit("o-1")
    r.submit("o-2")
    with pytest.raises(AssertionError, match="3 orders are beyond the breaker, allowed are 2"):
        r.submit("o-3")


def test_a_place_in_the_window_of_what_is_not_there():
    r = trading()
    r.stage.core.out.add("ghost")
    with pytest.raises(AssertionError, match="ghost is in the window and not in memory"):
        r.poll()


@pytest.mark.parametrize("state", ["working", "unknown", "queued"])
def test_a_place_in_the_window_of_an_order_that_ib_has_answered(state):
    r = trading()
    r.submit("o-1")
    r.stage.core.orders["o-1"].state = state
    with pytest.raises(AssertionError, match=f"o-1 is in the window and {state}"):
        r.poll()


def test_a_place_in_the_window_of_a_change_that_is_not_under_way():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.stage.core.out.add("o-1~1")
    with pytest.raises(AssertionError, match="o-1~1 is in the window and not under way"):
        r.poll()


def test_a_fence_that_goes_back():
    r = trading()
    r.stage.core.fence -= 1
    with pytest.raises(AssertionError, match="the fence went back"):
        r.poll()


def test_an_order_that_is_told_as_passed_and_not_handed_over(monkeypatch):
    r = trading()
    send = Core.send
    monkeypatch.setattr(Core, "send", lambda core, m: None if isinstance(m, Place) else send(core, m))
    with pytest.raises(AssertionError, match=r"told as passed \['o-1'\], handed over \[\]"):
        r.submit("o-1")


def test_an_order_that_is_handed_over_and_not_told_as_passed(monkeypatch):
    r = trading()
    monkeypatch.setattr(Core, "tell", lambda core, record, _: core.save(record))
    with pytest.raises(AssertionError, match=r"told as passed \[\], handed over \['o-1'\]"):
        r.submit("o-1")


def test_an_order_that_passes_an_open_circuit(monkeypatch):
    r = trading()
    r.ask("trip", reason="stop")
    monkeypatch.setattr(TradingCircuitBreaker, "is_trading_allowed", lambda _: (True, None))
    monkeypatch.setattr(TradingCircuitBreaker, "admit", lambda *_: Verdict(True, None, 1))
    assert r.circuit().state is CircuitState.OPEN
    with pytest.raises(AssertionError, match="o-1 is admitted while a circuit is OPEN"):
        r.submit("o-1")


def test_an_order_without_an_executor_to_take_it(monkeypatch):
    r = trading()
    r.wait(4, leases=False)
    monkeypatch.setattr(Core, "has_room", lambda _: True)
    monkeypatch.setattr(TradingCircuitBreaker, "is_trading_allowed", lambda _: (True, None))
    monkeypatch.setattr(TradingCircuitBreaker, "admit", lambda *_: Verdict(True, None, 1))
    r.circuit().reset()
    with pytest.raises(AssertionError, match="o-1 is handed over, and nobody is there to take it"):
        r.submit("o-1")


def test_the_end_of_an_order_that_passed_and_is_kept_nowhere():
    r = trading()
    r.submit("o-1")
    core = r.stage.core
    with pytest.raises(AssertionError, match="the end of o-1, which has passed, must be kept"):
        core.end(core.orders["o-1"], Expired(order_id="o-1", strategy_id="alpha", age_ms=1), keep=False)


def test_an_end_that_an_order_which_lives_has():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    record = r.stage.core.orders["o-1"]
    record.end = {"kind": "filled"}
    r.stage.core.save(record)
    with pytest.raises(AssertionError, match="o-1 is working, its end is"):
        r.poll()


def test_an_order_that_waits_twice():
    r = trading()
    r.submit("o-1")
    queues: Queues = r.stage.core.queues
    with pytest.raises(AssertionError, match="o-1 is out: it does not wait"):
        queues.add(r.stage.core.orders["o-1"])


def test_an_order_that_waits_and_would_be_on_disk():
    r = trading(window=1)
    r.submit("o-1")
    r.submit("o-2")
    core = r.stage.core
    core.save(core.orders["o-2"])
    with pytest.raises(AssertionError, match="o-2 waits, and would be on disk"):
        r.poll()


def test_an_order_that_stands_in_a_queue_and_waits_not(monkeypatch):
    r = trading()
    r.submit("o-1")
    core = r.stage.core
    monkeypatch.setattr(Queues, "has", lambda *_: True)
    core.save(core.orders["o-1"])
    with pytest.raises(AssertionError, match="o-1 is out, and waits in a queue"):
        r.poll()


def test_an_order_that_is_out_and_takes_no_place():
    r = trading()
    r.submit("o-1")
    core = r.stage.core
    core.leave_window("o-1")
    core.save(core.orders["o-1"])
    with pytest.raises(AssertionError, match="o-1 is out and takes no place in the window"):
        r.poll()


def test_an_order_that_would_be_out_for_ever():
    r = trading()
    r.submit("o-1")
    core = r.stage.core
    core.deadlines.drop(Deadline(Due.ANSWER, "o-1"))
    core.save(core.orders["o-1"])
    with pytest.raises(AssertionError, match="o-1 is out for ever"):
        r.poll()


def test_a_change_that_would_keep_its_place_for_ever():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    fields = {"request_id": "r-1", "order_id": "o-1", "strategy_id": "alpha", "revision": 1}
    r.say(kind="replace", sent_ns=wall_ns_of(r.clock), order={**BUY, "lmtPrice": 11.0}, **fields)
    core = r.stage.core
    assert core.out == {"o-1~1"}
    core.deadlines.drop(Deadline(Due.ANSWER_TO_CHANGE, "o-1~1"))
    core.save(core.orders["o-1"])
    with pytest.raises(AssertionError, match="o-1~1 is in the window for ever"):
        r.poll()
