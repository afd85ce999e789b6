"""Lists of the journal while it is written: its log begins anew after each checkpoint, and the lists are right."""

import copy
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from orderfuse.bus.codec import convert
from orderfuse.bus.control import EventsRequest, OrdersRequest
from services.breaker.batch import Batch, Numbering, Publication
from services.breaker.control.queries import answer_events, answer_orders
from services.breaker.journal import FILE
from services.breaker.store.history import CHUNK_BYTES, CHUNK_ROWS
from tests.clocks import ManualClock
from tests.unit.breaker.harness import complete, settings_of
from tests.unit.breaker.test_restart import JournalRig, event

MB = 2**20
# After a commit with which the log has 1,000 pages of 4 KiB, SQLite brings them into the file.
CHECKPOINT = 4 * MB
MOST = 5 * CHUNK_ROWS
ALL = list(range(1, MOST + 1))
TOLD = "order/told/"


@pytest.fixture
def r(tmp_path):
    rig = JournalRig(settings_of(tmp_path), ManualClock(wall=datetime.now(UTC).replace(microsecond=0)))
    rig.executor.join()
    rig.submit("o-1")
    rig.executor.filled("o-1")
    save_orders(rig, ALL[1:])
    rig.history.save(Batch(publications=[event(seq, TOLD) for seq in ALL]))
    rig.stage.core.publisher.topics[TOLD] = Numbering(MOST, MOST)
    yield rig
    rig.history.close()


def save_orders(r, numbers):
    done = r.history.find_order("o-1")
    records = {f"o-{number}": copy.copy(done) for number in numbers}
    for order_id, record in records.items():
        record.order_id = order_id
    r.history.save(Batch(orders=records))


def large_event(seq, size):
    return Publication("order/beta/", {**event(seq).fields, "text": "x" * size}, seq)


def orders(r, **fields):
    request = convert({"op": "orders", "id": 1, "limit": 1000, **fields}, OrdersRequest)
    return answer_orders(request, r.history, r.stage.core.queues)


def events(r):
    fields = {"op": "events", "id": 1, "topic": TOLD, "after_seq": 0, "limit": 1000}
    return answer_events(convert(fields, EventsRequest), r.history, r.stage.core.publisher)


def go_on(pieces, rows):
    for _ in range(rows):
        next(pieces)


def numbers(pieces):
    return [int(order["order_id"].removeprefix("o-")) for order in complete(pieces)["orders"]]


def seqs(pieces):
    return [fields["seq"] for fields in complete(pieces)["events"]]


def traced(r, ask):
    """What SQLite is asked meanwhile."""
    asked: Any = []
    r.history._db.connection.set_trace_callback(asked.append)
    ask()
    r.history._db.connection.set_trace_callback(None)
    return asked


def test_the_log_begins_anew_while_lists_are_under_way(r):
    newest, oldest, told = lists = orders(r), orders(r, after=0), events(r)
    log, largest, next_seq = r.settings.home / f"{FILE}-wal", 0, count(1)
    # 24 MB, of which a megabyte is written between two pieces.
    for _ in range(24):
        for pieces in lists:
            go_on(pieces, 3)
        r.history.save(Batch(publications=[large_event(next(next_seq), 10_000) for _ in range(100)]))
        largest = max(largest, log.stat().st_size)
    assert largest < CHECKPOINT + 3 * MB
    assert numbers(newest) == ALL[::-1]
    assert numbers(oldest) == ALL
    page = complete(told)
    assert ([fields["seq"] for fields in page["events"]], page["more"], page["skipped"]) == (ALL, False, [])


def test_what_is_written_behind_a_list_that_is_under_way_comes_in_it(r):
    def write(number):
        save_orders(r, [number])
        r.history.save(Batch(publications=[event(number, TOLD)]))

    # The last chunk is a short one.
    write(MOST + 1)
    newest, oldest, told = lists = orders(r), orders(r, after=0), events(r)
    for pieces in lists:
        go_on(pieces, MOST + 1)
    write(MOST + 2)
    assert numbers(newest) == [MOST + 1, *ALL[::-1]], "as it was when it was begun"
    assert numbers(oldest) == [*ALL, MOST + 1, MOST + 2]
    assert seqs(told) == [*ALL, MOST + 1, MOST + 2]


def test_what_is_deleted_while_a_list_is_under_way_is_just_missing(r):
    newest, oldest, told = lists = orders(r), orders(r, after=0), events(r)
    # Each has read two chunks of five. All of the third goes, and the rows behind which it would begin.
    for pieces in lists:
        go_on(pieces, CHUNK_ROWS + 1)
    first, last = 2 * CHUNK_ROWS, 3 * CHUNK_ROWS + 1
    r.history._db.execute("DELETE FROM orders WHERE number BETWEEN ? AND ?", (first, last))
    r.history._db.execute("DELETE FROM events WHERE topic = ? AND seq BETWEEN ? AND ?", (TOLD, first, last))
    up_to, behind = ALL[:first], ALL[last:]
    assert numbers(oldest) == [*up_to, *behind]
    assert seqs(told) == [*up_to, *behind]
    assert numbers(newest) == [*ALL[: first - 1], *ALL[last - 1 :]][::-1]


def test_of_large_rows_a_few_are_read_at_once(r):
    r.history.save(Batch(publications=[large_event(seq, CHUNK_BYTES // 4) for seq in range(1, 30)]))
    found: Any = []
    asked = traced(r, lambda: found.extend(fields["seq"] for _, fields in r.history.events("order/beta/", 0)))
    assert found == list(range(1, 30))
    # Four at a time, and once more to see that there are none.
    assert len(asked) == 9


@pytest.mark.parametrize("after", [None, 0], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("state", [None, "out", "done"])
@pytest.mark.parametrize("strategy_id", [None, "alpha"])
@pytest.mark.parametrize("since_ns", [None, 1])
def test_each_chunk_is_found_by_an_index_and_in_order(r, after, state, strategy_id, since_ns):
    wanted = {"after": after, "state": state, "strategy_id": strategy_id, "since_ns": since_ns}
    asked = traced(r, lambda: list(r.history.orders(**wanted))) + traced(r, lambda: complete(events(r)))
    plans = [row[3] for query in asked for row in r.history._db.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert not [plan for plan in plans if "TEMP B-TREE" in plan or plan.startswith(("SCAN orders", "SCAN events"))]
    # However many of a strategy's orders have ended.
    assert any("orders_alive" in plan for plan in plans) is (state == "out")
