"""What a running breaker says beside what docs/PROTOCOL.md says of it."""

from __future__ import annotations

from tests.processes.pipeline.pipeline import Pipeline
from tests.processes.pipeline.raw import RawProgram
from tests.unit.test_protocol_page import first_column, requests, section, tables, words


def test_replies_from_the_journal_have_the_keys_of_the_page(pipeline: Pipeline) -> None:
    told = {next(iter(words(row[0]))): words(row[2]) for row in requests()}
    common = first_column(tables(section("control"))[1])
    with RawProgram(pipeline.home) as program:
        program.ready()
        order_id = program.submit()
        program.wait_event("commission", order_id)
        orders = program.request("orders", order_id=order_id)
        assert set(orders) - common - {"v"} <= told["orders"]
        assert set(orders["orders"][0]) <= told["orders"]
        events = program.request("events", topic="order/raw/", limit=1)
        assert events["more"]
        assert set(events) - common - {"v"} <= told["events"]
        further = program.request("events", topic="order/raw/", after=events["next"])
        assert further["events"][0]["seq"] > events["events"][0]["seq"]


def test_health_and_each_event_have_the_keys_of_the_page(pipeline: Pipeline) -> None:
    common, rows, *_ = tables(section("order", section("events")))
    told = {kind: words(row[3]) | first_column(common) for row in rows[1:] for kind in words(row[0])}
    with RawProgram(pipeline.home) as program:
        program.events.subscribe("health/")
        program.ready()
        order_id = program.submit()
        program.wait_event("commission", order_id)
        assert {"passed", "accepted", "filled"} <= set(program.kinds(order_id))
        for event in program.seen:
            if event["kind"] != "health":
                assert set(event) - {"v", "kind"} <= told[event["kind"]], event["kind"]
        while not any(event["kind"] == "health" for event in program.seen):
            assert program.next_event(30) is not None
        (health, *_) = [event for event in program.seen if event["kind"] == "health"]
        assert set(health) - {"v", "kind"} == first_column(tables(section("health", section("events")))[0])
