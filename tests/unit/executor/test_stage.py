"""The executor's stage in virtual time: what it writes, tells and keeps, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from orderfuse import Attached
from services.executor.batch import Batch, Keep
from services.executor.inputs import Renamed, Stopping, Tick, Told, Unsent
from services.executor.journal import Journal
from services.executor.orders.records import OrderRecord
from services.gateway.diagnosis import FIRST_REQUEST_ID
from services.gateway.frames import CancelEverything, CancelOrder, ChangeOrder, Frame, PlaceOrders
from services.gateway.reports import (
    ErrorReport,
    ExecutionReport,
    OpenOrderReport,
    PositionReport,
    Report,
    StatusReport,
    Unreadable,
)
from services.wire import dispatch
from services.wire.dispatch import Fence, GlobalCancel, Joined, LeaseRequest, ReplaceOrder
from tests.orders import RESTING, STOCK, place
from tests.unit.executor.rig import ACCOUNT, CLIENT_ID, STARTED_AT_NS, Rig

LEGS = (Attached(order_id="tp", order=RESTING), Attached(order_id="sl", order=RESTING))


def trading(**settings: Any) -> Rig:
    """Connected, and taken in by a breaker."""
    rig = Rig(**settings)
    rig.connect()
    rig.join()
    return rig


def opened(order_id: str, number: int = 1, **more: Any) -> OpenOrderReport:
    """IB says that an order of ours is open."""
    fields: dict[str, Any] = {
        "ib_order_id": number,
        "perm_id": 9000 + number,
        "client_id": CLIENT_ID,
        "order_ref": order_id,
        "account": ACCOUNT,
        "status": "Submitted",
        "quantity": 100.0,
        **more,
    }
    return OpenOrderReport(**fields)


def works(number: int = 1, filled: float = 0.0) -> StatusReport:
    return StatusReport(number, "Submitted", filled, 100.0 - filled, 9000 + number, CLIENT_ID)


def executed(order_id: str, shares: float, exec_id: str = "e.01", number: int = 1, **more: Any) -> ExecutionReport:
    named: dict[str, Any] = {"con_id": 4, "symbol": "AAPL", "side": "BOT", **more}
    return ExecutionReport(number, 9000 + number, CLIENT_ID, order_id, ACCOUNT, exec_id, shares, 10.0, "STK", **named)


# -- orders -----------------------------------------------------------------------------------------------


def test_an_order_is_written_told_and_filled() -> None:
    rig = trading()
    rig.hear(place("o-1", 1))
    assert rig.written() == ["o-1"]
    rig.say(opened("o-1"), works(), executed("o-1", 100.0))
    assert rig.kinds("o-1") == ["Written", "Accepted", "Working", "Filled"]
    assert [feedback.outcome for feedback in rig.told] == [None, None, "success", None]


def test_an_order_that_could_not_be_written_is_told_as_not_placed_and_its_id_stays_used() -> None:
    rig = trading()
    rig.refuses = lambda frame: Unsent(frame, "it could not be written: no") if isinstance(frame, PlaceOrders) else None
    rig.hear(place("o-1", 1))
    rig.wait(0.1)
    (fact,) = rig.facts("o-1")
    assert (type(fact).__name__, fact.code, fact.reason) == ("NotPlaced", "undelivered", "it could not be written: no")
    rig.refuses = lambda _: None
    rig.hear(place("o-1", 1))
    assert rig.written() == []


def test_what_became_of_the_last_orders_is_kept_when_the_process_ends() -> None:
    rig = trading()
    rig.refuses = lambda frame: Unsent(frame, "no") if isinstance(frame, PlaceOrders) else None
    rig.take(Told(place("o-1", 1)), Tick())
    assert rig.kinds("o-1") == []
    rig.take(Stopping())
    assert rig.kinds("o-1") == ["NotPlaced"]


def test_a_disk_that_has_room_again_when_the_process_ends_gets_what_it_lacks() -> None:
    rig = working()
    rig.disk_is_full = True
    rig.say(executed("o-1", 40.0))
    assert "Filled" not in rig.kinds("o-1")
    rig.disk_is_full = False
    rig.take(Stopping())
    assert rig.kinds("o-1")[-1] == "Filled"


def test_a_bracket_of_which_a_part_was_written_is_cancelled() -> None:
    rig = trading()

    def broken(frame: Frame) -> Unsent | None:
        return Unsent(frame, "no", written=1) if isinstance(frame, PlaceOrders) else None

    rig.refuses = broken
    rig.hear(place("o-1", 1, order=RESTING, attached=LEGS))
    rig.wait(0.2)
    assert rig.kinds("o-1") == ["Written"]
    assert rig.kinds("tp") == rig.kinds("sl") == ["NotPlaced"]
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == ["o-1"]


def test_what_ib_cannot_take_is_invalid_and_nothing_of_it_leaves() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order={"action": "BUY", "totalQuantity": 1, "orderType": "MKT", "algoParams": []}))
    rig.hear(place("o-2", 1, account="DU2"))
    assert rig.kinds("o-2") == ["Invalid"]
    legs = (Attached(order_id="leg", order={"action": "SELL"}),)
    rig.hear(place("o-3", 1, attached=legs))
    (fact,) = rig.facts("o-3")
    assert "the attached order leg" in fact.reason
    assert "o-3" not in rig.written()


def test_the_window_holds_orders_back_until_ib_has_answered() -> None:
    rig = trading(window=2)
    rig.stage.link.inbox_limit = 10
    for number in range(3):
        rig.hear(place(f"o-{number}", 1))
    assert rig.written() == ["o-0", "o-1"]
    rig.say(opened("o-0", 1), works(1))
    assert rig.written() == ["o-0", "o-1", "o-2"]


@pytest.mark.parametrize(("fence", "code"), [(0, "fenced"), (2, "fenced")])
def test_an_order_with_another_fence_is_refused(fence: int, code: str) -> None:
    rig = trading()
    rig.hear(place("o-1", fence))
    assert [(fact.code) for fact in rig.facts("o-1")] == [code]
    assert rig.written() == []


def test_a_fence_voids_what_waits_and_is_kept() -> None:
    rig = trading(window=1)
    rig.stage.link.inbox_limit = 5
    rig.hear(place("o-1", 1))
    rig.hear(place("o-2", 1))
    rig.hear(Fence(fence=2, scope="system"))
    assert rig.written() == ["o-1"]
    assert [fact.code for fact in rig.facts("o-2")] == ["fenced"]
    assert rig.journal.fences() == {"system": 2}
    assert rig.said(dispatch.Fenced)[-1].written == ["o-1"]


def test_while_the_file_stop_is_there_nothing_leaves() -> None:
    rig = trading()
    rig.stopped = True
    rig.hear(place("o-1", 1))
    assert [(fact.code, fact.reason) for fact in rig.facts("o-1")] == [("fenced", "STOP")]
    assert rig.written() == []


def test_without_a_lease_nothing_leaves() -> None:
    rig = trading()
    rig.gives_leases = False
    rig.wait(0.45)
    rig.hear(place("o-1", 1))
    rig.wait(0.3)
    rig.hear(place("o-2", 1))
    assert [fact.code for fact in rig.facts("o-2")] == ["lease"]


# -- the journal ------------------------------------------------------------------------------------------


def test_a_full_disk_lets_no_order_out_keeps_what_ib_says_and_tells_it_later() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.say(opened("o-1"), works())
    told = len(rig.told)
    rig.disk_is_full = True
    rig.say(executed("o-1", 40.0))
    rig.wait(0.2)
    assert (rig.status.usable, rig.status.detail) == (False, "the disk is full")
    rig.hear(place("o-2", 1))
    rig.hear(dispatch.CancelOrder(order_id="o-1", request_id="c-1"))
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == ["o-1"], "a cancel needs no disk"
    assert len(rig.told) == told
    rig.disk_is_full = False
    rig.wait(1.5)
    assert rig.status.usable
    assert rig.kinds("o-1")[-1] == "Filled"
    assert rig.kinds("o-2") == ["NotPlaced"]
    assert rig.written() == ["o-1"]


def test_an_old_copy_of_a_journal_gets_another_id_before_it_was_taken_in() -> None:
    rig = Rig()
    rig.connect()
    before = rig.journal.journal_id
    rig.hear(dispatch.NotWelcome(reason="old copy", rename=True))
    rig.wait(0.5)
    assert rig.said(dispatch.Hello)[-1].journal_id == rig.journal.journal_id != before


def test_what_the_disk_has_not_taken_yet_outlives_another_id_of_the_journal() -> None:
    rig = working()
    rig.disk_is_full = True
    rig.say(executed("o-1", 40.0))
    rig.disk_is_full = False
    rig._secs += 2.0
    # The rim drops what this step hands out.
    rig.stage.step(Renamed(rig.journal.rename()), rig._now())
    rig.wait(3.0)
    assert "Filled" in rig.kinds("o-1")


# -- changes ----------------------------------------------------------------------------------------------


def change(revision: int = 1, **fields: Any) -> ReplaceOrder:
    ids: dict[str, Any] = {
        "order_id": "o-1",
        "strategy_id": "s1",
        "account": fields.pop("account", ""),
        "contract": STOCK,
    }
    terms = {**RESTING, "lmtPrice": 2.0, **fields}
    request: dict[str, Any] = {"request_id": f"r-{revision}", "revision": revision}
    return ReplaceOrder(**ids, **request, order=terms, fence=1, scope="strategy:s1", ttl_left_ms=5000)


def working() -> Rig:
    """With one order that rests at IB."""
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.say(opened("o-1", terms={"lmtPrice": 1.0}), works())
    return rig


def test_a_change_is_written_and_told_once_ib_lists_it() -> None:
    rig = working()
    rig.hear(change())
    assert len(rig.sent(ChangeOrder)) == 1
    rig.say(opened("o-1", terms={"lmtPrice": 2.0, "totalQuantity": 100, "tif": ""}))
    assert "Replaced" in rig.kinds("o-1")


def test_a_change_that_was_written_before_is_told_again_and_never_written_again() -> None:
    rig = working()
    rig.hear(change())
    rig.hear(change())
    assert len(rig.sent(ChangeOrder)) == 1


@pytest.mark.parametrize("refused", ["unsent", "invalid", "unknown", "stop"])
def test_a_change_that_cannot_be_done_is_refused(refused: str) -> None:
    rig = working()
    message = change()
    match refused:
        case "unsent":
            rig.refuses = lambda frame: Unsent(frame, "no") if isinstance(frame, ChangeOrder) else None
        case "invalid":
            message = change(account="DU2")
        case "unknown":
            message = ReplaceOrder(
                **{name: getattr(message, name) for name in message.__struct_fields__ if name != "order_id"},
                order_id="never",
            )
        case _:
            rig.stopped = True
    rig.hear(message)
    rig.wait(0.1)
    failed = [fact for fact in rig.facts() if type(fact).__name__ == "ReplaceFailed"]
    assert [fact.request_id for fact in failed] == ["r-1"]
    assert rig.sent(ChangeOrder) == []


# -- what others do ---------------------------------------------------------------------------------------


def foreign(perm_id: int = 77, **more: Any) -> OpenOrderReport:
    fields: dict[str, Any] = {"order_ref": "", "client_id": 0, "action": "BUY", "con_id": 4, "symbol": "AAPL", **more}
    return opened("", 0, **{"perm_id": perm_id, **fields})


def test_an_order_of_others_is_told_until_two_lists_lack_it() -> None:
    rig = trading()
    rig.answers["open_orders"] = [foreign()]
    rig.wait(31, 0.25)
    assert [order.perm_id for order in rig.status.foreign] == [77]
    assert not rig.status.foreign_trips
    assert [line for line in rig.lines if "not an order of orderfuse" in line]
    rig.answers["open_orders"] = []
    rig.wait(61, 0.25)
    assert rig.status.foreign == ()
    assert [line for line in rig.lines if "has gone from IB's list" in line]


def test_an_order_of_others_trips_where_that_is_wished_and_is_not_looked_for_where_it_is_ignored() -> None:
    for policy, trips in (("trip", True), ("ignore", False)):
        rig = trading(foreign_orders=policy)
        rig.say(foreign())
        assert rig.status.foreign_trips is trips
        assert rig.status.foreign_ignored is (policy == "ignore")


def test_many_orders_of_others_are_a_few_lines_of_the_log() -> None:
    rig = trading()
    rig.say(*(foreign(number) for number in range(1, 60)))
    rig.wait(0.1)
    lines = [line for line in rig.lines if "not an order of orderfuse" in line]
    assert len(lines) == 21
    assert "39 more orders" in lines[-1]


def held(quantity: float, con_id: int = 4) -> PositionReport:
    return PositionReport(ACCOUNT, con_id, "AAPL", "STK", quantity)


def test_a_position_that_our_fills_do_not_make_is_told_until_a_person_accepts_it() -> None:
    rig = trading()
    rig.answers["positions"] = [held(5.0)]
    rig.wait(95, 0.25)
    (broken,) = rig.status.drift
    assert (broken.expected, broken.actual) == (0.0, 5.0)
    rig.hear(dispatch.Accept(number=1, drift=(broken,), foreign=(), reason="mine", who="me"))
    rig.wait(0.2)
    assert rig.status.drift == ()
    assert rig.journal.has_accepted(1)
    rig.wait(95, 0.25)
    assert rig.status.drift == ()


def test_what_a_person_accepts_is_not_done_while_the_disk_is_full() -> None:
    rig = trading()
    rig.answers["positions"] = [held(5.0)]
    rig.wait(95, 0.25)
    rig.disk_is_full = True
    rig.hear(dispatch.Accept(number=1, drift=rig.status.drift, foreign=(), reason="mine", who="me"))
    rig.disk_is_full = False
    rig.wait(2.0)
    assert len(rig.status.drift) == 1
    assert not rig.journal.has_accepted(1)


def test_a_position_that_ib_pushes_and_nobody_explains_has_the_orders_listed() -> None:
    rig = trading()
    asked = len([frame for frame in rig.frames if getattr(frame, "question", "") == "open_orders"])
    rig.say(held(5.0))
    rig.wait(2.5)
    assert len([frame for frame in rig.frames if getattr(frame, "question", "") == "open_orders"]) > asked


# -- doubts, and orders that nobody knows -----------------------------------------------------------------


def test_an_order_that_ib_never_had_is_told_as_not_placed_after_two_rounds_of_a_new_connection() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.wait(60, 0.25)
    (fact,) = [fact for fact in rig.facts("o-1") if type(fact).__name__ == "NotPlaced"]
    assert fact.code == "reconciled"


def test_once_the_day_of_the_machine_is_over_ibs_lists_prove_nothing_of_an_order() -> None:
    rig = trading()
    since_midnight = STARTED_AT_NS // 10**9 % 86400 + 1000
    # Midnight is a few seconds away where this machine stands, and nowhere else.
    rig.utc_offset_secs = 86400 - since_midnight - 5
    rig.hear(place("o-1", 1, order=RESTING))
    rig.wait(60, 0.25)
    assert "NotPlaced" not in rig.kinds("o-1")


def test_an_order_of_ours_that_nobody_knows_is_taken_on_with_what_was_filled_of_it() -> None:
    rig = Rig()
    found: list[Report] = [opened("lost-1", 5, quantity=100.0), works(5, filled=30.0)]
    rig.answers["open_orders"] = found
    rig.answers["executions"] = [executed("lost-1", 20.0, number=5)]
    rig.connect()
    assert rig.kinds("lost-1") == [], "before a breaker has said what it knows"
    rig.join()
    assert rig.kinds("lost-1")[:1] == ["Adopted"]
    (accepted,) = [fact for fact in rig.facts("lost-1") if type(fact).__name__ == "Accepted"]
    assert accepted.filled_before == 10.0


def test_an_order_that_the_breaker_expects_is_looked_for_and_told() -> None:
    rig = trading()
    rig.answers["open_orders"] = [opened("old-1", 6)]
    expect: dict[str, Any] = {"order_id": "old-1", "strategy_id": "s1", "quantity": 100.0, "placed_ns": 1}
    rig.hear(
        dispatch.Expect(
            **expect, ib_order_id=6, perm_id=9006, tif="", combo=False, accepted=False, protect=False, parent="", legs=0
        )
    )
    rig.wait(3)
    assert "Accepted" in rig.kinds("old-1")


def test_a_message_about_orders_that_cannot_be_read_stops_everything() -> None:
    rig = trading()
    rig.say(Unreadable(11, "too short"))
    assert [type(fact).__name__ for fact in rig.facts()] == ["Tripped"]
    rig.say(Unreadable(5, "not ours", order_ref="somebody's", order=foreign(78)))
    assert len(rig.facts()) == 1
    assert [order.perm_id for order in rig.status.foreign] == [78]


def test_a_code_that_stops_everything_is_told_once_a_minute() -> None:
    rig = trading()
    for _ in range(3):
        rig.say(ErrorReport(-1, 1300, "the port has changed"))
    assert len(rig.facts()) == 1
    rig.wait(61, 0.25)
    rig.say(ErrorReport(-1, 1300, "the port has changed"))
    assert len(rig.facts()) == 2


# -- cancels ----------------------------------------------------------------------------------------------


def test_a_cancel_of_everything_goes_again_until_ib_lists_none_of_the_orders_that_it_was_for() -> None:
    rig = working()
    rig.answers["open_orders"] = [opened("o-1"), works()]
    rig.hear(GlobalCancel(reason="stop", number=1, left_ms=600_000))
    rig.wait(12, 0.25)
    assert len(rig.sent(CancelEverything)) == 2
    rig.answers["open_orders"] = []
    rig.wait(25, 0.25)
    assert [fact.number for fact in rig.facts() if type(fact).__name__ == "AllCancelled"] == [1]
    assert rig.journal.owed_cancel() is None


def test_a_cancel_of_everything_ends_when_its_time_is_up_or_nobody_wants_it() -> None:
    for ending in ("time", "breaker"):
        rig = working()
        rig.answers["open_orders"] = [opened("o-1"), works()]
        rig.hear(GlobalCancel(reason="stop", number=1, left_ms=15_000))
        if ending == "breaker":
            rig.hear(dispatch.EndGlobalCancel(number=1))
        rig.wait(40, 0.25)
        assert len(rig.sent(CancelEverything)) == (2 if ending == "time" else 1)
        assert rig.journal.owed_cancel() is None


def test_without_a_breaker_for_long_our_orders_are_cancelled_if_that_is_wished() -> None:
    rig = trading(on_breaker_loss="cancel", on_breaker_loss_secs=5)
    rig.hear(place("o-1", 1, order=RESTING))
    rig.hear(place("keep", 1, order=RESTING, protect=True))
    rig.say(opened("o-1"), works(), opened("keep", 2), works(2))
    rig.gives_leases = False
    rig.wait(4)
    assert rig.sent(CancelOrder) == []
    rig.wait(3)
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == ["o-1"]


def test_a_cancel_that_did_not_leave_goes_again() -> None:
    rig = working()
    rig.refuses = lambda frame: Unsent(frame, "gone") if isinstance(frame, CancelOrder) else None
    rig.hear(dispatch.CancelOrder(order_id="o-1", request_id="c-1"))
    assert rig.sent(CancelOrder) == []
    rig.refuses = lambda _: None
    rig.wait(0.2)
    assert [frame.order_id for frame in rig.sent(CancelOrder)] == ["o-1"]


def test_a_person_settles_an_order() -> None:
    rig = working()
    rig.hear(dispatch.Settle(order_id="o-1"))
    record = rig.stage.core.ledger.record("o-1")
    assert record is not None
    assert record.ended == "settled"


# -- the breaker ------------------------------------------------------------------------------------------


def test_a_breaker_that_takes_it_in_hears_what_is_known_and_what_is_in_doubt() -> None:
    rig = trading()
    rig.hear(place("o-1", 1, order=RESTING))
    rig.wait(6)
    rig.join(fence=3, doubtful=["o-1", "never"], tell_open=True)
    joined = rig.said(Joined)[-1]
    assert (joined.fence, joined.known, joined.in_doubt) == (3, ["o-1"], ["o-1"])
    assert "Adopted" in rig.kinds("o-1")
    assert rig.said(LeaseRequest)


def test_what_the_breaker_has_not_taken_is_sent_again_every_second_until_it_has() -> None:
    rig = trading()
    rig.takes_feedback = False
    rig.hear(place("o-1", 1))
    rig.say(opened("o-1"), works(), executed("o-1", 100))
    assert rig.resent_after == [0], "with the welcome"
    rig.wait(3.5)
    assert rig.resent_after == [0] * 4
    rig.takes_feedback = True
    rig.wait(3.5)
    assert len(rig.resent_after) == 4


def test_a_bracket_for_which_ibs_numbers_do_not_suffice_is_not_placed() -> None:
    journal = Journal(None, CLIENT_ID)
    journal.save(Keep(intents=[OrderRecord("old", "s1", FIRST_REQUEST_ID - 3, 1.0, ended="filled")]), 0)
    rig = Rig(journal=journal)
    rig.connect()
    rig.join()
    rig.hear(place("o-1", 1, order=RESTING, attached=LEGS))
    (fact,) = rig.facts("o-1")
    assert (type(fact).__name__, rig.written()) == ("NotPlaced", [])
    assert "has used order ids up to" in fact.reason


def test_of_what_is_to_be_sent_again_in_one_turn_the_earliest_counts() -> None:
    batch = Batch()
    for after in (None, 7, None, 3, 5):
        batch.add(Batch(resend_after=after))
    assert batch.resend_after == 3
