"""OrderClient against a scripted peer that plays the breaker's end of the wire."""

from __future__ import annotations

import calendar
import contextlib
import gc
import itertools
import re
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import orderfuse.client.reports
import orderfuse.client.sync
from orderfuse.bus.events import (
    Accepted,
    Blocked,
    Cancelled,
    Duplicate,
    Expired,
    Filled,
    Invalid,
    NotPlaced,
    Passed,
    Rejected,
    RequestPassed,
    RequestRefused,
    Unknown,
)
from orderfuse.bus.orders import Attached
from orderfuse.circuit import CircuitBreakerOpenException, CircuitState
from orderfuse.client.handle import HeldHandles
from orderfuse.client.sync import OrderClient
from orderfuse.errors import (
    BreakerUnavailable,
    CancelRefused,
    OrderBlocked,
    OrderError,
    OrderExpired,
    OrderInvalid,
    OrderUnacknowledged,
    ReplaceRefused,
    ReportsMissing,
)
from orderfuse.settings import Settings
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker, say_nothing
from tests.states import Fields

STOCK = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
MARKET = {"action": "BUY", "orderType": "MKT", "totalQuantity": 10}


def about(order_id: str) -> Fields:
    return {"order_id": order_id, "strategy_id": "s"}


def passed(order_id: str) -> Passed:
    return Passed(**about(order_id), generation=1, trial=False)


def filled(order_id: str, *, exec_id: str = "e1", done: bool = True, **more: Any) -> Filled:
    return Filled(
        **about(order_id),
        exec_id=exec_id,
        shares=10,
        price=190.5,
        cum_qty=10,
        avg_price=190.5,
        remaining=0,
        done=done,
        **more,
    )


def blocked(order_id: str, code: Any, state: str = "OPEN") -> Blocked:
    return Blocked(
        **about(order_id),
        reason=f"{state}: 5 failures in 60s window",
        code=code,
        scope="system",
        state=state,
        retry_at=None,
        failures=5,
        failure_count=7,
    )


def pass_all(breaker: WireBreaker, fields: Fields) -> None:
    if fields["kind"] == "submit":
        breaker.tell(passed(fields["order_id"]))


def say(event: Callable[[str], Any]) -> Callable[[WireBreaker, Fields], None]:
    def told(breaker: WireBreaker, fields: Fields) -> None:
        breaker.tell(event(fields["order_id"]))

    return told


