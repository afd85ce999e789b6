"""What people and their programs decide on `control`: status, trip, reset, and all else; and the file STOP. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orderfuse.bus.control import (
    AcceptRequest,
    CancelRequest,
    ReportRequest,
    ResetRequest,
    ResolveRequest,
    StatusRequest,
    TripRequest,
)
from orderfuse.bus.orders import Cancel
from orderfuse.circuit import TradingCircuitBreaker
from orderfuse.text import cut, plain
from services.breaker.batch import HandDecision
from services.breaker.circuits.conditions import GRACE_NS
from services.breaker.circuits.scopes import SYSTEM, strategy_scope
from services.breaker.circuits.trips import Trips
from services.breaker.control import resolving
from services.breaker.control.accepting import Accepting
from services.breaker.control.last_failures import Failed
from services.breaker.control.status import status
from services.breaker.core import Core, ErrorCode
from services.breaker.dispatch import global_cancel
from services.breaker.dispatcher import Dispatcher
from services.breaker.inputs import HandRequest
from services.breaker.intake import Intake
from services.wire.dispatch import Settle

# Of the reason of each circuit that a reset leaves open: those of a thousand fit into one reply.
MAX_STILL_OPEN_REASON = 120

# Reported conditions of one circuit: each goes into every state message.
MAX_REPORTED = 20


def is_in_generation_of(request: ResetRequest, circuit: TradingCircuitBreaker) -> bool:
    """Whether the circuit is still in the generation that is to be reset; any is, where none is named."""
    return request.generation in (None, circuit.generation)


@dataclass(slots=True)
class Operator:
    """Carries out what people decide."""

    core: Core
    intake: Intake
    dispatcher: Dispatcher
    version: str
    trips: Trips = field(init=False)
    accepting: Accepting = field(init=False)

    def __post_init__(self) -> None:
        self.trips = Trips(self.core)
        self.accepting = Accepting(self.core)

    def on_request(self, token: Any, request: HandRequest) -> None:
        """Answer now, or when the executor has confirmed a fence, or what was accepted."""
        match request:
            case StatusRequest():
                self.core.reply(token, request, status(self.core, self.version))
            case TripRequest():
                self.trips.on_request(token, request)
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

    def poll(self) -> None:
        """Answer what can be answered now, and what could not be in time."""
        self.accepting.poll()
        global_cancel.poll(self.core)
        self.trips.poll()

    # -- reset --------------------------------------------------------------------------------------------

    def _refusal_of_reset(self, request: ResetRequest) -> tuple[ErrorCode, str] | None:
        circuit = self.core.scopes.wake(request.scope)
        if circuit is None:
            return "bad_request", f"there is no circuit {request.scope}"
        circuit.poll()
        if not is_in_generation_of(request, circuit):
            now = circuit.generation
            return "stale", f"{request.scope} is in generation {now} by now, not {request.generation}: look again"
        return None

    def _reset(self, token: Any, request: ResetRequest) -> None:
        refusal, circuit = self._refusal_of_reset(request), self.core.scopes.find(request.scope)
        if refusal is not None or circuit is None:
            self.core.refuse(token, request, *(refusal or ("internal", "no circuit")))
            return
        # What waited when it opened is answered as it was then: a reset must not let it out.
        self.dispatcher.finish()
        self.core.scopes.reset(request.scope, circuit)
        self.core.batch.decisions.append(HandDecision("reset", request.scope, request.reason, request.who))
        self.core.batch.sync = True
        note = global_cancel.on_reset(self.core, request.scope)
        told: dict[str, Any] = {"generation": circuit.generation, "state": circuit.state.name}
        if request.scope == SYSTEM:
            told["still_open"] = self._still_open()
        self.core.reply(token, request, {**told, **({"note": note} if note else {})})

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
            self.core.refuse(token, request, "bad_request", f"there is no circuit {scope}")
            return
        held = circuit.get_state()["conditions"]
        if request.name in GRACE_NS:
            text = f"the breaker itself tells whether {request.name} holds; report it under another name"
            self.core.refuse(token, request, "not_allowed", text)
            return
        if request.what == "condition" and request.holds and request.name not in held and len(held) >= MAX_REPORTED:
            text = f"{scope} holds {len(held)} conditions already: {', '.join(held[:5])} ..."
            self.core.refuse(token, request, "not_allowed", text)
            return
        by = f" (reported by {request.reporter})" if request.reporter else ""
        reason = cut(f"{request.reason}{by}")
        if request.what == "failure":
            core.outcomes.reported_failure(scope, Failed(f"reported: {request.reason}", request.name))
        elif request.holds:
            core.outcomes.hold(scope, request.name, reason)
        else:
            core.outcomes.release(scope, request.name)
        state = "" if request.what == "failure" else " holds" if request.holds else " is over"
        text = cut(f"{request.what} {request.name}{state}: {reason}")
        core.batch.decisions.append(HandDecision("report", scope, text, request.who))
        core.batch.sync = True
        self.core.reply(token, request, {"conditions": circuit.get_state()["conditions"]})

    def _resolve(self, token: Any, request: ResolveRequest) -> None:
        core = self.core
        record = core.find(request.order_id)
        complaint = resolving.complaint(request, record)
        if complaint or record is None:
            code: ErrorCode = "not_allowed" if record is not None and record.state != "unknown" else "bad_request"
            self.core.refuse(token, request, code, complaint)
            return
        resolving.resolve(core, request, record)
        text = cut(f"{request.order_id} as {request.as_}: {request.reason}")
        core.batch.decisions.append(HandDecision("resolve", strategy_scope(record.strategy_id), text, request.who))
        core.batch.sync = True
        if core.executor.joined:
            core.send(Settle(order_id=record.order_id))
        self.core.reply(token, request, {"event": record.end})

    def _cancel(self, token: Any, request: CancelRequest) -> None:
        """A person cancels an order, whoever's it is: it goes the way of a strategy's cancel."""
        core = self.core
        record = core.find(request.order_id)
        if record is None:
            self.core.refuse(token, request, "bad_request", f"there is no order {request.order_id}")
            return
        if record.state == "done":
            self.core.refuse(token, request, "not_allowed", f"{request.order_id} has its end already")
            return
        request_id = f"operator-{core.wall_ns}"
        asked = Cancel(
            request_id=request_id, order_id=record.order_id, strategy_id=record.strategy_id, sent_ns=core.wall_ns
        )
        self.intake.on_cancel(asked, "")
        answer = self.intake.answers.answer_to(request_id)
        if answer is None or not answer.accepted:
            self.core.refuse(token, request, "not_allowed", answer.reason if answer else "it was not answered")
            return
        text = cut(f"{request.order_id}: {request.reason}")
        core.batch.decisions.append(HandDecision("cancel", strategy_scope(record.strategy_id), text, request.who))
        core.batch.sync = True
        self.core.reply(token, request, {"request_id": request_id, "code": answer.code})
