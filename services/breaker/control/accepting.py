"""What people accept of what others did in the account. Pure.

The executor carries it out, and the answer waits for that. The message may be lost on its way, and then nothing has
changed: what stands goes on standing in the status.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from msgspec import structs

from orderfuse.bus.codec import DecodeError, convert
from orderfuse.bus.control import AcceptRequest, SeenDrift, SeenOrder
from orderfuse.ibfields.names import contract_name, order_name
from orderfuse.text import cut
from services.breaker.batch import HandDecision
from services.breaker.circuits.scopes import SECOND_NS, SYSTEM
from services.breaker.core import Core, ErrorCode
from services.breaker.dispatch.executor_link import LEASE_NS, ExecutorLink
from services.wire.dispatch import Accept
from services.wire.standing import DUST, Drift, ForeignOrder

_Told = TypeVar("_Told", Drift, ForeignOrder)
# Longer than any lease that the executor had when it was asked: what is refused by then, it does not carry out later.
# It syncs its disk and answers within milliseconds; who asks waits for a second.
CONFIRM_NS = LEASE_NS + SECOND_NS // 5
# Requests that wait for the executor at the same time.
MAX_PENDING = 20


@dataclass(slots=True)
class _Pending:
    """A request that the executor has not confirmed yet."""

    token: Any
    request: AcceptRequest
    wanted: Accept
    executor_id: str
    give_up_ns: int


@dataclass(slots=True)
class Accepting:
    """Hands requests on, and answers them."""

    core: Core
    _pending: list[_Pending] = field(default_factory=list)
    _number: int = 0

    def on_request(self, token: Any, request: AcceptRequest) -> None:
        """Journal who accepts what and why, and have the executor do it; or say why not."""
        core = self.core
        try:
            breaks, foreign = self._chosen(request)
        except DecodeError as error:
            self.core.refuse(token, request, "bad_request", cut(f"in seen: {error.reason}"))
            return
        refusal = self._refusal(request, there=bool(breaks or foreign))
        if refusal is not None:
            self.core.refuse(token, request, *refusal)
            return
        # By the clock, so that no number of an earlier process comes again.
        self._number = max(core.wall_ns, self._number + 1)
        wanted = Accept(number=self._number, reason=request.reason, who=request.who, drift=breaks, foreign=foreign)
        for text in (*map(_break_words, breaks), *map(_order_words, foreign)):
            core.batch.decisions.append(HandDecision("accept", SYSTEM, cut(f"{text}: {request.reason}"), request.who))
        core.batch.sync = True
        core.send(wanted)
        pending = _Pending(token, request, wanted, core.executor.executor_id, core.now + CONFIRM_NS)
        self._pending.append(pending)

    def _chosen(self, request: AcceptRequest) -> tuple[tuple[Drift, ...], tuple[ForeignOrder, ...]]:
        """What stands now of what is meant: of one contract, and just as it was seen, where the request says so.

        Raises:
            DecodeError: it says of something seen what cannot be read.
        """
        executor = self.core.executor
        if request.what == "foreign":
            return (), _as_seen(executor.foreign, SeenOrder, request.seen)
        meant = [each for each in executor.position_breaks if request.con_id in (None, each.con_id)]
        return _as_seen(meant, SeenDrift, request.seen), ()

    def _refusal(self, request: AcceptRequest, *, there: bool) -> tuple[ErrorCode, str] | None:
        """Why this cannot be done, or None. `there`: something of what is meant stands."""
        executor = self.core.executor
        if not executor.joined:
            return "not_allowed", "no executor is there, and it alone knows what IB holds: start it, then accept"
        if len(self._pending) >= MAX_PENDING:
            return "not_allowed", f"{MAX_PENDING} requests wait for the executor already: try again"
        if request.what == "foreign" and request.con_id is not None:
            return "bad_request", "con_id goes with what: 'drift'; an open order of others is named in seen"
        if there:
            return None
        if request.seen is not None:
            return "stale", "nothing of it stands as it was seen: look at the status again"
        if request.what == "foreign":
            return "bad_request", "IB lists no open order of others"
        standing = "; ".join(contract_name(structs.asdict(each)) for each in executor.position_breaks)
        what = "there is no drift" if request.con_id is None else f"there is no drift of contract {request.con_id}"
        return "bad_request", cut(f"{what}{f'; there is one of: {standing}' if standing else ''}")

    def poll(self) -> None:
        """Answer what the executor has confirmed, and what it did not in time."""
        executor = self.core.executor
        for pending in list(self._pending):
            same = executor.joined and executor.executor_id == pending.executor_id
            if same and not _stands(pending.wanted, executor):
                self._pending.remove(pending)
                self._confirm(pending)
            elif not same or self.core.now >= pending.give_up_ns:
                self._pending.remove(pending)
                text = "the executor has not confirmed it: look at the status again, and accept what stands there still"
                self.core.refuse(pending.token, pending.request, "not_allowed", text)

    def _confirm(self, pending: _Pending) -> None:
        """None of it stands as it did; what stands otherwise was not accepted."""
        executor, wanted = self.core.executor, pending.wanted
        other_breaks, other_orders = (
            {each.con_id for each in executor.position_breaks},
            {each.key for each in executor.foreign},
        )
        breaks = [each for each in wanted.drift if each.con_id not in other_breaks]
        orders = [each for each in wanted.foreign if each.key not in other_orders]
        if not (breaks or orders):
            text = "it is another one by now, and was not accepted: look at the status again"
            self.core.refuse(pending.token, pending.request, "stale", text)
            return
        by = pending.request.who or "somebody"
        words = [*map(_break_words, breaks), *map(_order_words, orders)]
        self.core.batch.notes.extend(f"{text}: accepted by {by}: {pending.request.reason}" for text in words)
        accepted: list[Drift | ForeignOrder] = [*breaks, *orders]
        told = [told_of(each, executor.account) for each in accepted]
        self.core.reply(pending.token, pending.request, {"accepted": told})


def told_of(each: Drift | ForeignOrder, account: str) -> dict[str, Any]:
    """What the status and replies say of it."""
    by_hand = {"by_hand": each.by_hand} if isinstance(each, ForeignOrder) else {}
    return {"account": account, **structs.asdict(each), **by_hand}


def _as_seen(
    standing: Iterable[_Told], kind: type[SeenDrift | SeenOrder], seen: list[dict[str, Any]] | None
) -> tuple[_Told, ...]:
    """What stands just as it was seen; all of it where nobody said what they saw.

    Raises:
        DecodeError: something seen cannot be read.
    """
    if seen is None:
        return tuple(standing)
    wanted: set[SeenDrift | SeenOrder] = {convert(each, kind) for each in seen}
    names = kind.__struct_fields__
    return tuple(each for each in standing if kind(**{name: getattr(each, name) for name in names}) in wanted)


def _stands(wanted: Accept, executor: ExecutorLink) -> bool:
    """Whether some of it is told just as it was."""
    differences = {each.con_id: each.difference for each in executor.position_breaks}
    for each in wanted.drift:
        now = differences.get(each.con_id)
        if now is not None and abs(now - each.difference) < DUST:
            return True
    return not set(wanted.foreign).isdisjoint(executor.foreign)


def _break_words(each: Drift) -> str:
    return f"position break: {contract_name(structs.asdict(each))}: {each.actual:g} instead of {each.expected:g}"


def _order_words(each: ForeignOrder) -> str:
    return f"foreign: {order_name(told_of(each, ''))}"
