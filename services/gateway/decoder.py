"""ib_insync's decoder made strict: a message that it cannot read is reported, not swallowed."""

# The methods have ib_insync's names; each is about the message of that name.
# ruff: noqa: D102, N802
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from services.gateway.ears import Ears, Sink, check_ids
from services.gateway.fence import Decoder
from services.gateway.reports import OpenOrderReport, Unreadable

# Where the time stands in execDetails. Nobody here uses it, and one with a zone that this machine does not
# know would cost the whole execution; a plain number of seconds is always readable.
_EXEC_TIME_FIELD = 15
# Where `orderRef` stands in openOrder, execDetails and completedOrder: far enough in front to be readable.
_ORDER_REF_FIELD = {5: 23, 11: 26, 101: 22}
# The message openOrder, and where it says whose order it is: in front of all that newer gateways have added.
_OPEN_ORDER = 5
_ORDER_ID_FIELD, _CON_ID_FIELD, _SYMBOL_FIELD, _ACCOUNT_FIELD, _CLIENT_ID_FIELD, _PERM_ID_FIELD = 1, 2, 3, 20, 24, 25
# Stands for the terms of an order that cannot be read.
_NOT_READ = "?"
# What fits into the numbers of a message.
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class StrictDecoder(Decoder):  # type: ignore[misc]  # ib_insync has no types
    """ib_insync's decoder logs what it cannot read and goes on; here it is a report."""

    def __init__(self, ears: Ears, sink: Sink) -> None:
        super().__init__(ears, 0)
        self._sink = sink

    def interpret(self, fields: list[str]) -> None:
        try:
            message_id = int(fields[0])
            handler = self.handlers.get(message_id)
            if handler:
                handler(fields)
        except Exception as error:  # noqa: BLE001 - any failure to read means the same: something was missed
            # Whatever gets past here eventkit swallows, a failed assertion too: told as unread, a person hears of it.
            self._unreadable(fields, error)

    def wrap(self, methodName: str, types: list[type], skip: int = 2) -> Callable[[list[str]], None]:  # noqa: N803
        """ib_insync's own swallows errors here too."""

        def handler(fields: list[str]) -> None:
            method = getattr(self.wrapper, methodName)
            values = [_converted(kind, text) for kind, text in zip(types, fields[skip:], strict=False)]
            if len(values) < len(types):
                raise ValueError(f"{methodName} has {len(values)} fields, expected are {len(types)}")
            method(*values)

        return handler

    def execDetails(self, fields: list[str]) -> None:
        fields[_EXEC_TIME_FIELD] = "0"
        super().execDetails(fields)

    def _unreadable(self, fields: list[str], error: Exception) -> None:
        message_id = int(fields[0]) if fields and fields[0].isdigit() else -1
        at = _ORDER_REF_FIELD.get(message_id, len(fields))
        order_ref = fields[at] if at < len(fields) else None
        order = _unread_order(fields, order_ref or "") if message_id == _OPEN_ORDER else None
        text = f"{type(error).__name__}: {error}; {'|'.join(fields)[:200]}"
        self._sink(Unreadable(message_id, text, order_ref, order))


def _unread_order(fields: list[str], order_ref: str) -> OpenOrderReport:
    """Whose order an openOrder is about that cannot be read: 0 and empty what is missing there too."""
    text = dict(enumerate(fields))

    def whole(at: int) -> int:
        said = text.get(at, "")
        return int(said) if _WHOLE.fullmatch(said) else 0

    return OpenOrderReport(
        ib_order_id=whole(_ORDER_ID_FIELD),
        perm_id=whole(_PERM_ID_FIELD),
        client_id=whole(_CLIENT_ID_FIELD),
        order_ref=order_ref,
        account=text.get(_ACCOUNT_FIELD, ""),
        status="",
        quantity=0.0,
        action=_NOT_READ,
        order_type=_NOT_READ,
        con_id=whole(_CON_ID_FIELD),
        symbol=text.get(_SYMBOL_FIELD, ""),
    )


def _converted(kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        return bool(int(text or 0))
    number = kind(text or 0)
    if kind is int:
        check_ids(number)
    return number
