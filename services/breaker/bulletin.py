"""What is said on `events`: numbered per topic, with the state of each circuit as it was last told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from orderfuse.circuit import Clock, TradingCircuitBreaker
from orderfuse.messages import Health, OrderEvent, State
from services.breaker.batch import Publication
from services.breaker.orders import OrderRecord
from services.breaker.scopes import SYSTEM

# How many topics are numbered. Strategies are at most 1000 by setting, but ids that were only ever
# refused have a topic too; beyond this many their events are dropped and counted.
MAX_TOPICS = 10_000
HEALTH_TOPIC = "health/"


def order_topic(strategy_id: str) -> str:
    """The topic of everything that becomes of a strategy's orders; `order//` where no strategy could be read."""
    return f"order/{strategy_id}/"


def state_topic(scope: str) -> str:
    """The topic of one circuit's state."""
    return f"state/{scope}/"


@dataclass(slots=True)
class Bulletin:
    """Numbers events and hands them to `out`. `seqs` has the last number used per topic."""

    clock: Clock
    wall_ns: Callable[[], int]
    out: Callable[[Publication], None]
    seqs: dict[str, int] = field(default_factory=dict)
    # Where numbering starts for a topic that is new here; after a lost journal, not at 0.
    first_seq: int = 0
    dropped: int = 0
    _told: dict[str, State] = field(default_factory=dict)

    def jump(self, to: int) -> None:
        """Number on from here at least: a journal that was lost had come further."""
        self.first_seq = max(self.first_seq, to)
        self.seqs = {topic: max(seq, to) for topic, seq in self.seqs.items()}

    def order_event(self, event: OrderEvent) -> dict[str, Any]:
        """Number, stamp and publish an event about an order; returns the map that was published."""
        topic = order_topic(event.strategy_id)
        seq = self._next(topic)
        numbered = msgspec.structs.replace(event, at_ns=self.wall_ns(), seq=seq or 0)
        fields: dict[str, Any] = msgspec.to_builtins(numbered)
        if seq is not None:
            self.out(Publication(topic, fields, seq))
        return fields

    def event_again(self, record: OrderRecord, earlier: Mapping[str, Any]) -> None:
        """Publish an earlier event of an order once more, marked so."""
        topic = order_topic(record.strategy_id)
        seq = self._next(topic)
        if seq is not None:
            repeated = {**earlier, "at_ns": self.wall_ns(), "seq": seq, "again": True}
            self.out(Publication(topic, repeated, seq))

    def tell_state(
        self, scope: str, circuit: TradingCircuitBreaker, *, fenced: bool, system_allows: bool, repeat: bool
    ) -> None:
        """Publish the state of a circuit if it changed; else, if `repeat`, the same again under the same seq."""
        allowed = circuit.is_trading_allowed()[0] and (scope == SYSTEM or system_allows)
        state = state_of(scope, circuit, fenced=fenced, trading_allowed=allowed)
        topic = state_topic(scope)
        told = self._told.get(scope)
        if told is None or not _same(told, state):
            seq = self._next(topic)
            if seq is None:
                return
            told = msgspec.structs.replace(state, at_ns=self.wall_ns(), seq=seq)
            self._told[scope] = told
            self.out(Publication(topic, msgspec.to_builtins(told), seq))
        elif repeat:
            again = msgspec.structs.replace(told, at_ns=self.wall_ns(), repeat=True)
            self.out(Publication(topic, msgspec.to_builtins(again), told.seq, journaled=False))

    def told(self, scope: str) -> State | None:
        """The state of a circuit as it was last published."""
        return self._told.get(scope)

    def forget(self, scope: str) -> None:
        """The circuit is no more; its numbering goes on should it come back."""
        self._told.pop(scope, None)

    def health(self, health: Health) -> None:
        """Publish how the pipeline is."""
        self.out(Publication(HEALTH_TOPIC, msgspec.to_builtins(health), journaled=False))

    def _next(self, topic: str) -> int | None:
        if topic not in self.seqs and len(self.seqs) >= MAX_TOPICS:
            self.dropped += 1
            return None
        seq = self.seqs.get(topic, self.first_seq) + 1
        self.seqs[topic] = seq
        return seq


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
