"""`orderfuse paper ...`, with a gateway that answers as told."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes.orderfuse.clisupport import DONE, NOTHING_ANSWERS, REFUSED, run
from tests.processes.orderfuse.wire import DEADLINE_S


@contextmanager
def paper_gateway(home: Path, *answers: bytes) -> Iterator[list[Any]]:
    """Answers each connection with the next of `answers`; yields what was asked."""
    path = home / "links" / "paper"
    path.parent.mkdir(exist_ok=True)
    asked: list[Any] = []

    def serve() -> None:
        for answer in answers:
            peer, _ = server.accept()
            with peer, peer.makefile("rwb") as stream:
                asked.append(json.loads(stream.readline()))
                stream.write(answer)
                stream.flush()

    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(DEADLINE_S)
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        thread.join(DEADLINE_S)


def test_paper_reject_arms_the_rejections(home: Path) -> None:
    with paper_gateway(home, b'{"ok": true}\n', b'{"ok": false, "error": "count is 0"}\n') as asked:
        result = run(home, "paper", "reject", "--count", "3", "--code", "203", "--text", "not allowed")
        assert result.exit_code == DONE
        assert "203" in result.output

        result = run(home, "paper", "reject")
        assert result.exit_code == REFUSED
        assert "count is 0" in result.output
    assert asked[0] == {"op": "reject", "count": 3, "code": 203, "text": "not allowed"}


def test_paper_status_prints_the_reply(home: Path) -> None:
    with paper_gateway(home, b'{"ok": true, "orders": 3}\n') as asked:
        result = run(home, "paper", "status")
    assert json.loads(result.stdout) == {"ok": True, "orders": 3}
    assert asked == [{"op": "status"}]


@pytest.mark.parametrize("answer", [b"", b"nonsense\n", b'{"ok": true}'[:5]])
def test_a_paper_gateway_that_talks_nonsense_does_not_answer(home: Path, answer: bytes) -> None:
    with paper_gateway(home, answer):
        assert run(home, "paper", "status").exit_code == NOTHING_ANSWERS
