"""Names cost nothing: whoever invents them fills nothing with them, and what was decided in one of them stays."""

import msgspec
import pytest

from services.breaker.refusals import KEPT_AT_ONCE, MOST_OF_ALL
from services.breaker.store.history import ReadError
from services.wire.dispatch import Fence, Place
from services.wire.feedback import Adopted
from tests.unit.breaker.harness import BUY, SECOND, STOCK, MemoryHistory, Rig, rig, trading, wall_ns_of

pytestmark = pytest.mark.long

ATTACKER, HONEST, ANOTHER = "pid 1", "pid 2", "pid 3"
HOUR_MS = 3_600_000
LEG = {"action": "SELL", "totalQuantity": 100, "orderType": "STP", "auxPrice": 9.0}


def fill(r, order_id, strategy_id, sender=ATTACKER):
    r.submit(order_id, strategy_id, sender=sender)
    r.executor.filled(order_id, strategy_id)


def rows(r):
    """What lies on disk."""
    history = r.history
    circuits = [scope for scope, kept in history.circuits.items() if kept is not None]
    return (
        len(history.records)
        + len(history.requests)
        + len(circuits)
        + len(history.refused_marks)
        + len(history.seqs)
        + sum(map(len, history.events.values()))
    )


# A circuit that has lost its place.


def test_a_latch_is_there_also_when_its_strategy_leaves_and_comes_back_in_one_turn():
    r = trading(max_strategies=2)
    fill(r, "a-1", "alpha")
    r.submit("a-1", "alpha", sender=ATTACKER, protect=True)
    fill(r, "b-1", "beta")
    with r.one_turn():
        for order_id, strategy_id in (("c-1", "gamma"), ("a-2", "alpha")):
            r.submit(order_id, strategy_id, sender=ATTACKER)
    assert r.last("a-2")["code"] == "latched"
    assert r.stage.core.scopes.resting == 0


def test_the_failures_of_one_strategy_do_not_open_the_system_because_it_comes_and_goes():
    r = trading(max_strategies=3)
    fill(r, "b", "beta", HONEST)
    failed = 0
    for number in range(3):
        for _ in range(3):
            r.submit(f"a-{failed}", "alpha", sender=ATTACKER)
            if "passed" in r.kinds(f"a-{failed}"):
                r.executor.rejected(f"a-{failed}", "alpha")
                failed += 1
        for name in ("gamma", "delta"):
            fill(r, f"{name}-{number}", name)
        r.wait(0.3)
    assert failed >= 5
    assert r.circuit().get_state()["state"] == "CLOSED"


def test_a_strategy_with_an_order_at_ib_has_a_place_however_many_others_have_and_its_trip_reaches_it():
    r = trading(max_strategies=2, window=1)
    for name in ("alpha", "beta"):
        r.submit(f"{name}-0", name, sender=HONEST)
    found = Adopted(
        order_id="lost", strategy_id="gamma", ib_order_id=9, perm_id=9, contract=STOCK, order=BUY, status="Submitted"
    )
    r.executor.tell(found)
    assert r.circuit("strategy:gamma") is not None
    for number in range(60):
        fields = {"request_id": f"r-{number}", "order_id": "lost", "revision": number + 1, "ttl_ms": 5000}
        order = {**BUY, "lmtPrice": 9.0 + number}
        r.say(kind="replace", strategy_id="gamma", sent_ns=wall_ns_of(r.clock), order=order, **fields)
    assert r.ask("trip", scope="strategy:gamma", reason="x", cancel="ours") is None, "it waits for the fence"
    r.executor.fenced()
    assert r.replies["t"]["cancelling"] == ["lost"]


class Unreadable(MemoryHistory):
    """The disk does not tell of circuits."""

    broken = False

    def find_resting_circuit(self, scope):
        if self.broken:
            raise ReadError("the disk does not tell")
        return super().find_resting_circuit(scope)


def test_a_trip_needs_no_answer_of_the_journal():
    r = Rig()
    r = Rig(r.settings, r.clock, Unreadable(r.clock))
    r.executor.join()
    r.history.broken = True
    r.ask("trip", scope="strategy:alpha", reason="it looks wrong")
    assert r.circuit("strategy:alpha").get_state()["latched"]
    r.history.broken = False
    r.submit("a-1", "alpha")
    assert r.last("a-1")["code"] == "latched"


def test_names_that_a_person_stops_and_that_nobody_uses_leave_places_for_those_that_are_used():
    r = trading(max_strategies=10)
    fill(r, "h-1", "honest", HONEST)
    for number in range(20):
        r.ask("trip", scope=f"strategy:x-{number}", reason="x")
        r.executor.fenced()
    assert r.replies["t"]["code"] == "not_allowed"
    for number in range(4):
        fill(r, f"n-{number}", f"new-{number}", ANOTHER)
    assert r.kinds("n-3") == ["passed", "filled"]
    r.ask("trip", scope="strategy:honest", reason="whoever trades can always be stopped")
    assert r.circuit("strategy:honest").get_state()["latched"]


