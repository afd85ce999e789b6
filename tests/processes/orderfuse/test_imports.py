"""What a strategy gets with the library."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_library_needs_only_its_own_dependencies() -> None:
    script = (
        "import sys; before = set(sys.modules); import orderfuse, logging\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not tops & {'ib_insync', 'eventkit', 'loguru', 'typer', 'rich'}, tops\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('orderfuse').handlers\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)
