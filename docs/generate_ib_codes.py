"""Writes docs/ib-codes.md from the code: `make docs` runs it, and a test holds the page against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from services.executor.orders.outcomes import BY_TEXT, NOTICE, UNKNOWN_CODE, WARNINGS, under
from services.gateway.codes.meanings import DOES, CodeRule, Group, Meaning, Operation
from services.gateway.codes.order_codes import CANCEL_GROUPS, CHANGE_MALFORMED, MODIFY_GROUPS, NEW_GROUPS
from services.gateway.codes.system_codes import SYSTEM_GROUPS

PAGE = Path(__file__).parent / "ib-codes.md"

HEAD = """# IB's codes

IB answers with a code and a text. This page says what orderfuse takes each code for, by what it means for the order,
and what you can do. The code and IB's own text stand in the event (`ib_code`, `reason`) and in the executor's log; the
words here are ours. IB's page is [Message Codes](https://interactivebrokers.github.io/tws-api/message_codes.html).

What a code **counts as** is what it does in the circuits: a failure of the strategy and the system, a failure of the
strategy only, or nothing. An order counts once, whatever else IB says about it. A *condition* blocks every order while
it holds, and opens the circuit of the system when it lasts. *Stops all* latches that circuit until a person has reset
it.

IB's status, its executions and its lists always win over a code.

This page is generated from the code.
"""

NEW = """
## A new order

A code that comes for an order on which neither a change nor a cancel is under way.
"""

MODIFY = """
## A change

While a change is under way these codes mean that it was refused, and that the order goes on as it was.
"""

MODIFY_REST = """
So does every code above by which IB calls an order wrong. It counts as {counts}.

Another refusal (201) ends the change too, and counts as it does for a new order. Doubt counts nothing here: IB's list
of open orders tells which terms hold.
"""

CANCEL = """
## A cancel

While a cancel is under way these codes answer it. All others mean what they mean for a new order.
"""

SYSTEM = """
## The connection and the system

Codes that come with no order.
"""

REST = """
## Codes that are in no table

IB's warnings, {first} to {last}, end no order: {notice}.

Every other code under the id of an order is told with its text, and named in the executor's log. It would be wrong to
call the order dead, and wrong to call it alive: {does}.
It counts as {counts}: a code that nobody knows does no harm to other strategies.

Codes about quotes, market depth, history, scanners, news and account data come with the id of such a request and never
with that of an order. They are not on this page.
"""


class Row(NamedTuple):
    """One line of a table."""

    code: int
    says: str
    rule: CodeRule
    todo: str


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    rest = REST.format(
        first=WARNINGS[0],
        last=WARNINGS[-1],
        notice=does(NOTICE),
        does=does(UNKNOWN_CODE),
        counts=counts(UNKNOWN_CODE),
    )
    return (
        HEAD
        + NEW
        + table(rows(NEW_GROUPS, "new"))
        + MODIFY
        + table(rows(MODIFY_GROUPS, "modify"))
        + MODIFY_REST.format(counts=counts(CHANGE_MALFORMED))
        + CANCEL
        + table(rows(CANCEL_GROUPS, "cancel"))
        + SYSTEM
        + table(rows(SYSTEM_GROUPS))
        + rest
    )


def rows(groups: Iterable[Group], operation: Operation | None = None) -> Iterator[Row]:
    """The codes of a table, and those of them that mean something else by their text."""
    for group in groups:
        for code, says in group.says.items():
            yield Row(code, says, group.rule, group.todo)
            for each in BY_TEXT:
                if each.code == code and operation in each.operations:
                    yield Row(code, each.says, under(each, operation), each.todo)


def table(lines: Iterable[Row]) -> str:
    """The rows by their codes."""
    text = "\n| code | IB says | counts as | what orderfuse does | what to do |\n|---|---|---|---|---|\n"
    for row in sorted(lines, key=lambda row: row.code):
        text += f"| {row.code} | {row.says} | {counts(row.rule)} | {does(row.rule)} | {row.todo} |\n"
    return text


def counts(rule: CodeRule) -> str:
    """What a rule does in the circuits."""
    outcome = {
        "failure": "a failure of strategy and system",
        "malformed": "a failure of the strategy only",
    }.get(rule.outcome or "", "nothing")
    if rule.meaning in {Meaning.DISCONNECTED, Meaning.CONNECTION}:
        outcome = "a condition"
    if not rule.trip:
        return outcome
    return "**stops all**" if outcome == "nothing" else f"**stops all**; {outcome}"


def does(rule: CodeRule) -> str:
    """What orderfuse does by a rule."""
    if rule.meaning is Meaning.DOUBT and rule.bytes_lost:
        return f"{DOES[rule.meaning]}; only a new connection can tell"
    return DOES[rule.meaning]


if __name__ == "__main__":
    main()
