"""A gateway and IB behind it: what is true there, what leaves late or twice, and what is lost with a connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from services.gateway import frames
from services.gateway.frames import Frame, WireOrder
from services.gateway.reports import (
    Accounts,
    Closed,
    Dialled,
    ErrorReport,
    FromGateway,
    Heard,
    NextOrderId,
    NotDialled,
    OpenOrderReport,
    Report,
    StatusReport,
)
from tests.simulation.executor import CLIENT_ID
from tests.simulation.judge.model import CANCELED, Ib, IbOrder

if TYPE_CHECKING:
    from tests.simulation.world import World

# As long as the executor waits for accounts and the next order id.
CONNECT_SECS = 4.0


class Market(Ib):
    """IB with moods, behind a gateway that is lost, stands still, or loses IB.

    A connection keeps the order of what it carries. What IB tells of one event may come in any order and twice, and a
    status may be left out; executions and errors are told over a connection that lasts.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world.chance, CLIENT_ID)
        self.world = world
        # The connection that is open, 0: none; and its number for who has made it, which begins anew with each process.
        self._connected = self._number = self._dialled = 0
        # Whether accounts and the next order id have reached who has connected.
        self._greeted = False
        self._reachable = True
        self._frozen = False
        # What came and was said while the gateway stood still.
        self._held: list[Callable[[], None]] = []
        self._ib_away = False
        self._mood = 0.1
        # Numbers of the orders that wait for a price.
        self._trading: set[int] = set()
        self._goes_back = False

    # -- connections --------------------------------------------------------------------------------------

    def dial(self, number: int) -> None:
        """Somebody connects."""
        self._dialled += 1
        attempt = self._dialled
        self.world.after(self.world.latency(), lambda: self._accept(attempt, number))

    def _accept(self, attempt: int, number: int) -> None:
        from tests.simulation.world import Fifo

        if attempt != self._dialled:
            return  # Who has dialled is gone.
        if not self._reachable:
            self._hear(NotDialled(number, error="refused"))
            return
        self.world.after(CONNECT_SECS, lambda: self._give_up(attempt))
        self._connected, self._number, self._greeted = attempt, number, False
        self._in, self._out = Fifo(self.world), Fifo(self.world)
        # IB has given ids anew after a restart of the gateway.
        next_id = 1 if self._goes_back else max(self.orders, default=0) + 1
        self._say(Accounts(("DU1",)), NextOrderId(next_id))
        self._out.send(lambda: self._carry(attempt, Dialled(number)))
        if self._ib_away:
            self._say(ErrorReport(-1, 1100, "Connectivity has been lost"))

    def _give_up(self, attempt: int) -> None:
        if attempt == self._connected and not self._greeted:
            self._connected = 0
            self._hear(NotDialled(self._number, timed_out=True, reached=True))

    def hang_up(self) -> None:
        """The other end is gone."""
        self._connected = 0
        self._dialled += 1

    def lose_connection(self, secs: float) -> None:
        """The connection breaks, and there is none for a while."""
        self.world.note("the gateway is lost")
        connected, self._connected, self._reachable = self._connected, 0, False
        self._goes_back = self.world.maybe(0.6)
        if connected:
            self._hear(Heard(self._number, Closed()) if self._greeted else NotDialled(self._number))

        def come_back() -> None:
            self._reachable = True

        self.world.after(secs, come_back)

    def lose_ib(self, secs: float) -> None:
        """The gateway loses IB for a while."""
        self._ib_away = True
        self._say(ErrorReport(-1, 1100, "Connectivity has been lost"))
        self.world.after(secs, self._find_ib)

    def _find_ib(self) -> None:
        self._ib_away = False
        self._say(ErrorReport(-1, 1102, "Connectivity has been restored"))

    def freeze(self, secs: float) -> None:
        """The gateway stands still; it does then all that it was told meanwhile."""
        self.world.note("the gateway stands still")
        self._frozen = True
        self.world.after(secs, self._thaw)

    def _thaw(self) -> None:
        self._frozen = False
        held, self._held = self._held, []
        for call in held:
            call()

    def change_mood(self, refuses: float) -> None:
        """From now on IB refuses about so many of the orders."""
        self.world.note(f"IB refuses {refuses:.0%} of the orders")
        self._mood = refuses

    def calm_down(self) -> None:
        """From now on everything goes well."""
        self._mood = 0.0
        for order in list(self.orders.values()):
            self._show_soon(order)

    # -- what we write ------------------------------------------------------------------------------------

    def write(self, frame: Frame) -> bool:
        """Bytes leave for the gateway; whether there was a connection."""
        if isinstance(frame, frames.HangUp):
            self.hang_up()
            return True
        connected = self._connected
        if not connected:
            return False
        self._in.send(lambda: self._arrive(connected, frame))
        return True

    def _arrive(self, connected: int, frame: Frame) -> None:
        if connected != self._connected and self.world.chance.random() < 0.5:
            return  # It was in a buffer when the connection broke.
        if self._frozen:
            self._held.append(lambda: self._take(frame))
        else:
            self._take(frame)

    def _take(self, frame: Frame) -> None:
        self.now = self.world.clock.monotonic_ns() / 1e9
        match frame:
            case frames.Ask("end_positions") | frames.Dial() | frames.HangUp():
                pass
            case frames.Ask(question):
                # Lists of a gateway that has lost IB may have gaps; it had better say nothing.
                if question == "current_time" or not self._ib_away:
                    self._say(*self.answer(question))
            case frames.PlaceOrders(orders):
                for order in orders:
                    self._take_order(order)
            case frames.ChangeOrder(order):
                self.place(order.ib_order_id, dict(order.order), order.order_id)
            case frames.CancelOrder(_, number):
                self.cancel(number)
            case frames.CancelEverything():
                self._cancel_everything()
        self._flush()

    def _cancel_everything(self) -> None:
        for number in [each.number for each in self.orders.values() if each.alive]:
            self.cancel(number)

    def _take_order(self, wired: WireOrder) -> None:
        self.world.oracle.arrives(wired, self.orders.get(wired.ib_order_id))
        if wired.ib_order_id in self.orders:
            return
        self.place(wired.ib_order_id, dict(wired.order), wired.order_id)
        order = self.orders[wired.ib_order_id]
        # The breaker gives an answer five seconds.
        slow = self.world.chance.uniform(1, 7) if self.world.maybe(0.3) else self.world.latency()
        self.world.after(slow, lambda: self._decide(order))

    def cancel(self, number: int) -> None:
        """A cancelOrder comes in: it takes effect a moment later, if nothing else is faster."""
        order = self.orders.get(number)
        if order is None:
            self.say(ErrorReport(number, 10147, f"OrderId {number} that needs to be cancelled is not found."))
        elif not order.alive or order.cancelling:
            state = "PendingCancel" if order.alive else order.status
            text = f"OrderId {number} that needs to be cancelled can not be cancelled, state: {state}."
            self.say(ErrorReport(number, 10148, text))
        else:
            order.cancelling = True
            self.world.after(self.world.latency(), lambda: self._happens(lambda: self.end(order, CANCELED)))

    # -- what IB does -------------------------------------------------------------------------------------

    def _happens(self, event: Callable[[], None]) -> None:
        """Something happens at IB, whoever is connected; the gateway tells of it if it can."""
        if self._frozen:
            self._held.append(lambda: self._happens(event))
            return
        self.now = self.world.clock.monotonic_ns() / 1e9
        event()
        self._flush()

    def _decide(self, order: IbOrder) -> None:
        if not order.alive:
            return
        if not order.status and not self.world.calm and self.world.chance.random() < self._mood:
            self._happens(lambda: self.err(order, 201))
        else:
            self._show_soon(order)

    def _show_soon(self, order: IbOrder) -> None:
        if order.number in self._trading:
            return
        self._trading.add(order.number)
        self._happens(lambda: self.show(order))
        # At most this long, so that everything has its end when the calm is over.
        self.world.after(min(8.0, self.world.chance.expovariate(1 / 2)), lambda: self._fill(order))

    def _fill(self, order: IbOrder) -> None:
        if not order.alive:
            return
        share = 1.0 if self.world.calm else self.world.chance.choice((0.3, 1.0))
        self._happens(lambda: self.fill(order, share))
        if order.alive:
            self.world.after(min(8.0, self.world.chance.expovariate(1 / 2)), lambda: self._fill(order))

    # -- what it tells ------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Tell of what has just happened: in any order, some of it twice, and not every status."""
        reports, self.wire = self.wire, []
        told: list[Report] = []
        for report in reports:
            if isinstance(report, StatusReport | OpenOrderReport) and self.world.maybe(0.05):
                continue
            told += [report, report] if self.world.maybe(0.05) else [report]
        if self.world.maybe(0.15):
            self.world.chance.shuffle(told)
        self._say(*told)

    def _say(self, *reports: Report) -> None:
        connected, number = self._connected, self._number
        if not connected:
            return
        for report in reports:
            self._out.send(partial(self._carry, connected, Heard(number, report)))

    def _carry(self, connected: int, event: FromGateway) -> None:
        if self._frozen:
            self._held.append(lambda: self._carry(connected, event))
        elif connected == self._connected:
            self._greeted = self._greeted or isinstance(event, Dialled)
            self._hear(event)

    def _hear(self, event: FromGateway) -> None:
        if isinstance(event, Heard) and not isinstance(event.report, Accounts | NextOrderId):
            self.world.note(f"  IB: {event.report}")
        self.world.executor.hear(event)
