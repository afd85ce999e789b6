"""Which account is traded. Real money is never reached by accident. Pure."""

from __future__ import annotations

from orderfuse.settings import IbSettings, variable_name

# IB's paper and demo accounts begin with these.
PAPER_ACCOUNTS = ("DU", "DF")


class AccountRefused(Exception):
    """The gateway's accounts are not what the settings say. Waiting does not help."""


class RealAccountRefused(AccountRefused):
    """The account is a real one, and the settings do not name it as such."""


def allowed_account(settings: IbSettings, offered: tuple[str, ...]) -> str:
    """The account to trade, of those that the gateway offers.

    Raises:
        AccountRefused: there is none, or more than one and no setting names which.
        RealAccountRefused: it is a real account, and `ib.live_account` does not name it.
    """
    names = ", ".join(offered)
    account = settings.account
    if not account:
        if len(offered) != 1:
            raise AccountRefused(
                f"the gateway has the accounts {names}: name the one to trade in ib.account "
                f"or {variable_name('ib', 'account')}."
            )
        account = offered[0]
    if account not in offered:
        raise AccountRefused(
            f"ib.account is {account!r}, but the gateway has {names}: log in there with the right user, "
            f"or change ib.account or {variable_name('ib', 'account')}."
        )
    if not account.startswith(PAPER_ACCOUNTS) and settings.live_account != account:
        raise RealAccountRefused(
            f"{account} is a real account, and ib.live_account is {settings.live_account!r}. To trade real "
            f"money with it, set ib.live_account or {variable_name('ib', 'live_account')} to {account}."
        )
    return account
