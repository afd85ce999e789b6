"""The whole pipeline and one strategy, from the moment at which orders pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes.pipeline.pipeline import SERVICES, Pipeline, running
from tests.processes.pipeline.raw import RawProgram


@contextmanager
def trading(strategy_id: str = "raw", **settings: str) -> Iterator[tuple[Pipeline, RawProgram]]:
    """Real processes in a home of their own, and a program of this strategy that may trade."""
    with running(*SERVICES, **settings) as pipeline, RawProgram(pipeline.home, strategy_id) as program:
        program.ready()
        program.wait_trading()
        yield pipeline, program
