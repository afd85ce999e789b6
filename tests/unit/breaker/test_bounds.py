"""Every bound of what the breaker keeps, filled by one who sends too much: it holds, and nobody else notices."""

from collections import Counter
from typing import Any

import pytest

from orderfuse.bus.orders import Cancel
from orderfuse.settings import BreakerSettings
from services.breaker.batch import Batch
from services.breaker.control.lookups import Lookup, Lookups
from services.breaker.refusals import FEW, Budget, Refusals, Refused
from services.breaker.remembered import RememberedCancels, Share
from services.breaker.stage_bounds import of_stage
from services.breaker.store.keeping import AGAIN_SECS, DAY_NS
from services.wire.standing import Drift
from tests.unit.breaker.harness import SECOND, filled, trading, wall_ns_of
from tests.unit.breaker.test_restart import event, open_journal

pytestmark = pytest.mark.long

SMALL: dict[str, Any] = {"max_orders_per_second": 5, "queue_limit": 4, "max_strategies": 3, "keep_events_mb": 1}
BOUNDS = {bound.what: bound for bound in of_stage(BreakerSettings(**SMALL))}


def beside(r):
    """Another program's strategy still trades."""
    r.submit("beside-1", "beside", sender="pid 9")
    return "passed" in r.kinds("beside-1")


def orders_in_a_second(most):
    r = trading(**SMALL)
    for number in range(3 * most):
        r.submit(f"o-{number}", sender="pid 1")
    assert beside(r)
    return sum("passed" in r.kinds(f"o-{number}") for number in range(3 * most))


def orders_that_wait(most):
    r = trading(**{**SMALL, "max_orders_per_second": 100}, window=1)
    r.submit("b-0", "beta")
    for number in range(3 * most):
        r.submit(f"o-{number}", sender="pid 1")
    assert r.last(f"o-{3 * most - 1}")["code"] == "queue_full"
    waiting = r.stage.core.queues.lengths()["alpha"]
    r.executor.accepted("b-0", "beta")
    r.submit("b-1", "beta")
    assert "blocked" not in r.kinds("b-1")
    return waiting


def places(most):
    r = trading(**SMALL)
    for number in range(10 * most):
        r.submit(f"o-{number}", f"s-{number}", sender="pid 1")
        r.executor.filled(f"o-{number}", f"s-{number}")
    assert beside(r)
    return len(r.stage.core.scopes.strategies)


def topics(most):
    publisher = trading().stage.core.publisher
    publisher.topics.clear()
    for number in range(most + 10):
        publisher.order_event(filled("o-1", f"s-{number}"), known=True)
    assert publisher.order_event(filled("o-1", "s-0"), known=True)["seq"] == 2, "above what it had"
    return len(publisher.topics)


def fences(most):
    r = trading(max_strategies=1000)
    found = 0
    for number in range(2 * most):
        r.ask("trip", scope=f"strategy:s-{number}", reason="x")
        found = max(found, len(r.stage.core.fences))
    return found


def heartbeats(most):
    r = trading(**SMALL)
    for number in range(most + 10):
        r.say(kind="heartbeat", strategy_id=f"n-{number}", sent_ns=wall_ns_of(r.clock), cancel_after_ms=60_000)
    return len(r.stage.dead_man._guarded)


def cancels_of_one(most):
    r = trading(**SMALL)
    for number in range(2 * most):
        r.cancel(f"none-{number}", f"c-{number}", f"n-{number}", sender="pid 1")
    r.cancel("early", "c-early", "beta", sender="pid 2")
    assert r.events[-1]["code"] == "remembered"
    return len(r.stage.gates.remembered._kept) - 1


def cancels_of_all(most):
    kept = RememberedCancels()
    for number in range(most + 10):
        share = Share(f"s-{number // 100}", f"pid {number // 100}")
        if not kept.refuses(("s", f"o-{number}"), share):
            kept.add(("s", f"o-{number}"), share, 0)
    return len(kept._kept)


def refusals_of_one(most):
    kept = Refusals()
    for number in range(most + 10):
        kept.add(f"o-{number}", Refused("s", "s", b"", b""), SECOND, 0)
    assert not kept.has_room("s", "s", 0)
    assert kept.has_room("other", "other", 0)
    return len(kept._refused)


def refusals_of_all(most):
    kept = Refusals()
    for number in range(20 * most):
        owner = f"s-{number // 25_000}"
        kept.add(f"o-{number}", Refused(owner, owner, b"", b""), SECOND, 0)
    assert kept.has_room("another", "another", 0)
    # A few for each program beyond.
    return len(kept._refused) - 40 * FEW


def shut_out(most):
    kept = Refusals()
    for number in range(6000):
        kept.add(f"o-{number}", Refused("p", "s", b"", b""), SECOND, 0)
    for number in range(2 * most):
        if kept.can_answer("p", f"n-{number}", 0):
            kept.add(f"n-{number}", Refused("p", f"n-{number}", b"", b""), SECOND, 0)
    assert kept.can_answer("other", "other", 0)
    return len(kept._shut_until_ns)


