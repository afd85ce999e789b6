"""What the gateway says of the account: positions, values, summaries, asked for and unasked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from services.paper.market.exchange import Exchange
from services.paper.market.orders import read_int
from services.paper.server import render
from services.paper.server.answers import tell
from services.paper.server.sessions import Session
from services.paper.wire.framing import Fields
from services.paper.wire.order_layouts import flagged

# Two account summaries are enough for IB.
MAX_SUMMARIES = 32


class AccountRequests:
    """Serves the requests about the account.

    Args:
        exchange: Whose account it is.
        clock: Wall-clock seconds.
    """

    def __init__(self, exchange: Exchange, clock: Callable[[], float]) -> None:
        # Values that are told whatever is held, by IB's name; a fault sets them.
        self.forced: dict[str, float] = {}
        self._exchange = exchange
        self._clock = clock
        self.handlers: dict[str, Callable[[Session, Fields], None]] = {
            "reqPositions": self._positions,
            "cancelPositions": self._cancel_positions,
            "reqAccountUpdates": self._account_updates,
            "reqAccountUpdatesMulti": self._account_updates_multi,
            "cancelAccountUpdatesMulti": self._cancel_account_updates_multi,
            "reqAccountSummary": self._account_summary,
            "cancelAccountSummary": self._cancel_account_summary,
            "reqManagedAccts": self._managed_accounts,
        }

    def push(self, sessions: Iterable[Session]) -> None:
        """Tell subscribers what has changed in the account."""
        for session in sessions:
            wanted = session.subscriptions
            if wanted.positions:
                self._tell_positions(session)
            if wanted.account:
                self._tell_account(session)
            for request_id in wanted.multi:
                self._tell_multi(session, request_id)
            for request_id, tags in wanted.summaries.items():
                self._tell_summary(session, request_id, tags)

    def _values(self) -> list[tuple[str, str, str]]:
        return render.account_values(self._exchange.totals(), self._exchange.account_id, self.forced)

    def _positions(self, session: Session, _fields: Fields) -> None:
        session.subscriptions.positions = True
        self._tell_positions(session, open_only=True)
        session.say("positionEnd")

    def _tell_positions(self, session: Session, *, open_only: bool = False) -> None:
        for held in self._exchange.account.positions.values():
            if held.quantity or not open_only:
                tell(session, render.position(held, self._exchange.account_id))

    def _cancel_positions(self, session: Session, _fields: Fields) -> None:
        session.subscriptions.positions = False

    def _account_updates(self, session: Session, fields: Fields) -> None:
        session.subscriptions.account = flagged(fields["subscribe"])
        if not session.subscriptions.account:
            return
        if not self._is_account(fields["account"]):
            session.say("error", id=-1, code=321, text=_invalid_account(fields["account"]))
            return
        self._tell_account(session)
        session.say("accountDownloadEnd", account=self._exchange.account_id)

    def _tell_account(self, session: Session) -> None:
        for key, value, currency in self._values():
            session.say("accountValue", key=key, value=value, currency=currency, account=self._exchange.account_id)
        for held in self._exchange.account.positions.values():
            tell(session, render.portfolio(held, self._exchange.quote(held.instrument).last, self._exchange.account_id))
        session.say("accountTime", time=time.strftime("%H:%M", time.localtime(self._clock())))

    def _account_updates_multi(self, session: Session, fields: Fields) -> None:
        request_id = read_int(fields, "reqId")
        if not self._is_account(fields["account"]):
            session.say("error", id=request_id, code=321, text=_invalid_account(fields["account"]))
            return
        if len(session.subscriptions.multi) < MAX_SUMMARIES:
            session.subscriptions.multi.add(request_id)
        self._tell_multi(session, request_id)
        session.say("accountUpdateMultiEnd", reqId=request_id)

    def _tell_multi(self, session: Session, request_id: int) -> None:
        for key, value, currency in self._values():
            session.say(
                "accountUpdateMulti",
                reqId=request_id,
                account=self._exchange.account_id,
                key=key,
                value=value,
                currency=currency,
            )

    def _cancel_account_updates_multi(self, session: Session, fields: Fields) -> None:
        session.subscriptions.multi.discard(read_int(fields, "reqId"))

    def _account_summary(self, session: Session, fields: Fields) -> None:
        request_id = read_int(fields, "reqId")
        tags = [tag.strip() for tag in fields["tags"].split(",")]
        summaries = session.subscriptions.summaries
        if request_id not in summaries and len(summaries) >= MAX_SUMMARIES:
            text = "Error processing request.-'bZ' : cause - Maximum number of account summary requests exceeded"
            session.say("error", id=request_id, code=322, text=text)
            return
        summaries[request_id] = tags
        self._tell_summary(session, request_id, tags)
        session.say("accountSummaryEnd", reqId=request_id)

    def _tell_summary(self, session: Session, request_id: int, tags: list[str]) -> None:
        for key, value, currency in self._values():
            if key in tags:
                session.say(
                    "accountSummary",
                    reqId=request_id,
                    account=self._exchange.account_id,
                    tag=key,
                    value=value,
                    currency=currency,
                )

    def _cancel_account_summary(self, session: Session, fields: Fields) -> None:
        session.subscriptions.summaries.pop(read_int(fields, "reqId"), None)

    def _managed_accounts(self, session: Session, _fields: Fields) -> None:
        session.say("managedAccounts", accounts=self._exchange.account_id)

    def _is_account(self, text: str) -> bool:
        return text in ("", self._exchange.account_id)


def _invalid_account(text: str) -> str:
    return f"Error validating request.-'bX' : cause - Invalid account code '{text[:20]}'."
