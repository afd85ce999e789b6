"""What the breaker knows of its one executor: who it is, whether it lives, and which fence it has taken. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.wire.dispatch import Hello
from services.wire.standing import Drift, ForeignOrder, GatewayStatus

# How long the executor may place orders after it asked for leave. A breaker that is dead or stuck stops
# the executor within this time.
LEASE_MS = 500
LEASE_NS = LEASE_MS * 1_000_000
# Without a word for so long the executor counts as silent, and another may take its place.
SILENCE_NS = 3_000_000_000


@dataclass(slots=True)
class ExecutorLink:
    """The executor that was admitted, if any. Times are monotonic nanoseconds."""

    peer: bytes | None = None
    executor_id: str = ""
    journal_id: str = ""
    joined: bool = False
    # The orders that the executor is asked about in the welcome that it has not answered yet.
    asked_about: list[str] = field(default_factory=list)
    confirmed_fence: int = 0
    # The last word of any kind, and the last one after it had joined: a process that only says hello, again
    # and again, lives and yet serves nobody.
    last_heard_ns: int | None = None
    last_served_ns: int | None = None
    # Whether it has asked for its lease since it joined.
    leased: bool = False
    # When the last lease given ends. Kept over a new welcome: until then an order may still be written.
    lease_ends_ns: int = 0
    gateway: GatewayStatus | None = None
    # Whether this executor process has had a usable gateway since it started.
    was_usable: bool = False

    @property
    def position_breaks(self) -> tuple[Drift, ...]:
        """Positions that are not what the fills make them, as the executor said last."""
        return self.gateway.drift if self.gateway else ()

    @property
    def foreign(self) -> tuple[ForeignOrder, ...]:
        """Open orders of the account that are not ours, as the executor said last."""
        return self.gateway.foreign if self.gateway else ()

    @property
    def account(self) -> str:
        """The account that is traded; empty while nobody knows."""
        return self.gateway.account if self.gateway else ""

    def is_alive(self, now_ns: int) -> bool:
        """Whether it was heard of lately."""
        return self.last_heard_ns is not None and now_ns - self.last_heard_ns < SILENCE_NS

    def is_ready(self, now_ns: int) -> bool:
        """Whether an order handed over now would be placed: it has joined and its lease runs."""
        return self.joined and self.leased and now_ns < self.lease_ends_ns

    def serves(self, now_ns: int) -> None:
        """It has joined, and said so just now."""
        self.joined = True
        self.last_heard_ns = self.last_served_ns = now_ns

    def may_join(self, hello: Hello, now_ns: int) -> bool:
        """Whether this one may be the executor: nobody else is, or it is the successor.

        The same journal means the same home and the lock in it, so the process before is gone.
        """
        same_journal = hello.journal_id == self.journal_id
        return same_journal or not self.is_alive(now_ns)

    def welcome(self, peer: bytes, hello: Hello, asked_about: list[str], now_ns: int) -> None:
        """Take this executor; it has joined only after it has answered."""
        if hello.executor_id != self.executor_id:
            self.was_usable = False
        self.peer = peer
        self.executor_id = hello.executor_id
        self.journal_id = hello.journal_id
        self.joined = False
        self.asked_about = asked_about
        self.last_heard_ns = now_ns
        if self.last_served_ns is None:
            self.last_served_ns = now_ns
        self.leased = False
        self.gateway = hello.gateway

    def is_from(self, peer: bytes, executor_id: str) -> bool:
        """Whether a message is from the executor that was taken, over the connection it said hello on."""
        return peer == self.peer and executor_id == self.executor_id
