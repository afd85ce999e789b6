"""Faults of messages, requests and connections. Data only."""

from __future__ import annotations

from typing import Literal

from services.paper.faults.families import MessageFault, Millis, RequestFault, RequestName


class OmitMessages(MessageFault, frozen=True, kw_only=True):
    """A message never leaves."""


class DuplicateMessages(MessageFault, frozen=True, kw_only=True):
    """A message leaves twice."""


class LateMessages(MessageFault, frozen=True, kw_only=True):
    """A message leaves later, and others overtake it."""

    ms: Millis = 500


class UnansweredRequests(RequestFault, frozen=True, kw_only=True):
    """A request is not answered, or (`late_ms`) late."""

    request: RequestName
    late_ms: Millis = 0  # 0: never


class RefuseConnections(RequestFault, frozen=True, kw_only=True):
    """A connection gets no further: error 326, a FIN, a RST, or silence."""

    how: Literal["in_use", "fin", "rst", "silent"] = "in_use"
