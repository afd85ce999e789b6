"""How everything stands, for a person who has just been woken: may orders pass, why not, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from orderfuse.replies import a_list, a_map, maps
from orderfuse.show import COLOURS, at_time, clean, columns, counted, names, number, since, until

SYSTEM = "system"
ALLOWED, PARTLY, STOPPED = "bold green", "bold yellow", "bold red"

# What ends a condition that the breaker itself sees. All others end when their reporter says so.
REMEDIES = {
    "broker_disconnected": "is TWS or IB Gateway running and logged in at {gateway}? It ends by itself",
    "broker_silent": "TWS or IB Gateway at {gateway} is connected but does not answer: look at it, or restart it",
    "executor_silent": "start the executor (make run, or its unit), or look into its log. It ends by itself",
    "journal_failed": "make room on the disk of the home, or look into the breaker's log. It ends by itself",
}


def status_lines(reply: dict[str, Any], now: datetime) -> Iterator[str | Text]:
    """The whole page: the verdict, what to do, then the facts."""
    yield verdict(reply)
    yield from todo(reply, now)
    yield ""
    yield from circuit_lines(_circuits(reply))
    yield ""
    yield from columns((name, fact) for name, fact in _facts(reply))


def verdict(reply: dict[str, Any]) -> Text:
    """May orders pass? In one line."""
    circuits = _circuits(reply)
    system = next((circuit for circuit in circuits if circuit.get("scope") == SYSTEM), None)
    if system is None:
        return Text("NOBODY KNOWS WHETHER ORDERS PASS: the reply names no circuit of the system", STOPPED)
    stopped = [str(circuit.get("scope")) for circuit in circuits if not passes(circuit)]
    if SYSTEM in stopped:
        return Text(f"NO ORDER PASSES: {_why(system)}", STOPPED)
    if system.get("state") == "HALF_OPEN":
        return Text("ONLY TRIAL ORDERS PASS: system is HALF_OPEN", PARTLY)
    if stopped:
        return Text(f"ORDERS PASS, but not those of {names(stopped)}", PARTLY)
    return Text("ORDERS PASS", ALLOWED)


def passes(circuit: dict[str, Any]) -> bool:
    """Whether the next order would pass; worked out where an older breaker does not say so."""
    told = circuit.get("trading_allowed")
    if isinstance(told, bool):
        return told
    return circuit.get("state") in ("CLOSED", "HALF_OPEN") and not circuit.get("conditions")


def todo(reply: dict[str, Any], now: datetime) -> Iterator[str | Text]:
    """Whatever is not as it should be, each with what to do about it."""
    gateway = a_map(reply.get("gateway"))
    place = f"{clean(gateway.get('host')) or '?'}:{clean(gateway.get('port')) or '?'}"
    for circuit in _circuits(reply):
        yield from circuit_todo(circuit, now)
        scope = clean(circuit.get("scope"))
        for name in map(clean, a_list(circuit.get("conditions"))):
            option = "" if scope == SYSTEM else f" --scope {scope}"
            ends = f'when it is over: orderfuse report condition {name} --over --reason "..."{option}'
            detail = clean(gateway.get("detail")) if name.startswith("broker_") else ""
            yield f"  {scope}: {name} holds{f' ({detail})' if detail else ''}"
            yield f"    -> {REMEDIES.get(name, ends).format(gateway=place)}"
    unknown = a_list(reply.get("unknown"))
    if unknown:
        yield Text(f"  {len(unknown)} unknown: {names(unknown)}; nobody knows whether IB has them", "bold magenta")
        ends = "--as not_placed, cancelled or filled"
        yield f"    -> look them up in TWS, then say how each ended: orderfuse resolve {clean(unknown[0])} {ends}"
    adopted = a_list(reply.get("adopted"))
    if adopted:
        yield Text(f"  {len(adopted)} adopted: {names(adopted)}; at IB as ours, and no journal knows whose", "yellow")
        yield "    -> look at them in TWS, and cancel there what should not be"
    for each in maps(reply.get("owed")):
        yield from _owed_todo(each, now)
    for each in maps(reply.get("drift")):
        held, expected = number(each.get("actual")), number(each.get("expected"))
        yield Text(f"  drift: IB holds {held} {clean(each.get('symbol'))}, our fills make {expected}", "yellow")
        yield "    -> somebody else traded it, or a fill is missing: compare with TWS"


def _owed_todo(owed: dict[str, Any], now: datetime) -> Iterator[str | Text]:
    """How a global cancel stands, unless it is done."""
    standing = clean(owed.get("standing"))
    asked = at_time(owed.get("since_ns"))
    when = f", asked for {since(asked, now)}" if asked else ""
    if standing == "owed":
        yield Text(f"  the cancel of every order of the account is owed{when}: IB still lists some of them", "yellow")
        yield "    -> it goes again by itself, for 10 minutes; or cancel in TWS"
    elif standing == "given_up":
        yield Text(f"  the cancel of every order of the account was given up after 10 minutes{when}", "bold yellow")
        yield "    -> IB listed some of them still: look into TWS, and cancel there"


def circuit_todo(circuit: dict[str, Any], now: datetime) -> Iterator[str | Text]:
    """Why a circuit is not CLOSED, since when, and how that ends."""
    scope, state = clean(circuit.get("scope")), clean(circuit.get("state"))
    if state == "CLOSED":
        return
    opened = f", opened {since(circuit['opened_at'], now)}" if circuit.get("opened_at") else ""
    latched = " and latched" if circuit.get("latched") else ""
    reason = f": {clean(circuit['reason'])}" if circuit.get("reason") else ""
    held = names(a_list(circuit.get("conditions")))
    yield f"  {scope} is {state}{latched}{opened}{reason}"
    reset = "orderfuse reset" if scope == SYSTEM else f"orderfuse reset --scope {scope}"
    if circuit.get("latched"):
        yield f"    -> find the cause, then: {reset}"
    elif state == "HALF_OPEN":
        yield f"    -> it closes when its trial orders succeed, and opens again when one fails; or: {reset}"
    elif circuit.get("retry_at"):
        yield f"    -> tries again at {until(circuit['retry_at'], now)}; sooner with: {reset}"
    elif held:
        yield f"    -> it tries again only after {held} is over"
    else:
        yield f"    -> {reset}"


def circuit_lines(circuits: list[dict[str, Any]]) -> Iterator[Text]:
    """Each circuit in a line, coloured by what it lets pass."""
    for circuit, line in zip(circuits, columns(map(_circuit_row, circuits)), strict=True):
        colour = COLOURS.get(str(circuit.get("state")), "")
        yield Text(line, colour if passes(circuit) else COLOURS["OPEN"])


def _circuits(reply: dict[str, Any]) -> list[dict[str, Any]]:
    return maps(reply.get("circuits"))


def _why(system: dict[str, Any]) -> str:
    held = names(a_list(system.get("conditions")))
    state = f"system is {clean(system.get('state')) or '?'}{', latched' if system.get('latched') else ''}"
    if system.get("state") == "CLOSED" and held:
        return f"{held} holds"
    return f"{state}{f'; {held} holds' if held else ''}"


def _circuit_row(circuit: dict[str, Any]) -> tuple[str, str, str]:
    failures = circuit.get("failures")
    flags = [
        ("trial orders pass" if circuit.get("state") == "HALF_OPEN" else "orders pass")
        if passes(circuit)
        else "blocked",
        "latched" if circuit.get("latched") else "",
        f"{counted(failures, 'failure')} in the window" if failures and isinstance(failures, int) else "",
        f"{clean(circuit['half_open_tries'])} trial orders" if circuit.get("half_open_tries") else "",
        names(a_list(circuit.get("conditions"))),
    ]
    return clean(circuit.get("scope")), clean(circuit.get("state")), ", ".join(flag for flag in flags if flag)


def _facts(reply: dict[str, Any]) -> Iterator[tuple[str, str]]:
    executor, gateway = a_map(reply.get("executor")), a_map(reply.get("gateway"))
    detail = f" ({clean(gateway['detail'])})" if gateway.get("detail") else ""
    connected = "connected" if gateway.get("connected") else "NOT CONNECTED"
    unknown, drift = a_list(reply.get("unknown")), maps(reply.get("drift"))
    yield "executor", "there" if executor.get("present") else "NOT THERE"
    yield "gateway", f"{connected}, {clean(gateway.get('host')) or '?'}:{clean(gateway.get('port')) or '?'}{detail}"
    yield "account", clean(executor.get("account")) or "not known yet"
    yield "orders", f"{clean(reply.get('queued'))} queued, {clean(reply.get('orders_out'))} out (in the window)"
    yield "unknown", names(unknown) or "none"
    yield (
        "drift",
        counted(len(drift), "contract") if drift else "none" if "drift" in reply else "not told by this breaker",
    )
    yield "breaker", clean(reply.get("version")) or "of an older version"
