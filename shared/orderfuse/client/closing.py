"""What a client's classes have in common: each is a context manager that closes itself."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """A context manager: `with` ends it by `close`."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all links; a second time does nothing."""
        raise NotImplementedError
