"""What is said on `events`: numbered per topic, with the state of each circuit as it was last told. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from orderfuse.bus.events import Health, OrderEvent, State
from orderfuse.circuit import TradingCircuitBreaker
from services.breaker.batch import Batch, Numbering, Publication
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM, Scopes
from services.breaker.present import Present

# Topics that are numbered: two for each strategy that may have a place (1000 by setting), and those of strategies of
# which something is heard now and then. The one of which nothing was heard for the longest time goes.
MAX_TOPICS = 10_000
# Numbers that are told and not kept would be used again after a crash, were they not reserved, so many at a time. Not
# beyond the clock in milliseconds, by which a new journal begins after one that was lost: only so few, which is less
# than a start takes.
RESERVE = 10_000
RESERVE_AHEAD = 100
HEALTH_TOPIC = "health/"
# How often a state is told again. That of the system is the breaker's sign of life; those of strategies, of which there
# may be a thousand, are news for who has just come, and only where something is wrong it is urgent.
REPEAT_NS = SECOND_NS // 2
QUIET_REPEAT_NS = 10 * SECOND_NS
# So many in one tick. Two thousand circuits that are OPEN are all told twice a second.
MAX_REPEATS_AT_ONCE = 50


def order_topic(strategy_id: str) -> str:
    """The topic of everything that becomes of a strategy's orders; `order//` where no strategy could be read."""
    return f"order/{strategy_id}/"


def state_topic(scope: str) -> str:
    """The topic of one circuit's state."""
    return f"state/{scope}/"


