"""The executor's rim: what it makes of what goes wrong while it writes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from orderfuse.settings import ExecutorSettings, IbSettings, Settings
from services.executor.inputs import Input, Stopping, Tick
from services.executor.journal import Journal
from services.executor.loop import ExecutorLoop
from services.executor.rim import Carried, Rim, machine_now
from services.executor.script import IBConnectionManager
from services.executor.stage import Stage
from services.gateway.frames import Dial, Frame
from services.gateway.line import Line
from services.runtime.now import Now


class Troubled(Line):
    """A line that cannot be written to."""

    def __init__(self, trouble: Exception) -> None:
        super().__init__(IbSettings(), 4.0, asyncio.Event())
        self.trouble = trouble

    def write(self, frame: Frame) -> None:  # noqa: ARG002 - whatever it is
        raise self.trouble


def rim_that_meets(trouble: Exception) -> Rim:
    journal = Journal(None, 1)
    stage = Stage(
        IbSettings(),
        ExecutorSettings(),
        window=1,
        saved=journal.saved(),
        history=journal,
        executor_id="e",
        alone=False,
    )
    return Rim(stage, journal, Troubled(trouble), lambda: Now(1, 1))


def test_a_frame_that_cannot_be_written_is_said_to_be_unsent():
    carried, _ = rim_that_meets(ConnectionError("not connected")).take([Tick()])
    (unsent,) = carried.unsent
    assert isinstance(unsent.frame, Dial)
    assert unsent.reason == "it could not be written: not connected"


def test_a_bug_of_ours_ends_the_process_and_is_not_said_to_be_a_fault_of_the_line():
    with pytest.raises(AssertionError, match="a bug"):
        rim_that_meets(AssertionError("a bug")).take([Tick()])


def test_a_script_hears_of_a_bug_that_ended_its_connection():
    class Wrong(IBConnectionManager):
        def status(self) -> Any:
            raise AssertionError("a bug")

    async def play() -> None:
        connection = Wrong(IbSettings(host="nowhere.invalid"))
        connection._line = Troubled(ConnectionError("not connected"))
        connection._rim.line = connection._line
        connection._task = asyncio.create_task(connection.run())
        await asyncio.wait({connection._task})
        await connection.stop()

    with pytest.raises(AssertionError, match="a bug"):
        asyncio.run(play())


def test_executor_and_script_hand_out_at_their_end_what_they_know(tmp_path: Path) -> None:
    taken: list[list[Any]] = []

    def take(inputs: Iterable[Input]) -> tuple[Carried, bool]:
        taken.append([*inputs])
        return Carried(), False

    async def play() -> None:
        loop = ExecutorLoop(Settings(home=tmp_path), Journal(None, 1))
        connection = IBConnectionManager(IbSettings())
        for rim in (loop.rim, connection._rim):
            rim.take = take  # type: ignore[method-assign]  # what matters is what it is given
        loop._turn(tick=False)
        connection._task = asyncio.create_task(connection.run())
        await asyncio.sleep(0)
        await connection.stop()

    asyncio.run(play())
    first, *_, last = taken
    assert first == last == [Stopping()]


def test_the_time_zone_of_the_machine_comes_in_with_the_moment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "XYZ-3:30")
    time.tzset()
    try:
        assert machine_now(5).utc_offset_secs == 3.5 * 3600
    finally:
        monkeypatch.undo()
        time.tzset()
