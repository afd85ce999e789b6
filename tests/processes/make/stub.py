"""An interpreter of any version, for `make` to find: it makes empty environments and installs nothing.

    stub.py VERSION NOTES WRAPPER ARGUMENTS...

WRAPPER is the program on the PATH that calls it, and becomes the interpreter of the environments that it makes. NOTES
is a folder: `asked` gets a line for each module that is to be run, and files in it say how things go wrong there.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys
import time
from pathlib import Path


def main(version: str, notes: Path, wrapper: Path, arguments: list[str]) -> int:
    sys.version_info = (*map(int, version.split(".")), 0, "final", 0)  # type: ignore[assignment]
    if (notes / f"{version}-has-no-venv").exists():
        sys.modules["ensurepip"] = None  # type: ignore[assignment]
    match arguments:
        case ["-c", program]:
            exec(program, {})  # noqa: S102
        case ["-m", module, *rest]:
            with (notes / "asked").open("a") as file:
                file.write(f"{version} {module} {rest[-1] if rest else ''}".rstrip() + "\n")
            if module == "venv":
                make_environment(Path(rest[-1]), wrapper, clear="--clear" in rest)
            return go_wrong(notes / module, notes)
        case [program, *_]:
            sys.argv = arguments
            runpy.run_path(program)
        case _:
            pass
    return 0


def make_environment(folder: Path, wrapper: Path, *, clear: bool) -> None:
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "lib" / "python3.11" / "site-packages").mkdir(parents=True, exist_ok=True)
    shutil.copy(wrapper, folder / "bin" / "python")


def go_wrong(trouble: Path, notes: Path) -> int:
    """What the file with the module's name says: nothing, if there is none."""
    match trouble.read_text() if trouble.exists() else "":
        case "fails":
            sys.stderr.write("ERROR: its own words\n")
            return 1
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "takes its time":
            deadline = time.monotonic() + 60
            while not (notes / "enough").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        case _:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
