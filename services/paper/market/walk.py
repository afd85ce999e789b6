"""The moving price of one instrument: a seeded walk in whole ticks, and the orders that wait for a price."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from enum import Enum, auto

from services.paper.market.instruments import Instrument
from services.paper.market.orders import Order
from services.paper.market.rules import ORDER_KINDS

# The half spread, in ticks, and how far the middle moves in one step: lively enough to watch, tame enough
# that a limit order one percent away rests for minutes.
HALF_SPREAD_TICKS = 1
STEP_TICKS = (-2, -1, -1, 0, 0, 0, 0, 1, 1, 2)
# The walk stays within a third of the first price: a demo that runs for weeks still shows a plausible price.
MAX_DRIFT = 1 / 3


class Trigger(Enum):
    """What an order waits for."""

    ASK_FALLS = auto()  # to the price: a limit order to buy
    BID_RISES = auto()  # to the price: a limit order to sell
    LAST_RISES = auto()  # to the price: a stop to buy, a touch to sell
    LAST_FALLS = auto()  # to the price: a stop to sell, a touch to buy


@dataclass(frozen=True, slots=True)
class Quote:
    """Prices of one moment, in the instrument's currency."""

    bid: float
    ask: float
    last: float
    close: float


class PriceWalk:
    """The n-th price depends on the seed, the instrument and n, on nothing else."""

    __slots__ = ("_lowest", "_max_tick", "_middle", "_min_tick", "_random", "_tick", "quote")

    def __init__(self, seed: int, instrument: Instrument) -> None:
        self._random = random.Random(f"{seed}:{instrument.con_id}")  # noqa: S311 - a reproducible market, no secret
        self._tick = instrument.min_tick
        # A combination may cost less than nothing; everything else has a bid above zero.
        self._lowest = -math.inf if instrument.sec_type == "BAG" else 3
        self._middle = round(max(self._lowest, round(instrument.first_price / self._tick)))
        drift = max(abs(self._middle) * MAX_DRIFT, 3)
        self._min_tick = round(max(self._lowest, self._middle - drift))
        self._max_tick = round(self._middle + drift) + 3
        self.quote = self._quote_of(self._price(self._middle))

    def step(self) -> bool:
        """Move by one step; return whether the price changed."""
        move = self._random.choice(STEP_TICKS)
        middle = min(max(self._middle + move, self._min_tick), self._max_tick)
        if middle == self._middle:
            return False
        self._middle = middle
        self.quote = self._quote_of(self.quote.close)
        return True

    def move_to(self, price: float) -> None:
        """Put the middle at a price, rounded to a tick; the walk goes on from there."""
        self._middle = round(max(self._lowest, round(price / self._tick)))
        self._min_tick = min(self._min_tick, self._middle)
        self._max_tick = max(self._max_tick, self._middle)
        self.quote = self._quote_of(self.quote.close)

    def _quote_of(self, close: float) -> Quote:
        middle = self._middle
        return Quote(
            bid=self._price(middle - HALF_SPREAD_TICKS),
            ask=self._price(middle + HALF_SPREAD_TICKS),
            last=self._price(middle),
            close=close,
        )

    def _price(self, ticks: int) -> float:
        return round(ticks * self._tick, 6)


class WaitingOrders:
    """Orders of one instrument that wait for its price, found without looking at all of them.

    Four heaps, one for each way a price can reach a level. A cancelled or changed order stays in its heap as
    an entry with an outdated token until it surfaces, or until such entries are the majority.
    """

    __slots__ = ("_heaps", "_stale", "_token")

    def __init__(self) -> None:
        self._heaps: dict[Trigger, list[tuple[float, int, Order]]] = {trigger: [] for trigger in Trigger}
        self._token = 0
        self._stale = 0

    def add(self, order: Order, trigger: Trigger, price: float) -> None:
        """Let an order wait for a price."""
        self._token += 1
        order.waiting_token = self._token
        # The first to fire must be the smallest entry: a buy limit fires from the highest price down.
        key = -price if trigger in (Trigger.ASK_FALLS, Trigger.LAST_FALLS) else price
        heapq.heappush(self._heaps[trigger], (key, self._token, order))

    def remove(self, order: Order) -> None:
        """Forget an order that waits; harmless for one that does not."""
        if order.waiting_token:
            order.waiting_token = 0
            self._stale += 1
            if self._stale > 64 and self._stale * 2 > sum(map(len, self._heaps.values())):
                self._sweep()

    def crossed(self, quote: Quote) -> list[Order]:
        """Take out and return the orders whose price has come, best price first, then oldest first."""
        levels = {
            Trigger.ASK_FALLS: -quote.ask,
            Trigger.BID_RISES: quote.bid,
            Trigger.LAST_FALLS: -quote.last,
            Trigger.LAST_RISES: quote.last,
        }
        found: list[Order] = []
        for trigger, level in levels.items():
            heap = self._heaps[trigger]
            while heap and heap[0][0] <= level:
                _, token, order = heapq.heappop(heap)
                if order.waiting_token == token:
                    order.waiting_token = 0
                    found.append(order)
                else:
                    self._stale -= 1
        return found

    def _sweep(self) -> None:
        for heap in self._heaps.values():
            heap[:] = [entry for entry in heap if entry[2].waiting_token == entry[1]]
            heapq.heapify(heap)
        self._stale = 0


