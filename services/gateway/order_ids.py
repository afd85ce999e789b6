"""IB's order ids: above every one ever used here, and never back. Pure.

IB has given ids anew after a restart of a gateway, and a reissued id turns a new order into a change of an old one.
"""

from __future__ import annotations

from services.gateway import diagnosis
from services.gateway.diagnosis import OTHERS_FOLLOWED_BELOW, OURS_FOLLOWED_BELOW, Trouble


class OrderIds:
    """The next order id of one client id.

    Args:
        used: the highest that was ever used here.
    """

    def __init__(self, used: int) -> None:
        self._used = used
        self.next = 0
        # Since when there is no id for the next order, monotonic seconds.
        self._short_since: float | None = None

    def on_connection(self) -> None:
        """A new connection: the gateway says anew which id is next."""
        self.next, self._short_since = 0, None

    def on_told(self, order_id: int) -> None:
        """The gateway has said which id is next."""
        self.next = max(self.next, order_id)

    def on_seen(self, order_id: int, *, ours: bool) -> None:
        """IB has shown an order with this id. `ours`: with our client id.

        Ours may have been placed by somebody else, or before a journal was lost. And who lists the open orders of all
        clients must stay above theirs (IB, "The Next Valid Identifier"). But not where that would use up our own
        numbers: up there we take IB's word for the next id, and no other's.
        """
        if order_id < (OURS_FOLLOWED_BELOW if ours else OTHERS_FOLLOWED_BELOW):
            self.next = max(self.next, order_id + 1)

    def go_on(self) -> None:
        """All is named that a connection needs: from now on the next id is above those that were used."""
        self.next = max(self.next, self._used + 1)

    def take(self) -> int:
        """The id for the next order.

        Raises:
            Trouble: none is left.
        """
        order_id = max(self.next, self._used + 1)
        assert order_id > self._used, f"IB's order id {order_id} was used before"
        trouble = diagnosis.out_of_range(order_id, self._used)
        if trouble:
            raise trouble
        self._used = order_id
        self.next = order_id + 1
        return order_id

    def on_kept(self, order_id: int) -> None:
        """An order with this id is in the journal: it was found at IB, or an earlier journal had placed it."""
        self._used = max(self._used, order_id)

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong with the next id, if anything."""
        return diagnosis.out_of_range(self.next, self._used)

    def short_for(self, now: float) -> float:
        """How long there has been none for the next order; 0 while there is one."""
        if self.trouble is None:
            self._short_since = None
            return 0.0
        self._short_since = now if self._short_since is None else self._short_since
        return now - self._short_since
