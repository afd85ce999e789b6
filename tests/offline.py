"""What holds in `tests/unit` and `tests/simulation`: whoever opens a socket, or starts a process, gets an error."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

OPENING = (
    (socket.socket, "bind"),
    (socket.socket, "connect"),
    (zmq.Socket, "bind"),
    (zmq.Socket, "connect"),
    (subprocess.Popen, "__init__"),
    (os, "fork"),
)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is opened, and nothing started, while a test runs."""
    with monkeypatch.context() as patch:
        for owner, name in OPENING:
            patch.setattr(owner, name, refusing(name))
        yield


def refusing(name: str) -> Any:
    """What stands in for a call of this name."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail(f"this test opens or starts something ({name}): its place is tests/processes")

    return refuse
