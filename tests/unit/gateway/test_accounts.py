"""Which account is traded: real money is never reached by accident."""

from __future__ import annotations

import pytest

from orderfuse.settings import IbSettings
from services.gateway.accounts import AccountRefused, RealAccountRefused, allowed_account


def test_the_only_account_of_a_gateway_needs_no_setting() -> None:
    assert allowed_account(IbSettings(), ("DU1",)) == "DU1"


@pytest.mark.parametrize("offered", [("DU1", "DU2"), ()])
def test_among_several_a_setting_says_which(offered: tuple[str, ...]) -> None:
    with pytest.raises(AccountRefused, match=r"name the one to trade in ib\.account or ORDERFUSE_IB__ACCOUNT"):
        allowed_account(IbSettings(), offered)
    assert allowed_account(IbSettings(account="DU2"), ("DU1", "DU2")) == "DU2"


def test_an_account_that_the_gateway_does_not_have_is_refused() -> None:
    with pytest.raises(AccountRefused, match=r"ib\.account is 'DU3', but the gateway has DU1, DU2"):
        allowed_account(IbSettings(account="DU3"), ("DU1", "DU2"))


def test_a_real_account_is_traded_only_if_it_is_named_as_one_in_full() -> None:
    for settings in (IbSettings(), IbSettings(account="U1"), IbSettings(live_account="U12")):
        with pytest.raises(RealAccountRefused, match=r"set ib\.live_account .* to U1\."):
            allowed_account(settings, ("U1",))
    assert allowed_account(IbSettings(live_account="U1"), ("U1",)) == "U1"
    assert allowed_account(IbSettings(), ("DF1",)) == "DF1"
