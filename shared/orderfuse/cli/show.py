"""How things are shown: lines that wrap and never lose a word, on a terminal of any width or in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.text import Text

from orderfuse.bus import words
from orderfuse.bus.codec import DecodeError, convert
from orderfuse.bus.events import AnyOrderEvent
from orderfuse.client.replies import a_map
from orderfuse.text import plain_number, printable

# Ids in one line; the rest is counted. A trip can name hundreds.
MAX_NAMES = 20
COLOURS = {"CLOSED": "green", "OPEN": "bold red", "HALF_OPEN": "yellow"}
# Narrower than this nothing can be read, whatever is done.
MIN_WIDTH = 20


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        # What is done about it is decided in one place for all output.
        raise BrokenPipeError


def say(*lines: str | Text) -> None:
    """Print lines: on a terminal wrapped to its width, in a pipe as they are."""
    screen = _Screen(highlight=False, markup=False, emoji=False)
    width = screen.width if screen.is_terminal else 0
    for line in lines:
        for part in wrapped(line, width) if width else (line,):
            screen.print(part, soft_wrap=True)


def say_json(reply: Any) -> None:
    """Print a map as JSON."""
    typer.echo(json.dumps(reply, indent=2, default=repr))


def say_warning(reply: Mapping[str, Any]) -> None:
    """Print the warning that a reply carries, if it does."""
    if reply.get("warning"):
        warn(reply["warning"])


def warn(text: Any) -> None:
    """Print a warning."""
    say_aside(f"warning: {clean(text)}")


def say_aside(line: str) -> None:
    """Print a line on stderr if that can be written to; the exit code says what matters most either way."""
    try:
        typer.echo(line, err=True)
    except OSError:
        discard(sys.stderr)


def discard(stream: TextIO) -> None:
    """Drop what `stream` still holds: Python writes it once more at its end, and that must not fail again."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def wrapped(line: str | Text, width: int) -> list[Text]:
    """A line as lines of at most `width` characters; those after the first are indented."""
    text, style = (line.plain, line.style) if isinstance(line, Text) else (line, "")
    width = max(width, MIN_WIDTH)
    indent = " " * min(len(text) - len(text.lstrip()) + 4, width // 2)
    parts = textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)
    return [Text(part, style=style) for part in parts] or [Text()]


def columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows as lines with aligned columns; the last column is as long as it likes."""
    rows = list(rows)
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        *cells, last = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join([*cells, last.rstrip()]).rstrip()


# -- words ------------------------------------------------------------------------------------------------


def clean(value: Any) -> str:
    """Text for a terminal: what others wrote must not move its cursor."""
    return printable("" if value is None else str(value))


def names(ids: Iterable[Any]) -> str:
    """Ids in one line, the first of them if there are many."""
    cleaned = [clean(each) for each in ids]
    more = f" and {len(cleaned) - MAX_NAMES} more" if len(cleaned) > MAX_NAMES else ""
    return ", ".join(cleaned[:MAX_NAMES]) + more


def number(value: Any) -> str:
    """A quantity or price without the zeros that floats bring along."""
    return plain_number(value) if isinstance(value, int | float) else clean(value)


def size(value: Any) -> str:
    """Bytes as kB, MB or GB."""
    if not isinstance(value, int | float):
        return clean(value)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def counted(count: int, thing: str) -> str:
    """`1 queued order`, `2 queued orders`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def some(ids: Collection[Any], one: str, many: str) -> str:
    """Ids with the verb that goes with as many: `feed_stale holds`, `feed_stale, margin_low hold`."""
    return f"{names(ids)} {one if len(ids) == 1 else many}"


def event_words(event: Mapping[str, Any]) -> str:
    """What an event of an order says. An event of another version is shown too, in fewer words."""
    try:
        return clean(words.order_words(convert(dict(event), AnyOrderEvent)).sentence)
    except DecodeError:
        kind, code = clean(event.get("kind")), event.get("code") or event.get("ib_code")
        said = f"{kind} ({clean(code)})" if code else kind
        if event.get("again"):
            said += " (told again)"
        return f"{said}: {clean(event['reason'])}" if event.get("reason") else said


def order_words(entry: Mapping[str, Any]) -> str:
    """What an order wants: `BUY 10 AAPL LMT at 190.5`."""
    contract, order = a_map(entry.get("contract")), a_map(entry.get("order"))
    what = [order.get("action"), number(order.get("totalQuantity")), contract.get("symbol") or contract.get("conId")]
    said = [*what, contract.get("secType") if contract.get("secType") != "STK" else None, order.get("orderType")]
    prices = [(" at ", order.get("lmtPrice")), (" stop ", order.get("auxPrice"))]
    return " ".join(clean(word) for word in said if word) + "".join(
        f"{before}{number(price)}" for before, price in prices if price is not None
    )


# -- times ------------------------------------------------------------------------------------------------


def since(moment: Any, now: datetime) -> str:
    """`2025-01-06 14:35:00 UTC (2 min 3 s ago)`; without the age where a clock was set back, or differs."""
    at = _moment(moment)
    if at is None:
        return clean(moment)
    passed = (now - at).total_seconds()
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" + (f" ({span(passed)} ago)" if passed >= 0 else "")


def until(moment: Any, now: datetime) -> str:
    """`2025-01-06 14:35:00 UTC (in 4 min 12 s)`, or that it is due."""
    at = _moment(moment)
    if at is None:
        return clean(moment)
    left = (at - now).total_seconds()
    return f"{at:%Y-%m-%d %H:%M:%S} UTC ({f'in {span(left)}' if left > 0 else 'due now'})"


def at_time(at_ns: Any) -> datetime | None:
    """The wall clock time of an event, None if it says none that exists."""
    try:
        return datetime.fromtimestamp(at_ns / 1e9, UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None


def span(seconds: float) -> str:
    """`4 min 12 s`: the two largest units of a duration."""
    whole = int(seconds)
    for size, unit, smaller, smaller_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {smaller_unit}" if rest else "")
    return f"{whole} s"


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        at = datetime.fromisoformat(value)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def stdin_is_a_person() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
