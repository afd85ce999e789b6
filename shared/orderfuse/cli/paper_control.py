"""Talking to the paper gateway beside IB's protocol: JSON lines over a unix socket, for faults on command."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orderfuse.errors import ControlRefused

# It runs on this machine and answers from memory.
DEADLINE_S = 1.0
MAX_REPLY_BYTES = 1024 * 1024


class PaperUnavailable(Exception):
    """No paper gateway answers."""


def ask_paper(home: Path, op: str, *, deadline_s: float = DEADLINE_S, **fields: Any) -> dict[str, Any]:
    """Send one request and return the reply.

    Raises:
        PaperUnavailable: no answer within `deadline_s`.
        ControlRefused: the answer is no.
    """
    path = home / "links" / "paper"
    line = json.dumps({"op": op, **fields}).encode() + b"\n"
    try:
        answer = _exchange(path, line, deadline_s)
    except OSError as error:
        raise _unavailable(path, error) from None
    return _checked(answer, path)


def follow_paper(home: Path) -> Iterator[str]:
    """Yield every message of the gateway's wire, as a line of JSON, until the gateway ends.

    Raises:
        PaperUnavailable: no answer within a second.
        ControlRefused: the answer is no, or the gateway has dropped a reader that was too slow.
    """
    path = home / "links" / "paper"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(DEADLINE_S)
        try:
            connection.connect(str(path))
            connection.sendall(b'{"op": "follow"}\n')
            lines = connection.makefile("r", encoding="utf-8")
            _checked(lines.readline(), path)
        except OSError as error:
            raise _unavailable(path, error) from None
        # Between two messages hours may pass.
        connection.settimeout(None)
        for line in lines:
            if line.startswith('{"ok"'):
                _checked(line, path)
            yield line.rstrip("\n")


def _checked(line: str | bytes, path: Path) -> dict[str, Any]:
    """Read a reply, or raise what it means."""
    try:
        reply = json.loads(line)
    except ValueError as error:
        raise _unavailable(path, error) from None
    if not isinstance(reply, dict) or reply.get("ok") is not True:
        reason = reply.get("error") if isinstance(reply, dict) else None
        raise ControlRefused(str(reason or reply))
    return reply


def _unavailable(path: Path, error: Exception) -> PaperUnavailable:
    return PaperUnavailable(f"no paper gateway answers at {path}: {error}")


def _exchange(path: Path, line: bytes, deadline_s: float) -> bytes:
    deadline = time.monotonic() + deadline_s
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(deadline_s)
        connection.connect(str(path))
        connection.sendall(line)
        while not answer.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or len(answer) > MAX_REPLY_BYTES:
                raise TimeoutError(f"no whole line came within {deadline_s:g} s")
            connection.settimeout(left_s)
            received = connection.recv(65_536)
            if not received:
                break
            answer += received
    return answer
