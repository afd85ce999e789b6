"""What a person decides: to stop, to go on, that something holds or failed, how an unknown order ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from orderfuse.bus.fields import ConditionName, Generation, OrderId, Price, Shares
from orderfuse.cli import completion
from orderfuse.cli.asking import STATUS_TIMEOUT_S, asking, explained, home_of, scopes_in, unknown_in
from orderfuse.cli.exits import fail
from orderfuse.cli.options import (
    ID_RULE,
    AsJson,
    CancelChoice,
    EndChoice,
    ReasonOption,
    ReportKind,
    ScopeOption,
    one_of,
)
from orderfuse.cli.panic import start_panic
from orderfuse.cli.preview import after_reset, before_reset
from orderfuse.cli.reasons import ask_why, reason_from, reason_if_any, who
from orderfuse.cli.show import clean, names, say, say_json, say_warning, warn
from orderfuse.cli.status import headline
from orderfuse.cli.trip import stop_now
from orderfuse.client.replies import a_list, a_map, maps
from orderfuse.exit_codes import REFUSED
from orderfuse.stopfile import StopFile
from orderfuse.text import did_you_mean


def trip(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="REASON", help="Why you stop.")] = None,
    reason: ReasonOption = None,
    scope: ScopeOption = "system",
    cancel: Annotated[
        CancelChoice | None,
        typer.Option(help="Working orders to cancel; default: the setting breaker.on_trip."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what has happened as a JSON map; ask nothing.")
    ] = False,
) -> None:
    """Stop now: nothing more is sent to IB until somebody resets it. Cancels still pass.

    For whenever you are in doubt, also where no breaker answers. It stops first and asks for a reason afterwards.

    Example: orderfuse trip --reason "fills look wrong" --cancel ours
    """
    given = reason_if_any(words, reason)
    stop_now(home_of(context), scope, given, cancel.value if cancel else None, as_json=as_json)


def panic(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Cancel without being asked.")] = False,
) -> None:
    """Cancel everything at IB, with neither breaker nor executor.

    For when a stop is not enough, or nothing answers any more. It stops all new orders first, until a reset. Orders
    placed by hand are cancelled too.

    Example: orderfuse panic --yes
    """
    start_panic(home_of(context), yes=yes)


def reset(
    context: typer.Context,
    reason: ReasonOption = None,
    scope: ScopeOption = "system",
    generation: Annotated[
        int | None,
        typer.Option(
            help="Refuse if the circuit is no longer in this generation; default: the one that is shown.",
            callback=one_of(Generation, "a whole number from 0"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let trading go on, after the cause was found.

    It shows the circuit as it is, and is refused if that has changed when you have given your reason.

    Example: orderfuse reset --reason "feed is back" --scope strategy:alpha
    """
    why = reason_from(None, reason)
    stop_file = StopFile(home_of(context))
    with asking(context) as control:
        shown = control.request("status", timeout_s=STATUS_TIMEOUT_S)
        circuit = next((each for each in maps(shown.get("circuits")) if each.get("scope") == scope), None)
        if circuit is None:
            known = scopes_in(shown)
            fail(REFUSED, f"refused: there is no circuit {scope}{did_you_mean(scope, known) or f': {names(known)}'}")
        if not as_json:
            say(*before_reset(shown, circuit, datetime.now(UTC), stop_file.look()))
        with explained(control, lambda now: f"; nothing was changed. Now: {headline(now).plain}"):
            reply = control.request(
                "reset",
                reason=why or ask_why(),
                scope=scope,
                generation=circuit.get("generation") if generation is None else generation,
                who=who(),
            )
        still = stop_file.look()
        stopped = f"NO ORDER PASSES: the file {stop_file.path} is there ({still.reason})" if still else ""
        if as_json:
            say_json({**reply, "warnings": [each for each in (reply.get("warning"), stopped) if each]})
        else:
            say(*after_reset(reply, scope, datetime.now(UTC)))
        say_warning(reply)
        if stopped:
            warn(stopped)


def report(
    context: typer.Context,
    what: Annotated[ReportKind, typer.Argument(help="failure: it counts once; condition: it holds until --over.")],
    name: Annotated[
        str,
        typer.Argument(
            help="What it is called, such as feed_stale:ES.",
            callback=one_of(ConditionName, "up to 64 letters, digits and . _ : -"),
        ),
    ],
    reason: ReasonOption = None,
    scope: ScopeOption = "system",
    over: Annotated[bool, typer.Option("--over", help="The condition holds no more.")] = False,
) -> None:
    """Tell the breaker of a failure or a condition that it can't see itself.

    For watchdogs: a condition blocks all orders of its scope until it is reported as over.

    Example: orderfuse report condition feed_stale:ES --reason "no tick for 10 s"
    """
    if over and what is ReportKind.FAILURE:
        raise typer.BadParameter("--over ends a condition; a failure is a moment")
    why = reason_from(None, reason)
    with asking(context) as control, explained(control, lambda now: did_you_mean(scope, set(scopes_in(now)) - {scope})):
        reply = control.request(
            "report",
            what=what.value,
            name=name,
            reason=why or ask_why(),
            scope=scope,
            holds=not over,
            reporter=who(),
            who=who(),
        )
    say(f"told; {scope} now has: {names(a_list(reply.get('conditions'))) or 'no conditions'}")
    say_warning(reply)


def resolve(
    context: typer.Context,
    order_id: Annotated[
        str,
        typer.Argument(
            help="An order that `orderfuse status` names as unknown.",
            callback=one_of(OrderId, f"1 to 40 {ID_RULE}"),
            autocompletion=completion.unknown_orders,
        ),
    ],
    end: Annotated[EndChoice, typer.Option("--as", help="How it really ended: look it up in TWS first.")],
    shares: Annotated[
        float | None,
        typer.Option(help="With --as filled: how many were executed.", callback=one_of(Shares, "a number above 0")),
    ] = None,
    price: Annotated[
        float | None,
        typer.Option(help="With --as filled: at which average price.", callback=one_of(Price, "a finite number")),
    ] = None,
    reason: ReasonOption = None,
) -> None:
    """Settle an order of which nobody knows whether IB has it. What IB says of it later still wins.

    Look it up in TWS first: trading goes on with what you say here.

    Example: orderfuse resolve alpha-17 --as filled --shares 100 --price 190.5 --reason "seen in TWS"
    """
    if (end is EndChoice.FILLED) != (shares is not None) or (shares is None) != (price is None):
        raise typer.BadParameter("--as filled needs --shares and --price; the other ends have neither")
    why = reason_from(None, reason)
    # `as` is a word of the language, so it can't be given by name.
    fields: dict[str, Any] = {"as": end.value, "shares": shares, "price": price}
    with asking(context) as control, explained(control, lambda now: _unknown_now(order_id, now)):
        reply = control.request("resolve", order_id=order_id, reason=why or ask_why(), who=who(), **fields)
    say(f"{order_id} is {clean(a_map(reply.get('event')).get('kind'))} now")
    say_warning(reply)


def _unknown_now(order_id: str, status: dict[str, Any]) -> str:
    unknown = set(unknown_in(status)) - {order_id}
    if not unknown:
        return ""
    return did_you_mean(order_id, unknown) or f"; unknown are: {names(sorted(unknown))}"
