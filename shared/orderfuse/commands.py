"""What the `orderfuse` command can do."""

from __future__ import annotations

import json
import os
import pwd
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orderfuse.codec import DecodeError
from orderfuse.control import ControlClient
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.papercontrol import PaperUnavailable, ask_paper, follow_paper
from orderfuse.settings import Settings, SettingsError, load_settings
from orderfuse.watch import Gap, Heard, Silent, Unreadable, Watcher

REFUSED, USAGE, NOTHING_ANSWERS = 1, 2, 3
# A trip answers once the executor has confirmed the fence or its lease (500 ms) has run out.
TRIP_TIMEOUT_S = 2.0

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
paper = typer.Typer(no_args_is_help=True, help="The paper gateway, the offline stand-in for TWS and IB Gateway.")
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


Scope = Annotated[str, typer.Option(help="system, or strategy:<id>")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it is journaled with your name.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the reply's map as JSON.")]


@app.callback()
def options(
    context: typer.Context,
    home: Annotated[
        Path | None, typer.Option(help="The home folder; default $ORDERFUSE_HOME, else ~/.orderfuse.")
    ] = None,
) -> None:
    """Look at the circuit breaker for your orders, stop trading, and let it go on.

    Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers.
    """
    context.obj = home


# -- commands ---------------------------------------------------------------------------------------------


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """Show how everything stands."""
    reply = _ask(context, "status")
    if as_json:
        _print_json(reply)
    else:
        _print_status(reply)


@app.command()
def trip(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="REASON", help="Why you stop.")] = None,
    reason: ReasonOption = None,
    scope: Scope = "system",
    cancel: Annotated[
        CancelChoice | None,
        typer.Option(help="Working orders to cancel; default: the setting breaker.on_trip."),
    ] = None,
) -> None:
    """Stop now. Nothing is sent to IB until somebody resets it."""
    why = _reason(" ".join(words or []), reason)
    reply = _ask(
        context,
        "trip",
        timeout_s=TRIP_TIMEOUT_S,
        reason=why,
        scope=scope,
        cancel=cancel.value if cancel else None,
        who=_who(),
    )
    _print_trip(scope, reply)


@app.command()
def reset(
    context: typer.Context,
    reason: ReasonOption = None,
    scope: Scope = "system",
    generation: Annotated[
        int | None, typer.Option(help="Refuse if the circuit is no longer in this generation.")
    ] = None,
) -> None:
    """Let trading go on."""
    why = _reason("", reason)
    reply = _ask(context, "reset", reason=why, scope=scope, generation=generation, who=_who())
    typer.echo(f"{scope} is {_clean(reply.get('state'))}, generation {_clean(reply.get('generation'))}")
    _print_warning(reply)


@app.command()
def report(
    context: typer.Context,
    what: Annotated[ReportKind, typer.Argument(help="failure: it counts once; condition: it holds until --over.")],
    name: Annotated[str, typer.Argument(help="What it is called, such as feed_stale:ES.")],
    reason: ReasonOption = None,
    scope: Scope = "system",
    over: Annotated[bool, typer.Option("--over", help="The condition holds no more.")] = False,
) -> None:
    """Tell the breaker of a failure or a condition that it can't see itself.

    Example: orderfuse report condition feed_stale:ES --reason "no tick for 10 s"
    """
    if over and what is ReportKind.FAILURE:
        raise typer.BadParameter("--over ends a condition; a failure is a moment")
    why = _reason("", reason)
    who = _who()
    reply = _ask(
        context, "report", what=what.value, name=name, reason=why, scope=scope, holds=not over, reporter=who, who=who
    )
    held = ", ".join(_clean(held) for held in reply.get("conditions") or []) or "no conditions"
    typer.echo(f"told; {scope} now has: {held}")
    _print_warning(reply)


@app.command()
def resolve(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(help="An order that `orderfuse status` names as unknown.")],
    end: Annotated[EndChoice, typer.Option("--as", help="How it really ended: look it up in TWS first.")],
    shares: Annotated[float | None, typer.Option(help="With --as filled: how many were executed.")] = None,
    price: Annotated[float | None, typer.Option(help="With --as filled: at which average price.")] = None,
    reason: ReasonOption = None,
) -> None:
    """Settle an order of which nobody knows whether IB has it. What IB says of it later still wins.

    Example: orderfuse resolve alpha-17 --as filled --shares 100 --price 190.5 --reason "seen in TWS"
    """
    why = _reason("", reason)
    # `as` is a word of the language, so it can't be given by name.
    fields: dict[str, Any] = {"as": end.value, "shares": shares, "price": price}
    reply = _ask(context, "resolve", order_id=order_id, reason=why, who=_who(), **fields)
    event = reply.get("event")
    typer.echo(f"{order_id} is {_clean(event.get('kind') if isinstance(event, dict) else event)} now")
    _print_warning(reply)


