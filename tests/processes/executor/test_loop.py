"""The whole executor between a paper gateway and the breaker's end of its links."""

from __future__ import annotations

from pathlib import Path

from services.wire.dispatch import CancelOrder, Fence, Fenced, Hello, LeaseRequest, ResendFeedback
from tests.orders import RESTING, place, record_of
from tests.processes.executor.support import breaker_end, executor, orders_on_the_wire, paper, run, settings_for, until
from tests.processes.paper.support import drop_client


def test_an_order_goes_from_the_breaker_to_the_gateway_and_its_facts_come_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                await breaker.send(place("o-1", fence=1))
                await until(lambda: "Commission" in breaker.kinds("o-1"), "the commission")
                assert breaker.kinds("o-1") == ["Written", "Accepted", "Filled", "Commission"]
                outcomes = {feedback.seq: feedback.outcome for feedback in breaker.feedback}
                assert outcomes == {1: None, 2: None, 3: "success", 4: None}
                assert breaker.facts("o-1")[2].done
                assert orders_on_the_wire(gateway) == ["o-1"]

    run(story)


def test_it_says_hello_until_a_breaker_is_there_and_names_its_gateway(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with executor(settings) as engine:
                await until(lambda: engine.connection.usable, "the gateway")
                async with breaker_end(settings) as breaker:
                    await until(lambda: breaker.usable, "a usable gateway")
                    hello = breaker.messages(Hello)[0]
                    assert hello.journal_id == engine.journal.journal_id
                    assert breaker.messages(LeaseRequest)[-1].gateway.account == "DU0000000"

    run(story)


def test_an_old_fence_is_refused_and_the_new_one_is_confirmed(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                breaker.fence = 2
                await breaker.send(Fence(fence=2))
                await breaker.send(place("late", fence=1))
                await until(lambda: breaker.facts("late"), "the refusal")
                assert [fact.code for fact in breaker.facts("late")] == ["fenced"]
                assert breaker.messages(Fenced)[-1].fence == 2
                await breaker.send(place("new", fence=2))
                await until(lambda: "Filled" in breaker.kinds("new"), "the fill of the new order")
                assert orders_on_the_wire(gateway) == ["new"]

    run(story)


def test_each_order_before_a_fence_is_either_written_or_refused_and_never_both(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                breaker.fence = 2
                for number in range(8):
                    await breaker.send(place(f"o-{number}", fence=1))
                await breaker.send(Fence(fence=2))
                await until(lambda: all(breaker.facts(f"o-{n}") for n in range(8)), "eight answers")
                await until(lambda: breaker.messages(Fenced), "the fence to be confirmed")
                written = breaker.messages(Fenced)[-1].written
                on_the_wire = orders_on_the_wire(gateway)
                assert set(written) <= set(on_the_wire)
                for number in range(8):
                    order_id = f"o-{number}"
                    fenced = [fact for fact in breaker.facts(order_id) if getattr(fact, "code", "") == "fenced"]
                    assert bool(fenced) != (order_id in on_the_wire)

    run(story)


def test_without_a_lease_nothing_is_written(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                breaker.gives_leases = False
                hellos = len(breaker.messages(Hello))
                # Silent for half a second, it greets the breaker anew; by then its lease is over.
                await until(lambda: len(breaker.messages(Hello)) > hellos, "another hello")
                await breaker.send(place("o-1", fence=1))
                await until(lambda: breaker.facts("o-1"), "the refusal")
                assert [fact.code for fact in breaker.facts("o-1")] == ["lease"]
                assert orders_on_the_wire(gateway) == []

    run(story)


def test_a_window_of_one_writes_the_second_order_after_the_first_is_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper(ack_delay_ms=150) as gateway:
            settings = settings_for(tmp_path, gateway.port, window=1)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                await breaker.send(place("o-1", fence=1))
                await until(lambda: orders_on_the_wire(gateway) == ["o-1"], "the first order")
                await breaker.send(place("o-2", fence=1))
                await breaker.send(place("o-3", fence=1))
                await until(lambda: breaker.kinds("o-3"), "the third, for which there is no room")
                assert orders_on_the_wire(gateway) == ["o-1"]
                await until(lambda: "Filled" in breaker.kinds("o-2"), "the second order")
                assert breaker.facts("o-3")[0].code == "undelivered"
                order_ids = [getattr(feedback.fact, "order_id", "") for feedback in breaker.feedback]
                kinds = [type(feedback.fact).__name__ for feedback in breaker.feedback]
                steps = list(zip(order_ids, kinds, strict=True))
                assert steps.index(("o-1", "Accepted")) < steps.index(("o-2", "Written"))

    run(story)


def test_a_cancel_reaches_an_order_in_the_inbox_and_one_at_the_gateway(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper(ack_delay_ms=150) as gateway:
            settings = settings_for(tmp_path, gateway.port, window=1)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                await breaker.send(place("o-1", fence=1, order=RESTING))
                await until(lambda: orders_on_the_wire(gateway) == ["o-1"], "the first order")
                await breaker.send(place("o-2", fence=1))
                await breaker.send(CancelOrder(order_id="o-2", request_id="r-2"))
                await until(lambda: breaker.facts("o-2"), "the answer to the first cancel")
                assert breaker.facts("o-2")[0].code == "cancelled"
                await breaker.send(CancelOrder(order_id="o-1", request_id="r-1"))
                await until(lambda: "Cancelled" in breaker.kinds("o-1"), "IB's cancel")
                assert breaker.facts("o-1")[-1].request_id == "r-1"
                assert breaker.feedback[-1].outcome == "neutral"

    run(story)


def test_fields_that_ib_would_misread_are_invalid_and_never_leave(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                await breaker.send(place("o-1", fence=1, order={**RESTING, "lmtPirce": 2}))
                await until(lambda: breaker.facts("o-1"), "the answer")
                assert breaker.kinds("o-1") == ["Invalid"]
                assert "lmtPirce" in breaker.facts("o-1")[0].reason
                assert orders_on_the_wire(gateway) == []

    run(story)


def test_feedback_is_sent_again_from_where_the_breaker_says(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                await breaker.send(place("o-1", fence=1))
                await until(lambda: "Commission" in breaker.kinds("o-1"), "four facts")
                first = {feedback.seq: feedback for feedback in breaker.feedback}
                assert sorted(first) == [1, 2, 3, 4]
                breaker.feedback.clear()
                await breaker.send(ResendFeedback(after_seq=1))
                await until(lambda: len(breaker.feedback) >= 3, "three of them again")
                assert breaker.feedback[:3] == [first[2], first[3], first[4]]

    run(story)


def test_a_new_breaker_gets_all_facts_that_it_missed(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with executor(settings) as engine:
                async with breaker_end(settings) as first:
                    await until(lambda: first.usable, "a usable gateway")
                    await first.send(place("o-1", fence=1, order=RESTING))
                    await until(lambda: "Accepted" in first.kinds("o-1"), "the acceptance")
                engine.cancel("o-1", None)
                await until(lambda: record_of(engine.ledger, "o-1").ended == "cancelled", "the cancel")
                async with breaker_end(settings) as second:
                    second.doubtful = ["o-1", "never-came"]
                    await until(lambda: "Cancelled" in second.kinds("o-1"), "the fact from while it was away")
                    await until(lambda: second.joined, "the executor's answer to the welcome")
                    assert [m.known for m in second.heard if hasattr(m, "known")] == [["o-1"]]

    run(story)


def test_an_order_resent_after_a_restart_is_not_placed_twice(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker:
                async with executor(settings):
                    await until(lambda: breaker.usable, "a usable gateway")
                    await breaker.send(place("o-1", fence=1))
                    await until(lambda: "Commission" in breaker.kinds("o-1"), "the fill")
                breaker.heard.clear()
                breaker.feedback_after = breaker.taken
                async with executor(settings):
                    await until(lambda: breaker.usable, "the gateway of the second executor")
                    before = len(breaker.feedback)
                    await breaker.send(place("o-1", fence=1))
                    await until(lambda: len(breaker.feedback) >= before + 2, "what is known of it, again")
                    assert breaker.kinds("o-1") == ["Written", "Accepted", "Filled", "Commission", "Accepted", "Filled"]
                    assert [fact.again for fact in breaker.facts("o-1")] == [False] * 4 + [True] * 2
                    assert orders_on_the_wire(gateway) == ["o-1"]
                    await breaker.send(place("o-2", fence=1))
                    await until(lambda: "Filled" in breaker.kinds("o-2"), "the next order")
                    ids = [int(e.fields["orderId"]) for e in gateway.record.entries("placeOrder", direction="in")]
                    assert ids == sorted(set(ids))

    run(story)


def test_the_status_tells_at_once_that_the_gateway_is_gone_and_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with paper() as gateway:
            settings = settings_for(tmp_path, gateway.port)
            async with breaker_end(settings) as breaker, executor(settings):
                await until(lambda: breaker.usable, "a usable gateway")
                before = len(breaker.heard)
                drop_client(gateway, settings.ib.client_id)

                def said() -> list[bool]:
                    return [m.gateway.usable for m in breaker.heard[before:] if isinstance(m, LeaseRequest)]

                await until(lambda: False in said(), "the word that it is gone")
                await until(lambda: said()[-1], "the word that it is back")
                assert said().index(False) < len(said()) - 1
                await breaker.send(place("o-1", fence=1))
                await until(lambda: "Filled" in breaker.kinds("o-1"), "a fill over the new connection")

    run(story)
