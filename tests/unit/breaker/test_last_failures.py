"""What failed: `status` names the latest failures of each circuit, and whose the system's are."""

import json
from typing import Any

import msgspec
import pytest

from orderfuse.bus.codec import MAX_REPLY_BYTES, encode_map
from orderfuse.bus.events import Cancelled, Rejected, ReplaceFailed
from services.breaker.batch import Batch
from services.breaker.control.last_failures import MAX_TOLD_BYTES, MOST, Failed
from tests.unit.breaker.harness import BUY, now_of, open_by_rejections, settings_of, trading, wall_ns_of
from tests.unit.breaker.test_conditions import blip
from tests.unit.breaker.test_restart import JournalRig


def told(r, scope="system"):
    """The circuit's map in the reply to `status`."""
    return next(each for each in r.ask("status")["circuits"] if each["scope"] == scope)


def failed(r, scope="system"):
    """What failed, without when."""
    return [
        (each["code"], each["text"], each["order_id"], each["count"]) for each in told(r, scope).get("last_failures")
    ]


def reject(r, order_id, strategy_id="alpha", *, code=201, reason="no", outcome="failure"):
    r.submit(order_id, strategy_id)
    r.executor.tell(Rejected(order_id=order_id, strategy_id=strategy_id, ib_code=code, reason=reason), outcome)


def test_where_nothing_failed_the_lists_are_empty():
    r = trading()
    r.submit("o-1")
    assert (told(r)["last_failures"], told(r)["failures_by"]) == ([], {})
    assert told(r, "strategy:alpha")["last_failures"] == []
    assert "failures_by" not in told(r, "strategy:alpha")


def test_the_same_refusal_is_one_line_with_its_number_and_the_latest_order():
    r = trading()
    for number in range(3):
        r.wait(1)
        reject(r, f"a-{number}")
    expected = {"code": 201, "text": "no", "order_id": "a-2", "count": 3, "at": r.clock.utcnow().isoformat()}
    assert told(r, "strategy:alpha")["last_failures"] == [expected]
    assert told(r)["last_failures"] == [expected]


def test_the_systems_failures_are_told_by_strategy_as_they_stand_in_its_window():
    r = trading()
    for order_id, strategy_id in (("a-1", "alpha"), ("b-1", "beta"), ("a-2", "alpha")):
        reject(r, order_id, strategy_id)
    assert told(r)["failures_by"] == {"strategy:alpha": 2, "strategy:beta": 1}
    r.wait(61)
    assert (told(r)["failures"], told(r)["failures_by"]) == (0, {})
    reject(r, "b-2", "beta")
    assert told(r)["failures_by"] == {"strategy:beta": 1}
    assert failed(r) == [(201, "no", "b-2", 4)]


def test_in_open_they_make_up_the_failures_of_the_trip():
    r = trading()
    reject(r, "b-1", "beta")
    open_by_rejections(r, times=4)
    r.wait(1)
    r.ask("report", what="failure", name="slow", reason="seen while OPEN")
    state = told(r)
    assert state["last_failures"][0]["at"] == r.clock.utcnow().isoformat()
    assert (state["state"], state["failures"]) == ("OPEN", 5)
    assert state["failures_by"] == {"strategy:beta": 1, "strategy:alpha": 4}
    assert failed(r)[0] == ("slow", "reported: seen while OPEN", None, 1)


def test_at_most_five_are_told_the_newest_first_and_their_text_is_bounded():
    r = trading(circuit={"failure_threshold": 100})
    for number in range(7):
        reject(r, f"o-{number}", code=300 + number, reason=f"{number}\x1b" + "x" * 400)
    found = told(r, "strategy:alpha")["last_failures"]
    assert [each["code"] for each in found] == [306, 305, 304, 303, 302]
    assert all(len(each["text"]) == 200 and each["text"].isprintable() for each in found)
    reject(r, "o-7", code=303, reason="3\x1b" + "x" * 400)
    assert [(each["code"], each["count"]) for each in told(r, "strategy:alpha")["last_failures"]] == [
        (303, 2),
        (306, 1),
        (305, 1),
        (304, 1),
        (302, 1),
    ]


def test_what_ib_calls_malformed_is_told_of_the_strategy_alone():
    r = trading()
    reject(r, "o-1", code=321, reason="wrong exchange", outcome="malformed")
    assert failed(r, "strategy:alpha") == [(321, "wrong exchange", "o-1", 1)]
    assert failed(r) == []


