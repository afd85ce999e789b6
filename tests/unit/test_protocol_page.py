"""docs/PROTOCOL.md against the code: programs in other languages are written from that page alone."""

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import zmq

from orderfuse.bus import codec, links
from orderfuse.bus import control as control_messages
from orderfuse.bus import events as event_messages
from orderfuse.bus import orders as order_messages
from orderfuse.ibfields import checks as ibfields
from orderfuse.settings import TABLES, load_settings, setting_names
from services.breaker import loop
from services.breaker.circuits.conditions import GRACE_NS
from services.breaker.control import last_failures
from services.breaker.core import ErrorCode
from services.breaker.loop import OPS, ORDER_KINDS
from services.breaker.public import bounds, capacity, subscriptions
from services.gateway.timing import Timing
from services.wire import standing
from tests.unit.breaker.test_resolving import with_unknown

PAGE = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text()
BREAKER = Path(loop.__file__).parent
SOCKETS: dict[int, str] = {zmq.SUB: "SUB", zmq.XPUB: "XPUB", zmq.ROUTER: "ROUTER", zmq.PULL: "PULL"}


def section(title: str, within: str = PAGE) -> str:
    """A section of the page, from its heading to the next of the same or a higher level."""
    found = re.search(rf"^(##+) {re.escape(title)}.*?\n(.*?)(?=^##? |^\1 |\Z)", within, re.M | re.S)
    assert found, f"the page has no section {title!r}"
    return found[2]


