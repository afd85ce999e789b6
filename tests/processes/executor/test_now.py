"""The moment of an input: the executor's rim reads both clocks once for it, and nothing behind the rim reads any."""

from __future__ import annotations

from typing import Any

import pytest

from services.executor.inputs import Input
from services.executor.rim import Rim
from services.executor.stage import Stage
from services.gateway.frames import ChangeOrder, PlaceOrders
from services.runtime.now import Now
from tests.orders import RESTING, record_of, submit
from tests.processes.executor.support import engine_on, paper, run, until


def test_the_rim_reads_the_clock_once_for_each_input_and_once_more_before_the_bytes_of_an_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[Now] = []
    moments: list[Now] = []
    written: list[object] = []
    init, step, refusal = Rim.__init__, Stage.step, Rim._refusal

    def counting(rim: Rim, *parts: Any) -> None:
        init(rim, *parts)
        clock = rim._clock

        def read() -> Now:
            reads.append(clock())
            return reads[-1]

        rim._clock = read

    def stepping(stage: Stage, given: Input, now: Now) -> object:
        moments.append(now)
        return step(stage, given, now)

    def refusing(rim: Rim, frame: PlaceOrders | ChangeOrder, trouble: str) -> object:
        written.append(frame)
        return refusal(rim, frame, trouble)

    monkeypatch.setattr(Rim, "__init__", counting)
    monkeypatch.setattr(Stage, "step", stepping)
    monkeypatch.setattr(Rim, "_refusal", refusing)

    async def story() -> None:
        async with paper() as gateway, engine_on(gateway) as engine:
            assert (await engine.place_order(submit("o-1"))).status == "filled"
            await engine.place_order(submit("o-2", order=RESTING))
            engine.cancel("o-2", "r-1")
            await until(lambda: record_of(engine.ledger, "o-2").ended == "cancelled", "the cancel")

    run(story)
    assert len(written) == 2
    assert len(reads) == len(moments) + len(written)
    assert [now for now in reads if now in moments] == moments, "each input has the moment that was read for it"
