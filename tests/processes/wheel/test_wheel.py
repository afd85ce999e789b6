"""What somebody gets who installs the library: it alone, typed, and of use beside a pipeline that runs elsewhere."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from orderfuse.version import __version__
from tests.processes.pipeline.pipeline import ROOT, running
from tests.processes.pipeline.raw import RawProgram
from tests.processes.wheel.conftest import Installed, metadata_of, requirements_of

HERE = Path(__file__).parent
SOURCES = ROOT / "shared" / "orderfuse"
# Building, and making the environment, belong to the first test that needs them.
pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("wheel")]


def test_the_wheel_has_the_library_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"orderfuse-{__version__}.dist-info/"
    library = {name for name in names if not name.startswith(info)}
    sources = {path for path in SOURCES.rglob("*") if path.suffix in {".py", ".typed"}}
    assert library == {f"orderfuse/{path.relative_to(SOURCES).as_posix()}" for path in sources}
    assert "orderfuse/py.typed" in library
    assert f"{info}licenses/LICENSE" in names


def test_the_metadata_says_what_it_is_and_what_it_needs(wheel: Path) -> None:
    metadata = metadata_of(wheel)
    assert (metadata["Name"], metadata["Version"]) == ("orderfuse", __version__)
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.15"}
    needed = [line for line in requirements_of(wheel) if "extra ==" not in line]
    assert {re.split(r"[^\w-]", line)[0] for line in needed} == {"msgpack", "msgspec", "pyzmq"}
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_nothing_of_the_services_is_installed_with_it(installed: Installed) -> None:
    script = (
        "import importlib.util, orderfuse\n"
        "for name in ('ib_insync', 'eventkit', 'typer', 'rich', 'loguru', 'honcho', 'services', 'tests'):\n"
        "    assert importlib.util.find_spec(name) is None, name\n"
        "print(orderfuse.__file__)\n"
    )
    done = installed.run(installed.python, "-W", "error", "-c", script)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed.folder)


def test_the_command_without_its_extra_says_what_to_install(installed: Installed) -> None:
    done = installed.run(installed.folder / "bin" / "orderfuse", "status")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "The orderfuse command needs typer and rich: install them with\n    pip install 'orderfuse[cli]'\n"
    )


def test_its_types_hold_for_a_strict_user_and_refuse_mistakes(installed: Installed) -> None:
    done = installed.run(
        sys.executable,
        *("-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--hide-error-context"),
        *("--cache-dir", installed.folder / "mypy", "--python-executable", installed.python),
        *(HERE / "typed_user.py", HERE / "wrong_user.py"),
    )
    assert done.stderr == ""
    found: dict[int, set[str]] = {}
    for line in done.stdout.splitlines():
        error = re.search(r"wrong_user\.py:(\d+): error: .*\[([a-z-]+)\]$", line)
        assert error or ": note: " in line, f"a user's right program is refused: {line}"
        if error:
            found.setdefault(int(error[1]), set()).add(error[2])
    lines = (HERE / "wrong_user.py").read_text().splitlines()
    marked = {number: line.partition("# refused: ")[2] for number, line in enumerate(lines, 1) if "# refused: " in line}
    assert found == {number: set(codes.split(", ")) for number, codes in marked.items()}


def test_the_readmes_strategy_is_filled_from_there_and_the_command_tells_how_it_stands(installed: Installed) -> None:
    script = (ROOT / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    installed.install("cli")
    with running("paper", "executor", "breaker") as pipeline:
        with RawProgram(pipeline.home) as program:
            program.wait_trading()
        done = installed.run(installed.python, "-W", "error", "-c", script, home=pipeline.home)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.split()[1:] == ["filled"]
        status = installed.run(installed.folder / "bin" / "orderfuse", "status", home=pipeline.home)
        assert status.returncode == 0, status.stderr
        assert "DU0000000" in status.stdout
        pipeline.end("breaker")
        status = installed.run(installed.folder / "bin" / "orderfuse", "status", home=pipeline.home)
        assert status.returncode == 3
