"""What a code of IB means for an order, a change or a cancel: the tables, and words in texts. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from services.gateway.codes.meanings import CodeRule, Meaning, Operation
from services.gateway.codes.order_codes import CANCEL, CHANGE_MALFORMED, MODIFY, NEW, NO_SUCH_ORDER
from services.gateway.codes.system_codes import READ_ONLY

__all__ = [
    "CANCEL",
    "MODIFY",
    "NEW",
    "NO_SUCH_ORDER",
    "CodeRule",
    "Meaning",
    "Operation",
    "for_order",
    "may_be_read_only",
]  # fmt: skip

# IB's warnings; none of them ends an order.
WARNINGS = range(2100, 2200)
NOTICE = CodeRule(Meaning.NOTICE)
# Wrong to call the order dead, wrong to call it alive; and what nobody knows yet must not stop the neighbours.
UNKNOWN_CODE = CodeRule(Meaning.DOUBT, "malformed", known=False)

_TABLES: dict[Operation, dict[int, CodeRule]] = {"new": {}, "modify": MODIFY, "cancel": CANCEL}


@dataclass(frozen=True, slots=True)
class ByText:
    """A code that means something else where its text has certain words.

    Attributes:
        words: what the text has, in any case.
        operations: under which it means this.
        meaning: instead of the table's; None leaves that.
        trip: whether it trips besides.
        says, todo: for people, as in the tables.
    """

    code: int
    words: re.Pattern[str]
    operations: tuple[Operation, ...]
    meaning: Meaning | None
    trip: bool
    says: str
    todo: str


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


BY_TEXT = (
    # IB writes rejections for want of margin with words only; the code is 201 like any other.
    ByText(
        201,
        _words("margin|equity with loan|available funds|buying power"),
        ("new", "modify", "cancel"),
        meaning=Meaning.MARGIN,
        trip=False,
        says="the margin is too small, by the words of the text",
        todo="bring in money, close positions, or order less",
    ),
    ByText(
        321,
        READ_ONLY,
        ("new", "modify", "cancel"),
        meaning=None,
        trip=True,
        says="the API is read-only, by the words of the text",
        todo="switch *Read-Only API* off; then reset",
    ),
    # "OrderId 5 that needs to be cancelled can not be cancelled, state: PendingCancel." The word alone is in the
    # sentence anyway, so it has to stand behind the colon. IB cancels already: this cancel was one too many.
    ByText(
        10148,
        _words(r"(?:\bstate\s*|[:\uff1a]\s*)(?:pendingcancel|(?:api)?cancell?ed)\b"),
        ("cancel",),
        meaning=Meaning.CANCELLING,
        trip=False,
        says="the order is being cancelled or is already, by the state in the text",
        todo="nothing",
    ),
)

# IB's English texts of 321: the wire's, and that of IB's page.
_ENGLISH_321 = _words("error validating request|error when validating")


def for_order(code: int, text: str, operation: Operation = "new") -> CodeRule:
    """What `code` means for an order on which `operation` is under way."""
    for row in BY_TEXT:
        if row.code == code and operation in row.operations and row.words.search(text):
            return under(row, operation)
    return _for_code(code, operation)


def under(row: ByText, operation: Operation) -> CodeRule:
    """What a code means whose text has the words of `row`."""
    rule = _for_code(row.code, operation)
    return replace(rule, meaning=row.meaning or rule.meaning, trip=row.trip or rule.trip)


def may_be_read_only(code: int, text: str) -> bool:
    """Whether this may be the refusal of a read-only API in a language that nobody here can read."""
    return code == 321 and not _ENGLISH_321.search(text)


def _for_code(code: int, operation: Operation) -> CodeRule:
    rule = _TABLES[operation].get(code) or NEW.get(code)
    if rule is None:
        return NOTICE if code in WARNINGS else UNKNOWN_CODE
    if operation == "modify" and rule.meaning is Meaning.MALFORMED:
        return CHANGE_MALFORMED
    return rule
