"""IB's order ids: above every one ever used here, and never back."""

from __future__ import annotations

import pytest

from services.gateway.diagnosis import FIRST_REQUEST_ID, OTHERS_FOLLOWED_BELOW, OURS_FOLLOWED_BELOW, Trouble
from services.gateway.order_ids import OrderIds


def ids(used: int = 0, told: int = 1) -> OrderIds:
    made = OrderIds(used)
    made.on_connection()
    made.on_told(told)
    made.go_on()
    return made


def test_an_order_that_ib_shows_pushes_the_next_id_above_its_own() -> None:
    made = ids()
    made.on_seen(41, ours=True)
    made.on_seen(30, ours=False)
    assert (made.take(), made.take()) == (42, 43)


@pytest.mark.parametrize(("ours", "limit"), [(True, OURS_FOLLOWED_BELOW), (False, OTHERS_FOLLOWED_BELOW)])
def test_an_order_far_up_does_not_use_up_our_own_numbers(ours: bool, limit: int) -> None:
    made = ids(told=5)
    made.on_seen(limit, ours=ours)
    assert made.take() == 5
    made.on_seen(limit - 1, ours=ours)
    assert made.take() == limit


def test_an_order_found_at_ib_has_used_its_id() -> None:
    made = ids(told=5)
    made.on_kept(9)
    assert made.take() == 10


def test_where_the_gateways_next_id_is_too_high_its_sequence_is_to_be_reset() -> None:
    made = ids(told=FIRST_REQUEST_ID)
    with pytest.raises(Trouble, match="IB's next order id is 2147000000, allowed are ids below 2147000000; reset"):
        made.take()
    assert (made.short_for(10.0), made.short_for(12.5)) == (0.0, 2.5)
    made.on_connection()
    assert made.short_for(13.0) == 0.0


def test_where_the_journal_itself_has_used_them_up_it_takes_another_client_id() -> None:
    made = ids(used=FIRST_REQUEST_ID - 1)
    assert made.trouble is not None
    assert "the journal of this executor has used order ids up to 2146999999" in str(made.trouble)
    assert made.trouble.remedy.startswith("give it an ORDERFUSE_HOME of its own with another ib.client_id")
