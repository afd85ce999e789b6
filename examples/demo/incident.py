"""The incident, step by step. Each step shows something, and checks that it is so."""

from __future__ import annotations

import time
from collections.abc import Callable

from examples.demo.pipeline import SERVICES
from examples.demo.scene import ACCOUNT, CONTRACT, DEADLINE_S, ORDER, STRATEGY_ID, NotSeen, Scene, short
from examples.demo.trip import trip_under_load
from orderfuse import CircuitBreakerOpenException
from orderfuse.bus.events import Filled, Rejected

SCOPES = ("system", f"strategy:{STRATEGY_ID}")
FEW = 3
# What opens a circuit by default.
FAILURES = 5
# Three times Python and its imports, on a machine that may be busy.
START_TIMEOUT_S = 30.0
REJECT_TEXT = "Order rejected - reason: halt"


class Incident:
    """The steps in their order, and what a later one needs of an earlier one."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._tell = scene.tell
        self._opened_ns = 0
        self._flood: list[str] = []

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """Heading and step. A step raises `NotSeen` if what it tells did not happen."""
        return [
            ("The processes start", self._start),
            ("Orders fill", self._orders_fill),
            ("IB begins to reject", self._ib_rejects),
            ("The circuit opens", self._circuit_opens),
            ("Orders are blocked", self._orders_are_blocked),
            ("HALF_OPEN", self._half_open),
            ("Trial orders", self._trial_orders),
            ("CLOSED", self._closed),
            ("A trip by hand, under load", self._trip_under_load),
            ("Reset", self._reset),
        ]

    def _start(self) -> None:
        scene = self._scene
        scene.pipeline.start()
        for name in SERVICES:
            self._tell.fact(f"{name} is process {scene.pipeline.processes[name].pid}")
        scene.wait(
            lambda: "system" in scene.bus.states and scene.bus.states["system"].trading_allowed,
            "the breaker to let orders pass",
            lambda: scene.bus.states.get("system", "no breaker"),
            START_TIMEOUT_S,
        )
        port = scene.settings.ib.port
        self._tell.fact(f"system is CLOSED: orders pass to account {ACCOUNT}, port {port}")
        self._tell.notice(
            f"paper stands in for IB Gateway. The timers are short: OPEN lasts {self._open_s:g} s here, "
            "300 s by default."
        )

    def _orders_fill(self) -> None:
        sent = []
        for _ in range(FEW):
            handle, end = self._scene.trade(Filled)
            sent.append(handle.order_id)
            self._tell.fact(f"{short(handle.order_id)}  BUY 10 AAPL  filled at {end.avg_price:g}", at_ns=end.at_ns)
        self._check_at_the_wire(sent, each=1)
        self._tell.notice(
            f"{FEW} orders filled, {FEW} at the wire, each once. The wire is what the gateway recorded, "
            "not what we say of ourselves; every count below is taken there."
        )

    def _ib_rejects(self) -> None:
        self._scene.command(f'paper reject --count {FAILURES} --code 201 --text "{REJECT_TEXT}"')
        sent = []
        for _ in range(FAILURES):
            handle, end = self._scene.trade(Rejected)
            sent.append(handle.order_id)
            said = f"{short(handle.order_id)}  rejected by IB ({end.ib_code}): {end.reason}"
            self._tell.fact(said, at_ns=end.at_ns)
        self._check_at_the_wire(sent, each=1)
        self._tell.notice("rejected is the broker's no: these orders were at the wire. Each is a failure, and counts.")

    def _circuit_opens(self) -> None:
        self._scene.wait_state("OPEN", *SCOPES)
        self._opened_ns = self._scene.bus.states["system"].at_ns
        self._tell_states()
        self._tell.notice(
            f"nobody had to look: {FAILURES} failures within 60 s open it. The strategy's circuit and the whole "
            "system's, since no other strategy is there to show that IB works."
        )

    def _orders_are_blocked(self) -> None:
        blocked = []
        for _ in range(FEW):
            began = time.monotonic()
            try:
                handle = self._scene.client.submit(CONTRACT, ORDER, account=ACCOUNT)
            except CircuitBreakerOpenException as no:
                took_ms = (time.monotonic() - began) * 1000
                blocked.append(no.order_id)
                self._tell.fact(f"{short(no.order_id)}  blocked after {took_ms:.0f} ms: {no}")
            else:
                raise NotSeen("an order to be blocked", f"{handle.order_id} passed")
        self._check_at_the_wire(blocked, each=0)
        self._tell.notice(
            f"blocked is our own no. 0 of these {FEW} orders are at the wire, and none will be later: "
            "the strategy has its answer as an exception, at once."
        )

    def _half_open(self) -> None:
        self._scene.wait_state("HALF_OPEN", *SCOPES, secs=self._open_s + DEADLINE_S)
        self._tell_states()
        waited_s = (self._scene.bus.states["system"].at_ns - self._opened_ns) / 1e9
        self._tell.notice(
            f"{waited_s:.1f} s after it opened, by the timer alone. It does not trust IB yet: "
            "3 trial orders may pass, and one failure opens it again."
        )

    def _trial_orders(self) -> None:
        sent = []
        for _ in range(FEW):
            handle, end = self._scene.trade(Filled)
            self._scene.check(handle.passed.trial, "a trial order", handle.passed)
            sent.append(handle.order_id)
            said = f"{short(handle.order_id)}  passed as a trial, filled at {end.avg_price:g}"
            self._tell.fact(said, at_ns=end.at_ns)
        self._check_at_the_wire(sent, each=1)
        self._tell.notice(f"trials are real orders of the strategy; {FEW} of them were executed.")

    def _closed(self) -> None:
        self._scene.wait_state("CLOSED", *SCOPES)
        self._tell_states()
        self._tell.notice(f"{FEW} successes close it. The incident is over, and nobody had to touch anything.")

    def _trip_under_load(self) -> None:
        self._flood = trip_under_load(self._scene)

    def _reset(self) -> None:
        before = len(self._scene.wire.arrivals_of(self._flood))
        self._scene.command('reset --reason "the program is stopped"')
        self._scene.wait_state("CLOSED", "system")
        handle, end = self._scene.trade(Filled)
        self._tell.fact(f"{short(handle.order_id)}  BUY 10 AAPL  filled at {end.avg_price:g}", at_ns=end.at_ns)
        after = len(self._scene.wire.arrivals_of(self._flood))
        self._scene.check(after == before, f"{before} orders of the flood at the wire as before", after)
        self._tell.notice(f"trading goes on, and no blocked order came back: of the flood {after} are at the wire.")

    # -- helpers ------------------------------------------------------------------------------------------

    @property
    def _open_s(self) -> float:
        return self._scene.settings.breaker.circuit.open_timeout_secs

    def _check_at_the_wire(self, order_ids: list[str], *, each: int) -> None:
        arrivals = [arrival.order_id for arrival in self._scene.wire.arrivals_of(order_ids)]
        counts = {order_id: arrivals.count(order_id) for order_id in order_ids}
        expected = f"each of these orders at the wire {each} times"
        self._scene.check(all(count == each for count in counts.values()), expected, counts)

    def _tell_states(self) -> None:
        for scope in SCOPES:
            state = self._scene.bus.states[scope]
            reason = f": {state.reason}" if state.reason else ""
            again = f"; tries again at {state.retry_at[11:19]} UTC" if state.retry_at else ""
            self._tell.fact(f"{scope} is {state.state}{reason}{again}", at_ns=state.at_ns)
