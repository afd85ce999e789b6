"""Wheels of what is installed here, packed again from their records: pip resolves and installs without an index."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pack(requirements: Iterable[str], extra: str, folder: Path) -> None:
    """Put a wheel of each requirement, and of each that follows from it, into the folder."""
    todo, packed = wanted(requirements, extra), set[str]()
    while todo:
        name = canonicalize_name(todo.pop())
        if name not in packed:
            packed.add(name)
            found = distribution(name)
            pack_one(found, folder)
            todo += wanted(found.requires or (), "")


def wanted(requirements: Iterable[str], extra: str) -> list[str]:
    read = map(Requirement, requirements)
    return [one.name for one in read if one.marker is None or one.marker.evaluate({"extra": extra})]


def pack_one(found: Distribution, folder: Path) -> None:
    tags = [line.removeprefix("Tag: ") for line in (found.read_text("WHEEL") or "").splitlines() if line[:4] == "Tag:"]
    name = f"{canonicalize_name(found.metadata['Name']).replace('-', '_')}-{found.version}-{tags[-1]}.whl"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file in found.files or ():
            # Neither what pip has made here, such as commands and compiled files, nor its notes about it.
            if ".." not in file.parts and "__pycache__" not in file.parts and file.name not in {"RECORD", "INSTALLER"}:
                wheel.write(str(file.locate()), file.as_posix())
        (record,) = (file for file in found.files or () if file.name == "RECORD")
        wheel.writestr(record.as_posix(), "")