def rows(text: str) -> list[list[str]]:
    """The cells of each table row, headings too."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|- ")]
    return [re.split(r"\s*\|\s*", line[1:-1].strip(" ")) for line in lines]


def tables(text: str) -> list[list[list[str]]]:
    """Each table of a text, its heading row first."""
    return [rows(block) for block in re.findall(r"(?:^\|.*\n)+", text, re.M)]


def words(text: str) -> set[str]:
    """Everything that the page writes as code."""
    return set(re.findall(r"`([^`]+)`", text))


def first_column(table: list[list[str]]) -> set[str]:
    return set().union(*(words(row[0]) for row in table[1:]))


def by_tag(union: Any) -> dict[str, Any]:
    return {kind.__struct_config__.tag: kind for kind in get_args(union)}


def keys(kind: Any) -> set[str]:
    return set(kind.__struct_encode_fields__)


def optional(kind: Any) -> set[str]:
    """The keys that may be left out."""
    return {field.encode_name for field in msgspec.structs.fields(kind) if not field.required}


def told_optional(text: str) -> set[str]:
    """The keys behind which a cell says a type with a question mark."""
    return set(re.findall(r"`(\w+)`[^`,;|]*\?", text))


def test_every_key_of_every_message_on_orders_stands_on_the_page() -> None:
    text = section("orders")
    for name, kind in ORDER_KINDS.items():
        table = tables(section(name, text))[0]
        assert first_column(table) == keys(kind), name
        told = {key for row in table[1:] if "?" in row[1] for key in words(row[0])}
        assert told == optional(kind), name
    assert set(ORDER_KINDS) == set(re.findall(r"^### (\w+)$", text, re.M))


def test_every_event_of_an_order_stands_on_the_page_with_its_keys() -> None:
    common, events, *_ = tables(section("order", section("events")))
    known = by_tag(event_messages.AnyOrderEvent)
    told = {kind: row[3] for row in events[1:] for kind in words(row[0])}
    assert set(told) == set(known)
    assert first_column(common) == keys(event_messages.OrderEvent)
    for name, kind in known.items():
        own = keys(kind) - keys(event_messages.OrderEvent)
        assert own == words(told[name]) - {"conflict: true"}, name
        assert told_optional(told[name]) == optional(kind) & own, name


def test_every_code_of_an_event_stands_on_the_page_and_no_other() -> None:
    text = section("order", section("events"))
    for kind, codes in {
        "blocked": event_messages.BlockCode,
        "not_placed": event_messages.NotPlacedCode,
        "request_passed": event_messages.RequestPassedCode,
        "request_refused": event_messages.RequestRefusedCode,
    }.items():
        table = tables(text.partition(f"Codes of `{kind}`:\n")[2])[0]
        assert first_column(table) == set(get_args(codes)), kind


def test_every_key_of_a_state_and_of_health_stands_on_the_page() -> None:
    text = section("events")
    assert first_column(tables(section("state", text))[0]) == keys(event_messages.State)
    assert first_column(tables(section("health", text))[0]) == keys(event_messages.Health)


def test_every_cause_of_a_dropped_message_stands_on_the_page() -> None:
    """The causes are words in the code of the door and of the breaker."""
    sources = [Path(codec.__file__), *sorted(BREAKER.rglob("*.py"))]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    known = set(re.findall(r"(?:drop|DecodeError)\(\"(\w+)\"", code))
    known |= set(re.findall(r"return \"(\w+)\", f?\"", Path(codec.__file__).read_text(encoding="utf-8")))
    known |= {"unknown_kind", "bad_field", "peer_left_or_cut_off"}
    known |= {bound.counted for bound in bounds.of_links(capacity.ENOUGH)} - {""}
    assert first_column(tables(section("health", section("events")))[1]) == known


def test_every_request_stands_on_the_page_with_its_keys() -> None:
    told = {next(iter(words(row[0]))): row[1] for row in requests()}
    assert set(told) == set(OPS)
    for op, kind in OPS.items():
        own = keys(kind) - {"id", "who"}
        assert own <= words(told[op]), op
        assert told_optional(told[op]) == optional(kind) & own, op
    who = next(row for row in tables(section("control"))[0] if row[0] == "`who`")[2]
    assert {op for op, kind in OPS.items() if "who" in keys(kind)} == set(
        re.findall(r"trip|reset|report|resolve|cancel|accept", who)
    )


def test_every_code_of_a_refusal_stands_on_the_page() -> None:
    assert first_column(tables(section("control"))[2]) == set(get_args(ErrorCode))


def test_every_key_of_a_reply_stands_on_the_page() -> None:
    told = {next(iter(words(row[0]))): words(row[2]) for row in requests()}
    common = first_column(tables(section("control"))[1])
    rig = with_unknown()
    replies = {
        "status": rig.ask("status"),
        "resolve": rig.ask("resolve", order_id="o-1", reason="seen", **{"as": "cancelled"}),
        "report": rig.ask("report", what="condition", name="feed", reason="late"),
        "reset": rig.ask("reset", reason="go"),
    }
    rig.ask("trip", reason="stop")
    rig.wait(1)
    replies["trip"] = rig.replies["t"]
    for op, reply in replies.items():
        assert reply["ok"], op
        assert set(reply) - common <= told[op], op
    assert keys(standing.Drift) | keys(standing.ForeignOrder) | {"account", "by_hand"} <= told["status"]
    assert keys(last_failures._Group) | {"last_failures", "failures_by"} <= words(section("control"))
    assert f"at most {last_failures.MOST} maps" in section("control")
    for name in ("executor", "gateway"):
        assert set(replies["status"][name]) <= told["status"]


def requests() -> list[list[str]]:
    """The rows of the table of requests."""
    return tables(section("control"))[3][1:]


def test_every_condition_and_the_numbers_of_drift_stand_on_the_page() -> None:
    assert set(GRACE_NS) <= words(section("state", section("events")))
    assert f"at most {control_messages.MAX_TOLD}" in section("control")
    assert f"Every {Timing().positions_every:g} s the executor compares" in section("control")


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
    assert links.COMMON[zmq.HANDSHAKE_IVL] == 2000
    assert f"a subscriber: {links.MAX_SUBSCRIBER_BYTES} bytes" in PAGE
    assert f"Subscriptions have at most {links.MAX_TOPIC_BYTES} bytes" in PAGE
    assert f"more than {subscriptions.MOST_STANDING} standing" in PAGE
    assert f"refused for {subscriptions.BARRED_SECS:g} s" in PAGE
    of_one = capacity.room(capacity.ENOUGH)
    assert f"{of_one['orders'].of_one_process} connections to each public link" in PAGE
    assert f"{of_one['dispatch'].of_one_process} to each of the executor's" in PAGE


def test_no_link_and_no_program_of_the_page_has_heartbeats_of_zeromq() -> None:
    ends = [end for link in links.TOPOLOGY.values() for end in (link.breaker, link.peer)]
    for options in (links.COMMON, *(end.options for end in ends)):
        assert not {zmq.HEARTBEAT_IVL, zmq.HEARTBEAT_TIMEOUT, zmq.HEARTBEAT_TTL} & set(options)
    programs = re.findall(r"^```(?:python|javascript)\n(.*?)^```$", PAGE, re.M | re.S)
    assert len(programs) == 4
    assert not [program for program in programs if re.search(r"zmq\.HEARTBEAT|heartbeat(Interval|T)", program)]


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
    message: order_messages.Submit = codec.convert({"kind": "submit", **example}, order_messages.Submit)
    assert message.ttl_ms == 5000
    assert msgspec.to_builtins(message)["kind"] == "submit"
