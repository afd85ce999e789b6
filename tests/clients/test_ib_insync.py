"""ib_insync's part of the script, in the project's own environment; `make test-clients` plays all clients."""

from __future__ import annotations

import sys

from services.paper.wire.framing import SERVER_VERSION_MAX
from tests.clients.runs import play


def test_ib_insync_plays_the_whole_script_against_a_gateway_process() -> None:
    run = play("ib_insync", sys.executable, SERVER_VERSION_MAX)
    assert [f"{step.name}: {step.detail}" for step in run.steps if not step.ok] == []
    assert len(run.steps) > 20
    assert run.server_version == 176