def test_a_failure_that_came_too_late_to_count_is_not_told():
    r = trading()
    r.submit("late")
    open_by_rejections(r)
    r.executor.rejected("late", code=399)
    assert [code for code, *_ in failed(r)] == [201]
    assert told(r)["failures"] == 5


def test_no_answer_is_told_by_its_text():
    r = trading()
    r.submit("o-1")
    r.wait(6)
    assert failed(r) == [(None, "unknown: no answer in 5 s", "o-1", 1)]


def test_a_cancel_that_nobody_asked_for_is_told_by_its_text():
    r = trading()
    r.submit("o-1")
    r.executor.accepted("o-1")
    ids: dict[str, Any] = {"order_id": "o-1", "strategy_id": "alpha"}
    r.executor.tell(Cancelled(**ids, filled=0.0, remaining=100.0, reason="nobody here asked for it"), "failure")
    assert failed(r) == [(None, "cancelled: nobody here asked for it", "o-1", 1)]


def test_the_leg_of_a_bracket_that_failed_is_the_one_that_is_named():
    r = trading()
    target = {"action": "SELL", "totalQuantity": 100, "orderType": "LMT", "lmtPrice": 11.0}
    r.submit("parent", attached=[{"order_id": "leg", "order": target}])
    r.executor.rejected("leg", code=110)
    assert failed(r, "strategy:alpha") == [(110, "no", "leg", 1)]


@pytest.mark.parametrize(
    ("code", "said"),
    [(201, (201, "replace: no margin", "o-1", 1)), (0, (None, "replace: no margin", "o-1", 1))],
    ids=["IB", "not IB"],
)
def test_a_replace_that_failed_is_told_as_one(code, said):
    r = trading()
    replace(r)
    ids: dict[str, Any] = {"order_id": "o-1", "strategy_id": "alpha", "request_id": "r-1"}
    r.executor.tell(ReplaceFailed(**ids, ib_code=code, reason="no margin"), "failure")
    assert failed(r) == [said]


def test_a_replace_without_an_answer_is_told_as_one():
    r = trading()
    replace(r)
    r.wait(6)
    assert failed(r) == [(None, "a replace had no answer in 5 s", "o-1", 1)]


def replace(r):
    r.submit("o-1")
    r.executor.accepted("o-1")
    r.say(
        kind="replace",
        order_id="o-1",
        strategy_id="alpha",
        sent_ns=wall_ns_of(r.clock),
        request_id="r-1",
        revision=1,
        order={**BUY, "lmtPrice": 11.0},
    )


def test_the_rate_a_report_and_a_short_loss_have_a_word_for_their_code():
    r = trading(max_orders_per_second=2)
    for number in range(3):
        r.submit(f"o-{number}")
    text = "more than 2 orders in a second (breaker.max_orders_per_second)"
    assert failed(r, "strategy:alpha") == [("rate_limit", text, None, 1)]
    r.ask("report", what="failure", name="slow_fills", reason="above 5 ticks", scope="strategy:alpha", reporter="x 1")
    r.ask("report", what="failure", name="slow_fills", reason="above 5 ticks", scope="strategy:alpha", reporter="x 2")
    assert failed(r, "strategy:alpha")[0] == ("slow_fills", "reported: above 5 ticks", None, 2)
    assert failed(r) == []
    blip(r, 1)
    text = "no usable connection to 127.0.0.1:4010 (1100), over again within 5 s"
    assert failed(r) == [("broker_disconnected", text, None, 1)]
    assert told(r)["failures_by"] == {"system": 1}


def test_a_trial_without_an_outcome_is_told():
    r = trading()
    open_by_rejections(r)
    r.wait(300)
    r.submit("trial")
    r.executor.accepted("trial", status="PendingSubmit")
    r.wait(31)
    assert r.state()["state"] == "OPEN"
    assert failed(r)[0] == (None, "a trial order had no outcome within 30s", None, 1)
    assert told(r)["failures_by"] == {"system": 1}
    assert failed(r, "strategy:alpha")[0] == failed(r)[0]


def test_whose_the_failures_are_is_known_of_the_latest_hundred():
    r = trading(circuit={"failure_threshold": 1000}, max_orders_per_second=1000)
    for number in range(120):
        reject(r, f"o-{number}")
    assert told(r)["failures"] == 120
    assert told(r)["failures_by"] == {"strategy:alpha": 100}


def test_a_trip_whose_reason_says_so_is_no_failure():
    r = trading()
    r.ask("trip", reason="a trial order had no outcome, I think")
    r.ask("trip", reason="a trial order had no outcome, I think", scope="strategy:alpha")
    assert (failed(r), failed(r, "strategy:alpha")) == ([], [])


