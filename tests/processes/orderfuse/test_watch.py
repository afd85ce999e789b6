"""Following events: what is told once, what is filled in, what is said about a breaker that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

import orderfuse.client.follower
import orderfuse.client.watch
from orderfuse.bus.codec import encode_map
from orderfuse.bus.events import Expired, State
from orderfuse.bus.fields import VERSION
from orderfuse.bus.notices import Gap, Heard, Item, Silent, Unreadable
from orderfuse.client.control import ControlClient
from orderfuse.client.follower import Follower
from orderfuse.client.tracks import Track
from orderfuse.client.watch import Watcher
from orderfuse.errors import BreakerUnavailable, ControlRefused
from orderfuse.settings import Settings
from tests.processes.orderfuse.wire import DEADLINE_S, WireBreaker
from tests.states import state


def expired(order_id: str) -> Expired:
    return Expired(order_id=order_id, strategy_id="s", age_ms=1)


def until(follower: Follower | Watcher, enough: Callable[[list[Item]], bool]) -> list[Item]:
    """Everything read until it is enough."""
    deadline = time.monotonic() + DEADLINE_S
    items: list[Item] = []
    while not enough(items):
        assert time.monotonic() < deadline, items
        items += follower.read(0.05)
    return items


def kinds(items: list[Item], topic: str = "order/s/") -> list[Any]:
    return [getattr(item, "order_id", type(item).__name__) for at, item in items if at == topic]


def heard(items: list[Item]) -> bool:
    return any(isinstance(item, Heard) for _, item in items)


# -- the rule, without a wire -----------------------------------------------------------------------------


def at(seq: int, *, at_ns: int | None = None, **more: Any) -> Expired:
    return msgspec.structs.replace(expired("o"), seq=seq, at_ns=at_ns or seq, **more)


def test_events_in_a_row_are_delivered_and_a_hole_asks_for_a_replay() -> None:
    track = Track()
    assert [track.take(at(seq)) for seq in (5, 6, 7)] == ["deliver"] * 3
    assert track.take(at(9)) == "replay"
    track.advance(at(9))
    assert track.take(at(8)) == "drop"
    assert track.take(at(10)) == "deliver"


def test_a_repeat_with_a_number_of_its_own_counts_and_one_without_does_not() -> None:
    track = Track()
    track.take(at(5))
    assert track.take(at(6, again=True)) == "deliver"
    assert track.take(at(5, again=True, at_ns=99)) == "deliver"
    assert track.take(at(7)) == "deliver"


def test_a_repeated_state_is_dropped_and_shows_a_change_that_was_missed() -> None:
    track = Track()
    assert track.take(state(seq=3, at_ns=1, repeat=True)) == "deliver"
    assert track.take(state(seq=3, at_ns=2, repeat=True)) == "drop"
    assert track.take(state(seq=4, at_ns=3, repeat=True)) == "deliver"
    assert track.take(state(seq=6, at_ns=4, repeat=True)) == "replay"


def test_a_wall_clock_put_back_does_not_look_like_a_new_journal() -> None:
    track = Track()
    for seq, at_ns in ((1, 100), (2, 110), (3, 50)):
        assert track.take(at(seq, at_ns=at_ns)) == "deliver"
    assert track.take(at(2, at_ns=110)) == "drop"
    assert track.take(at(1, at_ns=200)) == "replay"


def test_only_the_systems_state_is_the_sign_of_life(settings: Settings) -> None:
    with Follower(settings) as follower:
        for scope, is_heard in (("strategy:alpha", False), ("system", True)):
            told = encode_map({"v": VERSION, **msgspec.to_builtins(state(scope=scope, seq=1, at_ns=1))})
            follower._on_frame(f"state/{scope}/", told)
            assert (follower.heard_at is not None) is is_heard, scope


# -- on the wire ------------------------------------------------------------------------------------------


def test_a_watcher_tells_first_how_everything_stands_and_each_event_once(settings: Settings) -> None:
    with WireBreaker(settings) as breaker, Watcher(settings) as watcher:
        items = until(watcher, heard)
        (told,) = [item for _, item in items if isinstance(item, Heard)]
        assert told.status is not None
        assert told.status["circuits"][0]["scope"] == "system"

        breaker.tell(expired("o-1"))
        breaker.tell(expired("o-2"))
        items += until(watcher, lambda found: len(kinds(found)) == 2)
        assert kinds(items) == ["o-1", "o-2"]
        # The state is repeated all the while.
        assert [type(item) for topic, item in items if topic == "state/system/"] == [State]


def test_a_watcher_says_once_that_nothing_is_heard_and_once_that_something_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orderfuse.client.watch, "SILENCE_S", 0.3)
    with Watcher(settings) as watcher:
        items = until(watcher, bool)
        for _ in range(10):
            items += watcher.read(0.05)
        assert [type(item) for _, item in items] == [Silent]

        with WireBreaker(settings):
            items = until(watcher, heard)
        again = until(watcher, lambda found: any(isinstance(item, Silent) for _, item in found))
    about_it = [type(item) for topic, item in items + again if topic == ""]
    assert about_it == [Heard, Silent]


def test_a_hole_is_noted_and_filled(settings: Settings) -> None:
    with WireBreaker(settings) as breaker, Watcher(settings) as watcher:
        items = until(watcher, heard)
        breaker.tell(expired("o-1"))
        for number in range(3):
            breaker.tell(expired(f"lost-{number}"), lost=True)
        breaker.tell(expired("o-2"))
        items = until(watcher, lambda found: "o-2" in kinds(found))
        assert kinds(items) == ["o-1", "Gap", "lost-0", "lost-1", "lost-2", "o-2"]
        (gap,) = [item for _, item in items if isinstance(item, Gap)]
        assert (gap.after_seq, gap.missing) == (1, False)


def test_a_long_hole_is_filled_page_by_page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orderfuse.client.follower, "_PAGE", 3)
    monkeypatch.setattr(orderfuse.client.follower, "_PAGES", 2)
    with WireBreaker(settings) as breaker, Follower(settings) as follower:
        until(follower, bool)
        breaker.tell(expired("o-0"))
        until(follower, lambda found: "o-0" in kinds(found))
        for number in range(1, 20):
            breaker.tell(expired(f"o-{number}"), lost=True)
        breaker.tell(expired("o-20"))
        items = until(follower, lambda found: "o-20" in kinds(found))
    assert [name for name in kinds(items) if name != "Gap"] == [f"o-{number}" for number in range(1, 21)]


def test_what_the_journal_has_lost_is_said(settings: Settings) -> None:
    with WireBreaker(settings) as breaker, Follower(settings) as follower:
        until(follower, bool)
        breaker.tell(expired("o-1"))
        until(follower, lambda found: "o-1" in kinds(found))
        breaker.answers_control = False
        breaker.tell(expired("o-2"), lost=True, unjournaled=True)
        breaker.tell(expired("o-3"), unjournaled=True)
        asked = len(breaker.requests)
        until(follower, lambda _: len(breaker.requests) > asked)

        breaker.answers_control = True
        items = until(follower, lambda found: "Gap" in kinds(found))
        assert [item for _, item in items if isinstance(item, Gap)] == [Gap(after_seq=1, replayed=0, missing=True)]
        breaker.tell(expired("o-4"))
        assert kinds(until(follower, lambda found: bool(kinds(found)))) == ["o-4"]


def test_what_was_published_while_the_breaker_changed_is_read_from_the_journal(settings: Settings) -> None:
    with Follower(settings) as follower:
        with WireBreaker(settings) as first:
            until(follower, bool)
            first.tell(expired("o-1"))
            until(follower, lambda found: "o-1" in kinds(found))
        with WireBreaker(settings, journal=first.journal) as second:
            second.tell(expired("o-2"), lost=True)
            items = until(follower, lambda found: "o-2" in kinds(found))
    assert kinds(items) == ["Gap", "o-2"]


def test_whoever_reads_rarely_asks_the_journal_what_the_link_may_have_dropped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WireBreaker(settings) as breaker, Follower(settings) as follower:
        until(follower, bool)
        breaker.tell(expired("o-1"))
        until(follower, lambda found: "o-1" in kinds(found))
        breaker.tell(expired("o-2"), lost=True)
        monkeypatch.setattr(orderfuse.client.follower, "PAUSE_S", 0.0)
        follower.read()
        monkeypatch.undo()
        assert "o-2" in kinds(until(follower, lambda found: bool(kinds(found))))


def test_what_cannot_be_read_is_said_and_makes_no_gap(settings: Settings) -> None:
    with WireBreaker(settings) as breaker, Follower(settings) as follower:
        until(follower, bool)
        breaker.tell(expired("o-1"))
        breaker.publish("order/s/", {"kind": "teleported", "seq": 2, "at_ns": 1, "order_id": "o-1"})
        breaker.publish("weather/", {"kind": "rain", "seq": 1})
        breaker.journal["order/s/"].append({"seq": 2, "unjournaled": True})
        breaker.tell(expired("o-2"))
        items = until(follower, lambda found: "o-2" in kinds(found))
    assert kinds(items) == ["o-1", "Unreadable", "o-2"]
    assert [item.cause for _, item in items if isinstance(item, Unreadable)] == ["unknown_kind"]


# -- control ----------------------------------------------------------------------------------------------


def test_a_request_gets_its_reply(settings: Settings) -> None:
    with WireBreaker(settings) as breaker, ControlClient(settings) as control:
        assert control.request("status", reason=None)["executor"] == {"present": True}
        (asked,) = breaker.requests
        assert set(asked) == {"v", "kind", "op", "id"}


def test_a_no_is_an_exception_with_its_code(settings: Settings) -> None:
    with WireBreaker(settings), ControlClient(settings) as control:
        with pytest.raises(ControlRefused, match="op is 'dance'") as caught:
            control.request("dance")
        assert caught.value.code == "unknown_op"


def test_an_absent_breaker_is_said_within_a_second(settings: Settings) -> None:
    with ControlClient(settings) as control:
        started = time.monotonic()
        with pytest.raises(BreakerUnavailable, match="nothing was sent"):
            control.request("status")
        assert time.monotonic() - started < 1


def test_a_breaker_that_does_not_answer_may_have_done_it(settings: Settings) -> None:
    with (
        WireBreaker(settings, answers_control=False),
        ControlClient(settings) as control,
        pytest.raises(BreakerUnavailable, match="may still do"),
    ):
        control.request("trip", timeout_s=0.1)


def test_a_late_reply_is_not_taken_for_the_next_one(settings: Settings) -> None:
    with WireBreaker(settings, answers_control=False) as breaker, ControlClient(settings) as control:
        late: list[list[bytes]] = []
        breaker._answer = late.append  # type: ignore[method-assign, assignment]
        with pytest.raises(BreakerUnavailable):
            control.request("status", timeout_s=0.1)

        def both(frames: list[bytes]) -> None:
            *envelope, _ = late[0]
            stale = {"v": 1, "kind": "reply", "id": "another", "ok": True, "stale": True}
            breaker._control.send_multipart([*envelope, encode_map(stale)])
            breaker.answers_control = True
            WireBreaker._answer(breaker, frames)

        breaker._answer = both  # type: ignore[method-assign]
        assert "stale" not in control.request("status")
