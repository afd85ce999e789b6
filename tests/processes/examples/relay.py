"""A link `events` that loses what a test wants lost: a home folder beside the breaker's, for one program."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import zmq

Event = dict[str, Any]


class Relay:
    """Passes on each event of the breaker for which `loses` is false; all other links are the breaker's own."""

    def __init__(self, breaker_home: Path, loses: Callable[[Event], bool]) -> None:
        self.loses = loses
        # Short, since the path of a socket has few bytes.
        self.home = Path(tempfile.mkdtemp(prefix="of-r-"))
        links = self.home / "links"
        links.mkdir()
        for name in ("orders", "control"):
            (links / name).symlink_to(breaker_home / "links" / name)
        self._over = threading.Event()
        self._context = zmq.Context()
        self._incoming = self._context.socket(zmq.SUB)
        self._incoming.subscribe("")
        self._incoming.connect(f"ipc://{breaker_home}/links/events")
        self._outgoing = self._context.socket(zmq.PUB)
        self._outgoing.bind(f"ipc://{links}/events")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            if self._incoming.poll(20):
                frames = self._incoming.recv_multipart()
                if not self.loses(msgpack.unpackb(frames[1])):
                    self._outgoing.send_multipart(frames)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._context.destroy(linger=0)
        shutil.rmtree(self.home)


@contextmanager
def losing(breaker_home: Path, loses: Callable[[Event], bool]) -> Iterator[Relay]:
    relay = Relay(breaker_home, loses)
    try:
        yield relay
    finally:
        relay.close()
