"""Where a connection stands, and what moves it: the table of moves. Pure."""

from __future__ import annotations

from enum import Enum


class Phase(Enum):
    """Where the connection stands."""

    AWAY = "no connection"
    DIALLING = "a connection is being made"
    DIALLING_IB_AWAY = "a connection is being made, and IB is not behind the gateway"
    LISTING = "connected; what is open, executed and over is asked for"
    SERVING = "of use"
    IB_AWAY = "connected, and IB is not behind the gateway"
    SILENT = "connected, and the gateway does not answer"
    SILENT_IB_AWAY = "connected, the gateway does not answer, and IB was not behind it"


class Sign(Enum):
    """What moves it."""

    DIALLED = "an attempt begins"
    NAMED = "IB has named accounts and the next order id"
    LISTED = "a complete round"
    IB_LOST = "the gateway has lost IB"
    IB_BACK = "IB is back behind the gateway"
    SILENCE = "a question had no answer for too long"
    ANSWER = "the question has its answer"


# What is not here moves nothing. The end of the connection leads from everywhere to AWAY.
MOVES: dict[tuple[Phase, Sign], Phase] = {
    (Phase.AWAY, Sign.DIALLED): Phase.DIALLING,
    (Phase.DIALLING, Sign.NAMED): Phase.LISTING,
    (Phase.DIALLING, Sign.IB_LOST): Phase.DIALLING_IB_AWAY,
    (Phase.DIALLING_IB_AWAY, Sign.IB_BACK): Phase.DIALLING,
    (Phase.DIALLING_IB_AWAY, Sign.NAMED): Phase.IB_AWAY,
    (Phase.LISTING, Sign.LISTED): Phase.SERVING,
    (Phase.LISTING, Sign.IB_LOST): Phase.IB_AWAY,
    (Phase.LISTING, Sign.SILENCE): Phase.SILENT,
    (Phase.SERVING, Sign.IB_LOST): Phase.IB_AWAY,
    # It was away for so short a time that nobody said so; what it did meanwhile must be looked up all the same.
    (Phase.SERVING, Sign.IB_BACK): Phase.LISTING,
    (Phase.SERVING, Sign.SILENCE): Phase.SILENT,
    (Phase.IB_AWAY, Sign.IB_BACK): Phase.LISTING,
    (Phase.IB_AWAY, Sign.SILENCE): Phase.SILENT_IB_AWAY,
    (Phase.SILENT, Sign.ANSWER): Phase.LISTING,
    (Phase.SILENT, Sign.IB_LOST): Phase.SILENT_IB_AWAY,
    (Phase.SILENT_IB_AWAY, Sign.ANSWER): Phase.IB_AWAY,
    (Phase.SILENT_IB_AWAY, Sign.IB_BACK): Phase.SILENT,
}
DIALLING = frozenset({Phase.DIALLING, Phase.DIALLING_IB_AWAY})
# Whose bytes would leave.
CONNECTED = frozenset({Phase.LISTING, Phase.SERVING, Phase.IB_AWAY, Phase.SILENT, Phase.SILENT_IB_AWAY})
SILENT = frozenset({Phase.SILENT, Phase.SILENT_IB_AWAY})
IB_AWAY = frozenset({Phase.DIALLING_IB_AWAY, Phase.IB_AWAY, Phase.SILENT_IB_AWAY})
