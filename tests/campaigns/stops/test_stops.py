"""A short form of the campaign: each way to stop, with a trouble of each kind around it and behind it."""

from __future__ import annotations

import pytest

from tests.campaigns.stops.campaign import STOPS, TROUBLES, case_of, play

SHORT = range(10)


@pytest.mark.parametrize("seed", SHORT)
def test_after_a_stop_nothing_passes_until_a_reset_whoever_dies_around_it(seed: int) -> None:
    result = play(case_of(seed))
    assert result.complaints == []
    assert result.before, "nothing was traded, so nothing was stopped"


def test_the_short_form_has_every_way_to_stop_and_every_trouble() -> None:
    cases = [case_of(seed) for seed in SHORT]
    assert {case.stop for case in cases} == set(STOPS)
    assert {trouble.what for case in cases for trouble in case.troubles} == set(TROUBLES)
    assert any(case.afterwards for case in cases)
