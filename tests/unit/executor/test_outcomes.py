from __future__ import annotations

from collections import Counter

import pytest

from services.executor.orders.outcomes import (
    CANCEL,
    MODIFY,
    NEW,
    NO_SUCH_ORDER,
    Meaning,
    Operation,
    for_order,
    may_be_read_only,
)
from services.gateway.codes.meanings import DOES, Group
from services.gateway.codes.order_codes import CANCEL_GROUPS, MODIFY_GROUPS, NEW_GROUPS
from services.gateway.codes.system_codes import SYSTEM, SYSTEM_GROUPS, for_system

TABLES: dict[str, tuple[Group, ...]] = {
    "new": NEW_GROUPS,
    "modify": MODIFY_GROUPS,
    "cancel": CANCEL_GROUPS,
    "system": SYSTEM_GROUPS,
}


def codes(text: str) -> set[int]:
    """Numbers, and ranges with both ends."""
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


# Every code of IB's two pages, by whether it can come under the id of an order, and those that clients have met there
# besides. The pages: https://interactivebrokers.github.io/tws-api/message_codes.html and its successor in IBKR Campus.
ABOUT_ORDERS = codes(
    "100 103-107 109-111 113-129 131-137 139-148 151-161 163-164 167-168 200-203 303 308 311-315 320-323 325 328-329"
    " 332-353 355-364 367-380 382-383 387-413 415-419 421-429 432-449 481 503-504 512 515 579 588 2102 2109 2111 2130"
    " 2137 2168-2169 10000-10003 10005-10027 10147-10148 10233-10237 10239-10254 10268-10270 10285-10298 10300-10308"
    " 10310-10312 10314-10319 10321 10324-10332 10334-10338 10340-10345 10347"
) - {10004, 10299, 10309, 10313, 10320}
MET_BESIDES = codes("451 460-462 492 2161 2174 10052 10274 10349")
NOT_ABOUT_ORDERS = codes(
    "101-102 138 162 165-166 300-302 304-307 309-310 316-317 319 324 326-327 330-331 354 365-366 381 384-386 414 420"
    " 430-431 501-502 505-511 513-514 516-578 580-587 589 1100-1102 1300 2100-2101 2103-2108 2110 2119 2152 2158"
    " 10089-10091 10186-10187 10189 10197 10225 10230-10231 10238 10276-10284 10299 10309 10322 10333 10339 10346"
)

# Those that once had no row: an order answered with one was unknown, and its neighbours were blocked.
ONCE_MISSING = codes(
    "117 125 126 142 144 146 147 151 152 157-159 168 303 311-315 325 328 332-343 345-353 356 358 359 361-364 367-380"
    " 389-391 393 394 398 400 406-410 417-419 429 433 439 441-443 446-449 10000-10003 10005 10007-10013 10020"
    " 10268-10270"
)
ONCE_MISSING_ABOUT_CHANGES = codes("422 10241 10242")


@pytest.mark.parametrize(
    ("code", "meaning", "outcome"),
    [
        (201, Meaning.REJECTED, "failure"),
        (203, Meaning.REJECTED, "failure"),
        (451, Meaning.REJECTED, "failure"),
        (460, Meaning.REJECTED, "failure"),
        (202, Meaning.CANCELLED, "failure"),
        (110, Meaning.MALFORMED, "malformed"),
        (200, Meaning.MALFORMED, "malformed"),
        (321, Meaning.MALFORMED, "malformed"),
        (387, Meaning.MALFORMED, "malformed"),
        (441, Meaning.MALFORMED, "malformed"),
        (103, Meaning.DOUBT, "failure"),
        (10328, Meaning.DOUBT, "failure"),
        (137, Meaning.DOUBT, "malformed"),
        (440, Meaning.DOUBT, "malformed"),
        (444, Meaning.DOUBT, "malformed"),
        (10310, Meaning.DOUBT, "malformed"),
        (77777, Meaning.DOUBT, "malformed"),
        (131, Meaning.NOTICE, None),
        (399, Meaning.NOTICE, None),
        (404, Meaning.NOTICE, None),
        (481, Meaning.REDUCED, None),
        (10311, Meaning.NOTICE, None),
        (10329, Meaning.NOTICE, None),
        (10349, Meaning.NOTICE, None),
        (2137, Meaning.NOTICE, None),
        (2199, Meaning.NOTICE, None),
    ],
)
def test_what_a_code_means_for_a_new_order(code: int, meaning: Meaning, outcome: str | None) -> None:
    rule = for_order(code, "text")
    assert (rule.meaning, rule.outcome) == (meaning, outcome)


