"""The kinds of things that IB's codes say, and what each of them makes orderfuse do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from services.wire.feedback import Outcome

Operation = Literal["new", "modify", "cancel"]


class Meaning(Enum):
    """What a code says about the order, or about the connection, that it came for."""

    REJECTED = "rejected"  # dead: the broker's or the venue's no
    MARGIN = "margin"  # dead, for want of margin
    MALFORMED = "malformed"  # dead: IB calls the order itself wrong
    CANCELLED = "cancelled"  # dead: cancelled, by us or not
    CANCEL_FAILED = "cancel_failed"  # our cancel did not work; the order is as it was, or already done
    CANCELLING = "cancelling"  # our cancel was one too many: the order is being cancelled, or is already
    ORIGINAL_LIVES = "original_lives"  # a change did not work; the order is as it was
    REDUCED = "reduced"  # IB has cut the quantity; the order works, and may end without a reason
    DOUBT = "doubt"  # nobody knows: look it up, never send again
    NOTICE = "notice"  # changes nothing
    DISCONNECTED = "disconnected"  # IB is not behind the gateway
    RESTORED = "restored"  # IB is back: look everything up, then go on
    CONNECTION = "connection"  # the socket between us and the gateway


# For people: what becomes of it.
DOES: dict[Meaning, str] = {
    Meaning.REJECTED: "the order is over: `rejected`",
    Meaning.MARGIN: "the order is over: `rejected`",
    Meaning.MALFORMED: "the order is over: `rejected`",
    Meaning.CANCELLED: "the order is over: `cancelled`; an end that was asked for, or an ordinary one, counts nothing",
    Meaning.CANCEL_FAILED: "`cancel_failed`; the order is what IB's next status says",
    Meaning.CANCELLING: "waits for the end of the order",
    Meaning.ORIGINAL_LIVES: "`replace_failed`; whether the order goes on as it was is looked up",
    Meaning.REDUCED: "the quantity follows IB; the order works",
    Meaning.DOUBT: "`unknown` until it was looked up at IB; never sent again",
    Meaning.NOTICE: "a line in the executor's log",
    Meaning.DISCONNECTED: "`broker_disconnected` holds until IB is back and everything was looked up",
    Meaning.RESTORED: "looks everything up, then lets orders pass",
    Meaning.CONNECTION: "`broker_disconnected` holds until there is a connection again",
}


@dataclass(frozen=True, slots=True)
class CodeRule:
    """What one code means, and what follows from it.

    Attributes:
        outcome: what it counts as in the circuits.
        trip: nobody may trade until a person has looked.
        known: False for a code that nobody has classified.
        bytes_lost: IB may never have read our bytes, or the link to it broke, so that only a new connection can tell.
            Otherwise the code came from IB, which had read them.
    """

    meaning: Meaning
    outcome: Outcome | None = None
    trip: bool = False
    known: bool = True
    bytes_lost: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Codes with one rule.

    Attributes:
        todo: what a person does about them.
        says: by code, what IB says, in our words.
    """

    rule: CodeRule
    todo: str
    says: Mapping[int, str]


def code_rules(groups: Iterable[Group]) -> dict[int, CodeRule]:
    """The rule of each code in the groups."""
    return {code: group.rule for group in groups for code in group.says}
