"""docs/PROTOCOL.md against the code: programs in other languages are written from that page alone."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import zmq

from orderfuse import codec, ibfields, links, messages
from orderfuse.settings import TABLES, load_settings, setting_names
from services.breaker.conditions import GRACE_NS
from services.breaker.loop import OPS, ORDER_KINDS
from services.executor.connection import Timing
from services.executor.engine import MAX_DRIFT_TOLD

PAGE = (Path(__file__).parent.parent / "docs" / "PROTOCOL.md").read_text()
SOCKETS = {zmq.SUB: "SUB", zmq.PUB: "PUB", zmq.ROUTER: "ROUTER", zmq.PULL: "PULL"}


def section(title: str) -> str:
    """A section of the page, from its heading to the next."""
    return PAGE.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of each table row but the heading."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    return [re.split(r"\s*\|\s*", line[1:-1].strip(" ")) for line in lines]


def words(text: str) -> set[str]:
    """Everything that the page writes as code."""
    return set(re.findall(r"`([^`]+)`", text))


def by_tag(union: Any) -> dict[str, Any]:
    return {kind.__struct_config__.tag: kind for kind in get_args(union)}


def keys(kind: Any) -> set[str]:
    return set(kind.__struct_encode_fields__)


def test_every_event_of_an_order_stands_on_the_page_with_its_keys() -> None:
    known = by_tag(messages.AnyOrderEvent)
    told = {}
    for row in rows(section("events"))[1:]:
        for kind in words(row[0]):
            told[kind] = words(row[3])
    assert set(told) == set(known)
    common = keys(messages.OrderEvent)
    for name, kind in known.items():
        own = keys(kind) - common
        missing = {key for key in own if key not in told[name] and not any(w.startswith(f"{key}:") for w in told[name])}
        assert not missing, f"{name}: {missing}"


def test_every_key_of_a_submit_stands_on_the_page() -> None:
    told = set().union(*(words(row[0]) for row in rows(section("orders")) if row[0].startswith("`")))
    assert told == keys(messages.Submit)


def test_the_page_names_every_message_on_orders() -> None:
    assert set(ORDER_KINDS) <= words(section("orders"))


def test_every_request_stands_on_the_page_with_its_keys() -> None:
    told = {next(iter(words(row[0]))): words(row[1]) for row in rows(section("control")) if row[0].startswith("`")}
    assert set(told) == set(OPS)
    for op, kind in OPS.items():
        own = (
            {field.encode_name for field in msgspec.structs.fields(kind)}
            - {"id", "who"}
            - ({"after"} if op == "events" else set())
        )
        named = {word.split(" ")[0] for word in told[op]}
        assert own <= named, op


def test_every_key_of_a_state_stands_on_the_page() -> None:
    told = {word.split(":")[0] for word in words(section("events"))}
    assert keys(messages.State) - {"seq", "at_ns"} <= told


def test_every_key_of_a_drift_and_every_condition_stands_on_the_page() -> None:
    (reply,) = [row[2] for row in rows(section("control")) if row[0] == "`status`"]
    assert keys(messages.Drift) | {"account", "drift"} <= words(reply)
    assert set(GRACE_NS) <= words(section("events"))
    assert f"at most {MAX_DRIFT_TOLD}" in section("control")
    assert f"Every {Timing().positions_every:g} s the executor compares" in section("control")


def test_the_codes_of_blocked_and_not_placed_stand_on_the_page() -> None:
    told = words(section("events"))
    assert set(get_args(messages.BlockCode)) | set(get_args(messages.NotPlacedCode)) <= told


def test_refused_order_fields_stand_on_the_page() -> None:
    paragraph = re.search(r"Refused in `order`: (.*)", PAGE)
    assert paragraph
    told = words(paragraph[1])
    for name in ibfields.REFUSED:
        assert name in told or any(word.endswith("*") and name.startswith(word[:-1]) for word in told), name


def test_the_breakers_end_of_each_link_is_the_pages() -> None:
    told = {next(iter(words(row[0]))): row[2] for row in rows(section("Links")) if row[0].startswith("`")}
    assert set(told) == set(links.TOPOLOGY)
    for name, link in links.TOPOLOGY.items():
        assert told[name].startswith(SOCKETS[link.breaker.socket_type])


def test_numbers_of_the_page() -> None:
    assert "at most 16 KiB a frame and 8 levels deep; clients accept 1 MiB" in PAGE
    assert (codec.MAX_FRAME_BYTES, codec.MAX_DEPTH, codec.MAX_REPLY_BYTES) == (16 * 1024, 8, 1024 * 1024)
    assert links.COMMON[zmq.HEARTBEAT_IVL] == 500
    assert links.COMMON[zmq.HEARTBEAT_TIMEOUT] == 1500
    assert links.COMMON[zmq.HANDSHAKE_IVL] == 2000


def test_settings_with_fixed_names_and_defaults(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environ={})
    text = section("Settings and commands with fixed names")
    for table in TABLES:
        assert f"`[{table}]`" in text
    for name, default in re.findall(r"`(\w+\.\w+)` \(\**(\w+)\**[ ,;)]", text):
        table, key = name.split(".")
        assert key in setting_names(table), name
        if default.isdigit():
            assert getattr(getattr(settings, table), key) == int(default), name


def test_what_the_page_says_of_submit_is_what_is_checked() -> None:
    example = {
        "order_id": "a-1",
        "strategy_id": "s",
        "sent_ns": 1,
        "contract": {"secType": "STK", "symbol": "AAPL"},
        "order": {"action": "BUY", "totalQuantity": 1, "orderType": "MKT"},
    }
    message = codec.convert({"kind": "submit", **example}, messages.Submit)
    assert message.ttl_ms == 5000
    assert msgspec.to_builtins(message)["kind"] == "submit"
