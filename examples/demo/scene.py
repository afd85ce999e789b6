"""Where the incident plays: the processes, a strategy's client, the bus to watch, the wire to count on."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from examples.demo.bus import Bus
from examples.demo.commands import orderfuse
from examples.demo.pipeline import Pipeline
from examples.demo.teller import Teller
from examples.demo.wire import Wire
from orderfuse import OrderClient, OrderError, OrderHandle, Settings
from orderfuse.bus.events import Filled, NotPlaced, Rejected

STRATEGY_ID = "demo"
# The paper gateway's account. Named in every order, so that none can be traded anywhere else.
ACCOUNT = "DU0000000"
CONTRACT = {"secType": "STK", "symbol": "AAPL", "exchange": "SMART", "currency": "USD"}
ORDER = {"action": "BUY", "orderType": "MKT", "totalQuantity": 10}
# Anything takes milliseconds; this long means that it does not happen.
DEADLINE_S = 10.0
# A machine that keeps the breaker from renewing the executor's lease (500 ms) so often is too busy for a demo.
TRIES = 5

E = TypeVar("E", Filled, Rejected)


class NotSeen(Exception):
    """What a step expected, and what there was instead."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen: {seen}")


class Scene:
    """What the steps act with. A context manager.

    Raises:
        SettingsError: the home cannot be used, such as for a path too long for a socket.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, tell: Teller) -> None:
        self.pipeline = pipeline
        self.settings = settings
        self.tell = tell
        self.wire = Wire(pipeline.home / "wire.jsonl")
        self.client = OrderClient(STRATEGY_ID, settings=settings)
        self.bus = Bus(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bus.close()
        self.client.close()

    def wait(
        self, holds: Callable[[], bool], expected: str, seen: Callable[[], object], secs: float = DEADLINE_S
    ) -> None:
        """Follow the bus until `holds` is true.

        Raises:
            NotSeen: it did not within the deadline, or a process has ended.
        """
        deadline = time.monotonic() + secs
        while not holds():
            if self.pipeline.ended() or time.monotonic() > deadline:
                raise NotSeen(f"{expected} within {secs:g} s", str(seen()))
            self.bus.read(0.005)

    def wait_state(self, wanted: str, *scopes: str, secs: float = DEADLINE_S) -> None:
        """Wait until the circuits of these scopes are in this state."""

        def seen() -> str:
            states = [self.bus.states[scope] for scope in scopes if scope in self.bus.states]
            return "; ".join(f"{known.scope} {known.state} with {known.failures} failures" for known in states)

        self.wait(
            lambda: all(self.bus.state(scope) == wanted for scope in scopes),
            f"{' and '.join(scopes)} to be {wanted}",
            seen,
            secs,
        )

    def trade(self, wanted: type[E]) -> tuple[OrderHandle, E]:
        """Send one order as a strategy does, and wait for its end, which has to be the wanted one.

        One that was never placed, as on a machine that stood still for a moment, proves nothing: another is sent.

        Raises:
            NotSeen: it ended otherwise, or not at all, or was not sent.
        """
        expected = f"an order to be {wanted.__name__.lower()}"
        for _ in range(TRIES):
            try:
                handle = self.client.submit(CONTRACT, ORDER, account=ACCOUNT)
                end = handle.wait(DEADLINE_S)
            except (OrderError, TimeoutError) as error:
                raise NotSeen(expected, str(error)) from error
            if isinstance(end, wanted):
                return handle, end
            if not isinstance(end, NotPlaced):
                raise NotSeen(expected, f"{end.order_id} {end.kind}")
            self.tell.fact(f"{short(end.order_id)}  not placed: {end.reason or end.code}", at_ns=end.at_ns)
        raise NotSeen(expected, f"{TRIES} orders not placed")

    def command(self, line: str) -> None:
        """Run `orderfuse <line>` and show it.

        Raises:
            NotSeen: its exit code is not 0.
        """
        code, printed = orderfuse(line)
        self.tell.command(f"orderfuse {line}", printed)
        if code:
            raise NotSeen(f"`orderfuse {shlex.split(line)[0]}` to end with 0", f"{code}, {printed.strip()}")

    def check(self, holds: bool, expected: str, seen: object) -> None:
        """Go on only if this holds.

        Raises:
            NotSeen: it does not.
        """
        if not holds:
            raise NotSeen(expected, str(seen))


def short(order_id: str) -> str:
    """Enough of an id to tell it from others."""
    return order_id[:13]
