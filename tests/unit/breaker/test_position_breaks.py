"""Positions that are not what the fills make them: shown in `status`, told once in the log, no circuit opens."""

import msgspec
import pytest
from loguru import logger

from services.breaker.batch import Publication
from services.breaker.log import BreakerLog
from services.wire.standing import Drift
from tests.states import state
from tests.unit.breaker.harness import trading


def position_break(actual, *, expected=0.0, con_id=1):
    return Drift(con_id=con_id, symbol="SPY", expected=expected, actual=actual)


@pytest.fixture
def lines():
    found = []
    sink = logger.add(lambda line: found.append(str(line).strip()), format="{level} {message}")
    yield found
    logger.remove(sink)


def test_a_position_break_is_in_status_while_the_executor_says_so_and_opens_nothing():
    r = trading()
    assert r.ask("status")["drift"] == []
    r.executor.drift = (position_break(5.0),)
    r.executor.lease()
    assert r.ask("status")["drift"] == [
        {
            "account": "DU1",
            "con_id": 1,
            "symbol": "SPY",
            "expected": 0.0,
            "actual": 5.0,
            "sec_type": "",
            "currency": "",
            "expiry": "",
            "strike": 0.0,
            "right": "",
        }
    ]
    r.submit("o-1")
    assert r.kinds("o-1") == ["passed"]
    assert r.state()["state"] == "CLOSED"
    r.executor.drift = ()
    r.executor.lease()
    assert r.ask("status")["drift"] == []


def test_a_breaker_that_starts_anew_hears_of_it_with_the_hello():
    r = trading()
    r.executor.drift = (position_break(5.0),)
    r.executor.lease()
    r.start()
    assert r.ask("status")["drift"] == []
    r.executor.hello()
    assert len(r.ask("status")["drift"]) == 1


def test_each_new_difference_is_told_once_and_so_is_its_end(lines):
    log = BreakerLog()
    for told in ((position_break(5.0),), (position_break(5.0),), (position_break(25.0, expected=20.0),)):
        log.position_breaks(told)
    assert lines == [
        "WARNING position break: SPY (1): IB holds 5, the fills make 0: traded by others, or fills are missing here"
    ], "fills move both, that is no news"
    log.position_breaks((position_break(6.0),))
    log.position_breaks((position_break(6.0), position_break(1.0, con_id=2)))
    assert len(lines) == 3
    log.position_breaks((position_break(1.0, con_id=2),))
    assert lines[-1] == "INFO position break: SPY (1): there is none any more"
    assert len(lines) == 4


def test_a_change_of_a_circuit_is_told_once_and_a_repeat_never(lines):
    log = BreakerLog()
    opened = state(state="OPEN", reason="5 failures", generation=2)
    for now, journaled in ((state(), True), (state(), False), (opened, True), (opened, False)):
        fields = {"v": 1, **msgspec.to_builtins(now)}
        log.published(Publication("state/system/", fields, journaled=journaled))
    log.published(Publication("order/s/", {"kind": "passed"}))
    made_up = msgspec.to_builtins(state(scope="strategy:made-up", state="OPEN"))
    log.published(Publication("state/strategy:made-up/", {"v": 1, **made_up}, journaled=False))
    assert lines == ["INFO system: CLOSED", "WARNING system: CLOSED -> OPEN: 5 failures"]
