"""The `orderfuse` command. What it can do is in `commands`, which needs typer and rich."""
