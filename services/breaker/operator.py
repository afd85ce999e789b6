"""What people and their programs decide on `control`: status, trip, reset, and all else; and the file STOP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from orderfuse.circuit import TradingCircuitBreaker
from orderfuse.messages import (
    AcceptRequest,
    Cancel,
    CancelRequest,
    CancelScope,
    ReportRequest,
    Request,
    ResetRequest,
    ResolveRequest,
    Settle,
    StatusRequest,
    TripRequest,
)
from orderfuse.plain import plain
from orderfuse.stopfile import DEFAULT_REASON
from services.breaker import settlement
from services.breaker.accepting import Accepting, ErrorCode, told_of
from services.breaker.batch import HandDecision, Reply
from services.breaker.bulletin import state_of
from services.breaker.conditions import GRACE_NS
from services.breaker.core import Core
from services.breaker.executor_link import LEASE_MS, LEASE_NS
from services.breaker.intake import Intake
from services.breaker.last_failures import Failed
from services.breaker.scopes import SECOND_NS, SYSTEM, strategy_scope

# The request that follows a file of `orderfuse trip` is here within milliseconds.
REQUEST_FOLLOWS_NS = SECOND_NS
# Trips that wait for their fence at the same time; the next ones are answered without waiting.
MAX_PENDING_TRIPS = 100

# Of the reason of each circuit that a reset leaves open: those of a thousand fit into one reply.
MAX_STILL_OPEN_REASON = 120

# Reported conditions of one circuit: each goes into every state message.
MAX_REPORTED = 20

HandRequest = (
    StatusRequest | TripRequest | ResetRequest | ReportRequest | ResolveRequest | CancelRequest | AcceptRequest
)
ON_TRIP: dict[str, CancelScope] = {"keep": "none", "cancel": "ours", "cancel_all": "all"}


@dataclass(slots=True)
class _PendingTrip:
    """A trip whose reply waits until the executor has confirmed the fence or its lease has run out."""

    token: Any
    request: TripRequest
    cancelling: list[str]
    fence: int
    give_up_ns: int
    note: str


@dataclass(slots=True)
class Operator:
    """Carries out what people decide."""

    core: Core
    intake: Intake
    version: str
    # Carries out what a trip or reset brings about, before the reply says that it is done.
    after_change: Callable[[], None]
    # Answers every order that waits and cannot pass.
    answer_queue: Callable[[], None]
    accepting: Accepting = field(init=False)
    _pending: list[_PendingTrip] = field(default_factory=list)
    # The scope that a person trips just now.
    _tripping: str = ""
    # Trips of the system that came as requests.
    _trips_by_hand: int = 0

    def __post_init__(self) -> None:
        self.accepting = Accepting(self.core, self._reply, self._refuse)

    def on_request(self, token: Any, request: HandRequest) -> None:
        """Answer now, or when the executor has confirmed a fence, or what was accepted."""
        match request:
            case StatusRequest():
                self._reply(token, request, self._status())
            case TripRequest():
                self._trip(token, request)
            case ResetRequest():
                self._reset(token, request)
            case ReportRequest():
                self._report(token, request)
            case ResolveRequest():
                self._resolve(token, request)
            case CancelRequest():
                self._cancel(token, request)
            case AcceptRequest():
                self.accepting.on_request(token, request)

    # -- trip ----------------------------------------------------------------------------------------------

    def _trip(self, token: Any, request: TripRequest) -> None:
        core = self.core
        self._trips_by_hand += request.scope == SYSTEM
        fence_before = core.fence_of(request.scope)
        if not core.scopes.trip(request.scope, request.reason, latch=True):
            self._refuse(token, request, "not_allowed", f"there is no circuit {request.scope}, and no room for it")
            return
        core.scopes.never_forget(request.scope)
        core.batch.decisions.append(HandDecision("trip", request.scope, request.reason, request.who))
        core.batch.sync = True
        self._tripping = request.scope
        self.after_change()
        self._tripping = ""
        if core.fence_of(request.scope) == fence_before:
            # It was OPEN already. Whatever is still under way is stopped all the same.
            core.raise_fence(request.scope)
        cancel = request.cancel or self._policy(request.scope)
        cancelling = self._cancel_working(request.scope, cancel)
        note = ""
        if cancel == "all" and not core.executor.joined:
            note = "no executor is there: the cancel of all orders of the account is owed, and goes when there is one"
        # An executor that is gone can't confirm, but it may still place orders until its lease has run out.
        give_up_ns = core.now() + LEASE_NS if core.executor.joined else core.executor.lease_ends_ns
        pending = _PendingTrip(token, request, cancelling, core.fence_of(request.scope), give_up_ns, note)
        if core.now() >= give_up_ns or len(self._pending) >= MAX_PENDING_TRIPS:
            self._finish(pending, fenced=False, written=self._maybe_written())
        else:
            self._pending.append(pending)

    def on_stop(self, reason: str, who: str) -> None:
        """The file STOP is there: a trip of the system that needs no message. `who`: whose file it is."""
        core = self.core
        core.batch.decisions.append(HandDecision("stop", SYSTEM, reason, who))
        core.batch.sync = True
        state = core.scopes.system.get_state()
        if state["latched"]:
            if state["reason"] == DEFAULT_REASON:
                # A file appears empty, and its first line a moment later.
                core.scopes.trip(SYSTEM, reason, latch=True)
            return
        core.scopes.trip(SYSTEM, reason, latch=True)
        # `orderfuse trip` makes the file first, and says a moment later what is to be cancelled.
        self._tripping = SYSTEM
        self.after_change()
        self._tripping = ""
        trips = self._trips_by_hand
        core.at(core.now() + REQUEST_FOLLOWS_NS, lambda: self._cancel_unless_asked(trips))

    def _cancel_unless_asked(self, trips_before: int) -> None:
        """The file came alone: do with working orders what the setting says, if it still stops."""
        if self._trips_by_hand == trips_before and self.core.scopes.system.get_state()["latched"]:
            self._cancel_working(SYSTEM, self._policy(SYSTEM))

    def on_opened(self, scope: str) -> None:
        """A circuit has opened: do with its working orders what the setting `on_trip` says."""
        # Who trips by hand says what to cancel, and may say nothing.
        if scope != self._tripping:
            self._cancel_working(scope, self._policy(scope))

    def _policy(self, scope: str) -> CancelScope:
        """What `on_trip` means for a circuit. No strategy's own trip takes the orders of its neighbours along."""
        policy = ON_TRIP[self.core.settings.on_trip]
        return "ours" if policy == "all" and scope != SYSTEM else policy

    def _cancel_working(self, scope: str, cancel: CancelScope) -> list[str]:
        """Cancel what was chosen; returns the ids of ours that are being cancelled."""
        if cancel == "none":
            return []
        ids = self.intake.cancel_automatically(scope, protective_too=cancel in ("all", "ours_with_protective"))
        if cancel == "all":
            circuit = self.core.scopes.find(scope)
            self.core.owe_global_cancel(scope, circuit.generation if circuit else 0)
        return ids

    def on_fence_confirmed(self, written: list[str]) -> None:
        """Answer the trips that waited for it."""
        confirmed = self.core.executor.confirmed_fence
        finished = [pending for pending in self._pending if pending.fence <= confirmed]
        self._pending = [pending for pending in self._pending if pending.fence > confirmed]
        for pending in finished:
            self._finish(pending, fenced=True, written=written)

    def poll(self) -> None:
        """Answer trips whose executor did not confirm while its lease ran; end a global cancel that came to its end."""
        self.accepting.poll()
        if self.core.owed is not None:
            end = self.core.owed.due_end(self.core.scopes.find(self.core.owed.scope), self.core.now())
            if end is not None:
                self.core.end_owed(end)
        now = self.core.now()
        late = [pending for pending in self._pending if now >= pending.give_up_ns]
        self._pending = [pending for pending in self._pending if now < pending.give_up_ns]
        for pending in late:
            self._finish(pending, fenced=False, written=self._maybe_written())

    def _finish(self, pending: _PendingTrip, *, fenced: bool, written: list[str]) -> None:
        circuit = self.core.scopes.find(pending.request.scope)
        self._reply(
            pending.token,
            pending.request,
            {
                "generation": circuit.generation if circuit else 0,
                "fenced": fenced,
                "written": [each for each in written if self._is_of(each, pending.request.scope)],
                "cancelling": pending.cancelling,
                **({"note": pending.note} if pending.note else {}),
            },
        )

    def _is_of(self, written: str, scope: str) -> bool:
        """Whether an order, or the change of one, belongs to the scope that was tripped."""
        if scope == SYSTEM:
            return True
        record = self.core.orders.get(written.partition("~")[0])
        return record is None or strategy_scope(record.strategy_id) == scope

    def _maybe_written(self) -> list[str]:
        """Without the executor's word: every order and every change handed over that IB has not answered."""
        records = self.core.orders.values()
        orders = [record.order_id for record in records if record.doubtful()]
        return sorted(orders + [record.change.order_id for record in records if record.change is not None])

    # -- reset --------------------------------------------------------------------------------------------

    def refusal_of_reset(self, request: ResetRequest) -> tuple[ErrorCode, str] | None:
        """Why this reset cannot be done, or None: a reset of the system first removes the file STOP."""
        circuit = self.core.scopes.wake(request.scope)
        if circuit is None:
            return "bad_request", f"there is no circuit {request.scope}"
        circuit.poll()
        now = circuit.generation
        if request.generation is not None and request.generation != now:
            return "stale", f"{request.scope} is in generation {now} by now, not {request.generation}: look again"
        return None

    def _reset(self, token: Any, request: ResetRequest) -> None:
        refusal, circuit = self.refusal_of_reset(request), self.core.scopes.find(request.scope)
        if refusal is not None or circuit is None:
            self._refuse(token, request, *(refusal or ("internal", "no circuit")))
            return
        # What waited when it opened is answered as it was then: a reset must not let it out.
        self.answer_queue()
        self.core.scopes.reset(request.scope, circuit)
        self.core.batch.decisions.append(HandDecision("reset", request.scope, request.reason, request.who))
        self.core.batch.sync = True
        note = ""
        owed = self.core.owed
        if owed is not None and owed.standing in ("owed", "given_up") and owed.scope == request.scope:
            self.core.end_owed("ended")
            note = "the cancel of all orders of the account was not done yet and is not sent again: look into TWS"
        self.after_change()
        told: dict[str, Any] = {"generation": circuit.generation, "state": circuit.state.name}
        if request.scope == SYSTEM:
            told["still_open"] = self._still_open()
        self._reply(token, request, {**told, **({"note": note} if note else {})})

    def _still_open(self) -> list[dict[str, Any]]:
        """The strategies' circuits that are not CLOSED: a reset of the system leaves each as it is."""
        states = [(strategy_id, each.get_state()) for strategy_id, each in self.core.scopes.strategies.items()]
        return [
            {
                "scope": strategy_scope(strategy_id),
                "state": state["state"],
                "latched": state["latched"],
                "reason": state["reason"] and plain(state["reason"], MAX_STILL_OPEN_REASON),
                "retry_at": state["retry_at"],
            }
            for strategy_id, state in states
            if state["state"] != "CLOSED"
        ]

    # -- report, resolve -----------------------------------------------------------------------------------

    def _report(self, token: Any, request: ReportRequest) -> None:
        """A failure counts; a condition trips at once and holds until somebody says that it is over."""
        core, scope = self.core, request.scope
        circuit = core.scopes.wake(scope)
        if circuit is None:
            self._refuse(token, request, "bad_request", f"there is no circuit {scope}")
            return
        held = circuit.get_state()["conditions"]
        if request.name in GRACE_NS:
            text = f"the breaker itself tells whether {request.name} holds; report it under another name"
            self._refuse(token, request, "not_allowed", text)
            return
        if request.what == "condition" and request.holds and request.name not in held and len(held) >= MAX_REPORTED:
            text = f"{scope} holds {len(held)} conditions already: {', '.join(held[:5])} ..."
            self._refuse(token, request, "not_allowed", text)
            return
        by = f" (reported by {request.reporter})" if request.reporter else ""
        reason = f"{request.reason}{by}"[:500]
        if request.what == "failure":
            core.scopes.reported_failure(scope, Failed(f"reported: {request.reason}", request.name))
        elif request.holds:
            core.scopes.hold(scope, request.name, reason)
        else:
            core.scopes.release(scope, request.name)
        state = "" if request.what == "failure" else " holds" if request.holds else " is over"
        text = f"{request.what} {request.name}{state}: {reason}"[:500]
        core.batch.decisions.append(HandDecision("report", scope, text, request.who))
        core.batch.sync = True
        self.after_change()
        self._reply(token, request, {"conditions": circuit.get_state()["conditions"]})

    def _resolve(self, token: Any, request: ResolveRequest) -> None:
        core = self.core
        record = core.find(request.order_id)
        complaint = settlement.complaint(request, record)
        if complaint or record is None:
            code: ErrorCode = "not_allowed" if record is not None and record.state != "unknown" else "bad_request"
            self._refuse(token, request, code, complaint)
            return
        settlement.settle(core, request, record)
        text = f"{request.order_id} as {request.as_}: {request.reason}"[:500]
        core.batch.decisions.append(HandDecision("resolve", strategy_scope(record.strategy_id), text, request.who))
        core.batch.sync = True
        if core.executor.joined:
            core.send(Settle(order_id=record.order_id))
        self.after_change()
        self._reply(token, request, {"event": record.end})

    def _cancel(self, token: Any, request: CancelRequest) -> None:
        """A person cancels an order, whoever's it is: it goes the way of a strategy's cancel."""
        core = self.core
        record = core.find(request.order_id)
        if record is None:
            self._refuse(token, request, "bad_request", f"there is no order {request.order_id}")
            return
        if record.state == "done":
            self._refuse(token, request, "not_allowed", f"{request.order_id} has its end already")
            return
        request_id = f"operator-{core.wall_ns()}"
        asked = Cancel(
            request_id=request_id, order_id=record.order_id, strategy_id=record.strategy_id, sent_ns=core.wall_ns()
        )
        self.intake.on_cancel(asked, "")
        answer = self.intake.answers.answer_to(request_id)
        if answer is None or not answer.accepted:
            self._refuse(token, request, "not_allowed", answer.reason if answer else "it was not answered")
            return
        text = f"{request.order_id}: {request.reason}"[:500]
        core.batch.decisions.append(HandDecision("cancel", strategy_scope(record.strategy_id), text, request.who))
        core.batch.sync = True
        self._reply(token, request, {"request_id": request_id, "code": answer.code})

    # -- status --------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, Any]:
        core = self.core
        system_allows = core.scopes.system.is_trading_allowed()[0]
        executor, gateway = core.executor, core.executor.gateway
        account = executor.account
        failures = core.scopes.last_failures.told()
        return {
            "circuits": [
                msgspec.to_builtins(
                    state_of(
                        scope,
                        circuit,
                        fenced=core.is_fenced(scope),
                        trading_allowed=circuit.is_trading_allowed()[0] and (scope == SYSTEM or system_allows),
                    )
                )
                | self._failures(scope, circuit, failures)
                for scope, circuit in core.scopes
            ],
            "executor": {
                "present": executor.joined,
                "account": account,
                "lease_ms": LEASE_MS,
            },
            "gateway": {
                "connected": bool(executor.joined and gateway and gateway.connected),
                "host": gateway.host if gateway else "",
                "port": gateway.port if gateway else 0,
                "detail": gateway.detail if gateway else "",
                "drift_at_ns": gateway.drift_at_ns if gateway else 0,
                "foreign_at_ns": gateway.foreign_at_ns if gateway else 0,
                "foreign_ignored": bool(gateway and gateway.foreign_ignored),
                **({"remedy": gateway.remedy} if gateway and gateway.remedy else {}),
            },
            "drift": [told_of(each, account) for each in executor.drift],
            "foreign": [told_of(each, account) for each in executor.foreign],
            "owed": [core.owed.told()] if core.owed is not None else [],
            **core.state_summary(),
            "circuits_at_rest": core.scopes.resting,
            "journals": core.journals,
            "disk_free": core.disk_free,
            "version": self.version,
        }

    def _failures(self, scope: str, circuit: TradingCircuitBreaker, told: dict[str, Any]) -> dict[str, Any]:
        """What failed in a circuit. Nothing is said of one that had no room in `told`, least of all that none did."""
        kept = self.core.scopes.last_failures
        found: dict[str, Any] = {}
        if scope in told or scope not in kept:
            found["last_failures"] = told.get(scope, [])
        if scope == SYSTEM:
            found["failures_by"] = kept.by_source(scope, circuit.failures)
        return found

    # -- replies -------------------------------------------------------------------------------------------

    def _reply(self, token: Any, request: Request, fields: dict[str, Any]) -> None:
        self.core.batch.replies.append(Reply(token, {"id": request.id, "ok": True, **fields}))

    def _refuse(self, token: Any, request: Request, code: ErrorCode, error: str) -> None:
        self.core.batch.replies.append(Reply(token, {"id": request.id, "ok": False, "code": code, "error": error}))
