"""What IB's messages become, field by field: the words in, the reports out."""

from __future__ import annotations

import pytest

from services.gateway.decoder import StrictDecoder
from services.gateway.ears import Ears
from services.gateway.ib_texts import unescaped
from services.gateway.reports import (
    POSITION_MESSAGE,
    Accounts,
    Closed,
    CompletedOrderReport,
    ErrorReport,
    NextOrderId,
    OpenOrderReport,
    PositionReport,
    Report,
    RequestEnd,
    Traits,
    Unreadable,
)
from tests.unit.paper.captured import COMPLETED_ORDER_164, OPEN_ORDER_173


def heard(*fields: str, version: int = 176) -> list[Report]:
    reports: list[Report] = []
    decoder = StrictDecoder(Ears(reports.append), reports.append)
    decoder.serverVersion = version
    decoder.interpret(list(fields))
    return reports


def position(quantity: str = "-3.5", con_id: str = "265598") -> list[str]:
    contract = [con_id, "", "OPT", "20270115 08:30", "150.0", "C", "100", "SMART", "USD", "AAPL  270115C", "AAPL"]
    return [str(POSITION_MESSAGE), "3", "DU1", *contract, quantity, "9.5"]


# -- the greeting, and what ends --------------------------------------------------------------------------


def test_a_gateway_names_its_accounts_and_the_next_order_id() -> None:
    assert heard("15", "1", "DU1,DU2,") == [Accounts(("DU1", "DU2"))]
    assert heard("9", "1", "41") == [NextOrderId(41)]


@pytest.mark.parametrize(
    ("fields", "question"),
    [
        (["62", "1"], "positions"),
        (["53", "1"], "open_orders"),
        (["55", "1", "9001"], "executions"),
        (["102"], "completed_orders"),
        (["49", "1", "1767625200"], "current_time"),
    ],
)
def test_each_question_has_its_own_end(fields: list[str], question: str) -> None:
    assert heard(*fields) == [RequestEnd(question)]


def test_the_end_of_the_socket_is_told() -> None:
    reports: list[Report] = []
    Ears(reports.append).setEventsDone()
    assert reports == [Closed()]


def test_what_was_never_asked_for_is_not_for_us() -> None:
    assert heard("14", "1", "5", "1", "a bulletin", "NYSE") == []
    assert heard("87", "1", "1") == [], "the end of news of before"
    ears = Ears(lambda _: pytest.fail("nothing is told"))
    for greeting in ("connectAck", "connectionClosed"):
        getattr(ears, greeting)()
    for hook in ("priceSizeTick", "tcpDataArrived", "tcpDataProcessed", "__len__"):
        assert not hasattr(ears, hook), "ib_insync would call it with each message"


# -- orders -----------------------------------------------------------------------------------------------


def test_an_open_order_is_told_with_its_terms_and_its_contract() -> None:
    (report,) = heard(*OPEN_ORDER_173, version=173)
    assert isinstance(report, OpenOrderReport)
    assert (report.ib_order_id, report.perm_id, report.client_id, report.account) == (5, 600745656, 100, "DU1234567")
    assert (report.action, report.order_type, report.quantity, report.status) == ("BUY", "MKT", 100, "PreSubmitted")
    assert (report.con_id, report.symbol, report.terms["tif"]) == (265598, "AAPL", "DAY")
    assert report.traits == Traits(sec_type="STK", currency="USD"), "a question mark is no right"
    assert "right" in report.contract
    assert "strike" not in report.contract, "what is not set is left out"


def test_an_order_that_is_over_is_told_with_both_of_its_quantities() -> None:
    (report,) = heard(*COMPLETED_ORDER_164, version=164)
    assert isinstance(report, CompletedOrderReport)
    assert (report.perm_id, report.status, report.completed_status) == (1824933227, "Filled", "Filled Size: 100")
    assert report.quantities == (0, 100), "IB's total lacks what was filled"
    assert "totalQuantity" not in report.terms


def test_an_order_that_is_over_without_a_number_of_fills_has_its_total_alone() -> None:
    fields = list(COMPLETED_ORDER_164)
    fields[fields.index("100")] = "1.7976931348623157E308"
    (report,) = heard(*fields, version=164)
    assert isinstance(report, CompletedOrderReport)
    assert report.quantities == (0, 0)


def test_an_open_order_that_cannot_be_read_says_whose_it_is_as_far_as_it_goes() -> None:
    fields = list(OPEN_ORDER_173)
    fields[fields.index("100")] = "many"
    (report,) = heard(*fields, version=173)
    assert isinstance(report, Unreadable)
    assert (report.message_id, report.order_ref) == (5, "")
    assert report.order is not None
    assert (report.order.ib_order_id, report.order.perm_id, report.order.client_id) == (5, 600745656, 100)
    assert (report.order.account, report.order.con_id, report.order.symbol) == ("DU1234567", 265598, "AAPL")
    (cut,) = heard("5", "x")
    assert isinstance(cut, Unreadable)
    assert cut.order is not None
    assert (cut.order_ref, cut.order.ib_order_id, cut.order.account) == (None, 0, "")


@pytest.mark.parametrize("fields", [["9", "1"], ["", "1"], []])
def test_a_message_that_is_cut_off_is_unreadable(fields: list[str]) -> None:
    (report,) = heard(*fields)
    assert isinstance(report, Unreadable)
    assert report.order is None


def test_a_message_that_nobody_knows_is_not_for_us() -> None:
    assert heard("9999", "1", "2") == []


# -- positions --------------------------------------------------------------------------------------------


def test_a_position_is_told_with_what_names_its_contract() -> None:
    option = Traits(sec_type="OPT", currency="USD", expiry="20270115", strike=150.0, right="C")
    assert heard(*position()) == [PositionReport("DU1", 265598, "AAPL  270115C", "OPT", -3.5, option)]


@pytest.mark.parametrize("fields", [position("nan"), position("inf"), position(con_id=str(2**63))])
def test_a_position_that_is_no_number_is_unreadable(fields: list[str]) -> None:
    (report,) = heard(*fields)
    assert isinstance(report, Unreadable)
    assert report.message_id == POSITION_MESSAGE


# -- texts ------------------------------------------------------------------------------------------------


def test_an_error_is_told_with_its_text_as_people_read_it() -> None:
    assert heard("4", "2", "11", "201", r"\u59d4\u8bb0 refused", "") == [ErrorReport(11, 201, "委记 refused")]
    assert heard("4", "2", "11", "201", "no", '{"a":1}') == [ErrorReport(11, 201, 'no {"a":1}')]


@pytest.mark.parametrize(
    ("escaped", "shown"),
    [
        (r"caf\u00e9", "café"),
        (r"\ud83d\ude00!", "\N{GRINNING FACE}!"),
        (r"\ud83d alone", r"\ud83d alone"),
        (r"\u202e turned", r"\u202e turned"),
        (r"\u000a no line", r"\u000a no line"),
        ("plain", "plain"),
    ],
)
def test_only_characters_for_people_take_the_place_of_their_escapes(escaped: str, shown: str) -> None:
    assert unescaped(escaped) == shown
