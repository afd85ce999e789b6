"""The rules of the house: who may import whom, what the Procfile starts, what no file may contain."""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import FIRST

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "shared" / "orderfuse"
SERVICES = ROOT / "services"
SOURCES = sorted([*LIBRARY.rglob("*.py"), *SERVICES.rglob("*.py")])

# What decides reaches none of these, directly or not: no socket, no disk, no clock. Of `random` each takes
# a seeded one that it is given.
IMPURE_MODULES = {
    "asyncio", "eventkit", "ib_insync", "loguru", "multiprocessing", "secrets", "selectors", "signal",
    "socket", "sqlite3", "subprocess", "threading", "time", "zmq",
}  # fmt: skip
# The system's clock, for who makes a circuit without giving it one.
DEFAULTS = {"orderfuse.circuit.clock"}
# What the processes have in common; it imports no process.
COMMON = {"gateway", "runtime", "wire"}
SQLITE_FILES = {"services/runtime/opening.py", "services/runtime/sqlite.py"}
# From the ground up: each room imports only itself and those below it.
PAPER_ROOMS = ("wire", "market", "faults", "server")


def module_of(path: Path) -> str:
    base = ROOT / "shared" if path.is_relative_to(LIBRARY) else ROOT
    return ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def is_pure(module: str) -> bool:
    return bool(re.search(r"\bPure\b", ast.get_docstring(TREES[module]) or ""))


def is_for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_by(node: ast.AST) -> Iterator[str]:
    """Full dotted names of what one statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Full dotted names of everything a file imports, also inside functions, but for what is for types only."""
    for node in ast.iter_child_nodes(tree):
        yield from imported_by(node)
        if not is_for_types_only(node):
            yield from imports_of(node)


@cache
def imported(module: str) -> tuple[str, ...]:
    """What a module imports; asked for by nearly each test of every module that reaches it."""
    return tuple(imports_of(TREES[module]))


@cache
def neighbours(module: str) -> set[str]:
    """The modules of ours that this one loads, with the packages above them."""
    loaded: set[str] = set()
    for name in imported(module):
        parts = name.split(".")
        loaded |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
    return (loaded & MODULES.keys()) - DEFAULTS


def reach(module: str) -> dict[str, str]:
    """All that this module loads, each with who loads it."""
    found = {module: ""}
    waiting = [module]
    while waiting:
        at = waiting.pop()
        for name in neighbours(at) - found.keys():
            found[name] = at
            waiting.append(name)
    return found


def tops(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(module)}


def forbidden_imports(module: str) -> Iterator[str]:
    path, used = MODULES[module], tops(module)
    place = path.relative_to(ROOT).as_posix()
    if path.is_relative_to(LIBRARY):
        if "services" in used:
            yield "the library never imports a service"
        if used & {"ib_insync", "loguru"}:
            yield "a strategy needs neither ib_insync nor loguru"
        may_use_zmq = place.startswith(("shared/orderfuse/client/", "shared/orderfuse/cli/"))
        may_use_zmq |= place == "shared/orderfuse/bus/links.py"
    else:
        own = path.relative_to(SERVICES).parts[0]
        services = {name.split(".")[1] for name in imported(module) if name.startswith("services.")}
        if not services <= {own, *COMMON}:
            yield "services meet on the bus only"
        may_use_zmq = path.name == "loop.py" or place.startswith("services/breaker/public/")
    if used & {"ib_insync", "eventkit"} and place != "services/gateway/fence.py":
        yield "ib_insync only behind its fence"
    if "zmq" in used and not may_use_zmq:
        yield "sockets only at the rim"
    if "sqlite3" in used and place not in SQLITE_FILES:
        yield "one place knows SQLite; a journal says what is in its tables"
    if "msgpack" in used and place != "shared/orderfuse/bus/codec.py":
        yield "one place knows the encoding"


def test_each_file_imports_only_what_it_may() -> None:
    assert [(module, why) for module in MODULES for why in forbidden_imports(module)] == []


def test_what_is_called_pure_reaches_no_rim() -> None:
    for module in filter(is_pure, MODULES):
        for name, loader in reach(module).items():
            impure = tops(name) & IMPURE_MODULES
            at = f"{module}: {name}, loaded by {loader or 'nobody else'}"
            assert not impure, f"{at}, imports {', '.join(sorted(impure))}"


def room_of(module: str) -> int | None:
    """How high the room of the paper gateway lies that this module is in; None for one in no room."""
    place = module.removeprefix("services.paper.").split(".")[0]
    return PAPER_ROOMS.index(place) if place in PAPER_ROOMS else None


def test_in_the_paper_gateway_arrows_point_down_only() -> None:
    for module in (module for module in MODULES if module.startswith("services.paper.")):
        own = room_of(module)
        # With what is for types only: who needs to know another's type depends on it.
        used = {name for node in ast.walk(TREES[module]) for name in imported_by(node)}
        for name in sorted(used & MODULES.keys()):
            theirs = room_of(name) if name.startswith("services.paper.") else None
            assert own is None or theirs is None or theirs <= own, f"{module} imports {name} of a room above it"


def test_the_middles_are_pure() -> None:
    for module in (
        "orderfuse.bus.words",
        "orderfuse.circuit.breaker",
        "orderfuse.client.reports",
        "orderfuse.client.tracks",
        "services.breaker.stage",
        "services.executor.stage",
        "services.gateway.life",
    ):
        assert is_pure(module), module


def sources_with(pattern: str) -> set[Path]:
    return {path for path in SOURCES if re.search(pattern, path.read_text())}


def test_only_settings_reads_the_environment() -> None:
    readers = sources_with(r"\bos\.(environ|getenv)\b|from os import .*(environ|getenv)")
    assert readers == {LIBRARY / "settings" / "__init__.py"}


def test_nothing_is_left_out_of_what_is_measured() -> None:
    assert sources_with(r"pragma:? *no *(cover|branch)") == set()


@pytest.mark.parametrize("place", FIRST)
def test_what_is_begun_first_is_there(place: str) -> None:
    assert (ROOT / place).exists()


def test_the_procfile_starts_each_service_with_one_plain_command() -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    services = {folder.name for folder in SERVICES.iterdir() if (folder / "__main__.py").exists()}
    assert set(lines) == services
    for name, command in lines.items():
        assert shlex.split(command) == [".venv/bin/python", "-m", f"services.{name}"]
        assert not set(command) & set("|&;<>()$`\\\"'*?[]#~=%"), "honcho hands the line to a shell"


def test_pinned_versions_name_no_host() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line), line
