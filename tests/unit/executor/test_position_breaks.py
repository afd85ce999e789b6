"""Positions that our fills do not make: found after two lists, told until they are explained or accepted."""

from __future__ import annotations

from typing import Any

from services.executor.account.position_breaks import Baseline, Findings, LegFill, PositionBreaks
from services.gateway.position_list import Held
from services.gateway.reports import Traits
from services.wire.standing import Drift

AAPL, SPY = 4, 5
STOCK = Traits("STK", "USD")


def held(quantity: float, con_id: int = AAPL) -> Held:
    return Held(con_id, "AAPL" if con_id == AAPL else "SPY", quantity, STOCK)


def fill(shares: float, base: str = "e", con_id: int = AAPL) -> LegFill:
    return LegFill(base, con_id, "AAPL", shares, STOCK)


def at_zero(*fills: LegFill, baselines: Any = ()) -> PositionBreaks:
    return PositionBreaks(fills, baselines)


def broken(actual: float = 5.0) -> PositionBreaks:
    """A break that was told."""
    breaks = at_zero()
    breaks.on_positions([held(actual)])
    findings = breaks.on_positions([held(actual)])
    assert [drift.actual for drift in findings.new] == [actual]
    return breaks


def test_the_first_list_is_the_baseline_without_the_fills_that_were_before_it_was_asked_for() -> None:
    breaks = PositionBreaks([fill(10.0)], None)
    assert not breaks.has_baseline
    assert breaks.explains(AAPL, 1234.0), "nothing is known yet"
    breaks.on_asked()
    breaks.on_fill(fill(3.0, "late"))
    findings = breaks.on_positions([held(15.0), held(7.0, SPY)])
    assert findings == Findings(changed=findings.changed, first=True)
    assert {(each.con_id, each.symbol, each.base) for each in findings.changed} == {(AAPL, "AAPL", 5), (SPY, "SPY", 7)}
    assert breaks.explains(AAPL, 18.0)
    assert not breaks.explains(AAPL, 15.0)


def test_what_our_fills_have_closed_before_the_first_list_is_part_of_the_baseline() -> None:
    breaks = PositionBreaks([fill(-10.0)], None)
    breaks.on_asked()
    breaks.on_positions([])
    assert breaks.explains(AAPL, 0.0)
    assert not breaks.explains(AAPL, -10.0)


def test_a_difference_is_told_once_two_lists_have_it_and_gone_once_two_lists_lack_it() -> None:
    breaks = broken()
    assert breaks.on_positions([held(5.0)]) == Findings()
    assert breaks.on_positions([]) == Findings()
    assert [each.con_id for each in breaks.standing] == [AAPL]
    (gone,) = breaks.on_positions([]).gone
    assert (gone.con_id, gone.actual) == (AAPL, 5.0)
    assert breaks.standing == ()


def test_a_fill_between_two_lists_has_the_difference_looked_at_anew() -> None:
    breaks = at_zero()
    breaks.on_positions([held(5.0)])
    breaks.on_fill(fill(5.0, con_id=SPY))
    breaks.on_fill(fill(3.0))
    assert breaks.on_positions([held(8.0), held(5.0, SPY)]).new == [], "IB's list may be of before the fill"
    (drift,) = breaks.on_positions([held(8.0), held(5.0, SPY)]).new
    assert (drift.expected, drift.actual) == (3.0, 8.0)


def test_a_correction_moves_what_is_expected_by_its_difference() -> None:
    breaks = at_zero(fill(10.0))
    breaks.on_fill(fill(8.0), before=10.0)
    assert breaks.explains(AAPL, 8.0)


def test_a_difference_that_was_told_stands_over_a_restart_and_grows_with_what_is_filled() -> None:
    breaks = at_zero(fill(10.0), baselines=[Baseline(AAPL, "AAPL", told=5.0, traits=STOCK), Baseline(SPY, "SPY")])
    (drift,) = breaks.standing
    assert (drift.expected, drift.actual, drift.sec_type) == (10.0, 15.0, "STK")
    breaks.on_fill(fill(1.0, "late"))
    assert breaks.on_positions([held(16.0)]) == Findings(), "the same difference is no news"
    assert [(each.expected, each.actual) for each in breaks.standing] == [(11.0, 16.0)]


def test_what_a_person_accepts_is_expected_from_then_on() -> None:
    breaks = broken()
    accepted = breaks.accepted(breaks.standing)
    assert [each.con_id for each in breaks.standing] == [AAPL], "asking changes nothing"
    breaks.accept(accepted)
    assert breaks.standing == ()
    assert breaks.explains(AAPL, 5.0)


def test_what_has_changed_since_a_person_looked_is_not_accepted() -> None:
    breaks = broken()
    seen: tuple[Drift, ...] = breaks.standing
    for _ in range(2):
        breaks.on_positions([held(9.0)])
    assert breaks.accepted(seen) == []
    assert PositionBreaks([], None).accepted(seen) == []
