"""The library as its users see it: `from orderfuse import ...`, and a docstring for each thing that they may touch."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

import orderfuse
from orderfuse import events

FACE: dict[str, Any] = {
    **{f"orderfuse.{name}": getattr(orderfuse, name) for name in orderfuse.__all__},
    **{f"orderfuse.events.{name}": getattr(events, name) for name in events.__all__},
}
CLASSES = {name: thing for name, thing in FACE.items() if inspect.isclass(thing)}


def functions_of(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class, inherited ones too, as plain functions."""
    for name in dir(cls):
        owner = next((owner for owner in cls.__mro__ if name in vars(owner)), object)
        thing = vars(owner).get(name)
        if not name.startswith("_") and owner.__module__.startswith("orderfuse"):
            thing = thing.fget if isinstance(thing, property) else getattr(thing, "__func__", thing)
            if inspect.isfunction(thing):
                yield name, thing


CALLS: dict[str, Any] = {
    **{name: thing for name, thing in FACE.items() if inspect.isfunction(thing)},
    **{f"{at}.{name}": call for at, cls in CLASSES.items() for name, call in functions_of(cls)},
}


def attributes_of(cls: type) -> set[str]:
    """Public data: the fields of a dataclass or struct, and what `__init__` puts into the object."""
    found = set(getattr(cls, "__struct_fields__", ()))
    if dataclasses.is_dataclass(cls):
        found |= {field.name for field in dataclasses.fields(cls)}
    for owner in cls.__mro__:
        if owner.__module__.startswith("orderfuse") and inspect.isfunction(vars(owner).get("__init__")):
            found |= stored_by(vars(owner)["__init__"])
    return (
        {name for name in found if not name.startswith("_")} - set(dir(Exception)) - {n for n, _ in functions_of(cls)}
    )


def stored_by(init: Any) -> set[str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, IndentationError):
        # One that a dataclass has made.
        return set()
    stored = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store))
    return {node.attr for node in stored if isinstance(node.value, ast.Name) and node.value.id == "self"}


def documentation_of(cls: type) -> str:
    return "\n".join(owner.__doc__ or "" for owner in cls.__mro__ if owner.__module__.startswith("orderfuse"))


def says(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def explains(text: str, attribute: str) -> bool:
    """Whether it is written as a name, in a list of attributes or as code; as a word it may mean anything."""
    return re.search(rf"^ +{attribute}: \S|`{attribute}`", text, re.MULTILINE) is not None


def test_a_name_that_is_offered_is_one_of_the_face_and_nothing_else_is() -> None:
    assert dir(orderfuse) == orderfuse.__all__ == sorted(orderfuse.__all__)
    assert dir(events) == sorted(events.__all__)
    assert len(orderfuse.__all__) < 30, "small enough to read"


def test_everything_that_a_call_of_the_face_may_raise_or_return_can_be_imported_from_it() -> None:
    errors = {thing for thing in vars(sys.modules["orderfuse.errors"]).values() if inspect.isclass(thing)}
    offered = {thing for thing in FACE.values() if inspect.isclass(thing)}
    assert {error.__name__ for error in errors - offered if issubclass(error, Exception)} == set()
    heard = orderfuse.bus.events.AnyOrderEvent.__args__
    assert {event.__name__ for event in set(heard) - offered} == set()
    assert {notice.__name__ for notice in set(orderfuse.bus.notices.Notice.__args__) - offered} == set()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_what_it_is_and_what_its_attributes_mean(name: str) -> None:
    cls = CLASSES[name]
    own = cls.__doc__ or ""
    assert own
    assert not own.startswith(f"{cls.__name__}("), "that is what a dataclass writes by itself"
    missing = sorted(at for at in attributes_of(cls) if not explains(documentation_of(cls), at))
    assert not missing, f"not in its docstring: {', '.join(missing)}"


@pytest.mark.parametrize("name", CALLS)
def test_a_call_says_what_it_does_what_it_takes_and_what_it_raises(name: str) -> None:
    call = CALLS[name]
    text = call.__doc__ or ""
    assert text, "has no docstring"
    parameters = [at for at in inspect.signature(call).parameters if at not in {"self", "cls"}]
    missing = [at for at in parameters if not says(text, at)]
    assert not missing, f"not in its docstring: {', '.join(missing)}"
    if "timeout" in parameters:
        assert "seconds" in text
    raised = set(re.findall(r"\braise (\w+)\(", inspect.getsource(call)))
    assert not {error for error in raised if not says(text, error)}


@pytest.mark.parametrize("name", ["OrderClient", "Watcher", "ControlClient", "TradingCircuitBreaker"])
def test_a_class_says_what_it_is_made_of_and_what_that_raises(name: str) -> None:
    cls = getattr(orderfuse, name)
    text = cls.__doc__ or ""
    missing = [at for at in inspect.signature(cls).parameters if not says(text, at)]
    assert not missing, f"not in its docstring: {', '.join(missing)}"
    raised = set(re.findall(r"\braise (\w+)\(", inspect.getsource(cls.__init__)))
    assert not {error for error in raised if not says(text, error)}


@pytest.mark.parametrize(
    ("imported", "needed"),
    [
        ("orderfuse", ["orderfuse"]),
        ("orderfuse.circuit", ["msgspec", "orderfuse"]),
        ("orderfuse; orderfuse.OrderClient", ["msgpack", "msgspec", "orderfuse", "zmq"]),
    ],
)
def test_importing_it_needs_only_its_own_dependencies_and_leaves_logging_alone(
    imported: str, needed: list[str]
) -> None:
    script = (
        f"import sys, logging; before = set(sys.modules); import {imported}\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        # msgspec takes the one if it happens to be there, pyzmq makes the other.
        "tops -= {'typing_extensions', 'cython_runtime'}\n"
        "print(sorted(top for top in tops if not top.startswith('_')))\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('orderfuse').handlers\n"
        "assert not {'sqlite3', 'unittest', 'http'} & set(sys.modules), 'slow to import'\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{needed}\n", "")


def test_each_public_name_is_where_it_is_said_to_come_from() -> None:
    for name in orderfuse.__all__:
        assert getattr(orderfuse, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'OrderClinet'"):
        _ = orderfuse.OrderClinet  # type: ignore[attr-defined]
