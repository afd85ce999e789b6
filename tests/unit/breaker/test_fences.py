"""The fence has scopes: what a trip voids on its way, and what a breaker has forgotten of it."""

from typing import Any

from msgspec import structs

from orderfuse.bus.codec import MAX_FRAME_BYTES, encode
from orderfuse.bus.control import MAX_TOLD
from services.breaker.core import MAX_FENCES
from services.breaker.inputs import Missed
from services.executor.account.foreign_orders import MAX_ACTION, MAX_TYPE
from services.wire.dispatch import Fence, Hello, NotWelcome, Place, Welcome
from services.wire.standing import Drift, ForeignOrder
from tests.unit.breaker.harness import (
    Executor,
    MemoryHistory,
    Rig,
    open_by_rejections,
    rig,
    settings_of,
    trading,
    wall_ns_of,
)


def fences(r):
    return [(message.scope, message.fence) for message in r.sent(Fence)]


def carried(r, order_id):
    return next(message.fence for message in r.sent(Place) if message.order_id == order_id)


def test_a_trip_of_one_strategy_raises_the_fence_of_that_strategy_alone():
    r = trading()
    r.submit("b-1", "beta")
    before = carried(r, "b-1")
    r.ask("trip", reason="stop", scope="strategy:alpha")
    scope, fence = fences(r)[-1]
    assert (scope, fence > before) == ("strategy:alpha", True)
    r.submit("b-2", "beta")
    assert carried(r, "b-2") == before, "nothing that beta has on its way is void"


def test_a_circuit_that_opens_by_itself_raises_the_fence_of_its_scope():
    r = trading(circuit={"failure_threshold": 2})
    r.submit("b-0", "beta")
    r.executor.filled("b-0", "beta")
    open_by_rejections(r, times=2)
    assert r.state("strategy:alpha")["state"] == "OPEN"
    assert r.state()["state"] == "CLOSED", "the cap keeps one strategy's failures from the system"
    assert [scope for scope, _ in fences(r)][-1] == "strategy:alpha"


def test_an_order_carries_the_fence_of_its_strategy_or_that_of_all_whichever_is_higher():
    r = trading()
    r.ask("trip", reason="stop", scope="strategy:alpha")
    r.executor.fenced()
    r.ask("reset", reason="go", scope="strategy:alpha")
    own = fences(r)[-1][1]
    r.submit("a-1")
    assert carried(r, "a-1") == own
    r.ask("trip", reason="stop all")
    r.executor.fenced()
    r.ask("reset", reason="go")
    r.submit("a-2")
    assert carried(r, "a-2") == fences(r)[-1][1] > own


def test_a_state_is_fenced_when_the_last_fence_of_its_scope_and_that_of_all_are_confirmed():
    r = trading()
    r.submit("b-1", "beta")
    r.submit("a-1")
    r.ask("trip", reason="stop", scope="strategy:alpha")
    assert (r.state("strategy:alpha")["fenced"], r.state("strategy:beta")["fenced"]) == (False, True)
    r.executor.fenced()
    assert r.state("strategy:alpha")["fenced"]
    r.ask("trip", reason="stop all")
    assert not r.state("strategy:beta")["fenced"]


def test_the_reply_to_a_strategys_trip_names_its_own_orders_only():
    r = trading()
    r.submit("a-1")
    r.submit("b-1", "beta")
    r.ask("trip", reason="stop", scope="strategy:alpha")
    r.executor.fenced(written=["a-1", "b-1", "a-1~1", "stranger"])
    assert r.replies["t"]["written"] == ["a-1", "a-1~1", "stranger"]


def test_without_the_executors_word_a_change_that_may_be_on_the_wire_is_named():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    fields = {"strategy_id": "alpha", "sent_ns": wall_ns_of(r.clock), "ttl_ms": 60_000, "revision": 3}
    changed = {"action": "BUY", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 11.0}
    r.say(kind="replace", request_id="r-1", order_id="o-1", order=changed, **fields)
    r.ask("trip", reason="stop")
    r.wait(0.6, leases=False)
    assert r.replies["t"]["written"] == ["o-1~3"]


# What the breaker has forgotten.


def hello_with(r, fences, journal_id="journal-1"):
    r.executor = Executor(r, journal_id=journal_id)
    r.executor.fences = fences
    r.executor.hello()
    return r.state()


def test_an_executor_that_knows_no_fence_says_nothing_about_a_first_start():
    assert hello_with(rig(), {})["state"] == "CLOSED"


def test_a_home_with_an_executors_journal_and_none_of_the_breakers_is_open_and_latched():
    r = rig()
    state = hello_with(r, {"system": 17})
    assert (state["state"], state["latched"]) == ("OPEN", True)
    assert "fence 17 of system" in state["reason"]
    assert "not known" in state["reason"]


def test_a_trip_that_the_breakers_journal_has_lost_is_noticed_by_the_fence_that_the_executor_took():
    r = trading()
    kept = r.history.fence
    r.ask("trip", reason="stop")
    (_, taken) = fences(r)[-1]
    r.history.fence, r.history.circuits = kept, {}
    again = Rig(r.settings, r.clock, r.history)
    state = hello_with(again, {"system": taken})
    assert (state["state"], state["latched"]) == ("OPEN", True)


