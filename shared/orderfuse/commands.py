"""The `orderfuse` command: what a person can ask of the breaker. `orderfuse paper ...` is in papercommands.py."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from orderfuse import completion
from orderfuse.asking import (
    STATUS_TIMEOUT_S,
    ask_why,
    asking,
    did_you_mean,
    explained,
    home_of,
    one_of,
    reason_from,
    reason_if_any,
    scopes_in,
    settings_of,
    told_of_the_file,
    unknown_in,
    who,
)
from orderfuse.besidecommands import drift, foreign
from orderfuse.livewatch import watch_events
from orderfuse.messages import ConditionName, Generation, OrderId, Price, Scope, Shares, StrategyId
from orderfuse.orderview import newest_orders, order_rows, order_story
from orderfuse.outcome import EXIT_CODES, REFUSED, OneLineGroup, fail, failures
from orderfuse.panic import start_panic
from orderfuse.papercommands import paper
from orderfuse.preview import after_reset, before_reset
from orderfuse.replies import a_list, a_map, maps
from orderfuse.show import clean, names, say, say_json, say_warning, warn
from orderfuse.statusview import status_lines, verdict
from orderfuse.stopfile import StopFile
from orderfuse.stopping import stop_now
from orderfuse.version import __version__

# More would be hundreds of MB, and nobody reads them in a terminal.
MOST_ORDERS = 10_000
ID_RULE = "letters, digits and . _ -, beginning with a letter or digit"

app = typer.Typer(cls=OneLineGroup, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(drift, name="drift")
app.add_typer(foreign, name="foreign")
app.add_typer(paper, name="paper")


class CancelChoice(StrEnum):
    """Which working orders a trip cancels."""

    NONE = "none"
    OURS = "ours"
    OURS_WITH_PROTECTIVE = "ours_with_protective"
    ALL = "all"


class ReportKind(StrEnum):
    """What a process reports."""

    FAILURE = "failure"
    CONDITION = "condition"


class EndChoice(StrEnum):
    """How a person settles an unknown order."""

    NOT_PLACED = "not_placed"
    CANCELLED = "cancelled"
    FILLED = "filled"


class OrderState(StrEnum):
    """Where an order is."""

    QUEUED = "queued"
    OUT = "out"
    WORKING = "working"
    UNKNOWN = "unknown"
    DONE = "done"


ScopeOption = Annotated[
    str,
    typer.Option(
        "--scope",
        help="system, or strategy:ID",
        callback=one_of(Scope, "system, or strategy:ID"),
        autocompletion=completion.scopes,
    ),
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it is journaled with your name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the reply's map as JSON.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"orderfuse {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Say which version this is.", callback=_print_version, is_eager=True)
]


@app.callback(epilog=EXIT_CODES)
def options(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="The home folder; default $ORDERFUSE_HOME, else ~/.orderfuse.")] = (
        None
    ),
    version: Version = False,  # noqa: ARG001 - its callback has ended the command already
) -> None:
    """Look at the circuit breaker for your orders, stop trading, and let it go on.

    Something is wrong? orderfuse trip

    May orders pass, and what is to be done? orderfuse status
    """
    context.obj = home


@app.command(epilog=EXIT_CODES)
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show whether orders may pass, why not, and what to do next.

    The first thing to look at, whatever has happened.

    Example: orderfuse status
    """
    with asking(context) as control, told_of_the_file(home_of(context)):
        reply = control.request("status", timeout_s=STATUS_TIMEOUT_S)
    if as_json:
        say_json(reply)
    else:
        say(*status_lines(reply, datetime.now(UTC)))


@app.command(epilog=EXIT_CODES)
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


@app.command(epilog=EXIT_CODES)
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


@app.command(epilog=EXIT_CODES)
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
        with explained(control, lambda now: f"; nothing was changed. Now: {verdict(now).plain}"):
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


@app.command(epilog=EXIT_CODES)
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


@app.command(epilog=EXIT_CODES)
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


@app.command(epilog=EXIT_CODES)
def orders(
    context: typer.Context,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="Only of this strategy.",
            callback=one_of(StrategyId, f"1 to 32 {ID_RULE}"),
            autocompletion=completion.strategies,
        ),
    ] = None,
    state: Annotated[OrderState | None, typer.Option(help="Only those in this state.")] = None,
    order_id: Annotated[
        str | None,
        typer.Option("--order", help="Only this one, with its whole story.", callback=one_of(OrderId, ID_RULE)),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_ORDERS, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest orders: what they want, where they are, and the last that was heard of each.

    The newest stands last, right above your prompt; in the map of --json it is the first. With --order, all that
    happened to one order.

    Example: orderfuse orders --state working --strategy alpha
    """
    now = datetime.now(UTC)
    with asking(context) as control:
        wanted = {"strategy_id": strategy, "state": state.value if state else None, "order_id": order_id}
        reply = newest_orders(control, limit, **wanted)
        found = maps(reply.get("orders"))
        if as_json:
            say_json(reply)
        elif found:
            say(*order_rows(found[::-1], now))
        elif order_id:
            fail(REFUSED, f"refused: there is no order {order_id}, or not with these options")
        else:
            say("no orders")
        if order_id and not as_json:
            say(*order_story(control, found[0]))
    if reply.get("more"):
        typer.echo("there are more, which are older: raise --limit, or narrow it down", err=True)


@app.command(epilog=EXIT_CODES)
def watch(context: typer.Context) -> None:
    """Watch all that happens, live, until ctrl-C; in a pipe, every event as one line.

    The one command that waits: also for a breaker that is not there.

    Example: orderfuse watch | tee events.log
    """
    with failures():
        watch_events(settings_of(context))


def _unknown_now(order_id: str, status: dict[str, Any]) -> str:
    unknown = set(unknown_in(status)) - {order_id}
    if not unknown:
        return ""
    return did_you_mean(order_id, unknown) or f"; unknown are: {names(sorted(unknown))}"
