from __future__ import annotations

import pytest

from services.executor.outcomes import CANCEL, MODIFY, NEW, SYSTEM, Meaning, for_order, for_system

MARGIN_TEXTS = [
    "YOUR ORDER IS NOT ACCEPTED. MINIMUM OF 2000 USD (OR EQUIVALENT IN OTHER CURRENCIES) EQUITY WITH LOAN VALUE",
    "Order rejected - reason: insufficient margin",
    "Available Funds are in sufficient",
    "exceeds your buying power",
]


@pytest.mark.parametrize(
    ("code", "meaning", "outcome"),
    [
        (201, Meaning.REJECTED, "failure"),
        (203, Meaning.REJECTED, "failure"),
        (460, Meaning.REJECTED, "failure"),
        (202, Meaning.CANCELLED, "failure"),
        (110, Meaning.MALFORMED, "malformed"),
        (200, Meaning.MALFORMED, "malformed"),
        (321, Meaning.MALFORMED, "malformed"),
        (387, Meaning.MALFORMED, "malformed"),
        (103, Meaning.DOUBT, "failure"),
        (10328, Meaning.DOUBT, "failure"),
        (77777, Meaning.DOUBT, "failure"),
        (399, Meaning.NOTICE, None),
        (404, Meaning.NOTICE, None),
        (481, Meaning.NOTICE, None),
        (10311, Meaning.NOTICE, None),
        (10329, Meaning.NOTICE, None),
        (10349, Meaning.NOTICE, None),
        (2137, Meaning.NOTICE, None),
        (2199, Meaning.NOTICE, None),
    ],
)
def test_what_a_code_means_for_a_new_order(code: int, meaning: Meaning, outcome: str | None) -> None:
    verdict = for_order(code, "text")
    assert (verdict.meaning, verdict.outcome) == (meaning, outcome)


@pytest.mark.parametrize("text", MARGIN_TEXTS)
def test_margin_is_told_by_the_text_of_201(text: str) -> None:
    assert for_order(201, text).meaning is Meaning.MARGIN
    assert for_order(201, text).outcome == "failure"


def test_the_same_code_is_dead_for_a_new_order_and_alive_for_a_change() -> None:
    assert for_order(110, "", "new").meaning is Meaning.MALFORMED
    assert for_order(110, "", "modify").meaning is Meaning.ORIGINAL_LIVES
    assert for_order(10147, "", "cancel").meaning is Meaning.CANCEL_FAILED
    assert for_order(10147, "", "new").meaning is Meaning.DOUBT
    assert for_order(201, "", "cancel").meaning is Meaning.REJECTED


@pytest.mark.parametrize("code", [100, 435, 436, 10015])
def test_codes_after_which_nobody_may_trade_trip(code: int) -> None:
    assert for_order(code, "").trip
    assert for_system(code, "").trip


@pytest.mark.parametrize("code", [326, 503, 1300])
def test_codes_of_the_connection_that_trip(code: int) -> None:
    assert for_system(code, "").trip


@pytest.mark.parametrize("text", ["The API interface is currently in Read-Only mode.", "read only"])
def test_321_trips_only_when_the_api_is_read_only(text: str) -> None:
    assert for_order(321, text).trip
    assert for_system(321, text).trip
    assert not for_order(321, "Error validating request").trip


def test_the_connection_to_ib_is_lost_and_restored() -> None:
    assert {for_system(code, "").meaning for code in (1100, 2110)} == {Meaning.DISCONNECTED}
    assert {for_system(code, "").meaning for code in (1101, 1102)} == {Meaning.RESTORED}


def test_only_notices_have_no_outcome_and_no_code_is_called_unknown_in_a_table() -> None:
    ends = {Meaning.REJECTED, Meaning.MARGIN, Meaning.MALFORMED, Meaning.CANCELLED, Meaning.DOUBT}
    for table in (NEW, MODIFY, CANCEL, SYSTEM):
        for code, verdict in table.items():
            assert verdict.known, code
            assert (verdict.outcome is not None) == (verdict.meaning in ends), code
