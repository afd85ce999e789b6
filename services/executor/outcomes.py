"""What IB's codes mean, as tables: a new code is a new row, never a new `if`.

Sources: IB's message codes page (https://interactivebrokers.github.io/tws-api/message_codes.html) and what
clients of IB have met. Where a row of the breaker's own table (docs) differs, that table decides. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from orderfuse.messages import Outcome

Operation = Literal["new", "modify", "cancel"]


class Meaning(Enum):
    """What a code says about the order, or about the connection, that it came for."""

    REJECTED = "rejected"  # dead: the broker's or the venue's no
    MARGIN = "margin"  # dead, for want of margin
    MALFORMED = "malformed"  # dead: IB calls the order itself wrong
    CANCELLED = "cancelled"  # dead: cancelled, by us or not
    CANCEL_FAILED = "cancel_failed"  # our cancel did not work; the order is as it was, or already done
    ORIGINAL_LIVES = "original_lives"  # a change did not work; the order is as it was
    DOUBT = "doubt"  # nobody knows: look it up, never send again
    NOTICE = "notice"  # changes nothing
    DISCONNECTED = "disconnected"  # IB is not behind the gateway
    RESTORED = "restored"  # IB is back: look everything up, then go on
    CONNECTION = "connection"  # the socket between us and the gateway


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one code.

    Attributes:
        outcome: what it counts as in the circuits.
        trip: nobody may trade until a person has looked.
        known: False for a code that nobody has classified.
    """

    meaning: Meaning
    outcome: Outcome | None = None
    trip: bool = False
    known: bool = True


_REJECTED = Verdict(Meaning.REJECTED, "failure")
_MALFORMED = Verdict(Meaning.MALFORMED, "malformed")
_MARGIN = Verdict(Meaning.MARGIN, "failure")
_NOTICE = Verdict(Meaning.NOTICE)
_CANCEL_FAILED = Verdict(Meaning.CANCEL_FAILED)
_ORIGINAL_LIVES = Verdict(Meaning.ORIGINAL_LIVES)
_DOUBT = Verdict(Meaning.DOUBT, "failure")
_DISCONNECTED = Verdict(Meaning.DISCONNECTED)
_RESTORED = Verdict(Meaning.RESTORED)
_CONNECTION = Verdict(Meaning.CONNECTION)
_REJECTED_TRIP = Verdict(Meaning.REJECTED, "failure", trip=True)
_NOTICE_TRIP = Verdict(Meaning.NOTICE, trip=True)
_CONNECTION_TRIP = Verdict(Meaning.CONNECTION, trip=True)
# A code nobody has classified: wrong to call it dead, wrong to call it alive.
_UNKNOWN_CODE = Verdict(Meaning.DOUBT, "failure", known=False)


def _rows(verdict: Verdict, *codes: int) -> dict[int, Verdict]:
    return dict.fromkeys(codes, verdict)


