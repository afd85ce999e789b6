"""How everything stands, for a person who has just been woken: may orders pass, why not, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from orderfuse.cli.show import COLOURS, at_time, clean, columns, counted, names, number, since, size, some, until
from orderfuse.client.replies import a_list, a_map, maps
from orderfuse.ibfields.names import contract_name, order_name

SYSTEM = "system"
# Less than this on the disk of the home is told: a busy day's journals are smaller, and a night's log may not be.
LITTLE_ROOM = 1_000_000_000
ALLOWED, PARTLY, STOPPED = "bold green", "bold yellow", "bold red"

# What ends a condition that the breaker itself sees. All others end when their reporter says so.
REMEDIES = {
    "broker_disconnected": "is TWS or IB Gateway running and logged in at {gateway}? It ends by itself",
    "broker_silent": "TWS or IB Gateway at {gateway} is connected but does not answer: look at it, or restart it",
    "executor_silent": "start the executor (make run, or its unit), or look into its log. It ends by itself",
    "foreign_orders": "end what trades this account beside orderfuse, or let it be: orderfuse foreign accept",
    "journal_failed": "make room on the disk of the home, or look into the breaker's log. It ends by itself",
}


def status_lines(reply: dict[str, Any], now: datetime) -> Iterator[str | Text]:
    """The whole page: the headline, what to do, then the facts."""
    yield headline(reply)
    yield from todo(reply, now)
    yield ""
    circuits = _circuits(reply)
    for circuit, line in zip(circuits, circuit_lines(circuits), strict=True):
        yield line
        yield from _failure_lines(circuit, now)
    yield ""
    yield from columns((name, fact) for name, fact in _facts(reply))


def headline(reply: dict[str, Any]) -> Text:
    """May orders pass? In one line."""
    circuits, system = _circuits(reply), system_of(reply)
    if not system:
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
    for circuit in _circuits(reply):
        yield from circuit_todo(circuit, now)
        yield from _conditions_todo(circuit, a_map(reply.get("gateway")))
    yield from _orders_todo(reply, now)
    yield from _account_todo(reply)
    free = reply.get("disk_free")
    if isinstance(free, int) and free < LITTLE_ROOM:
        yield Text(f"  {size(free)} are free on the disk of the home", "yellow")
        yield "    -> make room: on a full disk no order passes"


def _conditions_todo(circuit: dict[str, Any], gateway: dict[str, Any]) -> Iterator[str]:
    """How each condition of a circuit ends."""
    place = f"{clean(gateway.get('host')) or '?'}:{clean(gateway.get('port')) or '?'}"
    scope = clean(circuit.get("scope"))
    for name in map(clean, a_list(circuit.get("conditions"))):
        option = "" if scope == SYSTEM else f" --scope {scope}"
        ends = f'when it is over: orderfuse report condition {name} --over --reason "..."{option}'
        detail, remedy = _what_and_remedy(gateway) if name.startswith("broker_") else ("", "")
        yield f"  {scope}: {name} holds{f' ({detail})' if detail else ''}"
        # What the executor knows is better advice than what mostly helps.
        yield f"    -> {remedy or REMEDIES.get(name, ends).format(gateway=place)}"


def _what_and_remedy(gateway: dict[str, Any]) -> tuple[str, str]:
    """What is wrong with the gateway, and what to do about it where the executor says so."""
    detail, remedy = clean(gateway.get("detail")), clean(gateway.get("remedy"))
    if not remedy or not detail.endswith(f"; {remedy}"):
        return detail, ""
    return detail.removesuffix(f"; {remedy}"), f"{remedy}{'' if remedy.endswith('?') else '.'} It ends by itself then"


def _orders_todo(reply: dict[str, Any], now: datetime) -> Iterator[str | Text]:
    """Orders that nobody knows the state or the owner of, and a global cancel that is not done."""
    unknown = a_list(reply.get("unknown"))
    if unknown:
        yield Text(f"  {len(unknown)} unknown: {names(unknown)}; nobody knows whether IB has them", "bold magenta")
        for order_id, reason in a_map(reply.get("unknown_because")).items():
            yield f"    {clean(order_id)}: {clean(reason) or 'no reason is known'}"
        ends = "--as not_placed, cancelled or filled"
        yield f"    -> look them up in TWS, then say how each ended: orderfuse resolve {clean(unknown[0])} {ends}"
    adopted = a_list(reply.get("adopted"))
    if adopted:
        yield Text(f"  {len(adopted)} adopted: {names(adopted)}; at IB as ours, and no journal knows whose", "yellow")
        yield "    -> look at them in TWS, and cancel there what should not be"
    for each in maps(reply.get("owed")):
        yield from _owed_todo(each, now)


def _account_todo(reply: dict[str, Any]) -> Iterator[str | Text]:
    """What was not done through this pipeline."""
    drift, foreign = maps(reply.get("drift")), maps(reply.get("foreign"))
    for each in drift:
        yield Text(f"  drift: {drift_words(each)}", "yellow")
    if drift:
        yield "    -> somebody else traded, or a fill is missing: compare with TWS. Is it as it should be?"
        yield "       orderfuse drift accept"
    for each in foreign:
        yield Text(f"  not ours: {clean(order_name(each))}", "yellow")
    if foreign:
        yield "    -> somebody trades this account beside orderfuse: end that, or let it be: orderfuse foreign accept"


def drift_words(each: dict[str, Any]) -> str:
    """What IB holds of a contract, and what our fills make of it."""
    held, expected = number(each.get("actual")), number(each.get("expected"))
    return f"IB holds {held} {clean(contract_name(each))}, our fills make {expected}"


# The list of IB's that says it, and the key of `gateway` that says when that came last.
_LISTS = {"drift": ("positions", "drift_at_ns"), "foreign": ("open orders", "foreign_at_ns")}


def not_known(reply: dict[str, Any], key: str) -> str:
    """Why nobody knows whether there is drift, or a foreign order, beside what is told; empty where it is known."""
    gateway, (listed, at) = a_map(reply.get("gateway")), _LISTS[key]
    if key not in reply or at not in gateway:
        return "not told by this breaker"
    if not a_map(reply.get("executor")).get("present"):
        return "not known: no executor is there"
    if key == "foreign" and gateway.get("foreign_ignored"):
        return "nobody looks: executor.foreign_orders is ignore"
    if not gateway.get(at):
        return f"not known: the executor has had no complete list of IB's {listed} yet"
    return ""


def as_of(reply: dict[str, Any], key: str) -> str:
    """When IB had last listed what there is."""
    at = at_time(a_map(reply.get("gateway")).get(_LISTS[key][1]))
    return f"as of IB's list of {at:%H:%M:%S} UTC" if at else "as of a list of IB's"


def _beside(reply: dict[str, Any], key: str, thing: str) -> str:
    found, unknown = maps(reply.get(key)), not_known(reply, key)
    if found:
        return f"{counted(len(found), thing)}{f' when it was told last; {unknown}' if unknown else ''}"
    return unknown or f"none, {as_of(reply, key)}"


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
    held = a_list(circuit.get("conditions"))
    yield f"  {scope} is {state}{latched}{opened}{reason}"
    reset = "orderfuse reset" if scope == SYSTEM else f"orderfuse reset --scope {scope}"
    if circuit.get("latched"):
        yield f"    -> find the cause, then: {reset}"
    elif state == "HALF_OPEN":
        yield f"    -> it closes when its trial orders succeed, and opens again when one fails; or: {reset}"
    elif circuit.get("retry_at"):
        yield f"    -> tries again at {until(circuit['retry_at'], now)}; sooner with: {reset}"
    elif held:
        yield f"    -> it tries again only after {some(held, 'is over', 'are over')}"
    else:
        yield f"    -> {reset}"


def circuit_lines(circuits: list[dict[str, Any]]) -> Iterator[Text]:
    """Each circuit in a line, coloured by what it lets pass."""
    for circuit, line in zip(circuits, columns(map(_circuit_row, circuits)), strict=True):
        colour = COLOURS.get(str(circuit.get("state")), "")
        yield Text(line, colour if passes(circuit) else COLOURS["OPEN"])


def _failure_lines(circuit: dict[str, Any], now: datetime) -> Iterator[str]:
    """What failed in a circuit that is not as it should be, the latest first; for the system, also whose it was."""
    if circuit.get("state") == "CLOSED" and not circuit.get("failures"):
        return
    sources = {clean(scope): count for scope, count in a_map(circuit.get("failures_by")).items()}
    if sources:
        told = [f"{number(count)} of {scope}" for scope, count in sorted(sources.items(), key=_most_first)]
        yield f"    counted: {names(told)}"
    for each in maps(circuit.get("last_failures")):
        words = [clean(each[key]) for key in ("code", "text") if each.get(key) not in (None, "")]
        last = f"last {clean(each['order_id'])}, " if each.get("order_id") else ""
        yield f"    {' '.join(words)} x{number(each.get('count'))}, {last}{since(each.get('at'), now)}"


def _most_first(source: tuple[str, Any]) -> tuple[Any, str]:
    scope, count = source
    return (-count if isinstance(count, int) else 0, scope)


def _circuits(reply: dict[str, Any]) -> list[dict[str, Any]]:
    return maps(reply.get("circuits"))


def system_of(reply: dict[str, Any]) -> dict[str, Any]:
    """The circuit of the system; empty if the reply names none."""
    return next((circuit for circuit in _circuits(reply) if circuit.get("scope") == SYSTEM), {})


def _why(system: dict[str, Any]) -> str:
    held = a_list(system.get("conditions"))
    holds = some(held, "holds", "hold")
    state = f"system is {clean(system.get('state')) or '?'}{', latched' if system.get('latched') else ''}"
    if system.get("state") == "CLOSED" and held:
        return holds
    return f"{state}{f'; {holds}' if held else ''}"


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
    unknown = a_list(reply.get("unknown"))
    yield "executor", "there" if executor.get("present") else "NOT THERE"
    yield "gateway", f"{connected}, {clean(gateway.get('host')) or '?'}:{clean(gateway.get('port')) or '?'}{detail}"
    yield "account", clean(executor.get("account")) or "not known yet"
    yield "orders", f"{clean(reply.get('queued'))} queued, {clean(reply.get('orders_out'))} out (in the window)"
    yield "unknown", names(unknown) or "none"
    yield "drift", _beside(reply, "drift", "contract")
    yield "foreign", _beside(reply, "foreign", "order")
    journals = a_map(reply.get("journals"))
    if journals:
        yield "journals", ", ".join(f"{clean(name)} {size(taken)}" for name, taken in sorted(journals.items()))
    yield "breaker", clean(reply.get("version")) or "of an older version"
