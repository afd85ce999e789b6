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
    ENDED = "the attempt led to nothing, or the connection is over"
    RENEWED = "the connection is given up for a new one"


DIALLING = frozenset({Phase.DIALLING, Phase.DIALLING_IB_AWAY})
# Whose bytes would leave.
CONNECTED = frozenset({Phase.LISTING, Phase.SERVING, Phase.IB_AWAY, Phase.SILENT, Phase.SILENT_IB_AWAY})
SILENT = frozenset({Phase.SILENT, Phase.SILENT_IB_AWAY})
IB_AWAY = frozenset({Phase.DIALLING_IB_AWAY, Phase.IB_AWAY, Phase.SILENT_IB_AWAY})
ENDS = frozenset({Sign.ENDED, Sign.RENEWED})

# What is not here moves nothing.
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
    **{(phase, sign): Phase.AWAY for phase in DIALLING | CONNECTED for sign in ENDS},
}
# After these being of no use is our own doing, and no loss of the connection: all is looked up once more.
PLANNED = frozenset({(Phase.SILENT, Sign.ANSWER), *((phase, Sign.RENEWED) for phase in CONNECTED)})
# And after these it is that no more.
UNPLANNED = frozenset({Sign.LISTED, Sign.IB_LOST, Sign.ENDED})
