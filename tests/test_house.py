"""The rules of the house: who may import whom, what the Procfile starts, what no file may contain."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "shared" / "orderfuse"
SERVICES = ROOT / "services"
SOURCES = sorted([*LIBRARY.rglob("*.py"), *SERVICES.rglob("*.py")])

# Decision logic: time and events in, effects out.
PURE_NAMES = {
    "services/breaker": {
        "accepting.py", "adoption.py", "answers.py", "batch.py", "brackets.py", "bulletin.py", "conditions.py",
        "core.py", "crowd.py", "dead_man.py", "dispatcher.py", "executor_desk.py", "executor_link.py", "holders.py",
        "intake.py", "last_failures.py", "lookups.py", "operator.py", "orders.py", "owed.py", "places.py", "queues.py",
        "refusals.py", "remembered.py", "repeats.py", "replacing.py", "requests.py", "scopes.py", "seats.py",
        "settlement.py", "stage.py", "subscriptions.py", "turns.py",
    },
    "services/executor": {
        "asking.py", "brackets.py", "cancels.py", "diagnosis.py", "doubts.py", "ends.py", "foreign_orders.py",
        "foundlings.py", "global_cancel.py", "kin.py", "last_look.py", "ledger.py", "malformed_codes.py",
        "meanings.py", "order_codes.py", "outcomes.py", "pushed.py", "quantities.py", "records.py", "retold.py",
        "session.py", "story.py", "system_codes.py", "twins.py",
    },
    "services/gateway": {"accounts.py", "pacing.py", "reports.py"},
}  # fmt: skip
IMPURE_MODULES = {"zmq", "ib_insync", "asyncio", "socket", "time", "loguru", "sqlite3", "threading", "selectors"}
# What the processes have in common; it imports no process.
COMMON = {"gateway", "log", "collector", "crash_points", "runtime"}
SQLITE_FILES = {
    "services/runtime/sqlite.py",
    "services/breaker/journal.py",
    "services/breaker/keeping.py",
    "services/executor/journal.py",
}
ZMQ_FILES = {
    "links.py", "client.py", "watch.py", "control.py", "cli.py", "loop.py", "doors.py", "door.py", "audience.py",
    "inbox.py", "monitors.py", "replies.py",
}  # fmt: skip


def is_pure(path: Path) -> bool:
    if path.parent == LIBRARY:
        return path.name.startswith("circuit") and path.name != "circuit_types.py"
    return path.name in PURE_NAMES.get(path.parent.relative_to(ROOT).as_posix(), set())


def imports_of(path: Path) -> Iterator[str]:
    """Full dotted names of everything a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_each_file_imports_only_what_it_may(path: Path) -> None:
    used = tops(path)
    if path.is_relative_to(LIBRARY):
        assert "services" not in used, "the library never imports a service"
        assert not used & {"ib_insync", "loguru"}, "a strategy needs neither"
    else:
        own = path.relative_to(SERVICES).parts[0]
        services = {name.split(".")[1] for name in imports_of(path) if name.startswith("services.")}
        assert services <= {own, *COMMON}, "services meet on the bus only"
    if is_pure(path):
        assert not used & IMPURE_MODULES, "decision logic is pure"
    if "ib_insync" in used or "eventkit" in used:
        assert path.parent == SERVICES / "gateway", "ib_insync only behind its fence"
    if "zmq" in used:
        assert path.name in ZMQ_FILES, "sockets only at the rim"
    if "sqlite3" in used:
        assert path.relative_to(ROOT).as_posix() in SQLITE_FILES, "what is on the disk is the journals' alone"
    if "msgpack" in used:
        assert path == LIBRARY / "codec.py", "one place knows the encoding"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_settings_reads_the_environment(path: Path) -> None:
    if path != LIBRARY / "settings.py":
        assert not re.search(r"\bos\.(environ|getenv)\b|from os import .*(environ|getenv)", path.read_text())


def test_the_pure_files_named_here_exist() -> None:
    for folder, names in PURE_NAMES.items():
        for name in names:
            assert (ROOT / folder / name).is_file(), f"{folder}/{name}"


def test_the_procfile_starts_each_service_with_one_plain_command() -> None:
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    services = {folder.name for folder in SERVICES.iterdir() if (folder / "__main__.py").exists()}
    assert set(lines) == services
    for name, command in lines.items():
        assert shlex.split(command) == [".venv/bin/python", "-m", f"services.{name}"]
        assert not set(command) & set("|&;<>()$`\\\"'*?[]#~=%"), "honcho hands the line to a shell"


def test_importing_the_library_needs_only_its_own_dependencies() -> None:
    script = (
        "import sys; before = set(sys.modules); import orderfuse, logging\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not tops & {'ib_insync', 'eventkit', 'loguru', 'typer', 'rich'}, tops\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('orderfuse').handlers\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=60)


def test_pinned_versions_name_no_host() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.]+", line), line
