"""The exceptions a strategy may meet: one class for each way an order can end without being sent.

They share the base `OrderError`, so that `except OrderError` catches every answer that is not "passed".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orderfuse.text import plain

if TYPE_CHECKING:
    from orderfuse.bus.events import Blocked, Expired, Invalid


class OrderError(Exception):
    """The order was not passed, or nobody can say whether it was. `order_id` names it where one was known."""

    order_id: str = ""


class OrderBlocked(OrderError):
    """Our own no: the order was not sent and never will be. The broker's no is called *rejected*.

    Attributes:
        order_id: the order.
        code: why, for programs (`rate_limit`, `queue_full`, `cancelled`, ...).
        reason: why, for people.
        event: the `blocked` event, with scope, state and retry time. None if no event said so.
    """

    def __init__(
        self,
        message: str = "",
        *,
        order_id: str = "",
        code: str = "",
        reason: str = "",
        event: Blocked | None = None,
    ) -> None:
        super().__init__(message)
        self.order_id = order_id
        self.code = code
        self.reason = reason or message
        self.event = event


class OrderInvalid(OrderError):
    """The message or the IB order is not valid; nothing went to IB. The text names the field, its value and the range.

    Attributes:
        order_id: the order.
        reason: what is wrong.
        event: the breaker's `invalid` event; None if the order was refused here, before it was sent.
    """

    def __init__(self, reason: str, *, order_id: str = "", event: Invalid | None = None) -> None:
        super().__init__(reason)
        self.order_id = order_id
        self.reason = reason
        self.event = event


class OrderExpired(OrderError):
    """The order was too old at its turn and was not sent.

    Attributes:
        order_id: the order.
        age_ms: how old it was.
        event: the `expired` event.
    """

    def __init__(self, message: str, *, order_id: str = "", age_ms: int = 0, event: Expired | None = None) -> None:
        super().__init__(message)
        self.order_id = order_id
        self.age_ms = age_ms
        self.event = event


class OrderUnacknowledged(OrderError):
    """No answer came in time.

    Attributes:
        order_id: the order.
        maybe_at_ib: True if IB may have the order now, or may get it; the text says which.
            False if it is certain that the order can no longer pass.
    """

    def __init__(self, message: str, *, order_id: str = "", maybe_at_ib: bool = True) -> None:
        super().__init__(message)
        self.order_id = order_id
        self.maybe_at_ib = maybe_at_ib


class CancelRefused(OrderError):
    """The breaker does not take this cancel.

    Attributes:
        order_id: the order.
        code: why, for programs.
        reason: why, for people.
    """

    def __init__(self, message: str, *, order_id: str = "", code: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.order_id = order_id
        self.code = code
        self.reason = reason


class ReplaceRefused(OrderError):
    """The breaker does not take this replace.

    Attributes:
        order_id: the order.
        code: why, for programs.
        reason: why, for people.
    """

    def __init__(self, message: str, *, order_id: str = "", code: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.order_id = order_id
        self.code = code
        self.reason = reason


class ReportsMissing(OrderError):
    """Events of this strategy are lost, or could not be read: what it believes of its orders may be wrong."""


class BreakerUnavailable(OrderError):
    """No breaker answers. What was to be sent was not sent, unless the text says otherwise.

    Attributes:
        sent: True if a request reached a breaker that then did not answer: it may still do what was asked.
    """

    def __init__(self, message: str = "", *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class UsedAfterFork(OrderError, RuntimeError):
    """It was made before a fork and is used in the child, where its sockets and locks do not work: nothing was sent.

    Make another one in the child (`multiprocessing` with `spawn` makes whatever its function makes).
    """


class ControlRefused(Exception):
    """The breaker answered a request on `control` with a no.

    Attributes:
        code: `bad_request`, `unknown_op`, `stale`, `not_allowed`, `internal` or `unreadable`.
        reason: why, for people.
    """

    def __init__(self, reason: str, *, code: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


# Longer than any text about settings but one: a list of every order field that may be opened.
_MAX_SETTINGS_TEXT = 2000


class SettingsError(Exception):
    """A setting that cannot be used. The text names the setting, the value, what is allowed and what to do."""

    def __init__(self, text: str) -> None:
        # A name in it may be whatever stands in a file or an environment.
        super().__init__(plain(text, _MAX_SETTINGS_TEXT))
