"""One pipeline for all programs of the page; each test leaves it working."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.processes.pipeline.pipeline import DEADLINE_SECS, Pipeline, running
from tests.processes.pipeline.raw import RawProgram


@pytest.fixture(scope="package")
def pipeline() -> Iterator[Pipeline]:
    with running("paper", "executor", "breaker") as started:
        wait_trading(started)
        yield started


def wait_trading(pipeline: Pipeline) -> None:
    """Wait until the next order would pass."""
    with RawProgram(pipeline.home) as raw:
        raw.wait_trading(secs=DEADLINE_SECS)