def answered_requests(most):
    answers = trading().stage.answers
    for number in range(most + 10):
        answers.pass_on(Cancel(request_id=f"c-{number}", order_id="o", strategy_id="s", sent_ns=0), "sent", "", "")
    return len(answers._requests)


def budgets(most):
    budget = Budget()
    for number in range(most + 10):
        budget.spend(f"pid {number}", 0)
    return len(budget._full_at_ns)


def pages_of_one(_):
    kept = Lookups()
    while not kept.refusal("pid 1"):
        kept.add("pid 1", Lookup("token", endless()))
    assert not kept.refusal("pid 2")
    return len(kept)


def pages_of_all(most):
    kept = Lookups()
    for number in range(10 * most):
        if not kept.refusal(f"pid {number % 40}"):
            kept.add(f"pid {number % 40}", Lookup("token", endless()))
    return len(kept)


def endless():
    while True:
        yield


def reported_conditions(most):
    r = trading()
    for number in range(2 * most):
        r.ask("report", what="condition", name=f"c-{number}", reason="x")
    return len(r.state()["conditions"])


def pending_trips(most):
    r = trading()
    r.executor.is_in = False
    for number in range(2 * most):
        r.ask("trip", f"t-{number}", reason="x")
    return len(r.stage.operator.trips._pending)


def pending_accepts(most):
    r = trading()
    r.executor.drift = (Drift(con_id=1, symbol="SPY", expected=0.0, actual=5.0),)
    r.executor.lease()
    for number in range(2 * most):
        r.ask("accept", f"t-{number}", what="drift", reason="x")
    assert r.replies[f"t-{2 * most - 1}"]["code"] == "not_allowed"
    return 2 * most - len(r.replies)


def last_failures(most):
    r = trading(circuit={"failure_threshold": 1000})
    for number in range(3 * most):
        r.submit(f"o-{number}")
        r.executor.rejected(f"o-{number}", code=201 + number)
    status = r.ask("status")
    return max(len(circuit["last_failures"]) for circuit in status["circuits"])


def kept_at_once(most):
    budget = Budget()
    return Counter(budget.spend("pid 1", 0) for _ in range(2 * most))[True]


def kept_in_a_minute(_):
    budget = Budget()
    while budget.spend("pid 1", 0):
        pass
    return Counter(budget.spend("pid 1", round(step * 0.1 * SECOND)) for step in range(1, 601))[True]


def megabytes(most, tmp_path):
    journal = open_journal(tmp_path, wall_ns=1, monotonic_ns=0, keep_events_bytes=most * 1_000_000)
    for start in range(0, 12_000, 1000):
        journal.save(Batch(publications=[event(start + number, at_ns=1) for number in range(1, 1001)]))
    for step in range(40):
        journal._keeping.tidy(step * AGAIN_SECS, DAY_NS)
    return journal._keeping._events_bytes() / 1_000_000


WALKS = {
    "orders in a second": orders_in_a_second,
    "orders and replaces that wait": orders_that_wait,
    "strategies with a place": places,
    "numbered topics": topics,
    "fences of strategies": fences,
    "names with a heartbeat": heartbeats,
    "cancels that wait for their order": cancels_of_one,
    "cancels that wait for their order, in all": cancels_of_all,
    "refusals that are remembered and not on disk": refusals_of_one,
    "refusals that are remembered and not on disk, in all": refusals_of_all,
    "programs and strategies that are refused because an answer found no room": shut_out,
    "answered requests at hand": answered_requests,
    "programs with a budget of kept refusals": budgets,
    "pages under way": pages_of_one,
    "pages under way, in all": pages_of_all,
    "reported conditions": reported_conditions,
    "trips that wait for the executor": pending_trips,
    "requests to accept that wait for the executor": pending_accepts,
    "failures that are told": last_failures,
    "refusals on disk at once": kept_at_once,
    "refusals on disk, in a minute after those": kept_in_a_minute,
    "megabytes of events": megabytes,
}
# Walked by tests of their own.
ELSEWHERE = {
    "days of events and answered requests": "test_restart.py",
    "days of orders that never passed": "test_restart.py",
    "decisions of people": "test_restart.py",
}


def test_every_bound_is_walked():
    assert set(WALKS) | set(ELSEWHERE) == set(BOUNDS)


@pytest.mark.parametrize("what", WALKS)
def test_a_bound_holds_and_whoever_fills_it_is_refused(what, tmp_path):
    most = BOUNDS[what].most
    walk = WALKS[what]
    walked: Any = walk
    found = walked(most, tmp_path) if walk is megabytes else walked(most)
    assert found <= most, BOUNDS[what].full
    assert found > 0.8 * most, "it was not filled, so nothing is proven"
