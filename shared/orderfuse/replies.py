"""What the replies on `control` must look like, so that whoever shows or reads one need not ask.

Only what is read by name stands here; every key may be missing, since an older breaker may not know it.
"""

from __future__ import annotations

from typing import Any

import msgspec


class _Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a reply. Unknown keys are a newer breaker's, and ignored."""


class _Circuit(_Reply, frozen=True, kw_only=True):
    """One circuit in a reply to `status`."""

    conditions: list[str] = []


class _Order(_Reply, frozen=True, kw_only=True):
    """One order in a reply to `orders`."""

    contract: dict[str, Any] = {}
    order: dict[str, Any] = {}
    last_event: dict[str, Any] | None = None


class _Status(_Reply, frozen=True, kw_only=True):
    circuits: list[_Circuit] = []
    executor: dict[str, Any] = {}
    gateway: dict[str, Any] = {}
    drift: list[dict[str, Any]] = []
    unknown: list[str] = []


class _Trip(_Reply, frozen=True, kw_only=True):
    written: list[str] = []
    cancelling: list[str] = []


class _Orders(_Reply, frozen=True, kw_only=True):
    orders: list[_Order] = []


class _Events(_Reply, frozen=True, kw_only=True):
    events: list[dict[str, Any]] = []


class _Report(_Reply, frozen=True, kw_only=True):
    conditions: list[str] = []


#: The shape of the reply to each request; the others have nothing inside that could be misread.
REPLIES: dict[str, type[_Reply]] = {
    "status": _Status,
    "trip": _Trip,
    "orders": _Orders,
    "events": _Events,
    "report": _Report,
}