# What was refused.


@pytest.mark.parametrize("place", ["none", "one later"])
def test_what_was_refused_before_a_strategy_had_a_place_is_refused_after_a_restart(place):
    r = trading(max_strategies=1, window=1)
    r.submit("h-1", "honest", sender=HONEST)
    sent = wall_ns_of(r.clock)
    r.submit("x", "alpha", sender=ATTACKER, ttl_ms=HOUR_MS)
    assert r.last("x")["code"] == "too_many_strategies"
    r.executor.filled("h-1", "honest")
    r.wait(2)
    if place == "one later":
        fill(r, "y", "alpha")
    r.wait(1)
    r.start()
    r.executor.join()
    r.wait(1)
    r.submit("x", "alpha", sender=ATTACKER, ttl_ms=HOUR_MS, sent_ns=sent)
    assert r.kinds("x")[-1] == "blocked"


def test_what_found_no_room_is_refused_whoever_sends_it_again(monkeypatch):
    monkeypatch.setattr("services.breaker.refusals.MOST_OF_ALL", 20)
    monkeypatch.setattr("services.breaker.refusals.FEW", 2)
    r = trading(max_strategies=1, window=1)
    r.submit("h-1", "honest", sender=HONEST)
    sent = wall_ns_of(r.clock)
    for number in range(40):
        r.submit(f"x-{number}", "alpha", sender=ATTACKER, ttl_ms=HOUR_MS)
    r.executor.filled("h-1", "honest")
    r.wait(2)
    for number in range(40):
        r.submit(f"x-{number}", "alpha", sender=ANOTHER, ttl_ms=HOUR_MS, sent_ns=sent)
        assert "passed" not in r.kinds(f"x-{number}")


def test_a_refused_order_is_no_leg_of_a_bracket():
    r = trading(max_orders_per_second=1)
    r.submit("o-0")
    r.submit("x", ttl_ms=HOUR_MS)
    assert r.last("x")["code"] == "rate_limit"
    r.wait(1.1)
    r.submit("parent", attached=[{"order_id": "x", "order": LEG}])
    assert r.kinds("parent") == ["invalid"]
    assert "x" not in [leg.order_id for place in r.sent(Place) for leg in place.attached]


def test_a_stamp_that_is_ahead_is_answered_for_good_or_not_at_all():
    r = trading()
    ahead = wall_ns_of(r.clock) + 7200 * SECOND
    ids = [f"x-{number}" for number in range(KEPT_AT_ONCE + 50)]
    for order_id in ids:
        r.submit(order_id, sender=ATTACKER, sent_ns=ahead)
    answered = [order_id for order_id in ids if r.kinds(order_id) == ["invalid"]]
    assert len(answered) == KEPT_AT_ONCE
    assert r.stage.core.dropped["clock_ahead"] == 50
    assert not r.stage.core.orders
    r.start()
    r.executor.join()
    r.wait(7199, step=60, leases=False)
    r.executor.join()
    for order_id in answered[-5:]:
        r.submit(order_id, sender=ATTACKER, sent_ns=ahead)
        assert "passed" not in r.kinds(order_id)


@pytest.mark.parametrize("ahead_ns", [7200 * SECOND, 2**63 - 1])
def test_a_request_whose_stamp_is_ahead_ends_nobody_and_shuts_out_no_newcomer_after_a_restart(ahead_ns):
    r = trading()
    sent_ns = min(wall_ns_of(r.clock) + ahead_ns, 2**63 - 1)
    r.submit("o-1")
    r.executor.accepted("o-1")
    for number in range(2 * KEPT_AT_ONCE):
        ids = {"order_id": "o-1", "strategy_id": "nobody", "sent_ns": sent_ns}
        r.say(kind="cancel", request_id=f"c-{number}", sender=ATTACKER, **ids)
        order = {**BUY, "totalQuantity": 50}
        r.say(kind="replace", request_id=f"r-{number}", revision=1, order=order, sender=ATTACKER, **ids)
    answers = [event["kind"] for event in r.about("o-1") if "request_id" in event]
    assert set(answers) == {"request_refused"}
    assert len(answers) == 2 * KEPT_AT_ONCE + KEPT_AT_ONCE // 2, "each cancel, and the replaces that could be kept"
    r.start()
    r.executor.join(known=["o-1"])
    # As long as something that was refused in time may be under way.
    r.wait(4)
    r.submit("first", "newcomer")
    assert r.kinds("first") == ["passed"]


@pytest.mark.parametrize("jump", [-2.5, -3600, 7200, 40 * 86_400])
def test_a_clock_that_was_wrong_at_the_restart_lets_no_refused_order_pass(jump):
    r = trading(max_orders_per_second=1)
    fill(r, "o-0", "alpha")
    sent = wall_ns_of(r.clock)
    r.submit("x", ttl_ms=HOUR_MS)
    assert r.last("x")["code"] == "rate_limit"
    r.wait(1)
    r.clock.jump_wall(jump)
    r.start()
    r.executor.join()
    r.clock.jump_wall(-jump)
    r.wait(2)
    r.submit("x", ttl_ms=HOUR_MS, sent_ns=sent)
    assert "passed" not in r.kinds("x")


