"""One typed tree of settings, read once at the start from `orderfuse.toml` and ORDERFUSE_* variables.

`$ORDERFUSE_HOME/orderfuse.toml` has one table for each struct below; a variable
`ORDERFUSE_<TABLE>__<KEY>` wins over the file. Anything wrong (an unknown name, a wrong type, a value out
of range) is a `SettingsError` that says which setting, what value, what is allowed and where to change it.
This is the only module that reads the environment.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from orderfuse.circuit import CircuitBreakerConfig
from orderfuse.errors import SettingsError as SettingsError
from orderfuse.home import HOME_VARIABLE as HOME_VARIABLE
from orderfuse.home import existing_folder, home_folder, why
from orderfuse.ibfields import OPENABLE
from orderfuse.plain import MAX_VALUE, plain, shown

SETTINGS_FILE = "orderfuse.toml"
CRASH_VARIABLE = "ORDERFUSE_CRASH_AT"
# Set by `make run` for what it starts: its paper gateway keeps a book in the home, as the journals beside it do.
RUN_VARIABLE = "ORDERFUSE_RUN"
PAPER_BOOK = "paper-book.jsonl"
_PREFIX = "ORDERFUSE_"
# Every setting with a comment of its own has some kilobytes. What is larger is another file.
MAX_FILE_BYTES = 256 * 1024

# No path and no host has a control character, and a NUL would break the call that takes it.
_PRINTABLE = r"^[^\x00-\x1f\x7f]*\Z"

Port = Annotated[int, Meta(ge=1, le=65_535)]


class BreakerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[breaker]`: what trips, for how long, and what a strategy may send.

    The fields of `CircuitBreakerConfig` stand in the same table and are collected in `circuit`.
    """

    circuit: CircuitBreakerConfig = msgspec.field(default_factory=CircuitBreakerConfig)
    max_orders_per_second: Annotated[
        int, Meta(ge=1, le=100_000, description="orders of one strategy in one second; more are blocked")
    ] = 50
    queue_limit: Annotated[
        int, Meta(ge=1, le=100_000, description="orders of one strategy that may wait for the window")
    ] = 1000
    max_strategies: Annotated[
        int,
        Meta(ge=1, le=1000, description="strategies with a circuit of their own; further ones are blocked"),
    ] = 100
    keep_events_mb: Annotated[
        int,
        Meta(ge=1, le=100_000, description="what events may take on disk; the oldest go first, and all after 7 days"),
    ] = 512
    max_clock_skew_ms: Annotated[
        int,
        Meta(ge=0, le=60_000, description="how far ahead of the breaker's clock an order's sent_ns may be"),
    ] = 1000
    on_trip: Annotated[
        Literal["keep", "cancel", "cancel_all"],
        Meta(description="working orders at a trip: keep them, cancel this pipeline's, or cancel all"),
    ] = "keep"
    open_policy: Annotated[
        Literal["block"], Meta(description="what passes while OPEN: nothing (cancels always pass)")
    ] = "block"


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[dispatch]`: between the breaker and its executor."""

    window: Annotated[int, Meta(ge=1, le=64, description="orders beyond the breaker without IB's answer")] = 8


class ExecutorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[executor]`: what may be sent to IB."""

    allow_order_fields: Annotated[
        tuple[str, ...],
        Meta(description="order fields that are refused unless named here, such as faGroup"),
    ] = ()
    on_breaker_loss: Annotated[
        Literal["keep", "cancel"],
        Meta(description="working orders when the breaker is lost: keep them, or cancel those that protect nothing"),
    ] = "keep"
    on_breaker_loss_secs: Annotated[
        int, Meta(ge=1, le=3600, description="seconds without a breaker until its orders are cancelled")
    ] = 30
    foreign_orders: Annotated[
        Literal["tell", "trip", "ignore"],
        Meta(description="open orders of other clients and by hand: tell of them, open the circuit, or do not look"),
    ] = "tell"


class IbSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[ib]`: the TWS or IB Gateway to trade with. The defaults reach the paper gateway of this project."""

    host: Annotated[
        str, Meta(min_length=1, max_length=255, pattern=_PRINTABLE, description="where TWS or IB Gateway listens")
    ] = "127.0.0.1"
    port: Annotated[Port, Meta(description="4010: our paper gateway; 4002 or 7497: IB's paper account")] = 4010
    client_id: Annotated[int, Meta(ge=1, le=999_999, description="API client id; nobody else may use it")] = 7
    account: Annotated[
        str, Meta(max_length=32, pattern=_PRINTABLE, description="account to trade; empty: the only one there is")
    ] = ""
    live_account: Annotated[
        str, Meta(max_length=32, pattern=_PRINTABLE, description="the real account that may be traded, named in full")
    ] = ""
    messages_per_second: Annotated[
        int, Meta(ge=0, le=1000, description="messages to IB in one second, cancels included; 0: no limit")
    ] = 45


class PaperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[paper]`: the offline stand-in for TWS and IB Gateway."""

    port: Annotated[Port, Meta(description="loopback port that it listens on")] = 4010
    account: Annotated[
        str, Meta(min_length=1, max_length=32, pattern=_PRINTABLE, description="the account that it says it has")
    ] = "DU0000000"
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of prices and fills")] = 1
    messages_per_second: Annotated[
        int, Meta(ge=0, le=1_000_000, description="IB's pacing rule, error 100 beyond it; 0: off")
    ] = 50
    max_working_orders: Annotated[
        int, Meta(ge=0, le=1_000_000, description="IB's limit of working orders for one contract and side; 0: off")
    ] = 20
    available_size: Annotated[
        int, Meta(ge=0, le=1_000_000_000, description="how many are bid and offered at each price step; 0: any number")
    ] = 0
    wire_record: Annotated[
        str,
        Meta(
            max_length=4096,
            pattern=_PRINTABLE,
            description="file for every message of the wire as JSON lines; empty: none",
        ),
    ] = ""
    state_file: Annotated[
        str,
        Meta(
            max_length=4096,
            pattern=_PRINTABLE,
            description="file that keeps the book over restarts; empty: none. `make run` has one in the home",
        ),
    ] = ""
    scenario: Annotated[
        str, Meta(max_length=4096, pattern=_PRINTABLE, description="TOML file of faults to play; empty: none")
    ] = ""


class LinksSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[links]`: endpoints; empty means the ipc socket under `$ORDERFUSE_HOME/links`."""

    orders: Annotated[str, Meta(max_length=1024, pattern=_PRINTABLE, description="strategies to breaker")] = ""
    events: Annotated[str, Meta(max_length=1024, pattern=_PRINTABLE, description="breaker to everybody")] = ""
    control: Annotated[str, Meta(max_length=1024, pattern=_PRINTABLE, description="requests to the breaker")] = ""
    dispatch: Annotated[str, Meta(max_length=1024, pattern=_PRINTABLE, description="breaker to executor")] = ""
    feedback: Annotated[str, Meta(max_length=1024, pattern=_PRINTABLE, description="executor to breaker")] = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set, and the folder it belongs to. `load_settings` makes one.

    Attributes:
        home: the folder of sockets, journals and `orderfuse.toml`.
        breaker: the table `[breaker]`.
        dispatch: the table `[dispatch]`.
        executor: the table `[executor]`.
        ib: the table `[ib]`.
        paper: the table `[paper]`.
        links: the table `[links]`.
    """

    home: Path
    breaker: BreakerSettings = BreakerSettings()
    dispatch: DispatchSettings = DispatchSettings()
    executor: ExecutorSettings = ExecutorSettings()
    ib: IbSettings = IbSettings()
    paper: PaperSettings = PaperSettings()
    links: LinksSettings = LinksSettings()


TABLES: dict[str, type[msgspec.Struct]] = {
    "breaker": BreakerSettings,
    "dispatch": DispatchSettings,
    "executor": ExecutorSettings,
    "ib": IbSettings,
    "paper": PaperSettings,
    "links": LinksSettings,
}

_CIRCUIT_FIELDS = tuple(field.name for field in dataclasses.fields(CircuitBreakerConfig))