def test_the_refusals_that_had_no_row_are_the_strategys_own_and_break_no_connection() -> None:
    for code in ONCE_MISSING:
        rule = for_order(code, "text")
        assert (rule.meaning, rule.outcome) == (Meaning.MALFORMED, "malformed"), code
        assert rule.known, code


def test_a_refusal_that_speaks_of_a_change_never_calls_an_order_dead() -> None:
    for code in ONCE_MISSING_ABOUT_CHANGES | {137, 440, 444}:
        new, modify = for_order(code, "text"), for_order(code, "text", "modify")
        assert (new.meaning, new.outcome, new.known) == (Meaning.DOUBT, "malformed", True), code
        assert modify.meaning is (Meaning.DOUBT if code == 137 else Meaning.ORIGINAL_LIVES), code


def test_every_code_of_ibs_pages_that_can_concern_an_order_has_a_row_and_no_other() -> None:
    assert not ABOUT_ORDERS & NOT_ABOUT_ORDERS
    assert not (ABOUT_ORDERS | NOT_ABOUT_ORDERS) & MET_BESIDES
    assert sorted(ABOUT_ORDERS | MET_BESIDES) == sorted(NEW)


@pytest.mark.parametrize("table", TABLES)
def test_no_code_has_two_rows_in_one_table_and_each_has_words_for_a_person(table: str) -> None:
    found = Counter(code for group in TABLES[table] for code in group.says)
    assert [code for code, count in found.items() if count > 1] == []
    for group in TABLES[table]:
        assert group.todo
        for code, says in group.says.items():
            assert says, code
            assert not set(says) & set("|\n"), "it stands in a table"


def test_every_meaning_says_what_orderfuse_does() -> None:
    assert set(DOES) == set(Meaning)


def test_a_code_of_the_tables_of_changes_and_cancels_has_a_row_for_new_orders_too() -> None:
    assert set(MODIFY) | set(CANCEL) <= set(NEW)
    assert set(CANCEL) >= NO_SUCH_ORDER


@pytest.mark.parametrize("operation", ["new", "modify", "cancel"])
def test_a_code_that_nobody_knows_is_the_strategys_alone_and_says_nothing_about_the_bytes(operation: Operation) -> None:
    rule = for_order(77777, "text", operation)
    assert (rule.meaning, rule.outcome, rule.known) == (Meaning.DOUBT, "malformed", False)
    assert not rule.bytes_lost
    assert not rule.trip


def test_only_where_ib_may_not_have_read_the_bytes_a_new_connection_is_needed() -> None:
    assert {code for code, rule in NEW.items() if rule.bytes_lost} == {503, 504, 512, 515, 588, 10328}
    assert {code for code, rule in CANCEL.items() if rule.bytes_lost} == {512, 515}
    assert not any(rule.bytes_lost for rule in MODIFY.values())


@pytest.mark.parametrize("text", [
    "YOUR ORDER IS NOT ACCEPTED. MINIMUM OF 2000 USD (OR EQUIVALENT IN OTHER CURRENCIES) EQUITY WITH LOAN VALUE",
    "Order rejected - reason: insufficient margin",
    "Available Funds are in sufficient",
    "exceeds your buying power",
])  # fmt: skip
def test_margin_is_told_by_the_text_of_201(text: str) -> None:
    assert for_order(201, text).meaning is Meaning.MARGIN
    assert for_order(201, text).outcome == "failure"


def test_the_same_code_is_dead_for_a_new_order_and_alive_for_a_change() -> None:
    assert for_order(110, "", "new").meaning is Meaning.MALFORMED
    assert for_order(110, "", "modify").meaning is Meaning.ORIGINAL_LIVES
    assert for_order(10147, "", "cancel").meaning is Meaning.CANCEL_FAILED
    assert for_order(10147, "", "new").meaning is Meaning.DOUBT
    assert for_order(201, "", "cancel").meaning is Meaning.REJECTED


def test_whatever_ib_calls_malformed_leaves_the_order_alone_when_it_was_a_change() -> None:
    for code in (code for code, rule in NEW.items() if rule.meaning is Meaning.MALFORMED):
        rule = for_order(code, "text", "modify")
        assert rule.meaning is Meaning.ORIGINAL_LIVES, code
        assert rule.outcome == (None if code in MODIFY else "malformed"), code


