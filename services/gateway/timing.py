"""How long a connection waits for what. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the connection waits for what, in seconds.

    Attributes:
        connect: until IB has named accounts and the next order id.
        request: until a request's End message; a large account needs seconds.
        probe_every, silent, drop: a harmless question this often; unanswered for so long the gateway is silent
            and nothing is written, and for so long the connection is given up. Until then it is kept: a gateway
            that stood still has read what was written, and answers it over this connection only. Given up it
            must be: a connection whose other end is gone without a word is silent for ever.
        first_pause, longest_pause: between attempts, doubling.
        look_up_pause: between two rounds of questions about orders, so that doubt cannot eat up the pacing.
        positions_every: between two lists of positions, each two messages of the pacing.
        orders_every: between two lists of open orders, each one message, unless something was looked up meanwhile.
        renumber_every: between two new connections that ask whether order ids are in range again.
    """

    connect: float = 4.0
    request: float = 10.0
    probe_every: float = 1.0
    silent: float = 3.0
    drop: float = 15.0
    first_pause: float = 0.25
    longest_pause: float = 5.0
    look_up_pause: float = 1.0
    positions_every: float = 30.0
    orders_every: float = 30.0
    renumber_every: float = 10.0
