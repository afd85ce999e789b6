"""The `orderfuse` command. What it can do is in `orderfuse.cli.commands`, which needs typer and rich."""

from __future__ import annotations

import importlib.util
import sys

from orderfuse.exit_codes import INTERRUPTED, USAGE

_NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command, and end with its exit code (`orderfuse.exit_codes`)."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"The orderfuse command needs {' and '.join(missing)}: install them with\n"
            "    pip install 'orderfuse[cli]'\n"
        )
        sys.exit(USAGE)
    try:
        from orderfuse.cli.commands import app

        # Its name in messages and for completion, also where it is started as a module.
        app(prog_name="orderfuse")
    except KeyboardInterrupt:
        # Before the command has begun; nothing was asked yet.
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
