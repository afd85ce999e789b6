"""What leaves the life of a connection, in order, and what of it counts in IB's pacing. Pure."""

from __future__ import annotations

from services.gateway.frames import Frame, messages_in
from services.gateway.news import News, Out
from services.gateway.pacing import Pacer
from services.runtime.notes import Note


class Outgoing:
    """Puts together what the next batch takes: frames for the gateway, news for the owner, lines for the log.

    Args:
        messages_per_second: IB's pacing (`Pacer`).
    """

    def __init__(self, messages_per_second: int) -> None:
        self.pacer = Pacer(messages_per_second)
        self._out = Out()

    def send(self, frame: Frame, now: float) -> None:
        """Have a frame leave; the caller has looked whether the pacing has room for it."""
        for _ in range(messages_in(frame)):
            self.pacer.note(now)
        self._out.frames.append(frame)

    def tell(self, news: News) -> None:
        """Have the owner hear this."""
        self._out.news.append(news)

    def note(self, note: Note) -> None:
        """Have this written to the log."""
        self._out.notes.append(note)

    def take(self) -> Out:
        """What has come together since the last call."""
        out, self._out = self._out, Out()
        return out