def load_settings(
    home: Path | None = None, *, environ: Mapping[str, str] | None = None, create_home: bool = True
) -> Settings:
    """Read the settings of a home folder, creating the folder if it is missing.

    Args:
        home: the folder; default `$ORDERFUSE_HOME`, else `~/.orderfuse`.
        environ: variables that win over its `orderfuse.toml`; default: those of this process.
        create_home: False for a `home` that a person typed: it must be there, and is left as it is.

    Raises:
        SettingsError: the folder, the file or a value cannot be used.
    """
    environ = os.environ if environ is None else environ
    home = home_folder(home or default_home(environ)) if create_home or home is None else existing_folder(home)
    given = _from_file(home / SETTINGS_FILE)
    for name, value in _from_environment(environ).items():
        given[name] = value
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    circuit: dict[str, Any] = {}
    for (table, key), value in given.items():
        if table == "breaker" and key in _CIRCUIT_FIELDS:
            circuit[key] = _circuit_value(key, value)
        else:
            tables[table][key] = _checked(table, key, value)
    if circuit:
        tables["breaker"]["circuit"] = CircuitBreakerConfig(**circuit)
    if environ.get(RUN_VARIABLE):
        tables["paper"].setdefault("state_file", str(home / PAPER_BOOK))
    built = {table: TABLES[table](**values) for table, values in tables.items()}
    return Settings(home=home, **built)  # type: ignore[arg-type]


def default_home(environ: Mapping[str, str] | None = None) -> Path:
    """The home folder where nobody names one: `$ORDERFUSE_HOME`, else `~/.orderfuse`. It may not be there."""
    environ = os.environ if environ is None else environ
    return Path(environ.get(HOME_VARIABLE) or "~/.orderfuse")


def setting_names(table: str) -> tuple[str, ...]:
    """All keys that `table` knows."""
    own = tuple(name for name in TABLES[table].__struct_fields__ if name != "circuit")
    return _CIRCUIT_FIELDS + own if table == "breaker" else own


def variable_name(table: str, key: str) -> str:
    """The environment variable that sets `table.key`."""
    return f"{_PREFIX}{table.upper()}__{key.upper()}"


def begin_run() -> None:
    """Have every process that this one starts know that it is part of `make run`."""
    os.environ[RUN_VARIABLE] = "1"


def crash_at(environ: Mapping[str, str] | None = None) -> tuple[str, int] | None:
    """The point at which this process shall die, and the how-manieth time: `ORDERFUSE_CRASH_AT`, for tests.

    Raises:
        SettingsError: it has not the form `<point>:<count>`.
    """
    text = (os.environ if environ is None else environ).get(CRASH_VARIABLE, "")
    if not text:
        return None
    point, _, count = text.rpartition(":")
    if not point or not count.isdigit() or not int(count):
        raise SettingsError(
            f"{CRASH_VARIABLE} is {text!r}, allowed is <point>:<count> with a count from 1. "
            "Unset it: it is for tests only."
        )
    return point, int(count)


# -- where values come from -------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Value:
    """What was given for one setting, and where. From a variable it is text, whatever the setting's type is."""

    given: Any
    source: str
    from_variable: bool = False


_Given = dict[tuple[str, str], _Value]


def _from_file(path: Path) -> _Given:
    given: _Given = {}
    for table, values in _document(path).items():
        if table not in TABLES:
            raise SettingsError(f"{path}: there is no table [{plain(table, MAX_VALUE)}]{_nearest(table, TABLES)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: {table} must be a table, written as [{table}].")
        for key, value in values.items():
            _known(table, key, f"{path}: there is no setting {table}.{plain(key, MAX_VALUE)}")
            given[table, key] = _Value(value, f"in {path}")
    return given


def _document(path: Path) -> dict[str, Any]:
    try:
        if not path.exists():
            return {}
        if not path.is_file():
            raise SettingsError(f"{path} is not a file. Move it away: settings are read from a file of this name.")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {why(error)}. Give it to yourself: chmod 600.") from error
    if len(data) > MAX_FILE_BYTES:
        raise SettingsError(f"{path} has more than {MAX_FILE_BYTES} bytes: it is not a file of settings. Move it away.")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text, at byte {error.start}. Save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        # Beside its own error, tomllib lets through what Python says of a number or a nesting without end.
        raise SettingsError(f"{path} is not valid TOML: {why(error)}. Correct it there.") from error


