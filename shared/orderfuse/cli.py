"""The `orderfuse` command. What it can do is in `orderfuse.commands`, which needs typer and rich."""

from __future__ import annotations

import importlib.util
import sys

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command. Exit codes: 0 done, 1 refused, 2 usage, 3 nothing answers."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"The orderfuse command needs {' and '.join(missing)}: install them with\n"
            "    pip install 'orderfuse[cli]'\n"
        )
        sys.exit(2)
    try:
        from orderfuse.commands import app

        # Its name in messages and for completion, also where it is started as a module.
        app(prog_name="orderfuse")
    except KeyboardInterrupt:
        # Before the command has begun; nothing was asked yet. 130: ended by ctrl-C, as shells count it.
        sys.exit(130)


if __name__ == "__main__":
    main()