# For an order that IB has not confirmed yet, and for everything that the two tables below do not name.
NEW: dict[int, Verdict] = {
    **_rows(
        _REJECTED,
        # price outside the preset percentage, no market data to check it against, size constraints of presets
        *(109, 163, 164, 382, 383),
        154,  # the security is halted
        201,  # the broker's no; margin is told apart by its text
        # not allowed for this account, no trading permission, cash account may not go short
        *(203, 426, 460),
        *(395, 396, 397),  # IB's systems have problems and take only some order types
    ),
    **_rows(
        _MALFORMED,
        # incomplete, impossible to transmit, wrong field for the order type or the venue
        *(106, 107, 110, 111, 113, 116, 132, 139, 140, 141, 145, 160, 355, 387, 388, 392),
        *(401, 402, 403, 411, 412, 413),
        # size zero: ib_insync calls it a warning and leaves the order pending for ever; IB has dropped it
        434,
        461,  # below the minimum size (not documented)
        200,  # no such contract
        321,  # validation failed; "read-only" is told apart by its text
        10006,  # the parent order is missing
        *range(10243, 10253),  # fractional sizes and cash quantities are not supported
        *(10289, 10293, 10318),
    ),
    # The order may well have been sent: a duplicate id hits whatever lives under it, a server error or a
    # failed send says nothing about what the server did before it. Looked up by orderRef, never sent again.
    **_rows(_DOUBT, 103, 133, 320, 322, 323, 512, 515, 10328),
    # Errors of a cancel or a change; on an order that is not confirmed yet, they too only raise doubt.
    **_rows(_DOUBT, 104, 105, 134, 135, 136, 161, 329, 10147, 10148, 10326, 10327),
    202: Verdict(Meaning.CANCELLED, "failure"),  # neutral if we asked: the ledger knows
    **_rows(
        _NOTICE,
        399,  # a message about the order, such as being held until the opening
        404,  # shares to sell short are being located; the order is held
        481,  # the size was reduced
        492,  # a warning that the documentation does not know
        10311,  # direct routing costs more
        10329,  # the same in other words
        10349,  # the time in force was set by a preset; the order works and may fill
        *(162, 165, 366),
        *(2102, 2109, 2137),  # still processing; outsideRth ignored; cross-side warning
    ),
    # The account does not exist or the API may not trade: no further order can do better.
    **_rows(_REJECTED_TRIP, 435, 436, 10015),
    # The connection has gone while the order was on its way.
    **_rows(_DOUBT, 504),
    # Our pacing is broken; whether IB took this message is open.
    100: Verdict(Meaning.DOUBT, "failure", trip=True),
}

MODIFY: dict[int, Verdict] = {
    # The change was refused; what IB had before goes on.
    **_rows(_ORIGINAL_LIVES, 103, 104, 105, 109, 110, 134, 321, 329, 2102, 10326, 10327),
}

CANCEL: dict[int, Verdict] = {
    # Unknown there, filled, or in a state that cannot be cancelled: the order is what IB's next status says.
    **_rows(_CANCEL_FAILED, 104, 134, 135, 136, 161, 321, 512, 515, 2102, 10147, 10148),
}

# The answers to a cancel that say that IB holds no order under this id, not even one that it lists nowhere.
NO_SUCH_ORDER = frozenset({135, 10147})

# For reports about no order: requests of ours, and the system.
SYSTEM: dict[int, Verdict] = {
    **_rows(_DISCONNECTED, 1100, 2110),
    **_rows(_RESTORED, 1101, 1102),
    **_rows(_CONNECTION, 502, 504, 507, 509),
    **_rows(_CONNECTION_TRIP, 326, 503, 1300),
    **_rows(_NOTICE_TRIP, 100, 435, 436, 10015),
    **_rows(_NOTICE, 2100, 2101, 2103, 2104, 2105, 2106, 2107, 2108, 2119, 2157, 2158, 162, 165, 366, 501),
}

_TABLES: dict[Operation, dict[int, Verdict]] = {"new": {}, "modify": MODIFY, "cancel": CANCEL}

# IB writes rejections for want of margin with words only; the code is 201 like any other.
_MARGIN_WORDS = ("margin", "equity with loan", "available funds", "buying power")
_READ_ONLY_WORDS = ("read-only", "read only", "readonly")


def for_order(code: int, text: str, operation: Operation = "new") -> Verdict:
    """What `code` means for an order on which `operation` is under way."""
    verdict = _TABLES[operation].get(code) or NEW.get(code)
    if verdict is None:
        # IB's warnings; none of them ends an order.
        return _NOTICE if 2100 <= code < 2200 else _UNKNOWN_CODE
    if code == 201 and _speaks_of(text, _MARGIN_WORDS):
        return _MARGIN
    if code == 321 and _speaks_of(text, _READ_ONLY_WORDS):
        return Verdict(verdict.meaning, verdict.outcome, trip=True)
    return verdict


def for_system(code: int, text: str) -> Verdict:
    """What `code` means when it came for no order."""
    if code == 321 and _speaks_of(text, _READ_ONLY_WORDS):
        return _NOTICE_TRIP
    return SYSTEM.get(code, Verdict(Meaning.NOTICE, known=False))


def _speaks_of(text: str, words: tuple[str, ...]) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in words)
