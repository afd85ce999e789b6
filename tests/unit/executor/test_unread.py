"""A journal that does not tell: what depends on it is left undone, all else goes on, and the rest is asked for anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from orderfuse import Attached
from services.gateway.frames import CancelOrder, Dial
from services.gateway.reports import CommissionReport, ErrorReport
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
    assert [type(feedback.fact).__name__ for feedback in rig.told[told:]] == ["Filled"]

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