def _from_environment(environ: Mapping[str, str]) -> _Given:
    given: _Given = {}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or variable in {HOME_VARIABLE, CRASH_VARIABLE, RUN_VARIABLE}:
            continue
        table, separator, key = variable.removeprefix(_PREFIX).lower().partition("__")
        if not separator:
            # Ignored, a setting that somebody believes in would not hold.
            raise SettingsError(f"{variable}: there is no such variable{_nearest(variable, _variables())}")
        if table not in TABLES:
            raise SettingsError(f"{variable}: there is no table [{table}]{_nearest(table, TABLES)}")
        _known(table, key, f"{variable}: there is no setting {table}.{key}")
        given[table, key] = _Value(_read_text(text, variable), f"in the variable {variable}", from_variable=True)
    return given


def _read_text(text: str, variable: str) -> str:
    """What a variable says, if the file could say it too: a setting may have to travel as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SettingsError(f"{variable} is not UTF-8 text, at character {error.start}. Write it as UTF-8.") from error
    return text


def _known(table: str, key: str, complaint: str) -> None:
    names = setting_names(table)
    if key not in names:
        raise SettingsError(f"{complaint}{_nearest(key, names)}")


def _variables() -> tuple[str, ...]:
    return (HOME_VARIABLE, *(variable_name(table, key) for table in TABLES for key in setting_names(table)))


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}."


# -- checking one value -----------------------------------------------------------------------------------


def _checked(table: str, key: str, value: _Value) -> Any:
    hint = get_type_hints(TABLES[table], include_extras=True)[key]
    given = _split(value.given) if value.from_variable and _is_tuple(hint) else value.given
    try:
        converted = msgspec.convert(given, hint, strict=not value.from_variable)
    except msgspec.ValidationError as error:
        raise _wrong(table, key, value, allowed(hint)) from error
    if key == "allow_order_fields":
        _check_openable(converted, value.source)
    return converted


def _check_openable(names: tuple[str, ...], source: str) -> None:
    closed = sorted(set(names) - OPENABLE)
    if closed:
        table, key = "executor", "allow_order_fields"
        named = plain(", ".join(closed), MAX_VALUE)
        complaint = f"{table}.{key} names {named}, allowed are {', '.join(sorted(OPENABLE))}"
        raise SettingsError(_place(table, key, complaint, source))


def _circuit_value(key: str, value: _Value) -> Any:
    number = _number(value.given) if value.from_variable else value.given
    try:
        CircuitBreakerConfig(**{key: number})
    except ValueError as error:
        raise SettingsError(_place("breaker", key, f"breaker.{error}", value.source)) from error
    return number


def _number(text: str) -> Any:
    if text.lower() in {"", "none"}:
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_tuple(hint: Any) -> bool:
    return get_origin(_bare(hint)) is tuple


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _wrong(table: str, key: str, value: _Value, allowed_text: str) -> SettingsError:
    complaint = f"{table}.{key} is {shown(value.given)}, allowed is {allowed_text}"
    return SettingsError(_place(table, key, complaint, value.source))


def _place(table: str, key: str, complaint: str, source: str) -> str:
    variable = variable_name(table, key)
    otherwise = "" if source.endswith(variable) else f", or set {variable}"
    return f"{complaint.rstrip('.')}. It was set {source}; change it there{otherwise}."


def _bare(hint: Any) -> Any:
    return _bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def allowed(hint: Any) -> str:
    """What a setting of this type may be, in words."""
    bare = _bare(hint)
    if get_origin(bare) is Literal:
        return " or ".join(repr(choice) for choice in get_args(bare))
    if get_origin(bare) is tuple:
        return "a list of names"
    bounds = [meta for meta in getattr(hint, "__metadata__", ()) if isinstance(meta, Meta)]
    if bare is int:
        low = next((meta.ge for meta in bounds if meta.ge is not None), None)
        high = next((meta.le for meta in bounds if meta.le is not None), None)
        return f"a whole number from {low} to {high}"
    shortest = next((meta.min_length for meta in bounds if meta.min_length is not None), 0)
    longest = next((meta.max_length for meta in bounds if meta.max_length is not None), None)
    return f"text of {shortest} to {longest} characters, no control characters"
