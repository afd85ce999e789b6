"""Orders as they are listed: the newest first by arrival, page by page, each once; or the oldest first."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orderfuse.bus.codec import convert
from orderfuse.bus.control import OrdersRequest
from services.breaker.batch import Batch
from services.breaker.control.queries import answer_orders
from services.breaker.journal import FILE, Journal
from services.breaker.store.history import CHUNK_ROWS
from tests.clocks import ManualClock
from tests.unit.breaker.harness import SECOND, complete, settings_of, wall_ns_of
from tests.unit.breaker.test_restart import JournalRig

KEPT = Path(__file__).parent.parent / "journals" / "schema-2" / "working"


@pytest.fixture
def make(tmp_path):
    made = []

    def trading(**settings):
        rig = JournalRig(settings_of(tmp_path, **settings), ManualClock(wall=datetime.now(UTC).replace(microsecond=0)))
        rig.executor.join()
        made.append(rig)
        return rig

    yield trading
    for rig in made:
        rig.history.close()


def ask(r, **fields):
    return complete(pieces_of(r, **fields))


def pieces_of(r, **fields):
    request = convert({"op": "orders", "id": 1, **fields}, OrdersRequest)
    return answer_orders(request, r.history, r.stage.core.queues)


def ids(reply):
    return [order["order_id"] for order in reply["orders"]]


def test_the_newest_come_first_page_by_page_and_each_once(make):
    r = make(window=3)
    for number in range(10):
        r.submit(f"o-{number}", ("alpha", "beta")[number % 2])
    found, page = [], ask(r, limit=2)
    while page["more"]:
        found += ids(page)
        page = ask(r, limit=2, before=page["next"])
    assert found + ids(page) == [f"o-{number}" for number in reversed(range(10))]
    assert [order["state"] for order in ask(r)["orders"]] == ["queued"] * 7 + ["out"] * 3
    assert ids(ask(r, strategy_id="beta", limit=3)) == ["o-9", "o-7", "o-5"]
    assert ids(ask(r, state="out", limit=2)) == ["o-2", "o-1"]
    assert ids(ask(r, state="queued", limit=2)) == ["o-9", "o-8"]


@pytest.mark.parametrize("oldest_first", [True, False])
@pytest.mark.parametrize("when", range(6))
@pytest.mark.parametrize("chunk_rows", [1, 2, CHUNK_ROWS])
def test_an_order_that_is_decided_while_a_list_is_put_together_stands_in_it_once(
    make, monkeypatch, oldest_first, when, chunk_rows
):
    monkeypatch.setattr("services.breaker.store.history.CHUNK_ROWS", chunk_rows)
    r = make(window=3)
    for number in range(6):
        r.submit(f"o-{number}")
    pieces = pieces_of(r, **({"after": 0} if oldest_first else {}))
    for _ in range(when):
        next(pieces)
    for number in range(3):
        r.executor.accepted(f"o-{number}")
    listed = [f"o-{number}" for number in range(6)]
    assert ids(complete(pieces)) == (listed if oldest_first else listed[::-1])


def test_none_is_left_out_while_the_queue_moves_on_between_two_pages(make):
    r = make(window=2)
    for number in range(6):
        r.submit(f"o-{number}")
    first = ask(r, limit=2)
    for order_id in ("o-0", "o-1", "o-2"):
        r.executor.filled(order_id)
    rest = ask(r, before=first["next"])
    assert ids(first) == ["o-5", "o-4"]
    assert set(ids(rest)) >= {"o-0", "o-1", "o-2", "o-3"}


def test_without_a_limit_the_newest_are_50_and_the_oldest_1000(make):
    r = make()
    r.submit("o-0")
    record = r.history.find_order("o-0")
    r.history.save(Batch(orders={f"o-{number}": record for number in range(1, 1100)}))
    newest = ask(r)
    assert (len(newest["orders"]), newest["more"], newest["next"]) == (50, True, 1051)
    # A reply has at most 256 KiB too; some 600 of these orders fit into it.
    assert len(ask(r, after=0)["orders"]) > 500


def test_between_two_numbers_the_oldest_come_first(make):
    r = make(window=4)
    for number in range(6):
        r.submit(f"o-{number}")
    between = ask(r, after=1, before=ask(r, limit=1)["next"])
    assert ids(between) == ["o-1", "o-2", "o-3", "o-4"]
    assert ids(ask(r, after=1, before=4)) == ["o-1", "o-2"]


@pytest.mark.parametrize("way", [{}, {"after": 0}], ids=["newest first", "oldest first"])
def test_orders_since_a_moment_are_those_that_arrived_then_however_long_they_waited(make, way):
    r = make(window=1)
    r.ask("trip", scope="strategy:beta", reason="x")
    r.submit("early", ago=3)
    r.submit("waits-long", "alpha")
    r.clock.advance(1)
    since_ns = wall_ns_of(r.clock)
    r.submit("waits", "alpha")
    r.clock.advance(1)
    # It is decided, and so numbered, before those that wait.
    r.submit("refused", "beta")
    assert r.last("refused")["code"] == "latched"
    assert set(ids(ask(r, since_ns=since_ns, **way))) == {"waits", "refused"}
    assert set(ids(ask(r, since_ns=since_ns, state="queued", **way))) == {"waits"}
    r.executor.lease()
    r.executor.filled("early")
    r.executor.filled("waits-long")
    assert r.kinds("waits") == ["passed"]
    assert set(ids(ask(r, since_ns=since_ns, **way))) == {"waits", "refused"}
    assert ids(ask(r, since_ns=since_ns, strategy_id="beta", **way)) == ["refused"]
    assert ids(ask(r, since_ns=wall_ns_of(r.clock) + 1, **way)) == []
    r.restart(after=100, rebooted=True)
    assert set(ids(ask(r, since_ns=since_ns, **way))) == {"waits", "refused"}


def test_who_asks_for_the_last_orders_has_no_older_ones_read(make):
    r = make()
    for number in range(500):
        r.submit(f"o-{number}", f"s-{number % 50}")
        r.clock.advance(0.05)
    since_ns = wall_ns_of(r.clock) - SECOND
    steps = []
    r.history._db.connection.set_progress_handler(lambda: steps.append(1), 10)
    for way in ({}, {"after": 0}):
        steps.clear()
        assert len(ids(ask(r, since_ns=since_ns, limit=1000, **way))) == 20
        assert len(steps) < 150
        steps.clear()
        assert ids(ask(r, since_ns=since_ns + 10 * SECOND, **way)) == []
        assert len(steps) < 20


def test_orders_of_an_older_journal_arrived_when_they_were_decided(tmp_path):
    for path in KEPT.glob(f"{FILE}*"):
        shutil.copyfile(path, tmp_path / path.name)
    now_ns = 2**62
    journal = Journal(tmp_path, wall_ns=now_ns, monotonic_ns=now_ns, keep_events_bytes=10**9)
    record = next(record for _, record in journal.orders() if record.order_id == "rests")
    assert record.first_event is not None
    decided_ns = record.first_event["at_ns"]
    assert "rests" in [each.order_id for _, each in journal.orders(since_ns=decided_ns)]
    assert "rests" not in [each.order_id for _, each in journal.orders(since_ns=decided_ns + 1)]
    assert len(list(journal.orders())) == len(list(journal.orders(since_ns=1)))
    journal.close()
