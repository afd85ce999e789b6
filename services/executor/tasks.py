"""Tasks that live and end together."""

from __future__ import annotations

import asyncio


async def until_one_ends(tasks: set[asyncio.Task[None]]) -> None:
    """Wait until one of the tasks ends, then end the others; raises what the first one raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