@pytest.mark.parametrize("code", [104, 134, 135, 136, 137, 161, 321, 444, 512, 515, 2102, 10147, 10148])
def test_the_answers_to_a_cancel_that_say_that_it_did_not_work(code: int) -> None:
    rule = for_order(code, "Error validating request", "cancel")
    assert (rule.meaning, rule.outcome) == (Meaning.CANCEL_FAILED, None)


@pytest.mark.parametrize("cannot", ["can not be cancelled", "cannot be cancelled", "CANNOT BE CANCELED"])
@pytest.mark.parametrize("state", ["PendingCancel", "Cancelled", "ApiCancelled", "PENDINGCANCEL", "cancelled"])
def test_a_cancel_of_what_is_being_cancelled_already_is_no_refusal(cannot: str, state: str) -> None:
    for said in (f", state: {state}.", f", state:{state}", f", State: {state}, permId: 5"):
        text = f"OrderId 5 that needs to be cancelled {cannot}{said}"
        rule = for_order(10148, text, "cancel")
        assert (rule.meaning, rule.outcome) == (Meaning.CANCELLING, None), text
        assert for_order(10148, text, "new").meaning is Meaning.DOUBT


@pytest.mark.parametrize("state", [", state: Filled.", ", state: Inactive", ", state: Submitted", ", state: ", ".", ""])
def test_a_cancel_that_the_orders_state_forbids_is_refused(state: str) -> None:
    for cannot in ("can not be cancelled", "cannot be cancelled"):
        text = f"OrderId 5 that needs to be cancelled {cannot}{state}"
        assert for_order(10148, text, "cancel").meaning is Meaning.CANCEL_FAILED, text


def test_the_state_is_read_in_a_text_of_another_language_too() -> None:
    assert for_order(
        10148, "\u65e0\u6cd5\u53d6\u6d88\uff0c\u72b6\u6001\uff1aPendingCancel\u3002", "cancel"
    ).meaning is (Meaning.CANCELLING)


@pytest.mark.parametrize("code", [100, 435, 436, 503, 10015])
def test_codes_after_which_nobody_may_trade_trip(code: int) -> None:
    assert for_order(code, "").trip
    assert for_system(code, "").trip


@pytest.mark.parametrize("code", [326, 503, 1300])
def test_codes_of_the_connection_that_trip(code: int) -> None:
    assert for_system(code, "").trip


def test_no_other_code_trips() -> None:
    assert {code for code, rule in NEW.items() if rule.trip} == {100, 435, 436, 503, 10015}
    assert {code for code, rule in SYSTEM.items() if rule.trip} == {100, 326, 435, 436, 503, 1300, 10015}
    assert not any(rule.trip for table in (MODIFY, CANCEL) for rule in table.values())


@pytest.mark.parametrize("text", ["The API interface is currently in Read-Only mode.", "read only"])
def test_321_trips_only_when_the_api_is_read_only(text: str) -> None:
    for operation in ("new", "modify", "cancel"):
        assert for_order(321, text, operation).trip
        assert not for_order(321, "Error validating request", operation).trip
    assert for_system(321, text).trip
    assert not for_system(321, "Error validating request").trip
    assert not for_order(387, text).trip


def test_a_321_in_another_language_may_be_the_refusal_of_a_read_only_api() -> None:
    assert may_be_read_only(321, "API \u63a5\u53e3\u76ee\u524d\u5904\u4e8e\u53ea\u8bfb\u6a21\u5f0f\u3002")
    assert may_be_read_only(321, r"\u8bf7\u6c42\u9a8c\u8bc1\u9519\u8bef")
    assert not may_be_read_only(321, "Error validating request.-'bW' : cause - Invalid account")
    assert not may_be_read_only(321, "ERROR VALIDATING REQUEST")
    assert not may_be_read_only(321, "Server error when validating an API client request.")
    assert not may_be_read_only(201, "\u62d2\u7edd")


def test_the_connection_to_ib_is_lost_and_restored() -> None:
    assert {for_system(code, "").meaning for code in (1100, 2110)} == {Meaning.DISCONNECTED}
    assert {for_system(code, "").meaning for code in (1101, 1102)} == {Meaning.RESTORED}


def test_only_notices_have_no_outcome_and_no_code_is_called_unknown_in_a_table() -> None:
    ends = {Meaning.REJECTED, Meaning.MARGIN, Meaning.MALFORMED, Meaning.CANCELLED, Meaning.DOUBT}
    for table in (NEW, MODIFY, CANCEL, SYSTEM):
        for code, rule in table.items():
            assert rule.known, code
            assert (rule.outcome is not None) == (rule.meaning in ends), code