def test_nor_is_one_of_a_circuit_that_is_half_open():
    r = trading(circuit={"open_timeout_secs": 5, "failure_threshold": 1})
    blip(r, 1)
    r.wait(5.5)
    assert told(r)["state"] == "HALF_OPEN"
    before = failed(r)
    r.ask("trip", reason="a trial order had no outcome, I think")
    assert failed(r) == before


# -- how long it is kept ------------------------------------------------------------------------------------


def test_a_restart_goes_on_with_them_and_a_reset_forgets_those_of_its_scope(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    r = JournalRig(settings_of(home))
    r.executor.join()
    reject(r, "a-1")
    reject(r, "b-1", "beta", code=202)
    before = {scope: told(r, scope) for scope in ("system", "strategy:alpha", "strategy:beta")}
    r.restart(after=1)
    for scope, state in before.items():
        assert told(r, scope)["last_failures"] == state["last_failures"]
    assert told(r)["failures_by"] == {"strategy:alpha": 1, "strategy:beta": 1}
    r.executor.join()
    reject(r, "b-2", "beta", code=202)
    assert failed(r) == [(202, "no", "b-2", 2), (201, "no", "a-1", 1)]

    r.ask("reset", reason="looked", scope="strategy:beta")
    assert failed(r, "strategy:beta") == []
    assert failed(r, "strategy:alpha") == [(201, "no", "a-1", 1)]
    r.ask("reset", reason="looked")
    r.restart(after=1)
    assert (failed(r), failed(r, "strategy:beta")) == ([], [])
    assert failed(r, "strategy:alpha") == [(201, "no", "a-1", 1)]
    r.history.close()


def test_while_the_journal_cannot_be_written_they_wait_for_it(tmp_path):
    r = JournalRig(settings_of(tmp_path))
    r.history._backlog.add(Batch(last_failures={"system": "a", "strategy:a": "b"}))
    r.history._backlog.add(Batch(last_failures={"strategy:a": None}))
    assert r.history.has_backlog()
    r.history.save(Batch())
    assert r.history._db.execute("SELECT scope, said FROM last_failures").fetchall() == [("system", "a")]
    r.history.close()


def test_they_are_forgotten_with_their_circuit():
    r = trading(max_strategies=1, circuit={"failure_window_secs": 5})
    reject(r, "a-1")
    r.wait(6)
    r.submit("b-1", "beta")
    assert r.circuit("strategy:alpha") is None
    assert r.history.last_failures == {"system": r.history.last_failures["system"], "strategy:alpha": None}
    r.executor.filled("b-1", "beta")
    r.wait(6)
    r.submit("a-2")
    assert told(r, "strategy:alpha")["last_failures"] == []


def test_what_cannot_be_read_is_forgotten_and_stops_nothing():
    r = trading()
    reject(r, "a-1")
    r.history.last_failures |= {"system": '{"groups": 5}', "strategy:gone": r.history.last_failures["system"]}
    r.start()
    assert failed(r) == []
    assert failed(r, "strategy:alpha") == [(201, "no", "a-1", 1)]
    assert r.history.last_failures["system"] is None
    assert r.history.last_failures["strategy:gone"] is None


def test_however_many_fail_the_reply_stays_small_and_has_the_latest():
    r = trading(max_strategies=1000, circuit={"failure_threshold": 100})
    # A character of four bytes, which JSON and msgpack carry as it is.
    scopes, text = r.stage.core.scopes, "\N{GRINNING FACE}" * 300
    for number in range(1000):
        r.clock.advance(0.001)
        r.stage.core.present.advance(now_of(r.clock))
        scopes.open_for(f"s-{number}")
        for each in range(MOST):
            r.stage.core.outcomes.reported_failure(f"strategy:s-{number}", Failed(text, f"n-{each}"))
    reply = r.ask("status")
    lists = {each["scope"]: each["last_failures"] for each in reply["circuits"] if "last_failures" in each}
    assert 0 < len(json.dumps(lists, ensure_ascii=False).encode()) <= MAX_TOLD_BYTES
    assert len(encode_map(reply)) < MAX_REPLY_BYTES
    assert {scope for scope in lists if lists[scope]} == {f"strategy:s-{n}" for n in range(1000 - len(lists) + 1, 1000)}
    assert lists["system"] == []
    assert msgspec.json.decode(r.history.last_failures["strategy:s-0"])["groups"], "it is kept all the same"
