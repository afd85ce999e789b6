"""ib_insync can be imported behind its fence on every version of Python, and no event loop is left open by it."""

from __future__ import annotations

import subprocess
import sys

from tests.processes.pipeline.pipeline import DEADLINE_SECS, ROOT


def said_by(script: str) -> str:
    """What a fresh interpreter complains of while it runs the script."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECS,
        check=False,
    )
    return done.stderr


def test_ib_insync_is_lent_an_event_loop_that_nobody_has_to_close() -> None:
    assert said_by("import services.gateway.ib_client, eventkit.util as e; assert e.main_event_loop.is_closed()") == ""


def test_the_lent_event_loop_is_in_nobodys_way() -> None:
    script = (
        "import asyncio, services.gateway.ib_client as client\n"
        "from ib_insync.util import getLoop\n"
        "async def own(): return getLoop() is asyncio.get_running_loop()\n"
        "assert asyncio.run(own()) and asyncio.run(own())\n"
    )
    assert said_by(script) == ""


def test_a_loop_that_runs_already_stays_what_it_is() -> None:
    script = (
        "import asyncio\n"
        "async def late():\n"
        "    import services.gateway.ib_client, eventkit.util as e\n"
        "    loop = asyncio.get_running_loop()\n"
        "    assert asyncio.get_event_loop() is loop is e.main_event_loop\n"
        "asyncio.run(late())\n"
    )
    assert said_by(script) == ""