@pytest.fixture
def client(settings: Settings) -> Iterator[OrderClient]:
    with OrderClient("s", settings=settings) as client:
        yield client


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up sooner, so that tests of giving up do not take seconds."""
    monkeypatch.setattr(orderfuse.client.sync, "MARGIN_S", 0.1)
    monkeypatch.setattr(orderfuse.client.sync, "RESEND_S", 0.05)


# -- submit -----------------------------------------------------------------------------------------------


def test_a_submit_returns_once_the_order_has_passed(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        before_ns = time.time_ns()
        handle = client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=2500, protect=True, account="DU1", timeout=5)

        assert handle.passed.order_id == handle.order_id == "o-1"
        assert [type(event) for event in handle.events] == [Passed]
        (frames,) = breaker.frames
        assert len(frames) == 2
        assert frames[0] == b"order"
        sent = breaker.next_order()
        assert before_ns <= sent.pop("sent_ns") <= time.time_ns()
        assert sent == {
            "v": 1,
            "kind": "submit",
            "order_id": "o-1",
            "strategy_id": "s",
            "ttl_ms": 2500,
            "account": "DU1",
            "protect": True,
            "contract": STOCK,
            "order": MARKET,
        }


@pytest.mark.parametrize("tif", [{}, {"tif": ""}, {"tif": "GTD"}])
def test_an_order_that_is_good_for_a_while_has_an_end_that_ib_keeps(
    settings: Settings, client: OrderClient, tif: Fields
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        before = time.time()
        client.submit(STOCK, {**MARKET, **tif}, good_for_secs=90.5)
        sent = breaker.next_order()["order"]
        assert sent["tif"] == "GTD"
        until = calendar.timegm(time.strptime(sent["goodTillDate"], "%Y%m%d-%H:%M:%S"))
        assert before + 90.5 <= until <= time.time() + 91.5


@pytest.mark.parametrize(
    ("order", "secs", "says"),
    [
        ({}, 0, "good_for_secs is 0, allowed is above 0"),
        ({}, -1, "allowed is above 0"),
        ({}, float("nan"), "allowed is above 0"),
        ({}, float("inf"), "at most 7776000"),
        ({"tif": "GTC"}, 60, "this one has tif 'GTC'"),
        ({"tif": "GTD", "goodTillDate": "20261231-22:00:00"}, 60, "leave one out"),
    ],
)
def test_an_end_that_contradicts_the_order_is_refused_before_it_is_sent(
    settings: Settings, client: OrderClient, order: Fields, secs: float, says: str
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        with pytest.raises(OrderInvalid, match=says):
            client.submit(STOCK, {**MARKET, **order}, good_for_secs=secs)
        client.submit(STOCK, MARKET, order_id="fine")
        assert breaker.next_order()["order_id"] == "fine"


def test_ids_made_by_the_client_are_valid_and_differ(settings: Settings) -> None:
    def answer(breaker: WireBreaker, fields: Fields) -> None:
        names = {"order_id": fields["order_id"], "strategy_id": fields["strategy_id"]}
        breaker.tell(Passed(**names, generation=1, trial=False))

    with WireBreaker(settings, answer), OrderClient("x" * 32, settings=settings) as client:
        ids = {client.submit(STOCK, MARKET).order_id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", order_id) for order_id in ids)


@pytest.mark.parametrize("code", ["circuit_open", "latched", "half_open_full", "condition", "not_reducing"])
def test_what_a_circuit_blocks_is_a_circuit_breaker_open_exception(
    settings: Settings, client: OrderClient, code: str
) -> None:
    with (
        WireBreaker(settings, say(lambda order_id: blocked(order_id, code, "HALF_OPEN"))),
        pytest.raises(CircuitBreakerOpenException) as caught,
    ):
        client.submit(STOCK, MARKET, order_id="o-1")

    error = caught.value
    assert str(error) == "Circuit breaker OPEN: 5 failures in 60s window"
    assert (error.order_id, error.code, error.reason) == ("o-1", code, "5 failures in 60s window")
    assert error.state is CircuitState.HALF_OPEN
    assert (error.failure_count, error.failures_in_window) == (7, 5)
    assert isinstance(error.event, Blocked)


@pytest.mark.parametrize("code", ["rate_limit", "queue_full", "limit", "too_many_strategies", "cancelled"])
def test_other_blocks_are_no_circuits(settings: Settings, client: OrderClient, code: str) -> None:
    with (
        WireBreaker(settings, say(lambda order_id: blocked(order_id, code))),
        pytest.raises(OrderBlocked, match=code) as caught,
    ):
        client.submit(STOCK, MARKET, order_id="o-1")
    assert not isinstance(caught.value, CircuitBreakerOpenException)
    assert (caught.value.order_id, caught.value.code) == ("o-1", code)


def test_an_invalid_order_and_an_expired_one_are_exceptions(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        breaker.on_order = say(lambda order_id: Invalid(**about(order_id), reason="order.tif is 7"))
        with pytest.raises(OrderInvalid, match=r"order\.tif is 7") as invalid:
            client.submit(STOCK, MARKET, order_id="o-1")
        assert invalid.value.order_id == "o-1"

        breaker.on_order = say(lambda order_id: Expired(**about(order_id), age_ms=5100))
        with pytest.raises(OrderExpired, match="5100 ms") as expired:
            client.submit(STOCK, MARKET, order_id="o-2")
        assert (expired.value.order_id, expired.value.age_ms) == ("o-2", 5100)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"order": {**MARKET, "lmtPrice": float("nan")}}, "nan"),
        ({"order": {**MARKET, "totalQuantity": float("inf")}}, "inf"),
        ({"order": {**MARKET, "algoStrategy": "x" * 20_000}}, "bytes"),
        ({"order_id": "no blanks"}, "order_id"),
        ({"order_id": "x" * 41}, "order_id"),
        ({"order_id": "o-1\n"}, "order_id"),
        ({"ttl_ms": 0}, "ttl_ms"),
        ({"contract": "AAPL"}, "contract"),
        ({"contract": {"comboLegs": [[[[[[[[[1]]]]]]]]]}}, "deeper"),
    ],
)
def test_what_the_breaker_could_not_even_read_is_refused_here(
    settings: Settings, client: OrderClient, wrong: Fields, says: str
) -> None:
    arguments: Fields = {"contract": STOCK, "order": MARKET, **wrong}
    with WireBreaker(settings, pass_all) as breaker:
        with pytest.raises(OrderInvalid, match=says):
            client.submit(**arguments)
        client.submit(STOCK, MARKET, order_id="fine")
        assert breaker.next_order()["order_id"] == "fine"


def test_a_strategy_id_that_is_none_is_refused_at_once(settings: Settings) -> None:
    with pytest.raises(OrderInvalid, match="strategy_id"):
        OrderClient("no/slash", settings=settings)


# -- nobody there, nobody answers -------------------------------------------------------------------------


def test_without_a_breaker_a_submit_says_so_within_about_a_second(client: OrderClient) -> None:
    started = time.monotonic()
    with pytest.raises(BreakerUnavailable, match="nothing was sent"):
        client.submit(STOCK, MARKET)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("deaf_or_mute", [{"subscribe": False}, {"tells_state": False}])
def test_a_breaker_that_does_not_listen_or_is_not_heard_gets_no_order(
    settings: Settings, client: OrderClient, deaf_or_mute: Fields
) -> None:
    with WireBreaker(settings, pass_all, **deaf_or_mute) as breaker:
        started = time.monotonic()
        with pytest.raises(BreakerUnavailable):
            client.submit(STOCK, MARKET)
        assert time.monotonic() - started < 2
        assert breaker.frames == []


@pytest.mark.usefixtures("impatient")
def test_what_never_left_was_not_sent_whatever_the_socket_says(
    client: OrderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the breaker had gone right after it was found.
    monkeypatch.setattr(client, "_wait_for_breaker", lambda: None)
    with pytest.raises(BreakerUnavailable, match="was not sent"):
        client.submit(STOCK, MARKET, ttl_ms=100)


@pytest.mark.usefixtures("impatient")
def test_an_order_without_a_decision_is_sent_again_unchanged(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        with pytest.raises(OrderUnacknowledged, match="does not know it") as caught:
            client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=300)
        frames = list(breaker.frames)
    assert len(frames) >= 3
    assert all(again == frames[0] for again in frames)
    assert caught.value.order_id == "o-1"
    assert caught.value.maybe_at_ib is False


@pytest.mark.usefixtures("impatient")
def test_an_order_that_the_breaker_has_may_be_at_ib(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        breaker.known["o-1"] = {"order_id": "o-1", "state": "out"}
        with pytest.raises(OrderUnacknowledged, match="as out") as caught:
            client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=100)
    assert caught.value.maybe_at_ib is True


@pytest.mark.usefixtures("impatient")
def test_an_order_may_be_at_ib_if_the_breaker_does_not_say(settings: Settings, client: OrderClient) -> None:
    with (
        WireBreaker(settings, answers_control=False),
        pytest.raises(OrderUnacknowledged, match="IB may have it") as caught,
    ):
        client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=100)
    assert caught.value.maybe_at_ib is True


def test_whoever_gives_up_early_is_told_that_the_order_may_still_pass(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings), pytest.raises(OrderUnacknowledged, match="may still get it") as caught:
        client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=60_000, timeout=0.1)
    assert caught.value.maybe_at_ib is True


@pytest.mark.usefixtures("impatient")
def test_a_resend_resolves_a_submit_whose_first_message_was_lost(settings: Settings, client: OrderClient) -> None:
    seen = itertools.count(1)
    second = lambda breaker, fields: pass_all(breaker, fields) if next(seen) == 2 else None  # noqa: E731
    with WireBreaker(settings, second) as breaker:
        assert client.submit(STOCK, MARKET, order_id="o-1").passed is not None
        assert len(breaker.frames) == 2


@pytest.mark.usefixtures("impatient")
def test_a_decision_that_was_lost_is_read_from_the_journal(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        client.submit(STOCK, MARKET, order_id="o-0")

        lose = lambda b, f: b.tell(passed(f["order_id"]), lost=True) and None  # noqa: E731
        breaker.on_order = lambda b, f: (
            lose(b, f) if not any(event["order_id"] == "o-1" for event in b.journal["order/s/"]) else None
        )
        started = time.monotonic()
        assert client.submit(STOCK, MARKET, order_id="o-1").passed is not None
        assert time.monotonic() - started < 3


def test_a_duplicate_is_resolved_by_the_first_decision_said_again(settings: Settings, client: OrderClient) -> None:
    def again(breaker: WireBreaker, _: Fields) -> None:
        breaker.tell(Duplicate(**about("o-1")))
        breaker.tell(Passed(**about("o-1"), generation=1, trial=False, again=True))
        breaker.tell(filled("o-1", again=True))

    with WireBreaker(settings, again):
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        end = handle.wait(5)
        assert isinstance(end, Filled)
        assert handle.passed.again
        # Said before, to whoever sent it first.
        assert [type(event) for event in client.reports(timeout=0.2)] == [Duplicate]


def test_a_duplicate_of_a_blocked_order_is_blocked_again(settings: Settings, client: OrderClient) -> None:
    def again(breaker: WireBreaker, _: Fields) -> None:
        breaker.tell(Duplicate(**about("o-1")))
        breaker.tell(msgspec.structs.replace(blocked("o-1", "latched"), again=True))

    with WireBreaker(settings, again), pytest.raises(CircuitBreakerOpenException):
        client.submit(STOCK, MARKET, order_id="o-1")


# -- a breaker that dies ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("impatient")
def test_nothing_stale_reaches_a_breaker_that_comes_back(settings: Settings, client: OrderClient) -> None:
    first = WireBreaker(settings)
    with pytest.raises(OrderUnacknowledged):
        client.submit(STOCK, MARKET, order_id="stale-1", ttl_ms=100)
    first.kill()
    for number in range(3):
        # The first may leave before the client can know that nobody is there any more.
        with pytest.raises((BreakerUnavailable, OrderUnacknowledged)):
            client.submit(STOCK, MARKET, order_id=f"stale-2-{number}", ttl_ms=100)

    with WireBreaker(settings, pass_all) as second:
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                client.submit(STOCK, MARKET, order_id="fresh")
                break
            except BreakerUnavailable:
                assert time.monotonic() < until
        assert [second.next_order()["order_id"] for _ in second.frames] == ["fresh"]


def test_an_order_under_way_when_the_breaker_dies_is_sent_to_its_successor_at_once(
    settings: Settings, client: OrderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orderfuse.client.sync, "RESEND_S", 60.0)
    first = WireBreaker(settings)
    successors: list[WireBreaker] = []

    def succeed() -> None:
        first.next_order()
        first.kill()
        successors.append(WireBreaker(settings, pass_all))

    thread = threading.Thread(target=succeed)
    thread.start()
    try:
        assert client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=8000).passed is not None
        thread.join(DEADLINE_S)
        assert successors[0].frames[0] == first.frames[0]
    finally:
        thread.join(DEADLINE_S)
        for successor in successors:
            successor.kill()


@pytest.mark.usefixtures("impatient")
def test_if_the_breaker_dies_with_the_order_it_may_be_at_ib(settings: Settings, client: OrderClient) -> None:
    breaker = WireBreaker(settings)

    def kill_at_the_order() -> None:
        breaker.next_order()
        breaker.kill()

    killer = threading.Thread(target=kill_at_the_order)
    killer.start()
    with pytest.raises(OrderUnacknowledged, match="IB may have it") as caught:
        client.submit(STOCK, MARKET, ttl_ms=300)
    killer.join(DEADLINE_S)
    assert caught.value.maybe_at_ib is True


def test_an_end_published_while_the_link_was_down_is_heard_without_a_further_event(
    settings: Settings, client: OrderClient
) -> None:
    first = WireBreaker(settings, pass_all)
    handle = client.submit(STOCK, MARKET, order_id="o-1")
    first.kill()
    with WireBreaker(settings, journal=first.journal) as second:
        second.tell(filled("o-1"), lost=True)
        assert isinstance(handle.wait(DEADLINE_S), Filled)


# -- events -----------------------------------------------------------------------------------------------


def test_a_gap_in_seq_is_filled_from_the_journal_in_order(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        client.submit(STOCK, MARKET, order_id="o-1")
        breaker.tell(filled("o-1", exec_id="e1", done=False), lost=True)
        breaker.tell(filled("o-1", exec_id="e2", done=False), lost=True)
        breaker.tell(filled("o-1", exec_id="e3"))

        events = list(client.reports(timeout=0.5))
    assert [event.seq for event in events] == [1, 2, 3, 4]
    assert [event.exec_id for event in events if isinstance(event, Filled)] == ["e1", "e2", "e3"]


def test_events_behind_a_gap_wait_until_the_journal_answers(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        breaker.answers_control = False
        breaker.tell(filled("o-1", exec_id="e1", done=False), lost=True)
        breaker.tell(filled("o-1", exec_id="e2"))
        with pytest.raises(TimeoutError):
            handle.wait(1.5)

        breaker.answers_control = True
        handle.wait(DEADLINE_S)
        assert [event.seq for event in handle.events] == [1, 2, 3]


def test_events_that_the_journal_has_lost_are_not_passed_over_in_silence(
    settings: Settings, client: OrderClient
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        client.submit(STOCK, MARKET, order_id="o-1")
        reports = client.reports(timeout=1)
        assert isinstance(next(reports), Passed)
        breaker.tell(
            Accepted(**about("o-1"), ib_order_id=1, perm_id=2, status="Submitted"), unjournaled=True, lost=True
        )
        breaker.tell(filled("o-1"), unjournaled=True, lost=True)
        breaker.tell(filled("o-1", exec_id="e2"))
        # The third is there, so the numbers may just have jumped, as they do after a crash.
        assert isinstance(next(reports), Filled)

        seq = breaker.tell(filled("o-1"), lost=True, unjournaled=True)["seq"]
        breaker.tell(filled("o-1", exec_id="e9"), lost=True)
        breaker.journal["order/s/"][-1]["exec_id"] = 7
        breaker.tell(filled("o-1", exec_id="e10"))
        with pytest.raises(ReportsMissing, match="exec_id"):
            next(reports)
        after = list(client.reports(timeout=0.2))
        assert [event.seq for event in after] == [seq + 2]


def test_events_that_nobody_has_any_more_are_an_exception_in_their_place(
    settings: Settings, client: OrderClient
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        client.submit(STOCK, MARKET, order_id="o-1")
        breaker.answers_control = False
        breaker.tell(filled("o-1"), unjournaled=True)
        breaker.tell(filled("o-1"), unjournaled=True, lost=True)
        seen = breaker.tell(filled("o-1"), unjournaled=True)["seq"]
        # The second and third: a gap that the journal can neither fill nor explain.
        reports = client.reports(timeout=1.5)
        assert [next(reports).seq for _ in range(2)] == [1, 2]
        assert list(reports) == []

        breaker.answers_control = True
        with pytest.raises(ReportsMissing, match="after seq 2"):
            list(client.reports(timeout=3))
        breaker.tell(filled("o-1"))
        assert [event.seq for event in client.reports(timeout=0.5)] == [seen + 1]


def test_a_breaker_with_a_new_journal_is_heard_though_it_counts_from_one(
    settings: Settings, client: OrderClient
) -> None:
    first = WireBreaker(settings, pass_all)
    for number in range(3):
        client.submit(STOCK, MARKET, order_id=f"o-{number}")
    first.kill()
    with WireBreaker(settings, pass_all) as second:
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            try:
                client.submit(STOCK, MARKET, order_id="anew")
                break
            except BreakerUnavailable:
                continue
        assert [event.order_id for event in client.reports(timeout=0.3)] == ["o-0", "o-1", "o-2", "anew"]
        assert len(second.frames) == 1


def test_reports_go_on_where_an_earlier_run_left_off(settings: Settings) -> None:
    with WireBreaker(settings) as breaker:
        for number in range(5):
            breaker.tell(filled("o-1", exec_id=f"e{number}"))
        with OrderClient("s", settings=settings, after_seq=2) as client:
            assert [event.seq for event in client.reports(timeout=1)] == [3, 4, 5]


def test_reports_beyond_the_bound_come_from_the_journal(
    settings: Settings, client: OrderClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orderfuse.client.reports, "MAX_REPORTS", 5)
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        for number in range(20):
            breaker.tell(filled("o-1", exec_id=f"e{number}", done=number == 19))
        handle.wait(DEADLINE_S)
        # There is room again for what comes next, but it is not its turn yet.
        first = next(client.reports())
        breaker.tell(filled("o-1", exec_id="e20"))
        later = client.submit(STOCK, MARKET, order_id="o-2")
        assert later.passed.seq == 23
        assert [first.seq, *(event.seq for event in client.reports(timeout=0.3))] == list(range(1, 24))


def test_a_handle_waits_for_the_end_and_a_later_fact_replaces_it(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        with pytest.raises(TimeoutError, match="o-1"):
            handle.wait(0.05)
        breaker.tell(Unknown(**about("o-1")))
        breaker.tell(NotPlaced(**about("o-1"), code="reconciled"))
        assert isinstance(handle.wait(DEADLINE_S), NotPlaced)

        breaker.tell(filled("o-1", done=False, supersedes=3))
        # The earlier end stands until the fact is heard, and nothing is heard but by waiting.
        while not isinstance(handle.events[-1], Filled):
            with contextlib.suppress(TimeoutError):
                handle.wait(0.05)
        with pytest.raises(TimeoutError):
            handle.wait(0.05)
        breaker.tell(filled("o-1", exec_id="e2"))
        assert isinstance(handle.wait(DEADLINE_S), Filled)


@pytest.mark.parametrize(
    "end",
    [
        filled("o-1"),
        Cancelled(**about("o-1"), filled=0, remaining=10, reason=""),
        Rejected(**about("o-1"), ib_code=201, reason="no"),
        NotPlaced(**about("o-1"), code="fenced"),
        Expired(**about("o-1"), age_ms=1),
        Invalid(**about("o-1"), reason="no"),
    ],
    ids=lambda end: type(end).__name__,
)
def test_each_end_ends_the_wait(settings: Settings, client: OrderClient, end: Any) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        breaker.tell(end)
        assert type(handle.wait(DEADLINE_S)) is type(end)


def test_an_invalid_message_with_the_id_of_a_working_order_does_not_end_it(
    settings: Settings, client: OrderClient
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        breaker.tell(Accepted(**about("o-1"), ib_order_id=1, perm_id=2, status="Submitted"))
        breaker.tell(Invalid(**about("o-1"), reason="was already used with other content"))
        with pytest.raises(TimeoutError):
            handle.wait(0.3)
        assert len(handle.events) == 3


def test_a_conflict_over_the_id_of_an_order_that_ib_has_not_answered_does_not_end_it(
    settings: Settings, client: OrderClient
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        breaker.tell(Invalid(**about("o-1"), reason="was already used with other content", conflict=True))
        with pytest.raises(TimeoutError):
            handle.wait(0.3)
        breaker.tell(Cancelled(**about("o-1"), filled=0, remaining=10, reason="by hand"))
        assert isinstance(handle.wait(DEADLINE_S), Cancelled)


# -- ids used twice ---------------------------------------------------------------------------------------


def test_the_same_order_once_more_is_the_same_handle(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        assert client.submit(STOCK, MARKET, order_id="o-1") is handle
        assert len(breaker.frames) == 1


def test_other_content_under_a_used_id_is_refused_before_it_latches_the_circuit(
    settings: Settings, client: OrderClient
) -> None:
    with WireBreaker(settings, pass_all) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        with pytest.raises(OrderInvalid, match="other content"):
            client.submit(STOCK, {**MARKET, "totalQuantity": 20}, order_id="o-1")
        assert len(breaker.frames) == 1
        assert handle.end is None


@pytest.mark.usefixtures("impatient")
def test_an_order_that_was_not_acknowledged_is_never_taken_for_passed(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        # The exception keeps the first handle alive.
        with pytest.raises(OrderUnacknowledged) as kept:
            client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=50)
        with pytest.raises(OrderUnacknowledged):
            client.submit(STOCK, MARKET, order_id="o-1", ttl_ms=50)
        assert kept.value.order_id == "o-1"
        breaker.on_order = pass_all
        assert client.submit(STOCK, MARKET, order_id="o-1").passed is not None


def test_orders_that_nobody_holds_are_forgotten(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all):
        held = client.submit(STOCK, MARKET, order_id="held")
        for number in range(2 * HeldHandles.FIRST_LOOK):
            client.submit(STOCK, MARKET, order_id=f"o-{number}")
        gc.collect()
        assert len(client._handles) <= HeldHandles.FIRST_LOOK
        assert client._handles.get("held") is held
        assert client._handles.get("o-1") is None


def test_forgetting_a_handle_runs_no_python_in_which_a_ctrl_c_could_get_lost(
    settings: Settings, client: OrderClient
) -> None:
    with WireBreaker(settings, pass_all):
        handle = client.submit(STOCK, MARKET)
    references = weakref.getweakrefs(handle)
    assert references
    assert all(reference.__callback__ is None for reference in references)


# -- cancel, status, heartbeat ----------------------------------------------------------------------------


def test_a_cancel_returns_once_the_request_has_passed(settings: Settings, client: OrderClient) -> None:
    def answer(breaker: WireBreaker, fields: Fields) -> None:
        pass_all(breaker, fields)
        if fields["kind"] == "cancel":
            breaker.tell(
                RequestPassed(**about(fields["order_id"]), request_id=fields["request_id"], code="sent", reason="")
            )
            breaker.tell(Cancelled(**about(fields["order_id"]), filled=0, remaining=10, reason="asked for"))

    with WireBreaker(settings, answer) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1")
        breaker.next_order()
        assert handle.cancel().code == "sent"
        assert isinstance(handle.wait(DEADLINE_S), Cancelled)
        sent = breaker.next_order()
        assert (sent["order_id"], sent["strategy_id"]) == ("o-1", "s")


@pytest.mark.usefixtures("impatient")
def test_a_cancel_is_sent_again_with_the_same_request_until_it_is_answered(
    settings: Settings, client: OrderClient
) -> None:
    def third(breaker: WireBreaker, fields: Fields) -> None:
        if len(breaker.frames) == 3:
            answer = RequestPassed(**about("o-1"), request_id=fields["request_id"], code="sent", reason="", again=True)
            breaker.tell(answer)

    with WireBreaker(settings, third) as breaker:
        assert client.cancel("o-1").code == "sent"
        assert len({frames[1] for frames in breaker.frames}) == 1


def test_a_refused_cancel_and_an_unanswered_one_are_exceptions(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        breaker.on_order = lambda b, f: b.tell(  # type: ignore[assignment]
            RequestRefused(**about("o-1"), request_id=f["request_id"], code="done", reason="it has its end")
        )
        with pytest.raises(CancelRefused, match="it has its end") as refused:
            client.cancel("o-1")
        assert refused.value.code == "done"

        breaker.on_order = say_nothing
        with pytest.raises(OrderUnacknowledged, match="may be at IB") as silent:
            client.cancel("o-2", timeout=0.3)
        assert silent.value.maybe_at_ib is True


def test_status_tells_what_the_breaker_knows(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        breaker.known["o-1"] = {"order_id": "o-1", "state": "working"}
        assert client.status("o-1") == {"order_id": "o-1", "state": "working"}
        assert client.status("o-2") is None
    with pytest.raises(BreakerUnavailable):
        client.status("o-1")


def test_a_heartbeat_says_how_long_the_orders_may_outlive_the_strategy(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings) as breaker:
        client.heartbeat(30_000)
        sent = breaker.next_order()
        assert (sent["kind"], sent["strategy_id"], sent["cancel_after_ms"]) == ("heartbeat", "s", 30_000)
        with pytest.raises(OrderInvalid, match="cancel_after_ms"):
            client.heartbeat(-1)


# -- one call at a time -----------------------------------------------------------------------------------


def test_a_thread_that_follows_reports_keeps_nobody_from_submitting(settings: Settings, client: OrderClient) -> None:
    heard: list[str] = []
    ids = [f"o-{number}" for number in range(20)]

    def follow() -> None:
        for event in client.reports(timeout=DEADLINE_S):
            heard.append(event.order_id)
            if event.order_id == ids[-1]:
                return

    with WireBreaker(settings, pass_all):
        thread = threading.Thread(target=follow)
        thread.start()
        started = time.monotonic()
        for order_id in ids:
            client.submit(STOCK, MARKET, order_id=order_id)
        assert time.monotonic() - started < 5
        thread.join(DEADLINE_S)
    assert heard == ids


def test_a_call_from_a_signal_handler_inside_another_call_is_an_error_and_no_deadlock(
    settings: Settings, client: OrderClient
) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: client.heartbeat(0))
    try:
        with WireBreaker(settings):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(RuntimeError, match="from within"):
                client.submit(STOCK, MARKET, ttl_ms=3000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_closed_client_refuses_and_closing_twice_is_harmless(settings: Settings) -> None:
    client = OrderClient("s", settings=settings)
    client.close()
    client.close()
    with pytest.raises(OrderError, match="closed"):
        client.submit(STOCK, MARKET)


# -- replace ----------------------------------------------------------------------------------------------


def test_a_replace_returns_once_the_request_has_passed(settings: Settings, client: OrderClient) -> None:
    def answer(breaker: WireBreaker, fields: Fields) -> None:
        breaker.tell(RequestPassed(**about("o-1"), request_id=fields["request_id"], code="sent", reason=""))

    with WireBreaker(settings, answer) as breaker:
        assert client.replace("o-1", {**MARKET, "totalQuantity": 5}, revision=2).code == "sent"
        sent = breaker.next_order()
    assert (sent["kind"], sent["order_id"], sent["revision"], sent["ttl_ms"]) == ("replace", "o-1", 2, 5000)
    assert sent["order"]["totalQuantity"] == 5


def test_a_refused_replace_and_an_unanswered_one_are_exceptions(settings: Settings, client: OrderClient) -> None:
    def refuse(breaker: WireBreaker, fields: Fields) -> None:
        answer = RequestRefused(**about("o-1"), request_id=fields["request_id"], code="busy", reason="one at a time")
        breaker.tell(answer)

    with WireBreaker(settings, refuse) as breaker:
        with pytest.raises(ReplaceRefused, match="the replace of o-1 was refused: one at a time") as refused:
            client.replace("o-1", MARKET, revision=1)
        assert (refused.value.order_id, refused.value.code) == ("o-1", "busy")
        breaker.on_order = lambda *_: None
        with pytest.raises(OrderUnacknowledged, match="may be changed or not"):
            client.replace("o-1", MARKET, revision=1, timeout=0.1)
    with pytest.raises(OrderInvalid, match="revision"):
        client.replace("o-1", MARKET, revision=0)


# -- brackets ---------------------------------------------------------------------------------------------


def test_a_bracket_is_one_message_and_each_leg_has_a_handle(settings: Settings, client: OrderClient) -> None:
    def answer(breaker: WireBreaker, fields: Fields) -> None:
        pass_all(breaker, fields)
        for leg in fields["attached"]:
            breaker.tell(Passed(**about(leg["order_id"]), generation=1, trial=False))
            breaker.tell(Cancelled(**about(leg["order_id"]), filled=0, remaining=10, reason="over"))

    stop = {**MARKET, "orderType": "STP", "auxPrice": 1.0}
    with WireBreaker(settings, answer) as breaker:
        handle = client.submit(STOCK, MARKET, order_id="o-1", attached=[stop, Attached(order_id="mine", order=stop)])
        sent = breaker.next_order()
        assert [leg.order_id for leg in handle.attached] == [leg["order_id"] for leg in sent["attached"]]
        assert handle.attached[1].order_id == "mine"
        assert all(isinstance(leg.wait(DEADLINE_S), Cancelled) for leg in handle.attached)
        assert handle.end is None


def test_more_than_five_legs_are_refused_before_they_are_sent(settings: Settings, client: OrderClient) -> None:
    with WireBreaker(settings, pass_all), pytest.raises(OrderInvalid, match="attached"):
        client.submit(STOCK, MARKET, attached=[MARKET] * 6)
