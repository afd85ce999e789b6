"""What everything that answers requests does to a session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.paper.server.sessions import Session


def tell(session: Session, message: tuple[str, Mapping[str, Any]], order_ref: str = "") -> None:
    """Send a rendered message to a session, in the answer to a request."""
    name, values = message
    session.tell(name, values, order_ref=order_ref or str(values.get("orderRef", "")), listed=True)


def client_of(session: Session) -> int:
    """Return the client id of a session whose requests are served, which is after startApi only."""
    assert session.client_id is not None
    return session.client_id
