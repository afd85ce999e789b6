"""The links: where they are, what may be an endpoint, how a socket is opened."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import get_args

import pytest
import zmq

from orderfuse.bus import links
from orderfuse.bus.links import TOPOLOGY, LinkName, endpoint
from orderfuse.home import MAX_SOCKET_PATH
from orderfuse.settings import Settings, SettingsError, load_settings

NAMES: tuple[LinkName, ...] = get_args(LinkName)


def with_link(home: Path, link: str, address: str) -> Settings:
    return load_settings(home, environ={f"ORDERFUSE_LINKS__{link.upper()}": address})


def test_every_link_has_its_place_in_the_home(home: Path, settings: Settings) -> None:
    assert set(TOPOLOGY) == set(NAMES)
    assert [endpoint(settings, link) for link in NAMES] == [f"ipc://{home}/links/{link}" for link in NAMES]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tcp://127.0.0.1:5555", "plain tcp"),
        ("tcp://*:5555", "plain tcp"),
        ("ipc://relative/path", "absolute"),
        ("ipc://@abstract", "absolute"),
        ("inproc://orders", "allowed is ipc://"),
        ("orders", "allowed is ipc://"),
        ("ipc:/tmp/x", "allowed is ipc://"),
    ],
)
def test_an_endpoint_that_cannot_be_guarded_is_refused(home: Path, address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        endpoint(with_link(home, "orders", address), "orders")
    assert "links.orders" in str(caught.value)
    assert repr(address) in str(caught.value)


def test_a_path_that_no_socket_can_have_is_refused_by_its_length(home: Path) -> None:
    longest = "/" + "x" * (MAX_SOCKET_PATH - 1)
    assert endpoint(with_link(home, "events", f"ipc://{longest}"), "events")
    says = (
        rf"{MAX_SOCKET_PATH + 1} bytes, allowed are {MAX_SOCKET_PATH}\. Set links\.events \(ORDERFUSE_LINKS__EVENTS\)"
    )
    with pytest.raises(SettingsError, match=says):
        endpoint(with_link(home, "events", f"ipc://{longest}x"), "events")
    # Bytes count, not characters.
    with pytest.raises(SettingsError, match="bytes, allowed are"):
        endpoint(with_link(home, "events", f"ipc:///{'ö' * (MAX_SOCKET_PATH // 2 + 1)}"), "events")


def test_a_home_with_a_path_too_long_for_sockets_says_which_setting_to_change(home: Path) -> None:
    folder = home / ("x" * (MAX_SOCKET_PATH - len(str(home)) - len("//links/events")))
    assert endpoint(load_settings(folder, environ={}), "events").startswith(f"ipc://{folder}")
    with pytest.raises(SettingsError, match=r"allowed are \d+\. Set ORDERFUSE_HOME to a shorter one\.$"):
        endpoint(load_settings(folder, environ={}), "dispatch")


# libzmq takes these and cannot be asked for them.
WRITE_ONLY = {zmq.XPUB_NODROP, zmq.XPUB_VERBOSER, zmq.ROUTER_MANDATORY}


@pytest.mark.parametrize("link", NAMES)
def test_both_ends_have_their_type_and_options(settings: Settings, link: LinkName) -> None:
    with (
        zmq.Context() as context,
        links.bind(context, settings, link) as breaker,
        links.connect(context, settings, link) as peer,
    ):
        for socket, end in ((breaker, TOPOLOGY[link].breaker), (peer, TOPOLOGY[link].peer)):
            assert socket.type == end.socket_type
            wanted = {
                option: value for option, value in {**links.COMMON, **end.options}.items() if option not in WRITE_ONLY
            }
            assert {option: socket.getsockopt(option) for option in wanted} == wanted


def test_an_order_never_outlives_its_socket_and_events_never_wait_for_a_slow_reader() -> None:
    peer = TOPOLOGY["orders"].peer
    assert peer.socket_type == zmq.XPUB
    assert peer.options[zmq.IMMEDIATE] == peer.options[zmq.XPUB_NODROP] == 1
    assert links.COMMON[zmq.LINGER] == 0
    assert zmq.XPUB_NODROP not in TOPOLOGY["events"].breaker.options


def test_only_the_owner_can_reach_a_link_also_outside_the_home(home: Path) -> None:
    folder = home / "open"
    folder.mkdir(mode=0o777)
    settings = with_link(home, "orders", f"ipc://{folder}/orders")
    with zmq.Context() as context, links.bind(context, settings, "orders"):
        assert stat.S_IMODE((folder / "orders").stat().st_mode) == 0o600


def test_a_link_that_cannot_be_bound_is_an_error_of_settings_and_leaves_no_socket(home: Path) -> None:
    (home / "file").write_text("")
    settings = with_link(home, "orders", f"ipc://{home}/file/orders")
    # The context ends only when every socket is closed.
    with zmq.Context() as context, pytest.raises(SettingsError, match=r"links\.orders"):
        links.bind(context, settings, "orders")
    (home / "folder").mkdir()
    settings = with_link(home, "orders", f"ipc://{home}/folder")
    with zmq.Context() as context, pytest.raises(SettingsError, match="cannot be bound"):
        links.bind(context, settings, "orders")


def test_whoever_comes_first_is_found_by_the_other(settings: Settings) -> None:
    with zmq.Context() as context, links.connect(context, settings, "feedback") as early:
        early.send(b"fact")
        with links.bind(context, settings, "feedback") as breaker:
            assert breaker.poll(5000)
            assert breaker.recv() == b"fact"
