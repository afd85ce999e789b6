"""What keeps a gateway from being of use, in words for people, and what a person does about it. Pure."""

from __future__ import annotations

# An error carries the id of an order or of a request: two ranges, so that nobody must guess which. IB takes 31 bits,
# and a client that numbers by the seconds since 1970 (1767693324, rust-ibapi issue 365) has the next id far up there:
# requests need few numbers, so they get those at the top.
FIRST_REQUEST_ID = 2_147_000_000
# One below the highest, which ib_insync takes for "no number" and leaves out.
LAST_REQUEST_ID = 2**31 - 2
# Up to here our next order id stays above those of other orders: with our client id, and of other clients. A step up is
# never taken back, and what remains above must be enough: for the first 147 million, 45 orders a second for a month.
OURS_FOLLOWED_BELOW, OTHERS_FOLLOWED_BELOW = 2_000_000_000, 500_000_000

LISTS = {"open_orders": "open orders", "executions": "executions", "completed_orders": "completed orders"}

_CHECK = "check ib.host and ib.port (ORDERFUSE_IB__PORT), and that the API is switched on there"
_RESTART = "restart TWS or IB Gateway: another request for that list is pending there, and no new connection ends it"


class Trouble(ConnectionError):
    """The gateway cannot be used.

    Attributes:
        remedy: what a person does about it; the text ends with it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.remedy = remedy


def next_request_id(last: int) -> int:
    """The number of the request behind the one that had `last`."""
    return last + 1 if FIRST_REQUEST_ID <= last < LAST_REQUEST_ID else FIRST_REQUEST_ID


def is_request(number: int) -> bool:
    """Whether an error with this number is about a request, not about an order."""
    return number >= FIRST_REQUEST_ID


def out_of_range(order_id: int, used_here: int) -> Trouble | None:
    """What is wrong with this as the next order id, if anything.

    Args:
        order_id: the next one.
        used_here: the highest that our own journal has used.
    """
    if order_id < FIRST_REQUEST_ID:
        return None
    if used_here + 1 >= FIRST_REQUEST_ID:
        return Trouble(
            f"the journal of this executor has used order ids up to {used_here}, and all are below {FIRST_REQUEST_ID}",
            "give it an ORDERFUSE_HOME of its own with another ib.client_id, once none of its orders works any more",
        )
    return Trouble(
        f"IB's next order id is {order_id}, allowed are ids below {FIRST_REQUEST_ID}",
        # TWS does it only while no API order is active (TWS API, "The Next Valid Identifier").
        "reset the API order id sequence in TWS or IB Gateway (Global Configuration, API, Settings) while no order of "
        "the API is active",
    )


class Unended:
    """The lists that a gateway was asked for and did not give, over all connections, until it gives them."""

    def __init__(self) -> None:
        self._tries: dict[str, int] = {}
        self._trouble: dict[str, Trouble] = {}

    def on_missing(self, what: str, waited_secs: float) -> Trouble:
        """A list has not ended in time."""
        return self._note(what, f"has not ended within {waited_secs:g} s", _RESTART)

    def on_refused(self, what: str, said: str) -> Trouble:
        """IB does not give a list, and has said why."""
        return self._note(what, f"was refused ({said})", "see what it says, and restart TWS or IB Gateway")

    def _note(self, what: str, how: str, remedy: str) -> Trouble:
        tries = self._tries[what] = self._tries.get(what, 0) + 1
        trouble = self._trouble[what] = Trouble(f"IB's list of {LISTS[what]} {how}, tried {_times(tries)}", remedy)
        return trouble

    def on_end(self, what: str) -> None:
        """A list was given to its end."""
        self._tries.pop(what, None)
        self._trouble.pop(what, None)

    @property
    def trouble(self) -> Trouble | None:
        """What is still missing."""
        return next(iter(self._trouble.values()), None)


def client_id_in_use(client_id: int) -> Trouble:
    """IB says so: its code 326."""
    return Trouble(
        f"ib.client_id {client_id} is in use: another program is connected with it",
        "end that program; the id stays, since only it can cancel the orders placed with it",
    )


def unreachable(waited_secs: float, tries: int) -> Trouble:
    """Not even the network answers."""
    what = f"nobody takes the connection there within {waited_secs:g} s{_often(tries)}"
    return Trouble(what, "check ib.host and ib.port (ORDERFUSE_IB__PORT), and what lies between: a firewall, a network")


def no_gateway(waited_secs: float, tries: int) -> Trouble:
    """Something listens and says nothing that TWS or IB Gateway says."""
    what = f"what listens there did not answer as TWS or IB Gateway within {waited_secs:g} s{_often(tries)}"
    return Trouble(what, _CHECK)


def closed_at_once() -> Trouble:
    """Something listens, and ended the connection without a word of TWS or IB Gateway."""
    return Trouble("what listens there closed the connection at once", _CHECK)


def too_old(version: int, needed: int) -> Trouble:
    """It answered, with a version of IB's protocol that ib_insync does not speak."""
    return Trouble(
        f"the gateway is too old (server version {version}, needed is {needed} or higher)",
        "update TWS or IB Gateway",
    )


def not_logged_in(missing: str, waited_secs: float, tries: int) -> Trouble:
    """It answered as a gateway, and `missing` is what it has not named, as one that nobody has logged in to."""
    what = f"the gateway answers, but has named no {missing} within {waited_secs:g} s{_often(tries)}"
    return Trouble(f"{what}: it is not logged in yet", "log in there, and answer what its windows ask")


def turned_away() -> Trouble:
    """It answered as a gateway, and ended the connection before it had named what an order needs."""
    return Trouble(
        "the gateway answered, and closed the connection before it had named an account and an order id",
        "look there: is it logged in, does a window ask whether to accept the connection, is ib.client_id in use?",
    )


def _often(tries: int) -> str:
    return f" (tried {_times(tries)})" if tries > 1 else ""


def _times(tries: int) -> str:
    return "once" if tries == 1 else f"{tries} times"
