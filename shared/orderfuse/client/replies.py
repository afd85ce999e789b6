"""Reading replies of `control` from a breaker of any version: what is missing or of another type counts as empty."""

from __future__ import annotations

from typing import Any


def a_map(value: Any) -> dict[str, Any]:
    """The map that another version may have left out, or made something else."""
    return value if isinstance(value, dict) else {}


def a_list(value: Any) -> list[Any]:
    """The list that another version may have left out, or made something else."""
    return value if isinstance(value, list) else []


def maps(value: Any) -> list[dict[str, Any]]:
    """The maps of a list."""
    return [entry for entry in a_list(value) if isinstance(entry, dict)]
