"""A journal that does not tell: what depends on it is left undone, all else goes on, and the rest is asked for anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from orderfuse import Attached
from services.executor.inputs import Input
from services.gateway.frames import Ask, CancelOrder, Dial, Frame
from services.gateway.reports import CommissionReport, ErrorReport
from services.gateway.round import LISTS
from services.wire import dispatch
from tests.orders import RESTING, place
from tests.unit.executor.rig import Rig
from tests.unit.executor.test_stage import change, executed, foreign, opened, works
from tests.unit.executor.test_stage import working as one_working

READABLE_AGAIN_SECS = 12.0


def working() -> Rig:
    """With one order at IB that is filled in part, and all of it on the disk."""
    rig = one_working()
    rig.say(executed("o-1", 40.0), works(filled=40.0))
    rig.say(foreign())
    rig.wait(0.3)
    return rig


ASKS: dict[str, tuple[tuple[str, ...], Callable[[Rig], None]]] = {
    "an order": (("orders",), lambda rig: rig.hear(place("o-2", 1, order=RESTING))),
    "a leg": (
        ("orders",),
        lambda rig: rig.hear(place("o-2", 1, order=RESTING, attached=(Attached(order_id="sl", order=RESTING),))),
    ),
    "an order handed over again": (("feedback",), lambda rig: rig.hear(place("o-1", 1, order=RESTING))),
    "a change of an order that left the memory": (
        ("orders",),
        lambda rig: rig.hear(structs.replace(change(), order_id="gone")),
    ),
    "a report": (("orders",), lambda rig: rig.say(opened("gone", 9))),
    "an error": (("orders",), lambda rig: rig.say(ErrorReport(77, 201, "no"))),
    "a commission": (("executions",), lambda rig: rig.say(CommissionReport("z.01", 1.0, "USD", None))),
    "a correction": (("fills",), lambda rig: rig.say(executed("o-1", 30.0, exec_id="e.02"))),
    "the welcome": (("orders",), lambda rig: rig.hear(dispatch.Welcome(fence=1, doubtful=["x"], feedback_after=0))),
    "what a person accepts": (
        ("accepted",),
        lambda rig: rig.hear(dispatch.Accept(number=1, foreign=rig.status.foreign, reason="known", who="me")),
    ),
}


@pytest.mark.parametrize("asked", ASKS)
def test_what_depends_on_it_is_left_undone_alone_and_made_up_for(asked: str) -> None:
    rig = working()
    tables, ask = ASKS[asked]
    told = len(rig.told)
    rig.unread(*tables)
    ask(rig)
    rig.wait(0.2)
    assert not rig.status.usable
    assert "the journal in memory cannot be read" in rig.status.detail
    assert len([line for line in rig.lines if "cannot be read" in line]) == 1
    rig.hear(dispatch.CancelOrder(order_id="o-1", request_id="r-1"))
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == ["o-1"], "a cancel leaves whatever else stands"
    rig.say(executed("o-1", 10.0, exec_id="f.01"))
    assert rig.kinds("o-1")[-1] == "Filled", "what IB says of orders in memory is told"
    assert rig.written() == ["o-1"]
    news = [feedback.fact for feedback in rig.told[told:] if not getattr(feedback.fact, "again", False)]
    assert [type(fact).__name__ for fact in news] == ["Filled"]

    rig.unread()
    rig.answers["executions"] = [executed("o-1", 30.0, exec_id="e.02"), executed("o-1", 10.0, exec_id="f.01")]
    rig.answers["open_orders"] = [opened("o-1"), works(filled=40.0)]
    rig.wait(READABLE_AGAIN_SECS)
    assert len(rig.sent(Dial)) == 2, "IB says all of it again"
    assert len(rig.said(dispatch.Hello)) >= 2
    rig.join(fence=2)
    assert rig.status.usable
    rig.hear(place("o-3", 2, order=RESTING))
    assert rig.written() == ["o-1", "o-3"]
    if asked in ("an order", "a leg"):
        assert rig.kinds("o-2") == ["NotPlaced"]
    assert rig.stage.core.ledger.totals("o-1")[0] == 40.0, "the correction is taken, once"


class Slow(Rig):
    """The gateway takes its time over each list of a round."""

    late_secs = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.due: list[tuple[float, list[Input]]] = []

    def _answer(self, frame: Frame) -> list[Input]:
        answers = super()._answer(frame)
        if self.late_secs and isinstance(frame, Ask) and frame.question in LISTS:
            self.due.append((self._secs + self.late_secs, answers))
            return []
        return answers

    def tick(self) -> None:
        for each in [each for each in self.due if each[0] <= self._secs]:
            self.due.remove(each)
            self.take(*each[1])
        super().tick()


@pytest.mark.parametrize("after_secs", [0.0, 10.0])
def test_cancels_get_through_over_a_connection_whose_lists_take_longer_than_it_takes_to_look_again(
    after_secs: float,
) -> None:
    rig = Slow()
    rig.connect()
    rig.join()
    names = [f"o-{number}" for number in range(1, 4)]
    for name in names:
        rig.hear(place(name, 1, order=RESTING))
    listed = [report for number in range(1, 4) for report in (opened(f"o-{number}", number), works(number))]
    rig.say(*listed)
    rig.wait(0.5)
    rig.late_secs = 6.0
    rig.answers["open_orders"] = [*listed, foreign()]
    rig.unread("orders")
    rig.say(foreign())
    rig.wait(17.0)
    rig.join(fence=2)
    # So slow that the cancels do not leave at once.
    rig.stage.core.life.pacer._limit = 2
    rig.wait(after_secs)
    before = len(rig.frames)
    for name in names:
        rig.hear(dispatch.CancelOrder(order_id=name, request_id="r-1"))
    rig.wait(30.0)
    left = [
        frame.order_id if isinstance(frame, CancelOrder) else "a new connection"
        for frame in rig.frames[before:]
        if isinstance(frame, CancelOrder | Dial)
    ]
    assert left[:4] == [*names, "a new connection"]


def test_while_ib_is_away_the_status_says_so_and_its_lists_make_up_for_what_was_left_undone() -> None:
    rig = working()
    rig.unread("orders")
    rig.say(opened("gone", 9))
    assert "cannot be read" in rig.status.detail
    rig.say(ErrorReport(-1, 1100, "lost"))
    rig.unread()
    rig.wait(READABLE_AGAIN_SECS)
    assert rig.status.detail == "IB is not behind the gateway: 1100"
    rig.answers["open_orders"] = [opened("o-1"), works(filled=40.0), opened("gone", 9), works(9)]
    rig.join(fence=2)
    rig.say(ErrorReport(-1, 1102, "back"))
    rig.wait(1.0)
    assert rig.status.usable
    assert "Adopted" in rig.kinds("gone")
    assert len(rig.sent(Dial)) == 1


def test_an_order_that_is_handed_over_again_meanwhile_makes_one_line() -> None:
    rig = working()
    rig.unread("feedback")
    before = len(rig.lines)
    rig.hear(place("o-1", 1, order=RESTING))
    rig.wait(1.0, step=0.01)
    assert len(rig.lines) - before == 1


def test_an_order_that_leaves_the_inbox_meanwhile_is_told_again_from_the_memory() -> None:
    rig = one_working()
    rig.say(executed("o-1", 100.0))
    rig.wait(1.0)
    told = len(rig.told)
    rig.unread("feedback")
    rig.hear(place("o-1", 1, order=RESTING))
    rig.wait(READABLE_AGAIN_SECS)
    assert [type(feedback.fact).__name__ for feedback in rig.told[told:]] == ["Accepted", "Filled"]
    assert rig.written() == ["o-1"]