class Market:
    """Where one instrument is traded: its price, how much there is at it, and the orders that wait.

    Args:
        seed: The gateway's seed.
        instrument: What is traded.
        size: How many are bid and offered at each price step.
    """

    __slots__ = ("_trailing", "_waiting", "available", "hungry", "size", "walk")

    def __init__(self, seed: int, instrument: Instrument, size: float) -> None:
        self.walk = PriceWalk(seed, instrument)
        self.size = self.available = size
        self.hungry: list[Order] = []  # marketable, but there was not enough for them; oldest first
        self._waiting = WaitingOrders()
        self._trailing: list[Order] = []

    def far_side(self, order: Order) -> float:
        """Return the price that a market order is filled at."""
        return self.walk.quote.ask if order.sign > 0 else self.walk.quote.bid

    def marketable(self, order: Order) -> bool:
        """Tell whether an order's limit allows a fill now."""
        return order.sign * (order.limit_price - self.far_side(order)) >= 0

    def shares_for(self, order: Order) -> float:
        """Return how many of an order can be filled at this price step."""
        return min(order.remaining, self.available, order.slice_size or math.inf)

    def triggers(self, order: Order) -> bool:
        """Tell whether the price has reached a stop or touch price already."""
        last, level = self.walk.quote.last, self._trigger_level(order)
        return last >= level if _trigger_of(order) is Trigger.LAST_RISES else last <= level

    def wait_for_trigger(self, order: Order) -> None:
        """Let an order wait until its stop or touch price is reached."""
        if _trails(order):
            self._trailing.append(order)
        else:
            self._waiting.add(order, _trigger_of(order), order.ticket.aux_price or 0.0)

    def wait_for_limit(self, order: Order) -> None:
        """Let an order wait until the market comes to its limit."""
        self._waiting.add(order, Trigger.ASK_FALLS if order.sign > 0 else Trigger.BID_RISES, order.limit_price)

    def forget(self, order: Order) -> None:
        """Take an order out of every queue."""
        self._waiting.remove(order)
        for queue in (self.hungry, self._trailing):
            if order in queue:
                queue.remove(order)

    def crossed(self) -> list[Order]:
        """Take out and return the orders whose price has come, and let trailing stops follow it."""
        found = self._waiting.crossed(self.walk.quote)
        if self._trailing:
            reached = [order for order in self._trailing if self.triggers(order)]
            self._trailing = [order for order in self._trailing if order not in reached]
            found += reached
        return found

    def _trigger_level(self, order: Order) -> float:
        if not _trails(order):
            return order.ticket.aux_price or 0.0
        ticket, last = order.ticket, self.walk.quote.last
        distance = ticket.aux_price or last * (ticket.trail_percent or 0.0) / 100
        followed = last + order.sign * distance
        before = order.trail_stop if order.trail_stop is not None else ticket.trail_stop
        # A stop to sell only ever rises, one to buy only ever falls.
        order.trail_stop = followed if before is None else min(before, followed, key=lambda stop: order.sign * stop)
        if ticket.limit_offset is None and ticket.limit_price is not None and ticket.trail_stop is not None:
            # From now on the limit keeps the distance that it had.
            ticket.limit_offset = order.sign * (ticket.limit_price - ticket.trail_stop)
        return order.trail_stop


def _trails(order: Order) -> bool:
    return ORDER_KINDS[order.ticket.order_type].trigger == "trail"


def _trigger_of(order: Order) -> Trigger:
    """Return what a stop or touch order waits for: a stop runs with the price, a touch against it."""
    rises = (order.sign > 0) == (ORDER_KINDS[order.ticket.order_type].trigger != "touch")
    return Trigger.LAST_RISES if rises else Trigger.LAST_FALLS