def test_a_trip_of_one_strategy_that_was_lost_latches_that_strategy_and_nobody_else():
    r = trading()
    r.submit("b-1", "beta")
    kept, circuits = r.history.fence, dict(r.history.circuits)
    r.ask("trip", reason="stop", scope="strategy:alpha")
    (_, taken) = fences(r)[-1]
    r.history.fence, r.history.circuits = kept, circuits
    again = Rig(r.settings, r.clock, r.history)
    hello_with(again, {"system": kept, "strategy:alpha": taken})
    assert again.state("strategy:alpha")["latched"]
    assert again.state()["state"] == "CLOSED"


def test_a_lost_trip_of_a_strategy_for_which_there_is_no_place_stops_all():
    r = trading(max_strategies=1)
    r.submit("b-1", "beta")
    again = Rig(r.settings, r.clock, r.history)
    state = hello_with(again, {"strategy:alpha": r.history.fence + 1})
    assert (state["state"], state["latched"]) == ("OPEN", True)
    assert "of strategy:alpha" in state["reason"]


def test_what_was_kept_and_what_this_process_raised_itself_is_not_forgotten():
    r = trading()
    r.ask("trip", reason="stop", scope="strategy:alpha")
    r.executor.fenced()
    r.ask("reset", reason="go", scope="strategy:alpha")
    taken = {"system": r.sent(Welcome)[-1].fence, "strategy:alpha": fences(r)[-1][1]}
    assert hello_with(r, taken)["state"] == "CLOSED"
    again = Rig(r.settings, r.clock, r.history)
    assert hello_with(again, taken)["state"] == "CLOSED"
    assert again.circuit("strategy:alpha").get_state()["state"] == "CLOSED"


def test_the_fence_goes_on_above_whatever_an_executor_has_taken_also_if_the_clock_was_set_back():
    r = rig()
    far = r.stage.core.fence + 40 * 86_400_000
    state = hello_with(r, {"system": far})
    assert state["latched"]
    assert r.sent(Welcome)[-1].fence > far


def test_a_torn_journal_keeps_its_own_reason():
    clock = Rig().clock

    class Torn(MemoryHistory):
        def saved(self):
            saved = super().saved()
            saved.trouble = "the journal could not be read"
            return saved

    r = Rig(settings_of(), clock, Torn(clock))
    assert hello_with(r, {"system": 17})["reason"] == "the journal could not be read"


# Old copies of the executor's journal.


def test_a_hello_that_has_told_less_than_was_taken_is_asked_to_take_another_id():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.executor.filled("o-1")
    old = Executor(r, executor_id="exec-2", peer=b"peer-2")
    old.hello(feedback_last=1)
    (answer,) = old.answers()
    assert isinstance(answer, NotWelcome)
    assert answer.rename
    old.journal_id = "journal-renamed"
    old.hello(feedback_first=2, feedback_last=1)
    assert isinstance(old.answers()[-1], Welcome)
    assert old.answers()[-1].feedback_after == 1, "what it told before has been told"


def test_a_message_that_did_not_reach_the_executor_has_it_say_hello_again():
    r = trading()
    r.step(Missed(r.executor.peer))
    r.executor.lease()
    assert isinstance(r.executor.answers()[-1], NotWelcome)
    r.executor.join()
    r.submit("o-1")
    assert r.placed() == ["o-1"]


def test_what_did_not_reach_a_connection_of_before_is_no_matter():
    r = trading()
    r.step(Missed(b"peer-0"))
    r.submit("o-1")
    assert r.placed() == ["o-1"]


def test_a_breaker_that_has_forgotten_something_numbers_on_above_all_that_it_can_have_told():
    r = trading()
    r.submit("o-1")
    told = r.last("o-1")["seq"]
    hello_with(r, {"system": r.stage.core.first_fence - 1})
    r.submit("o-2")
    assert r.last("o-2")["seq"] > told + 1_000_000
    assert r.states[-1]["seq"] > 1_000_000
    numbers = [state["seq"] for state in r.states if state["scope"] == "system"]
    assert numbers == sorted(set(numbers))


def test_all_fences_that_there_can_be_have_room_in_one_hello():
    r = trading(max_strategies=1000)
    for number in range(MAX_FENCES + 5):
        r.ask("trip", reason="x", scope=f"strategy:{number:032}", envelope=number)
    assert len(r.stage.core.fences) <= MAX_FENCES
    taken = {message.scope: message.fence for message in r.sent(Fence)}
    newest = {scope: fence for scope, fence in taken.items() if fence >= taken["system"]}
    assert newest == r.stage.core.fences
    word = "X" * 20
    contract: dict[str, Any] = {"con_id": 2**31 - 1, "symbol": word, "strike": 1e9 / 7, "right": "C"}
    contract |= {"sec_type": word[:8], "currency": word[:4], "expiry": word[:8]}
    drift = tuple(Drift(**contract, expected=1e9 / 7, actual=1e9 / 3) for _ in range(MAX_TOLD))
    numbers: dict[str, Any] = {
        "perm_id": 2**31 - 1,
        "client_id": 2**31 - 1,
        "ib_order_id": 2**31 - 1,
        "quantity": 1e9 / 7,
    }
    order = ForeignOrder(**contract, **numbers, action=word[:MAX_ACTION], order_type=word[:MAX_TYPE])
    fences = {f"strategy:{number:032}": 2**50 + number for number in range(MAX_FENCES)}
    gateway = structs.replace(
        r.executor.gateway(), drift=drift, foreign=(order,) * MAX_TOLD, detail="x" * 500, host="h" * 255
    )
    hello = Hello(executor_id="e" * 36, journal_id="j" * 36, gateway=gateway, fences=fences)
    assert len(encode(hello)) < MAX_FRAME_BYTES