@app.command()
def orders(
    context: typer.Context,
    strategy: Annotated[str | None, typer.Option(help="Only of this strategy.")] = None,
    state: Annotated[OrderState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List orders."""
    reply = _ask(context, "orders", strategy_id=strategy, state=state.value if state else None, limit=limit)
    if as_json:
        _print_json(reply)
    else:
        _print_orders(reply)


@app.command()
def watch(context: typer.Context) -> None:
    """Print every event as one line, until ctrl-C."""
    # Health says the same every second; `status` shows it.
    with _failures(), Watcher(_settings(context), ("order/", "state/")) as watcher:
        try:
            for topic, message in watcher:
                line = _line(topic, message)
                if line:
                    typer.echo(line)
        except KeyboardInterrupt:
            return


@paper.command("reject")
def paper_reject(
    context: typer.Context,
    count: Annotated[int, typer.Option(min=1, help="So many orders.")] = 1,
    code: Annotated[int, typer.Option(help="IB's error code.")] = 201,
    text: Annotated[str, typer.Option(help="IB's error text.")] = "Order rejected - reason: rejected on command",
) -> None:
    """Have the next orders rejected as IB would."""
    with _failures():
        ask_paper(_settings(context).home, "reject", count=count, code=code, text=text)
    typer.echo(f"the next {count} orders will be rejected with {code}: {_clean(text)}")


@paper.command("fault")
def paper_fault(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="What happens; `orderfuse paper faults` lists all.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", help="Whom, when, how.")] = None,
) -> None:
    """Play a fault, now or when its moment comes."""
    pairs = [word.partition("=") for word in words or []]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise typer.BadParameter(f"'{key}' is not key=value, such as count=3")
    with _failures():
        texts = {key: value for key, _, value in pairs}
        _print_json(ask_paper(_settings(context).home, "fault", kind=kind, texts=texts)["played"])


@paper.command("faults")
def paper_faults(
    context: typer.Context, kind: Annotated[str | None, typer.Argument(help="Only this one, with its fields.")] = None
) -> None:
    """List the faults that can be played."""
    with _failures():
        faults = ask_paper(_settings(context).home, "faults")["faults"]
        if kind is not None and kind not in faults:
            raise ControlRefused(f"there is no fault {kind}; there are {', '.join(faults)}")
    for name in faults if kind is None else [kind]:
        typer.echo(f"{name:18} {_clean(faults[name]['does'])}")
    for key, what in faults[kind]["fields"].items() if kind is not None else ():
        typer.echo(f"    {key:14} {_clean(what)}")


@paper.command("clear")
def paper_clear(context: typer.Context) -> None:
    """Disarm all faults that still wait."""
    with _failures():
        typer.echo(f"disarmed {ask_paper(_settings(context).home, 'clear')['cleared']}")


@paper.command("follow")
def paper_follow(context: typer.Context) -> None:
    """Print every message that reaches the paper gateway or leaves it, as JSON lines, until ctrl-C."""
    with _failures():
        try:
            for line in follow_paper(_settings(context).home):
                typer.echo(_clean(line))
        except KeyboardInterrupt:
            return
    _fail(NOTHING_ANSWERS, "the paper gateway has ended")


@paper.command("status")
def paper_status(context: typer.Context) -> None:
    """Print what the paper gateway says of itself, as JSON."""
    with _failures():
        _print_json(ask_paper(_settings(context).home, "status"))


# -- asking -----------------------------------------------------------------------------------------------


def _settings(context: typer.Context) -> Settings:
    return load_settings(context.obj)


def _ask(context: typer.Context, op: str, *, timeout_s: float = 1.0, **fields: Any) -> dict[str, Any]:
    with _failures(), ControlClient(_settings(context)) as control:
        return control.request(op, timeout_s=timeout_s, **fields)


@contextmanager
def _failures() -> Iterator[None]:
    """Each way to fail as one line and its exit code."""
    try:
        yield
    except ControlRefused as error:
        _fail(REFUSED, f"refused{f' ({error.code})' if error.code else ''}: {error.reason}")
    except SettingsError as error:
        _fail(USAGE, str(error))
    except (BreakerUnavailable, PaperUnavailable) as error:
        _fail(NOTHING_ANSWERS, str(error))
    except DecodeError as error:
        _fail(REFUSED, f"the message or its reply cannot be read: {error.reason}")


def _fail(code: int, text: str) -> NoReturn:
    typer.echo(f"orderfuse: {_clean(text)}", err=True)
    raise typer.Exit(code)


def _reason(words: str, option: str | None) -> str:
    """The reason as given, or asked for if a person is there."""
    if words and option:
        raise typer.BadParameter("give the reason once, as an argument or with --reason")
    reason = words or option or ""
    if not reason and sys.stdin.isatty():
        reason = typer.prompt("Why")
    if not reason.strip():
        raise typer.BadParameter("a reason is needed: it is journaled for whoever asks later")
    return reason.strip()


def _who() -> str:
    """User, host and process, for the journal."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()} pid {os.getpid()}"[:200]


# -- showing ----------------------------------------------------------------------------------------------


def _console() -> Console:
    # In a pipe rich would cut lines at 80 characters, reasons included.
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)


def _clean(value: Any) -> str:
    """Text for a terminal: what others wrote must not move its cursor."""
    text = "" if value is None else str(value)
    return "".join(character if character.isprintable() else "�" for character in text)


def _cell(value: Any, style: str = "") -> Text:
    # Text, not str: a reason with [brackets] is no markup.
    return Text(_clean(value), style=style)


def _print_json(reply: dict[str, Any]) -> None:
    typer.echo(json.dumps(reply, indent=2, default=repr))


def _print_warning(reply: dict[str, Any]) -> None:
    if reply.get("warning"):
        typer.echo(f"warning: the journal cannot be written: {_clean(reply['warning'])}", err=True)


_COLOURS = {"CLOSED": "green", "OPEN": "bold red", "HALF_OPEN": "yellow"}


def _print_status(reply: dict[str, Any]) -> None:
    table = Table("scope", "state", "latched", "reason", "failures", "retry at", "conditions", "trading")
    for circuit in _maps(reply.get("circuits")):
        state = _clean(circuit.get("state"))
        table.add_row(
            _cell(circuit.get("scope")),
            _cell(state, _COLOURS.get(state, "")),
            "latched" if circuit.get("latched") else "",
            _cell(circuit.get("reason")),
            _cell(circuit.get("failures")),
            _cell(circuit.get("retry_at")),
            _cell(", ".join(map(str, circuit.get("conditions") or []))),
            "allowed" if circuit.get("trading_allowed") else Text("blocked", style="red"),
        )
    console = _console()
    console.print(table)
    for line in _status_lines(reply):
        console.print(Text(line))


def _status_lines(reply: dict[str, Any]) -> Iterator[str]:
    executor, gateway = reply.get("executor") or {}, reply.get("gateway") or {}
    present = f"account {_clean(executor.get('account')) or '?'}" if executor.get("present") else "not there"
    connected = "connected" if gateway.get("connected") else "not connected"
    yield f"executor  {present}"
    yield f"gateway   {connected}, {_clean(gateway.get('host'))}:{_clean(gateway.get('port'))}"
    yield f"orders    {_clean(reply.get('queued'))} queued, {_clean(reply.get('orders_out'))} out"
    unknown = reply.get("unknown") or []
    if unknown:
        yield f"unknown   {_clean(', '.join(map(str, unknown)))}: nobody knows yet whether IB has them"


def _print_trip(scope: str, reply: dict[str, Any]) -> None:
    typer.echo(f"{scope} is OPEN and latched, generation {_clean(reply.get('generation'))}")
    fenced = "confirmed by the executor" if reply.get("fenced") else "NOT confirmed by the executor"
    typer.echo(f"the stop of what was on its way is {fenced}")
    for name, meaning in (("written", "written to IB and not answered"), ("cancelling", "being cancelled")):
        if reply.get(name):
            typer.echo(f"{meaning}: {_clean(', '.join(map(str, reply[name])))}")
    _print_warning(reply)


def _print_orders(reply: dict[str, Any]) -> None:
    table = Table("order", "strategy", "what", "state", "filled", "last event")
    for entry in _maps(reply.get("orders")):
        contract, order = entry.get("contract") or {}, entry.get("order") or {}
        what = [order.get("action"), order.get("totalQuantity"), contract.get("symbol") or contract.get("conId")]
        table.add_row(
            _cell(entry.get("order_id")),
            _cell(entry.get("strategy_id")),
            _cell(" ".join(str(word) for word in what if word is not None)),
            _cell(entry.get("state")),
            _cell(entry.get("filled")),
            _cell((entry.get("last_event") or {}).get("kind")),
        )
    console = _console()
    console.print(table)
    if reply.get("more"):
        console.print(Text("there are more; narrow it down with --strategy or --state"))


def _maps(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _line(topic: str, item: Any) -> str:
    """One event as a line; empty for what is not worth one."""
    match item:
        case Heard():
            return "a breaker is there"
        case Silent():
            return "no breaker is heard; waiting for one"
        case Gap():
            what = "some are lost" if item.missing else "all are here"
            return (
                f"{_clean(topic)} missed events after {item.after_seq}, {item.replayed} read from the journal, {what}"
            )
        case Unreadable():
            return f"{_clean(topic)} unreadable: {_clean(item.reason)}"
    fields = msgspec.to_builtins(item)
    kind, at_ns = fields.pop("kind"), fields.pop("at_ns", 0)
    at = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    said = " ".join(f"{name}={_clean(value)}" for name, value in fields.items() if value not in (None, "", []))
    return f"{at} {_clean(topic)} {kind} {said}"
