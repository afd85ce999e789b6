"""The wire record: what reached the gateway, what left it, and when."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

from tests.processes.paper.support import AAPL, connected, market_order, paper, until


def test_the_file_has_every_message_with_its_fields_by_name(tmp_path: Path):
    path = tmp_path / "wire" / "record.jsonl"

    async def story() -> None:
        async with paper(record_path=path, record_in_memory=False) as gateway, connected(gateway) as ib:
            trade = ib.placeOrder(AAPL, market_order(orderRef="r1"))
            await until(trade.isDone, "the fill")
            # Read while the gateway runs: each line is in the file before its message is on the wire.
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            words = [(line["dir"], line["message"]) for line in lines]
            assert words[:3] == [("in", "handshake"), ("out", "handshake"), ("in", "startApi")]
            assert ("out", "execDetails") in words
            (order,) = [line for line in lines if line["message"] == "placeOrder"]
            assert order["client_id"] == 7
            assert order["fields"]["orderRef"] == "r1"
            assert order["fields"]["symbol"] == "AAPL"
            assert order["fields"]["totalQuantity"] == "100"
            statuses = [line["fields"]["status"] for line in lines if line["message"] == "orderStatus"]
            assert statuses == ["PreSubmitted", "Filled"]
            times = [line["ns"] for line in lines]
            assert times == sorted(times)

    asyncio.run(story())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_record_in_memory_can_be_asked_by_message_and_direction():
    async def story() -> None:
        async with paper() as gateway, connected(gateway) as ib:
            await ib.reqCurrentTimeAsync()
            assert [entry.message for entry in gateway.record.entries("reqCurrentTime")] == ["reqCurrentTime"]
            assert {entry.direction for entry in gateway.record.entries(direction="out")} == {"out"}
            assert all(entry.client_id == 7 for entry in gateway.record.entries("currentTime"))

    asyncio.run(story())


def test_without_a_record_nothing_is_kept():
    async def story() -> None:
        async with paper(record_in_memory=False) as gateway, connected(gateway):
            assert not gateway.record.active
            assert list(gateway.record.entries()) == []

    asyncio.run(story())
