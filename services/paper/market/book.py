"""The orders of the paper account: by id, live and done, in groups; and the numbers that they use up."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

from services.paper.market.instruments import Instrument
from services.paper.market.orders import Order, Refusal, Status, Ticket

# A day of trading at IB's own pace of 50 messages a second is far less; 5 kB each keeps it below 500 MB.
MAX_DONE_ORDERS = 100_000

Key = tuple[int, int]  # client id, order id
# Stands for the clients that have not used an id yet.
_NEW_CLIENTS = -1


class Book:
    """Who asked for what, and what became of it. It knows no prices and fills nothing.

    Args:
        now: Wall-clock seconds; part of permanent ids, so that they do not come again after a restart.
    """

    def __init__(self, now: float) -> None:
        self.order_count = 0
        self.live: dict[int, Order] = {}  # by permanent id
        # Orders that changed since somebody last took them away to save them; None while nobody saves.
        self.changed: dict[int, Order] | None = None
        self._orders: dict[Key, Order] = {}
        # Younger orders with an order id that an older one has.
        self._twins: dict[Key, list[Order]] = {}
        self._done: deque[Order] = deque()
        self._highest_id: dict[int, int] = {}
        self._oca_groups: dict[str, list[Order]] = {}
        self._working: Counter[tuple[int, int]] = Counter()
        # A thousand permanent ids for each second: none comes twice within eleven days of restarts.
        self._perm_base = 1_000_000_000 + int(now) % 1_000_000 * 1000

    # ------------------------------------------------------------ ids

    def next_order_id(self, client_id: int) -> int:
        """Return one above the highest order id that the client has used."""
        return self._highest_id.get(client_id, self._highest_id.get(_NEW_CLIENTS, 0)) + 1

    def use_id(self, ticket: Ticket) -> None:
        """Note that an order id is used up, whatever becomes of the order."""
        client_id = ticket.client_id
        self._highest_id[client_id] = max(self.next_order_id(client_id) - 1, ticket.order_id)

    def refuse_id(self, ticket: Ticket, old: Order | None) -> Refusal | None:
        """Return why an order id cannot be used, None if it can."""
        if old is None:
            fresh = ticket.order_id >= self.next_order_id(ticket.client_id)
            return None if fresh else Refusal(103, "Duplicate order id")
        if old.live:
            return None
        if old.status is Status.FILLED:
            return Refusal(104, "Cannot modify a filled order.")
        return Refusal(103, "Duplicate order id")

    def roll_back_ids(self, count: int) -> None:
        """Let the next order ids be lower than they were, as IB has done after a restart.

        Done orders above them no longer hold their ids; live ones do, so that a new order with such an id
        changes the live one.
        """
        for client_id, highest in self._highest_id.items():
            self._set_highest(client_id, max(0, highest - count))

    def set_next_id(self, order_id: int, client_id: int | None = None) -> None:
        """Let the next order id of one client, or of all, be this one; if it is lower, as if rolled back."""
        for client in [_NEW_CLIENTS, *self._highest_id] if client_id is None else [client_id]:
            self._set_highest(client, order_id - 1)

    def _set_highest(self, client_id: int, highest: int) -> None:
        if highest < self._highest_id.get(client_id, 0):
            for key, order in list(self._orders.items()):
                if key[0] == client_id and key[1] > highest:
                    for done in [each for each in (order, *self._twins.get(key, ())) if not each.live]:
                        self._let_go(done)
        self._highest_id[client_id] = highest

    def highest_ids(self) -> dict[int, int]:
        """Return the highest order id of each client."""
        return dict(self._highest_id)

    def restore_ids(self, highest: dict[int, int]) -> None:
        """Take over highest order ids from before a restart."""
        self._highest_id.update(highest)

    # ------------------------------------------------------------ questions

    def all_orders(self) -> list[Order]:
        """Return the live orders, then those that ended, without the ones that were forgotten."""
        return [*self.live.values(), *self._done]

    def find(self, client_id: int, order_id: int) -> Order | None:
        """Return an order by the ids that the client knows: of several, the oldest that is live."""
        order = self._orders.get((client_id, order_id))
        if order is None or order.live or order.key not in self._twins:
            return order
        return next((twin for twin in self._twins[order.key] if twin.live), order)

    def parent_of(self, order: Order) -> Order | None:
        """Return the order whose child this one is, None for none."""
        return self._orders.get((order.ticket.client_id, order.ticket.parent_id)) if order.ticket.parent_id else None

    def open_orders(self, client_id: int | None = None) -> list[Order]:
        """Return the transmitted live orders of one client, or of all, oldest first."""
        return [order for order in self.live.values() if not order.held and client_id in (None, order.ticket.client_id)]

    def completed_orders(self, since: float) -> list[Order]:
        """Return the orders that ended at or after a moment, oldest first."""
        return [order for order in self._done if order.done_at >= since]

    def working(self, instrument: Instrument, sign: int) -> int:
        """Return how many live orders one contract has on one side."""
        return self._working[instrument.con_id, sign]

    def rivals(self, order: Order) -> Iterator[Order]:
        """Yield the orders that end when this one is filled: its group's, and its siblings in a bracket."""
        yield from self.group_of(order)
        parent = self.parent_of(order)
        if parent is not None:
            yield from parent.children or ()

    def group_of(self, order: Order) -> list[Order]:
        """Return the orders of its OCA group, itself among them."""
        return list(self._oca_groups.get(order.ticket.oca_group, ()))

    # ------------------------------------------------------------ orders come, change and go

    def create(self, ticket: Ticket, instrument: Instrument, *, twin: bool = False) -> Order:
        """Return a new order with a permanent id; a `twin` shares its order id with an older one."""
        self.order_count += 1
        order = Order(
            ticket=ticket,
            instrument=instrument,
            perm_id=self._perm_base + self.order_count,
            sequence=self.order_count,
            twin=twin,
        )
        self._register(order)
        return order

    def add_live(self, order: Order) -> None:
        """Take an order that can be filled from now on."""
        self._register(order)
        self.live[order.perm_id] = order
        self._working[order.instrument.con_id, order.sign] += 1
        if order.ticket.oca_group:
            self._oca_groups.setdefault(order.ticket.oca_group, []).append(order)
        parent = self.parent_of(order)
        if parent is not None:
            parent.children = [*(parent.children or ()), order]
        self.touch(order)

    def replace_ticket(self, order: Order, ticket: Ticket) -> None:
        """Let a live order be what its client asks for now."""
        self._leave_group(order)
        order.ticket = ticket
        if ticket.oca_group:
            self._oca_groups.setdefault(ticket.oca_group, []).append(order)
        self.touch(order)

    def touch(self, order: Order) -> None:
        """Note that an order has changed."""
        if self.changed is not None:
            self.changed[order.perm_id] = order

    def finish(self, order: Order, status: Status, now: float, text: str) -> None:
        """End an order."""
        order.status = status
        order.done_at = now
        order.done_text = text
        self._end(order)
        group = self._oca_groups.get(order.ticket.oca_group)
        if group is not None and not any(member.live for member in group):
            del self._oca_groups[order.ticket.oca_group]
        self._keep_done(order)
        self.touch(order)

    def vanish(self, order: Order) -> None:
        """Let a live order be gone, as if it had never been; its id stays used."""
        order.status = Status.CANCELLED
        order.vanished = True
        self._end(order)
        self._leave_group(order)
        self._let_go(order)
        self.touch(order)

    def _end(self, order: Order) -> None:
        order.shown, order.why_held = None, ""
        if self.live.pop(order.perm_id, None) is not None:
            self._working[order.instrument.con_id, order.sign] -= 1

    def revive(self, order: Order) -> None:
        """Let an order that had ended be filled after all."""
        self._done.remove(order)
        order.status = Status.SUBMITTED
        order.cancelling = False
        self.add_live(order)

    def restore(self, order: Order) -> None:
        """Take over an order from before a restart, in the order of their sequence."""
        self.order_count = max(self.order_count, order.sequence)
        self._register(order)
        if order.live:
            self.add_live(order)
        else:
            self._keep_done(order)

    def forget_done(self) -> None:
        """Forget what has ended, as IB does at midnight; the ids stay used."""
        for order in self._done:
            self._let_go(order)
        self._done.clear()

    def _keep_done(self, order: Order) -> None:
        self._done.append(order)
        while len(self._done) > MAX_DONE_ORDERS:
            self._let_go(self._done.popleft())

    def _register(self, order: Order) -> None:
        """Let an order be found by its order id."""
        older = self._orders.get(order.key)
        if not order.twin or older is None or older is order:
            self._orders[order.key] = order
        elif order not in self._twins.setdefault(order.key, []):
            self._twins[order.key].append(order)

    def _let_go(self, order: Order) -> None:
        """Let an order no longer be found by its order id; the next one that has it takes its place."""
        twins = self._twins.get(order.key, [])
        if self._orders.get(order.key) is order:
            del self._orders[order.key]
            if twins:
                self._orders[order.key] = twins.pop(0)
        elif order in twins:
            twins.remove(order)
        if not twins:
            self._twins.pop(order.key, None)

    def _leave_group(self, order: Order) -> None:
        group = self._oca_groups.get(order.ticket.oca_group)
        if group is not None and order in group:
            group.remove(order)
            if not group:
                del self._oca_groups[order.ticket.oca_group]
