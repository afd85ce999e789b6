"""The state file: a killed gateway knows everything that it has told."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ib_insync
import pytest

from services.paper.faults.kinds import make_fault
from services.paper.market import state
from services.paper.market.exchange import ACCOUNT_ID, Exchange
from services.paper.market.matching import Held
from services.paper.market.orders import Order, Status
from services.paper.market.state import StateError, StateFile
from services.paper.market.updates import Update
from services.paper.server.render import account_values
from tests.processes.paper.support import AAPL, connected, limit_order, log_lines, market_order, paper, until
from tests.processes.paper.test_gateway import placed
from tests.processes.paper.test_process import free_port, running, start
from tests.unit.paper.test_exchange import a_bracket, aapl, order_of, story
from tests.unit.paper.test_kinds import combo
from tests.unit.paper.tickets import contract, ticket

NOW = 1_700_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "state"


def kept(path: Path, now: float = NOW) -> tuple[Exchange, StateFile]:
    """Start an exchange on a file, and never close it: as if it will be killed."""
    exchange = Exchange(1, now, tick_secs=0)
    file = StateFile(path, exchange)
    file.load(now)
    return exchange, file


def shown(orders: list[Order]) -> list[tuple[object, ...]]:
    return [
        (order.key, order.perm_id, order.status, order.filled, order.average_price, order.ticket, order.done_at)
        for order in orders
    ]


def test_orders_fills_ids_and_the_account_survive(path):
    exchange, file = kept(path)
    exchange.place(ticket(1, order_ref="filled"), NOW)
    exchange.place(ticket(2, limit_price=150.0, order_ref="rests"), NOW)
    exchange.place(ticket(3, limit_price=150.0, client_id=8), NOW)
    exchange.place(ticket(4, limit_price=150.0), NOW)
    exchange.cancel(7, 4, NOW)
    exchange.place(ticket(5, quantity=-1), NOW)
    exchange.fill(order_of(exchange, 2), 40, 150.0, NOW)
    file.save()

    again, _ = kept(path, NOW + 60)
    assert shown(again.open_orders()) == shown(exchange.open_orders())
    assert shown(again.completed_orders(0)) == shown(exchange.completed_orders(0))
    assert [(e.exec_id, e.shares, e.order.key) for e in again.executions] == [
        (e.exec_id, e.shares, e.order.key) for e in exchange.executions
    ]
    assert account_values(again.totals(), ACCOUNT_ID) == account_values(exchange.totals(), ACCOUNT_ID)
    assert (again.next_order_id(7), again.next_order_id(8)) == (6, 4)
    assert story(again.move_price(aapl(again), 149.0, NOW + 60))[0] == "exec 60@150", "it works on"
    again.place(ticket(6), NOW + 60)
    assert order_of(again, 6).perm_id > order_of(exchange, 4).perm_id
    assert len({execution.exec_id for execution in again.executions}) == len(again.executions)


Scene = Callable[[Exchange], list[Update]]
REACHED: dict[str, tuple[dict[str, Any], float, str]] = {
    "a stop": ({"order_type": "STP", "aux_price": 195.0}, 196.0, "exec 100@196.01"),
    "a trailing stop": ({"action": "SELL", "order_type": "TRAIL", "aux_price": 5.0}, 184.0, "exec 100@183.99"),
    "a touch": ({"order_type": "MIT", "aux_price": 185.0}, 184.0, "exec 100@184.01"),
}


@pytest.mark.parametrize("what", REACHED)
def test_what_waits_for_a_price_goes_on_waiting(path, what):
    terms, price, told = REACHED[what]
    exchange, file = kept(path)
    exchange.place(ticket(1, **terms), NOW)
    file.save()
    again, _ = kept(path)
    assert again.executions == exchange.executions
    assert story(again.move_price(aapl(again), price, NOW))[0] == told


def test_brackets_groups_and_ends_of_time_survive(path):
    exchange, file = kept(path)
    a_bracket(exchange)
    exchange.place(ticket(4, limit_price=150.0, oca_group="g"), NOW)
    exchange.place(ticket(5, limit_price=151.0, oca_group="g"), NOW)
    exchange.place(ticket(6, limit_price=100.0, tif="GTD", duration_secs=100), NOW)
    exchange.place(ticket(7, limit_price=100.0, transmit=False), NOW)
    file.save()
    again, _ = kept(path, NOW + 50)
    assert story(again.advance(NOW + 99)) == []
    assert story(again.advance(NOW + 100)) == ["status Cancelled 0/100", "error 202"]
    assert order_of(again, 7).held
    again.move_price(aapl(again), 150.5, NOW + 101)
    assert [order.ticket.order_id for order in again.open_orders()] == []
    statuses = {number: str(order_of(again, number).status) for number in range(1, 6)}
    assert statuses == {1: "Filled", 2: "Cancelled", 3: "Filled", 4: "Cancelled", 5: "Filled"}


def test_twins_survive_and_are_still_two(path):
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0), NOW)
    exchange.place(ticket(1, limit_price=151.0), NOW, twin=True)
    exchange.fill(exchange.open_orders()[1], 40, 151.0, NOW)
    file.save()
    again, file = kept(path)
    assert shown(again.open_orders()) == shown(exchange.open_orders())
    older, newer = again.open_orders()
    assert story(again.cancel(7, 1, NOW)) == ["status Cancelled 0/100", "error 202"]
    assert again.find(7, 1) is newer
    file.save()
    third, _ = kept(path)
    assert [order.perm_id for order in third.completed_orders(0)] == [older.perm_id]
    assert story(third.cancel(7, 1, NOW)) == ["status Cancelled 40/60", "error 202"]
    assert [execution.order.perm_id for execution in third.executions] == [newer.perm_id]


def test_what_has_vanished_is_gone_and_what_is_held_is_held_after_a_restart_too(path):
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0), NOW)
    exchange.place(ticket(2, limit_price=195.0), NOW, held=Held(Status.INACTIVE, "child,locate"))
    file.save()
    exchange.book.vanish(order_of(exchange, 1))
    exchange.book.set_next_id(1_767_693_324)
    file.save()

    def read_again() -> Exchange:
        again, _ = kept(path)
        assert again.find(7, 1) is None
        assert order_of(again, 2).told_status is Status.INACTIVE
        assert order_of(again, 2).why_held == "child,locate"
        assert again.completed_orders(0) == []
        assert [again.next_order_id(client_id) for client_id in (7, 8)] == [1_767_693_324] * 2
        return again

    read_again()
    again = read_again()
    assert again.executions == exchange.executions
    assert story(again.fill(order_of(again, 2), 100, 190.0, NOW))[1:3] == ["openOrder Filled", "status Filled 100/0"]


def test_a_file_of_an_earlier_version_knows_nothing_of_twins_and_groups_and_is_read(path):
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0), NOW)
    file.rewrite()
    (rows,) = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        if row["is"] == "order":
            for name in ("twin", "shown", "why_held", "vanished"):
                del row[name]
            del row["ticket"]["oca_type"]
    path.write_text(json.dumps(rows) + "\n")
    again, _ = kept(path)
    assert shown(again.open_orders()) == shown(exchange.open_orders())


def test_combinations_and_ids_that_users_brought_survive(path):
    exchange, file = kept(path)
    spread = combo((265598, 1, "BUY"), (272093, 1, "SELL"))
    exchange.place(ticket(1, quantity=1, contract=spread, limit_price=-500.0), NOW)
    exchange.place(ticket(2, quantity=1, contract=contract(symbol="ABC", conId="4711")), NOW)
    file.save()
    again, _ = kept(path)
    assert story(again.place(ticket(1, quantity=1, contract=spread, limit_price=-499.0), NOW))[0].startswith("open")
    assert again.instrument(contract(symbol="", secType="", conId="4711")).symbol == "ABC"


def test_what_belongs_together_is_kept_or_lost_together(path):
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0), NOW)
    file.save()
    before = path.stat().st_size
    exchange.fill(order_of(exchange, 1), 100, 150.0, NOW)
    file.save()
    data = path.read_bytes()
    for cut in range(before, len(data)):
        path.write_bytes(data[:cut])
        again, torn = kept(path)
        # One for each byte: left to the collector they would use up what a process may have open.
        torn.close()
        assert (order_of(again, 1).status, len(again.executions)) == ("Submitted", 0), f"cut at byte {cut}"


def test_half_a_line_is_no_line_and_the_file_is_written_anew_at_the_start(path):
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0), NOW)
    file.save()
    for price in range(100, 140):
        exchange.place(ticket(1, limit_price=float(price)), NOW)
        file.save()
    long = path.stat().st_size
    with path.open("ab") as torn:
        torn.write(b'[{"is":"order","perm')
    again, _ = kept(path)
    assert order_of(again, 1).ticket.limit_price == 139.0
    assert path.stat().st_size < long / 10
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["state"]


def test_the_file_does_not_grow_for_ever(path, monkeypatch):
    monkeypatch.setattr(state, "MIN_REWRITE_BYTES", 20_000)
    exchange, file = kept(path)
    for number in range(500):
        exchange.place(ticket(1, limit_price=100.0 + number / 100), NOW)
        file.save()
    assert path.stat().st_size < 30_000
    assert order_of(kept(path)[0], 1).ticket.limit_price == 104.99


def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the next write stop after 20 bytes and fail, until the function that is returned makes room."""
    real, room = os.write, [20]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = data[: room[0]]
        room[0] = 0
        return real(fd, part)

    monkeypatch.setattr(os, "write", write)
    return lambda: monkeypatch.setattr(os, "write", real)


