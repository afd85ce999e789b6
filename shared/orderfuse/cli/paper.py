"""`orderfuse paper ...`: what a person can ask of the paper gateway."""

from __future__ import annotations

from typing import Annotated

import typer

from orderfuse.cli import completion
from orderfuse.cli.asking import settings_of
from orderfuse.cli.exits import EXIT_CODES, fail, failures
from orderfuse.cli.paper_control import ask_paper, follow_paper
from orderfuse.cli.show import clean, columns, say, say_json
from orderfuse.errors import ControlRefused
from orderfuse.exit_codes import DONE, NOTHING_ANSWERS
from orderfuse.text import did_you_mean

paper = typer.Typer(
    no_args_is_help=True,
    help="The paper gateway, the offline stand-in for TWS and IB Gateway.",
    epilog=EXIT_CODES,
)


@paper.command("reject", epilog=EXIT_CODES)
def paper_reject(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, help="So many orders.")] = 1,
    code: Annotated[int, typer.Option(help="IB's error code.")] = 201,
    text: Annotated[str, typer.Option(help="IB's error text.")] = "Order rejected - reason: rejected on command",
) -> None:
    """Have the next orders rejected as IB would.

    To see the circuit open, for instance.

    Example: orderfuse paper reject --count 5 --code 201 --text "Order rejected - reason: test"
    """
    with failures():
        ask_paper(settings_of(context).home, "reject", count=count, code=code, text=text)
    say(f"the next {count} orders will be rejected with {code}: {clean(text)}")


@paper.command("fault", epilog=EXIT_CODES)
def paper_fault(
    context: typer.Context,
    kind: Annotated[
        str,
        typer.Argument(help="What happens; `orderfuse paper faults` lists all.", autocompletion=completion.fault_kinds),
    ],
    words: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Whom, when, how.")] = None,
) -> None:
    """Play a fault, now or when its moment comes.

    To see what your strategies do when a broker or a network fails.

    Example: orderfuse paper fault reject count=3 code=201
    """
    pairs = [word.partition("=") for word in words or []]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise typer.BadParameter(f"'{key}' is not key=value, such as count=3")
    with failures():
        texts = {key: value for key, _, value in pairs}
        say_json(ask_paper(settings_of(context).home, "fault", kind=kind, texts=texts)["played"])


@paper.command("faults", epilog=EXIT_CODES)
def paper_faults(
    context: typer.Context,
    kind: Annotated[
        str | None, typer.Argument(help="Only this one, with its fields.", autocompletion=completion.fault_kinds)
    ] = None,
) -> None:
    """List the faults that can be played.

    With a name, all that can be said of that one.

    Example: orderfuse paper faults reject
    """
    with failures():
        faults = ask_paper(settings_of(context).home, "faults")["faults"]
        if kind is not None and kind not in faults:
            near = did_you_mean(kind, faults) or f"; there are {', '.join(faults)}"
            raise ControlRefused(f"there is no fault {kind}{near}")
    shown = faults if kind is None else [kind]
    say(*columns((name, clean(faults[name]["does"])) for name in shown))
    if kind is not None:
        say(*columns((f"    {key}", clean(what)) for key, what in faults[kind]["fields"].items()))


@paper.command("clear", epilog=EXIT_CODES)
def paper_clear(context: typer.Context) -> None:
    """Disarm all faults that still wait.

    Example: orderfuse paper clear
    """
    with failures():
        say(f"disarmed {ask_paper(settings_of(context).home, 'clear')['cleared']}")


@paper.command("follow", epilog=EXIT_CODES)
def paper_follow(context: typer.Context) -> None:
    """Print every message that reaches the paper gateway or leaves it, as JSON lines, until ctrl-C.

    To see what really goes over the wire.

    Example: orderfuse paper follow | grep placeOrder
    """
    with failures():
        try:
            for line in follow_paper(settings_of(context).home):
                typer.echo(clean(line))
        except KeyboardInterrupt:
            raise typer.Exit(DONE) from None
    fail(NOTHING_ANSWERS, "the paper gateway has ended")


@paper.command("status", epilog=EXIT_CODES)
def paper_status(context: typer.Context) -> None:
    """Print what the paper gateway says of itself, as JSON.

    Example: orderfuse paper status
    """
    with failures():
        say_json(ask_paper(settings_of(context).home, "status"))
