"""The tree of settings: one struct for each table, with its defaults and what each setting may be. Pure."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from orderfuse.circuit import CircuitBreakerConfig

PREFIX = "ORDERFUSE_"

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

CIRCUIT_FIELDS = tuple(field.name for field in dataclasses.fields(CircuitBreakerConfig))


def setting_names(table: str) -> tuple[str, ...]:
    """All keys that `table` knows."""
    own = tuple(name for name in TABLES[table].__struct_fields__ if name != "circuit")
    return CIRCUIT_FIELDS + own if table == "breaker" else own


def variable_name(table: str, key: str) -> str:
    """The environment variable that sets `table.key`."""
    return f"{PREFIX}{table.upper()}__{key.upper()}"