def test_a_full_disk_fails_aloud_and_is_made_good_later(path, monkeypatch):
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0), NOW)
    make_room = full_disk(monkeypatch)
    with pytest.raises(OSError, match="No space"):
        file.save()
    make_room()
    exchange.place(ticket(2, limit_price=150.0), NOW)
    file.save()
    assert len(kept(path)[0].open_orders()) == 2


def test_nobody_is_told_what_cannot_be_saved(path, monkeypatch):
    async def story() -> None:
        with log_lines() as lines:
            async with paper(state_path=path) as gateway:
                async with connected(gateway) as ib:
                    make_room = full_disk(monkeypatch)
                    trade = ib.placeOrder(AAPL, limit_order("BUY", 1, 100.0))
                    await until(lambda: not ib.isConnected(), "it is dropped instead")
                    assert trade.order.permId == 0
                make_room()
                async with connected(gateway) as ib:
                    assert len(ib.openTrades()) == 1
        assert any("cannot be written, so nobody is told anything" in line for line in lines)

    asyncio.run(story())


@pytest.mark.parametrize(
    "text", ["hello\n", '{"is": "something"}\n', "[1]\n", '[{"is":"orderfuse paper state 2"},{"is":"order"}]\n', "x"]
)
def test_a_file_that_is_no_state_file_is_left_alone(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(StateError, match=f"{path}.*; move it away to start anew; .* shows as drift"):
        kept(path)
    assert path.read_text() == text


def test_midnight_and_rolled_back_ids_survive_too(path):
    async def story() -> None:
        async with paper(state_path=path) as gateway, connected(gateway) as ib:
            await placed(ib, market_order(), "Filled")
            await placed(ib, limit_order("BUY", 1, 100.0), "Submitted")
            gateway.play(make_fault("midnight", {}))
        async with paper(state_path=path) as gateway, connected(gateway) as ib:
            assert (ib.fills(), len(ib.openTrades())) == ([], 1)
            assert ib.positions()[0].position == 100
            gateway.exchange.book.roll_back_ids(1000)
            gateway.rewrite_state()
        async with paper(state_path=path) as gateway:
            assert gateway.exchange.next_order_id(7) == 1

    asyncio.run(story())


def test_a_killed_process_has_lost_nothing_that_it_told(tmp_path):
    path = tmp_path / "state"

    async def orders(port: int, kill: Callable[[], None]) -> list[int]:
        ib = ib_insync.IB()
        await ib.connectAsync("127.0.0.1", port, clientId=7)
        done = await placed(ib, market_order(orderRef="done"), "Filled")
        rests = await placed(ib, limit_order("BUY", 1, 100.0, orderRef="rests"), "Submitted")
        kill()
        ib.disconnect()
        return [done.order.permId, rests.order.permId]

    async def found(port: int) -> list[int]:
        ib = ib_insync.IB()
        await ib.connectAsync("127.0.0.1", port, clientId=7)
        (fill,), (rests,) = ib.fills(), ib.openTrades()
        assert (fill.execution.orderRef, rests.order.orderRef) == ("done", "rests")
        assert ib.positions()[0].position == 100
        ib.disconnect()
        return [fill.execution.permId, rests.order.permId]

    settings = {"ORDERFUSE_PAPER__STATE_FILE": str(path)}
    port = free_port()
    with running(tmp_path, port, first="the state file knows 0 orders", **settings) as process:
        before = asyncio.run(orders(port, process.kill))
    with running(tmp_path, port, first="the state file knows 2 orders, 1 of them working", **settings):
        assert asyncio.run(found(port)) == before


def test_a_state_file_that_is_none_stops_the_start(tmp_path):
    (tmp_path / "state").write_text("precious\n")
    process = start(tmp_path, free_port(), ORDERFUSE_PAPER__STATE_FILE=str(tmp_path / "state"))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "is no state file" in errors
    assert "Traceback" not in errors


def test_of_orders_that_are_over_the_newest_are_kept_and_ids_stay_used_up(path, monkeypatch):
    monkeypatch.setattr(state, "KEEP_DONE", 3)
    exchange, file = kept(path)
    exchange.place(ticket(1, limit_price=150.0, order_ref="rests"), NOW)
    for number in range(2, 8):
        exchange.place(ticket(number), NOW)
    file.save()
    for _ in range(2):
        again, rewritten = kept(path, NOW + 60)
        assert [order.key for order in again.completed_orders(0)] == [(7, 5), (7, 6), (7, 7)]
        assert [execution.order.key for execution in again.executions] == [(7, 5), (7, 6), (7, 7)]
        assert [order.key for order in again.open_orders()] == [(7, 1)]
        assert again.next_order_id(7) == 8
        assert account_values(again.totals(), ACCOUNT_ID) == account_values(exchange.totals(), ACCOUNT_ID)
        assert len(path.read_text().splitlines()) == 1
        rewritten.close()
