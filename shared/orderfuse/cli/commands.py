"""The `orderfuse` command: all that a person can ask for, in the order in which it is listed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from orderfuse.bus.fields import OrderId, StrategyId
from orderfuse.cli import completion
from orderfuse.cli.account import drift, foreign
from orderfuse.cli.asking import STATUS_TIMEOUT_S, asking, home_of, settings_of, told_of_the_file
from orderfuse.cli.decisions import panic, report, reset, resolve, trip
from orderfuse.cli.exits import EXIT_CODES, OneLineGroup, fail, failures
from orderfuse.cli.options import ID_RULE, AsJson, OrderState, Version, one_of
from orderfuse.cli.orders import newest_orders, order_events, order_rows
from orderfuse.cli.paper import paper
from orderfuse.cli.show import say, say_json
from orderfuse.cli.status import status_lines
from orderfuse.cli.watch import watch_events
from orderfuse.client.replies import maps
from orderfuse.exit_codes import REFUSED

# More would be hundreds of MB, and nobody reads them in a terminal.
MOST_ORDERS = 10_000

app = typer.Typer(cls=OneLineGroup, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(drift, name="drift")
app.add_typer(foreign, name="foreign")
app.add_typer(paper, name="paper")


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


for decide in (trip, panic, reset, report, resolve):
    app.command(epilog=EXIT_CODES)(decide)


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
        typer.Option("--order", help="Only this one, with all that happened to it.", callback=one_of(OrderId, ID_RULE)),
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
            say(*order_events(control, found[0]))
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
