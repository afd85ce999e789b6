"""Numbers that are none, at the door: what cannot be kept or told never comes in."""

from __future__ import annotations

import pytest

from services.gateway.decoder import StrictDecoder
from services.gateway.ears import Ears
from services.gateway.reports import CommissionReport, Report, StatusReport, Unreadable

UNSET = "1.7976931348623157E308"


def heard(*fields: str) -> list[Report]:
    """What the executor hears of one message of a gateway of version 176."""
    reports: list[Report] = []
    decoder = StrictDecoder(Ears(reports.append), reports.append)
    decoder.serverVersion = 176
    decoder.interpret(list(fields))
    return reports


def execution(shares: str = "1", price: str = "10", perm_id: str = "9001") -> list[str]:
    contract = ["265598", "AAPL", "STK", "", "0.0", "", "", "SMART", "USD", "AAPL", "NMS"]
    told = ["0000e0d5.01.01", "20260105 12:00:00", "DU1", "SMART", "BOT", shares, price, perm_id]
    return ["11", "-1", "1", *contract, *told, "7", "0", "1", "10", "o-1", "", "", "", "2"]


def status(perm_id: str = "9001", order_id: str = "1") -> list[str]:
    return ["3", order_id, "Submitted", "0", "10", "0", perm_id, "0", "0", "7", "", "0"]


def test_an_execution_of_numbers_is_heard() -> None:
    (report,) = heard(*execution())
    assert not isinstance(report, Unreadable)


@pytest.mark.parametrize(
    "fields",
    [
        execution(shares="nan"),
        execution(shares="-4"),
        execution(shares="1e308"),
        execution(price=UNSET),
        execution(price="inf"),
        execution(perm_id=str(2**63)),
        status(perm_id=str(2**80)),
        status(order_id=str(2**64)),
        ["4", "2", str(2**70), "201", "no", ""],
    ],
)
def test_what_no_journal_can_keep_is_unreadable(fields: list[str]) -> None:
    (report,) = heard(*fields)
    assert isinstance(report, Unreadable)


@pytest.mark.parametrize("commission", ["nan", "inf", UNSET, "1e15"])
def test_a_commission_that_is_no_number_is_not_known_yet(commission: str) -> None:
    assert heard("59", "1", "e.01", commission, "USD", UNSET, UNSET, "0") == []


def test_a_profit_that_is_no_number_is_left_out() -> None:
    assert heard("59", "1", "e.01", "1.5", "USD", "nan", UNSET, "0") == [CommissionReport("e.01", 1.5, "USD", None)]


def test_a_status_of_numbers_is_heard() -> None:
    assert isinstance(heard(*status())[0], StatusReport)
