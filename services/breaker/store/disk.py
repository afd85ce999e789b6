"""How much of the disk the journals take, and what is left of it."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path


def look(home: Path) -> tuple[dict[str, int], int | None]:
    """Bytes of each journal with its logs, and bytes that are free; None where nobody can say."""
    sizes: dict[str, int] = {}
    for path in home.glob("*.sqlite*"):
        name = path.name.partition(".")[0]
        if path.name.endswith((".sqlite", ".sqlite-wal")):
            with contextlib.suppress(OSError):
                sizes[name] = sizes.get(name, 0) + path.stat().st_size
    try:
        return sizes, shutil.disk_usage(home).free
    except OSError:
        return sizes, None