def test_an_order_that_reached_ib_while_it_waited_here_is_never_taken_for_a_refused_one():
    r = trading(window=1)
    r.submit("first")
    r.submit("again")
    assert r.kinds("again") == []
    r.executor.filled("again")
    assert r.history.find_order("again").has_passed()


# What it costs.


@pytest.mark.parametrize(
    ("executor", "attacker"),
    [(True, ATTACKER), (False, ATTACKER), (False, "")],
    ids=["stopped", "no executor", "nobody knows which program it is"],
)
def test_a_program_with_thousands_of_names_leaves_little_on_disk_and_in_memory(executor, attacker):
    r = rig()
    if executor:
        r.executor.join()
        r.ask("trip", reason="x")
    for number in range(4000):
        r.submit(f"o-{number}", f"n-{number}", sender=attacker, ttl_ms=HOUR_MS)
        r.cancel(f"none-{number}", f"c-{number}", f"m-{number}", sender=attacker)
        r.cancel("none", f"d-{number}", f"n-{number % 50}", sender=attacker)
    assert rows(r) < 6 * KEPT_AT_ONCE
    stage = r.stage
    assert len(stage.answers.refusals._refused) <= MOST_OF_ALL // 2
    assert len(stage.core.publisher.topics) < 2 * KEPT_AT_ONCE
    assert len(stage.core.scopes._journaled) <= 1
    assert stage.core.orders == {}


def test_it_shuts_itself_out_and_nobody_else(monkeypatch):
    monkeypatch.setattr("services.breaker.refusals.MOST_OF_ALL", 1000)
    monkeypatch.setattr("services.breaker.refusals.MOST_SHUT", 500)
    r = trading(max_orders_per_second=1)
    r.ask("trip", reason="x")
    for number in range(3000):
        r.submit(f"o-{number}", "known" if number % 2 else f"n-{number}", sender=ATTACKER, ttl_ms=HOUR_MS)
    assert r.stage.core.dropped["refused_too_often"]
    assert r.last("o-2001")["code"] == "queue_full", "a name that is known goes on to be answered"
    assert not r.kinds("o-2998"), "names without end do not"
    r.ask("reset", reason="x")
    fill(r, "h-1", "honest", HONEST)
    r.cancel("early", "c-1", "another", sender=ANOTHER)
    assert r.kinds("h-1") == ["passed", "filled"]
    assert r.events[-1]["code"] == "remembered"


def test_orders_that_wait_and_expire_are_kept_as_refusals_are():
    r = trading(window=1)
    r.submit("first", "first", sender=ATTACKER)
    for step in range(40):
        for number in range(20):
            for more in range(2):
                r.submit(f"o-{step}-{number}-{more}", f"n-{number}", sender=ATTACKER, ttl_ms=50)
        r.wait(0.1)
    assert len(r.history.records) < KEPT_AT_ONCE + 20


def test_the_trips_of_names_void_no_order_of_another_that_is_on_its_way():
    r = trading(max_strategies=10)
    fill(r, "h-1", "honest", HONEST)
    r.submit("h-2", "honest", sender=HONEST)
    fence = r.sent(Place)[-1].fence
    for number in range(150):
        r.submit("h-1", f"n-{number}", sender=ATTACKER)
    assert not [message for message in r.sent(Fence) if message.scope == "system" and message.fence > fence]


def test_numbers_of_a_topic_go_up_also_when_its_strategy_has_no_place():
    r = trading(max_strategies=1, window=1)
    for number in range(5):
        fill(r, f"a-{number}", "alpha", HONEST)
    r.submit("b-1", "beta", sender=ATTACKER)
    for number in range(5, 8):
        r.submit(f"a-{number}", "alpha", sender=HONEST)
    assert r.last("a-7")["code"] == "too_many_strategies"
    seqs = [fields["seq"] for topic, fields in r.topics if topic == "order/alpha/"]
    assert seqs == sorted(set(seqs))


def test_nonsense_in_the_name_of_another_is_paid_by_who_sends_it():
    r = trading()
    fill(r, "h-1", "honest", HONEST)
    for number in range(2 * KEPT_AT_ONCE):
        r.submit(f"bad-{number}", "honest", sender=ATTACKER, order={"action": "BUY"})
    r.ask("trip", reason="x")
    r.submit("h-2", "honest", sender=HONEST)
    assert r.last("h-2")["code"] == "latched"
    assert "h-2" in r.history.records


def test_an_answer_that_stands_on_disk_is_given_again():
    r = trading()
    r.ask("trip", scope="strategy:alpha", reason="x")
    r.submit("a-1", sender=ATTACKER)
    first = msgspec.json.encode(r.last("a-1"))
    r.start()
    r.submit("a-1", sender=ATTACKER)
    again = r.last("a-1")
    assert again["again"]
    assert again["code"] == msgspec.json.decode(first)["code"]
