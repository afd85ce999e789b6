"""`orderfuse drift` and `orderfuse foreign`: what others do in the account, and accepting it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from orderfuse.bus.control import MAX_TOLD, SeenDrift, SeenOrder
from orderfuse.bus.fields import IbId
from orderfuse.cli.asking import STATUS_TIMEOUT_S, asking, quick_status
from orderfuse.cli.exits import EXIT_CODES, fail
from orderfuse.cli.options import one_of
from orderfuse.cli.reasons import ask_why, reason_from, who
from orderfuse.cli.show import clean, number, say, say_aside, say_json, say_warning, warn
from orderfuse.cli.status import as_of, circuit_todo, drift_words, not_known, system_of
from orderfuse.client.control import ControlClient
from orderfuse.client.replies import a_list, maps
from orderfuse.exit_codes import REFUSED
from orderfuse.ibfields.names import contract_name, order_name

Words = Annotated[list[str] | None, typer.Argument(metavar="REASON", help="Why; it is journaled with your name.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="The same as an option.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the list as JSON; null where it is not known.")]
ReplyAsJson = Annotated[bool, typer.Option("--json", help="Print the reply's map as JSON.")]
ID_RULE = "a whole number from 0 to 9223372036854775807"

drift = typer.Typer(
    invoke_without_command=True,
    help="Show where IB's positions are not what the fills make them; `accept` takes them as they are.",
    epilog=EXIT_CODES,
)
foreign = typer.Typer(
    invoke_without_command=True,
    help="Show open orders of the account that are not orderfuse's; `accept` lets them be.",
    epilog=EXIT_CODES,
)


def _order_words(order: dict[str, Any]) -> str:
    return clean(order_name(order))


@dataclass(frozen=True, slots=True)
class _Beside:
    """What others do, of one kind, under its `key` in the status; `number` is the key by which one is chosen.

    `seen`: the keys by which the breaker tells one from what it has become since. `ids`: those that stay.
    """

    key: str
    number: str
    seen: tuple[str, ...]
    ids: tuple[str, ...]
    words: Callable[[dict[str, Any]], str]
    none: str
    of_number: str


_DRIFT = _Beside(
    key="drift",
    number="con_id",
    seen=SeenDrift.__struct_fields__,
    ids=("con_id",),
    words=drift_words,
    none="no drift: IB holds what the fills make",
    of_number="there is no drift of contract {}",
)
_FOREIGN = _Beside(
    key="foreign",
    number="perm_id",
    seen=SeenOrder.__struct_fields__,
    ids=("perm_id", "client_id", "ib_order_id"),
    words=_order_words,
    none="none: every open order of the account is orderfuse's",
    of_number="IB lists no open order of others with the permanent id {}",
)


@drift.callback()
def show_drift(context: typer.Context, as_json: AsJson = False) -> None:
    """Show where IB's positions are not what the fills make them; `accept` takes them as they are.

    Example: orderfuse drift
    """
    if context.invoked_subcommand is None:
        _show(context, _DRIFT, as_json=as_json)


@drift.command("accept", epilog=EXIT_CODES)
def accept_drift(
    context: typer.Context,
    words: Words = None,
    reason: ReasonOption = None,
    con_id: Annotated[
        int | None,
        typer.Option(
            "--con-id",
            help="Only this contract, by IB's id; default: all that differ.",
            callback=one_of(IbId, ID_RULE),
        ),
    ] = None,
    as_json: ReplyAsJson = False,
) -> None:
    """Take IB's positions as they are: from now on they are what is expected.

    After a split, an expiry, or a trade by hand, once you have compared with TWS. It ends no circuit. What has changed
    since it was shown is left alone.

    Example: orderfuse drift accept --con-id 272093 --reason "bought by hand"
    """
    why = reason_from(words, reason)
    with asking(context) as control:
        accepted = _accept(control, _DRIFT, why, con_id, as_json=as_json or _before_accept(context))
    for each in accepted:
        say(f"accepted: {drift_words(each)}; {number(each.get('actual'))} is as expected from now on")


@foreign.callback()
def show_foreign(context: typer.Context, as_json: AsJson = False) -> None:
    """Show open orders of the account that are not orderfuse's; `accept` lets them be.

    Example: orderfuse foreign
    """
    if context.invoked_subcommand is None:
        _show(context, _FOREIGN, as_json=as_json)


@foreign.command("accept", epilog=EXIT_CODES)
def accept_foreign(
    context: typer.Context,
    words: Words = None,
    reason: ReasonOption = None,
    perm_id: Annotated[
        int | None,
        typer.Option(
            "--perm-id",
            help="Only this order, by IB's permanent id; default: all that are shown.",
            callback=one_of(IbId, ID_RULE),
        ),
    ] = None,
    as_json: ReplyAsJson = False,
) -> None:
    """Let the open orders of others that are shown now be: they are told no more, and stop nothing.

    Their fills are drift all the same. The next order of others is told again, and so is one of these that becomes
    another one. What has changed since it was shown is left alone.

    Example: orderfuse foreign accept --reason "my hedge"
    """
    why = reason_from(words, reason)
    with asking(context) as control:
        accepted = _accept(control, _FOREIGN, why, perm_id, as_json=as_json or _before_accept(context))
        for each in accepted:
            say(f"accepted: {_order_words(each)}")
        if accepted:
            _tell_of_the_circuit(control)


def _before_accept(context: typer.Context) -> bool:
    """Whether `--json` stands in front of the word `accept`."""
    return bool(context.parent and context.parent.params.get("as_json"))


def _show(context: typer.Context, what: _Beside, *, as_json: bool) -> None:
    with asking(context) as control:
        reply = control.request("status", timeout_s=STATUS_TIMEOUT_S)
    found, unknown = maps(reply.get(what.key)), not_known(reply, what.key)
    if as_json:
        say_json(None if unknown and not found else found)
    elif found:
        say(*map(what.words, found), *([f"that is what was told last; {unknown}"] if unknown else []))
    else:
        say(unknown or f"{what.none}, {as_of(reply, what.key)}")


def _accept(
    control: ControlClient, what: _Beside, why: str, chosen: int | None, *, as_json: bool
) -> list[dict[str, Any]]:
    """Show what there is, then ask why, and accept just that. Returns what is to be said of it.

    Raises:
        typer.Exit: there is nothing to accept.
    """
    status = control.request("status", timeout_s=STATUS_TIMEOUT_S)
    shown = [each for each in maps(status.get(what.key)) if chosen is None or each.get(what.number) == chosen]
    shown = shown[:MAX_TOLD]
    if not shown:
        fail(REFUSED, f"refused: {_nothing(status, what, chosen)}")
    if not why:
        for line in map(what.words, shown):
            say_aside(line)
        why = ask_why()
    seen = [{key: each.get(key) for key in what.seen} for each in shown]
    reply = control.request("accept", what=what.key, seen=seen, reason=why, who=who())
    accepted = maps(reply.get("accepted"))
    done = {_ids(what, each) for each in accepted}
    changed = [each for each in shown if _ids(what, each) not in done]
    if as_json:
        say_json({**reply, "not_accepted": changed, "warnings": [each for each in [reply.get("warning")] if each]})
    for each in changed:
        warn(f"NOT accepted, it has changed since it was shown: {what.words(each)}")
    say_warning(reply)
    return [] if as_json else accepted


def _nothing(status: dict[str, Any], what: _Beside, chosen: int | None) -> str:
    """Why there is nothing to accept."""
    standing = maps(status.get(what.key))
    if chosen is None or not standing:
        return not_known(status, what.key) or f"{what.none}, {as_of(status, what.key)}"
    named = contract_name if what is _DRIFT else order_name
    return f"{what.of_number.format(chosen)}; there is one of: {'; '.join(map(named, standing))}"


def _ids(what: _Beside, each: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(each.get(key) for key in what.ids)


def _tell_of_the_circuit(control: ControlClient) -> None:
    """Accepting ends the condition, and a circuit that it has opened stays as it is."""
    system = system_of(quick_status(control))
    if system.get("state") not in (None, "CLOSED") and not a_list(system.get("conditions")):
        say("accepting them closes no circuit:", *circuit_todo(system, datetime.now(UTC)))