@dataclass(slots=True)
class Publisher:
    """Numbers events, and keeps what was told until `save` puts it into the batch.

    Only what is kept, or told of an order that has passed, begins a topic. Whatever else is answered where there is
    none has the next number of all those that have no topic, and is not kept: so nonsense leaves nothing behind, and no
    topic ever counts back, since a new one begins above all of these numbers.
    """

    present: Present
    scopes: Scopes
    topics: OrderedDict[str, Numbering] = field(default_factory=OrderedDict)
    # No topic that is not among these has a higher number.
    floor: int = 0
    # What the journal is to be told: topics that were given up, and numbers that may be told before it hears more.
    given_up: list[str] = field(default_factory=list)
    reserved: dict[str, int] = field(default_factory=dict)
    reserved_floor: int = 0
    _saved_floor: int = 0
    _said: list[Publication] = field(default_factory=list)
    _told: dict[str, State] = field(default_factory=dict)

    def jump(self, to: int) -> None:
        """Number on from here at least: a journal that was lost had come further."""
        self.floor = max(self.floor, to)
        for numbering in self.topics.values():
            numbering.seq = max(numbering.seq, to)
            numbering.kept = max(numbering.kept, to)

    def order_event(self, event: OrderEvent, *, known: bool = False, keep: bool = True) -> dict[str, Any]:
        """Number, stamp and publish an event about an order; returns the map that was published.

        Args:
            event: what to tell.
            known: it is about an order that has passed, whether its strategy has a place or not.
            keep: it can be asked for again.
        """
        fields: dict[str, Any] = msgspec.to_builtins(event)
        self._publish(event.strategy_id, fields, known=known, keep=keep)
        return fields

    def event_again(self, strategy_id: str, earlier: Mapping[str, Any], *, known: bool) -> None:
        """Publish an earlier event of an order once more, marked so. If it is kept, then as it was told first."""
        self._publish(strategy_id, {**earlier, "again": True}, known=known, keep=False)

    def save(self, batch: Batch) -> None:
        """Put into a batch what was told, and what the journal has to know, so that no number is ever used twice."""
        batch.publications, self._said = self._said, []
        batch.reserved, self.reserved = self.reserved, {}
        batch.topics_given_up, self.given_up = self.given_up, []
        if batch.ends:
            batch.topics, batch.floor = dict(self.topics), self.floor
        elif max(self.floor, self.reserved_floor) > self._saved_floor:
            batch.floor = self._saved_floor = max(self.floor, self.reserved_floor)

    def _publish(self, strategy_id: str, fields: dict[str, Any], *, known: bool, keep: bool) -> None:
        fields["at_ns"] = self.present.wall_ns()
        self._said.append(self._numbered(order_topic(strategy_id), fields, begin=known or keep, keep=keep))

    def tell_state(self, scope: str, circuit: TradingCircuitBreaker, *, fenced: bool, system_allows: bool) -> bool:
        """Publish the state of a circuit if it changed; returns whether it did."""
        allowed = circuit.is_trading_allowed()[0] and (scope == SYSTEM or system_allows)
        state = state_of(scope, circuit, fenced=fenced, trading_allowed=allowed)
        told = self._told.get(scope)
        if told is not None and _same(told, state):
            return False
        fields = msgspec.to_builtins(msgspec.structs.replace(state, at_ns=self.present.wall_ns()))
        keep = self.scopes.is_kept(scope)
        news = self._numbered(state_topic(scope), fields, begin=keep, keep=keep)
        self._told[scope] = msgspec.structs.replace(state, at_ns=news.fields["at_ns"], seq=news.seq)
        self._said.append(news)
        return True

    def repeat_state(self, scope: str) -> None:
        """Publish the state of a circuit once more as it was told last, under the same seq."""
        told = self._told[scope]
        again = msgspec.structs.replace(told, at_ns=self.present.wall_ns(), repeat=True)
        self._said.append(Publication(state_topic(scope), msgspec.to_builtins(again), told.seq, journaled=False))

    def repeat_after_ns(self, scope: str) -> int:
        """How long after it was told a state is told again."""
        told = self._told[scope]
        quiet = scope != SYSTEM and told.state == "CLOSED" and not told.conditions
        return QUIET_REPEAT_NS if quiet else REPEAT_NS

    def forget(self, scope: str) -> None:
        """The circuit is no more; its numbering goes on should it come back."""
        self._told.pop(scope, None)

    def health(self, health: Health) -> None:
        """Publish how the pipeline is."""
        self._said.append(Publication(HEALTH_TOPIC, msgspec.to_builtins(health), journaled=False))

    def _numbered(self, topic: str, fields: dict[str, Any], *, begin: bool, keep: bool) -> Publication:
        """Give an event the next number of its topic, which this one may `begin`."""
        numbering = self.topics.get(topic)
        if numbering is None and not begin:
            self.floor += 1
            if self.floor > self.reserved_floor:
                self.reserved_floor = self._reserve(self.floor)
            fields["seq"] = self.floor
            return Publication(topic, fields, self.floor, journaled=False)
        if numbering is None:
            self._make_room()
            # Nothing of before is kept, so that nobody misses it.
            numbering = self.topics[topic] = Numbering(self.floor, 0)
        self.topics.move_to_end(topic)
        numbering.seq += 1
        fields["seq"] = numbering.seq
        told = Publication(topic, fields, numbering.seq, journaled=keep, previous=numbering.kept)
        if keep:
            numbering.kept = numbering.seq
        elif numbering.seq > numbering.reserved:
            numbering.reserved = self.reserved[topic] = self._reserve(numbering.seq)
        return told

    def _reserve(self, seq: int) -> int:
        """Up to where numbers may be told after this one without another word to the journal."""
        return max(seq + RESERVE_AHEAD, min(seq + RESERVE, self.present.wall_ns() // 1_000_000))

    def _make_room(self) -> None:
        if len(self.topics) < MAX_TOPICS:
            return
        oldest = next(topic for topic in self.topics if not self._is_in_use(topic))
        self.floor = max(self.floor, self.topics.pop(oldest).seq)
        self.given_up.append(oldest)

    def _is_in_use(self, topic: str) -> bool:
        strategy_id = topic.split("/")[1].removeprefix("strategy:")
        return strategy_id == SYSTEM or strategy_id in self.scopes.strategies


def state_of(scope: str, circuit: TradingCircuitBreaker, *, fenced: bool, trading_allowed: bool) -> State:
    """The circuit's state as a message."""
    now = circuit.get_state()
    return State(
        scope=scope,
        state=now["state"],
        reason=now["reason"],
        failures=now["failures"],
        failure_count=now["failure_count"],
        opened_at=now["opened_at"],
        retry_at=now["retry_at"],
        half_open_tries=now["half_open_tries"],
        latched=now["latched"],
        generation=now["generation"],
        conditions=list(now["conditions"]),
        fenced=fenced,
        trading_allowed=trading_allowed,
    )


def _same(told: State, state: State) -> bool:
    return told == msgspec.structs.replace(state, at_ns=told.at_ns, seq=told.seq, repeat=told.repeat)
