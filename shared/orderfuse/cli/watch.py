"""`orderfuse watch`: on a terminal one live page, in a pipe every event as one line."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from orderfuse.bounded import Bounded
from orderfuse.bus.events import Health, OrderEvent, State
from orderfuse.bus.notices import Gap, Heard, Message, Notice, Silent, Unreadable
from orderfuse.bus.words import is_news, state_words, words_of
from orderfuse.cli.asking import quick_status
from orderfuse.cli.show import clean, columns, wrapped
from orderfuse.cli.status import STOPPED, SYSTEM, circuit_lines, headline, todo
from orderfuse.client.control import ControlClient
from orderfuse.client.follower import EVERYTHING
from orderfuse.client.replies import maps
from orderfuse.client.watch import Watcher
from orderfuse.settings import Settings

# The page is drawn anew at most so often; faster than that nobody reads.
DRAW_EVERY_S = 0.25
# What is not published (unknown orders by name, drift, the gateway's detail) is asked for so often.
STATUS_EVERY_S = 1.0
# Events kept to be shown: more than any terminal has lines.
MAX_EVENTS = 200
# As many strategies as may have a circuit at once. What further ones do is counted under one name.
MAX_STRATEGIES = 1000
COUNTED = ("passed", "blocked", "filled", "rejected", "cancelled", "expired", "invalid", "unknown", "not_placed")


def watch_events(settings: Settings) -> None:
    """Show what happens until ctrl-C.

    Raises:
        SettingsError: an endpoint cannot be used.
    """
    screen = Console(highlight=False)
    live = screen.is_terminal and not screen.is_dumb_terminal
    # Health says the same every second: as lines that is noise, and `status` shows it.
    try:
        with Watcher(settings, EVERYTHING if live else ("order/", "state/")) as watcher:
            if live:
                with ControlClient(settings) as control:
                    _draw(watcher, control, screen)
            else:
                for topic, item in watcher:
                    typer.echo(line_of(topic, item))
    except KeyboardInterrupt:
        return


def _draw(watcher: Watcher, control: ControlClient, screen: Console) -> None:
    page, asked = Page(), time.monotonic()
    with Live(console=screen, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(Text("\n").join(page.lines(datetime.now(UTC), screen.width, screen.height)), refresh=True)
            drawn = time.monotonic()
            while (left_s := drawn + DRAW_EVERY_S - time.monotonic()) > 0:
                for topic, item in watcher.read(left_s):
                    page.take(topic, item)
            if page.heard and time.monotonic() - asked >= STATUS_EVERY_S:
                page.take_status(quick_status(control))
                asked = time.monotonic()


class Page:
    """What the live page shows: how everything stands, what was counted since its start, the last events."""

    def __init__(self) -> None:
        # None until it is known whether a breaker is there.
        self.heard: bool | None = None
        # The last status, its circuits kept up to date by what is published since: the one heard of last at the end,
        # and of too many the one goes that was quiet longest.
        self._status: dict[str, Any] = {}
        self._circuits: Bounded[str, dict[str, Any]] = Bounded()
        # What was last heard of each circuit.
        self._states: Bounded[str, State] = Bounded()
        self._health: Health | None = None
        self._counts: dict[str, Counter[str]] = {}
        self._events: deque[str] = deque(maxlen=MAX_EVENTS)

    def take(self, topic: str, item: Message | Notice) -> None:
        """Take in one item of the watcher."""
        match item:
            case Heard():
                self.heard = True
                self.take_status(item.status or {})
            case Silent():
                self.heard = False
            case State():
                self._take_state(item)
            case Health():
                self._health = item
            case OrderEvent():
                self._count(item)
            case Gap() | Unreadable():
                pass  # Nothing but a line among the events.
        if not isinstance(item, State | Health):
            self._events.append(_short_line(topic, item))

    def take_status(self, status: dict[str, Any]) -> None:
        """Take in a status; an empty one, which is none, changes nothing."""
        if status:
            self._status = status
            self._circuits = Bounded()
            for circuit in maps(status.get("circuits")):
                self._circuits[str(circuit.get("scope"))] = circuit

    def lines(self, now: datetime, width: int, height: int) -> list[Text]:
        """The page as lines that fit: what must not be missed first, then as many events as there is room for."""
        top = [part for line in self._top(now) for part in wrapped(line, width)]
        room = max(0, height - len(top) - 1)
        events: list[Text] = []
        for event in reversed(self._events):
            parts = wrapped(event, width)
            if len(events) + len(parts) > room:
                break
            events = parts + events
        return [*top, Text(), *events][:height]

    def _top(self, now: datetime) -> Iterator[str | Text]:
        if not self.heard:
            waits = "no breaker is heard; waiting for one" if self.heard is False else "waiting for a breaker"
            yield Text(f"NOBODY ANSWERS: {waits}", STOPPED)
            if not self._circuits:
                return
            yield "what follows is the last that was heard:"
        # In an order of their own: they must not change places with each event.
        circuits = [circuit for _, circuit in sorted(self._circuits.items(), key=_system_first)]
        reply = {**self._status, "circuits": circuits}
        yield headline(reply) if self.heard else ""
        yield from todo(reply, now)
        yield ""
        if self._health:
            yield clean(words_of(self._health).sentence)
        yield ""
        yield from circuit_lines(circuits)
        yield ""
        yield from self._strategies()

    def _strategies(self) -> Iterator[str]:
        queued = self._health.queued if self._health else {}
        rows = [
            (
                strategy,
                f"{clean(queued.get(strategy, 0))} queued",
                ", ".join(f"{count} {kind}" for kind, count in sorted(self._counts.get(strategy, Counter()).items())),
            )
            for strategy in sorted({*queued, *self._counts})
        ]
        if rows:
            yield from columns([("since the start", "", ""), *rows])

    def _take_state(self, state: State) -> None:
        self._circuits[state.scope] = msgspec.to_builtins(state)
        before = self._states.get(state.scope)
        self._states[state.scope] = state
        # The first that is heard of a circuit is no news: it stands above.
        if before is not None and is_news(state, before):
            self._events.append(f"{_clock(state.at_ns)}  {clean(state_words(state, before).sentence)}")

    def _count(self, event: OrderEvent) -> None:
        kind = str(msgspec.to_builtins(event)["kind"])
        if kind not in COUNTED or event.again:
            return
        known = event.strategy_id in self._counts or len(self._counts) < MAX_STRATEGIES
        self._counts.setdefault(event.strategy_id if known else "others", Counter())[kind] += 1


def _system_first(circuit: tuple[str, Any]) -> tuple[bool, str]:
    return circuit[0] != SYSTEM, circuit[0]


def line_of(topic: str, item: Any) -> str:
    """One event as a line that says all of it."""
    if not isinstance(item, OrderEvent | State):
        return notice(topic, item)
    fields = msgspec.to_builtins(item)
    kind, at_ns = fields.pop("kind"), fields.pop("at_ns", 0)
    at = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    said = " ".join(f"{name}={clean(value)}" for name, value in fields.items() if value not in (None, "", []))
    return f"{at} {clean(topic)} {kind} {said}"


def notice(topic: str, item: Message | Notice) -> str:
    """What is to be said of the watching itself."""
    said = clean(words_of(item).sentence)
    return f"{clean(topic)} {said}" if isinstance(item, Gap | Unreadable) else said


def _short_line(topic: str, item: Message | Notice) -> str:
    if not isinstance(item, OrderEvent):
        return f"{datetime.now(UTC):%H:%M:%S}  {notice(topic, item)}"
    return f"{_clock(item.at_ns)}  {item.strategy_id} {item.order_id} {clean(words_of(item).sentence)}"


def _clock(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9, UTC):%H:%M:%S}"
