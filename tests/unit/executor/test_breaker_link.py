"""What is said on `dispatch`, in virtual time."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from services.executor.breaker_link import MAX_REQUESTS_OUT, BreakerLink
from services.executor.link_effects import (
    AcceptByHand,
    AnswerFence,
    AnswerWelcome,
    CancelAtIB,
    CancelWaiting,
    KeepFence,
    Note,
    RefuseReplace,
    RenameJournal,
    Resend,
    Send,
    Tell,
)
from services.wire.dispatch import (
    Accept,
    CancelOrder,
    Fence,
    Goodbye,
    Hello,
    Lease,
    LeaseRequest,
    NotWelcome,
    ReplaceOrder,
    ResendFeedback,
    Welcome,
)
from services.wire.standing import GatewayStatus
from tests.orders import RESTING, STOCK, place

UP = GatewayStatus(host="127.0.0.1", port=4010, connected=True, usable=True, account="DU1")
DOWN = GatewayStatus(host="127.0.0.1", port=4010, connected=False, usable=False, detail="gone")


def new_link() -> BreakerLink:
    return BreakerLink(executor_id="e", journal_id="j", inbox_limit=2, first_nonce=1000)


def joined(fence: int = 5) -> BreakerLink:
    link = new_link()
    link.tick(0.0, UP, (1, 0, 0))
    link.take(Welcome(fence=fence, doubtful=[], feedback_after=0), 0.0)
    return link


def sent(effects: list[Any], kind: type[Any]) -> list[Any]:
    return [effect.message for effect in effects if isinstance(effect, Send) and isinstance(effect.message, kind)]


def told(effects: list[Any]) -> list[tuple[str, str]]:
    return [(effect.fact.order_id, effect.fact.code) for effect in effects if isinstance(effect, Tell)]


def lease_for(link: BreakerLink, asked_at: float, answered_at: float, **changes: Any) -> LeaseRequest:
    (request,) = sent(link.tick(asked_at, UP, (1, 0, 0)), LeaseRequest)
    fields: dict[str, Any] = {
        "nonce": request.nonce,
        "fence": link.fence_of("system"),
        "lease_ms": 500,
        "feedback_taken": 0,
        **changes,
    }
    link.take(Lease(**fields), answered_at)
    return request


def test_hello_is_said_every_quarter_second_until_welcome() -> None:
    link = new_link()
    hellos = [bool(sent(link.tick(ms / 1000, UP, (1, 0, 0)), Hello)) for ms in range(0, 1000, 50)]
    assert [index for index, said in enumerate(hellos) if said] == [0, 5, 10, 15]
    link.take(Welcome(fence=1, doubtful=[], feedback_after=0), 1.0)
    assert sent(link.tick(1.3, UP, (1, 0, 0)), Hello) == []


def test_welcome_is_answered_with_what_is_known_after_the_inbox_is_refused() -> None:
    link = joined(fence=5)
    link.take(place("o-1", fence=5), 0.1)
    effects = link.take(Welcome(fence=6, doubtful=["a", "b"], feedback_after=17), 0.2)
    assert told(effects) == [("o-1", "fenced")]
    assert effects[-2:] == [Resend(17), AnswerWelcome(["a", "b"], 6, 0)]
    assert not link.inbox


def test_a_lease_counts_from_our_own_request() -> None:
    link = joined()
    lease_for(link, asked_at=0.25, answered_at=0.5)
    assert link.lease_until == 0.75


def test_an_old_answer_shortens_nothing_and_extends_nothing_beyond_its_request() -> None:
    link = joined()
    first = sent(link.tick(0.125, UP, (1, 0, 0)), LeaseRequest)[0]
    second = sent(link.tick(0.25, UP, (1, 0, 0)), LeaseRequest)[0]
    for nonce in (second.nonce, first.nonce, first.nonce, second.nonce, 999_999):
        link.take(Lease(nonce=nonce, fence=5, lease_ms=500, feedback_taken=0), 0.375)
        assert link.lease_until == 0.75


def test_leases_of_before_the_welcome_are_void() -> None:
    link = joined()
    request = sent(link.tick(0.2, UP, (1, 0, 0)), LeaseRequest)[0]
    link.take(Welcome(fence=5, doubtful=[], feedback_after=0), 0.3)
    link.take(Lease(nonce=request.nonce, fence=5, lease_ms=500, feedback_taken=0), 0.4)
    assert link.lease_until == 0.0


def test_requests_without_answers_do_not_pile_up() -> None:
    link = joined()
    for number in range(3 * MAX_REQUESTS_OUT):
        link._answered_at = number / 10
        link.tick(number / 10, UP, (1, 0, 0))
    assert len(link._asked) == MAX_REQUESTS_OUT


def test_silence_of_half_a_second_brings_hello_again() -> None:
    link = joined()
    lease_for(link, 0.1, 0.1)
    link.tick(0.6, UP, (1, 0, 0))
    assert link.joined
    link.tick(0.601, UP, (1, 0, 0))
    assert not link.joined
    assert len(sent(link.tick(0.611, UP, (1, 0, 0)), Hello)) == 1


def test_the_hello_after_a_silence_never_says_what_the_feedback_was_when_this_one_was_joined() -> None:
    link = joined()
    lease_for(link, 0.1, 0.1)
    assert sent(link.tick(0.601, UP, (1, 0, 0)), Hello) == [], "the range is of before"
    (hello,) = sent(link.tick(0.611, UP, (1, 69, 69)), Hello)
    assert hello.feedback_last == 69


def test_a_change_of_the_gateway_is_told_at_once() -> None:
    link = joined()
    lease_for(link, 0.1, 0.1)
    assert link.tick(0.11, UP, (1, 0, 0)) == []
    (request,) = sent(link.tick(0.12, DOWN, (1, 0, 0)), LeaseRequest)
    assert request.gateway == DOWN


def test_a_fence_refuses_the_inbox_and_never_goes_back() -> None:
    link = joined(fence=5)
    link.take(place("o-1", fence=5), 0.1)
    effects = link.take(Fence(fence=6), 0.2)
    assert told(effects) == [("o-1", "fenced")]
    assert effects[-1] == AnswerFence(6)
    assert link.take(Fence(fence=4), 0.3)[-1] == AnswerFence(6)
    assert link.fence_of("system") == 6


def test_a_fence_of_one_strategy_voids_its_orders_and_nobody_elses() -> None:
    link = joined(fence=5)
    link.take(place("o-1", fence=5), 0.1)
    link.take(place("o-2", fence=5, strategy_id="s2", scope="strategy:s2"), 0.1)
    effects = link.take(Fence(fence=6, scope="strategy:s1"), 0.2)
    assert told(effects) == [("o-1", "fenced")]
    assert [waiting.message.order_id for waiting in link.inbox] == ["o-2"]
    assert (link.fence_of("strategy:s1"), link.fence_of("strategy:s2")) == (6, 5)
    link.take(Fence(fence=7), 0.3)
    assert link.fences == {"system": 7}, "that of all takes the place of all others"


def test_each_fence_is_kept_before_it_is_confirmed_and_told_at_the_next_hello() -> None:
    link = joined(fence=5)
    effects = link.take(Fence(fence=6, scope="strategy:s1"), 0.1)
    assert effects == [KeepFence("strategy:s1", 6), AnswerFence(6)]
    link.tick(9.0, UP, (3, 8, 5))
    (hello,) = sent(link.tick(9.1, UP, (3, 8, 5)), Hello)
    assert hello.fences == {"system": 5, "strategy:s1": 6}
    assert (hello.feedback_first, hello.feedback_last, hello.feedback_taken) == (3, 8, 5)


def test_an_executor_that_starts_again_holds_the_fences_that_its_journal_kept() -> None:
    kept = {"system": 5, "strategy:s1": 6}
    link = BreakerLink(executor_id="e", journal_id="j", inbox_limit=2, first_nonce=1000, fences=kept)
    assert (link.fence_of("strategy:s1"), link.fence_of("strategy:s2")) == (6, 5)


def test_a_lease_that_names_a_fence_which_never_came_has_the_breaker_greeted_anew() -> None:
    link = joined(fence=5)
    link.take(place("o-1", fence=5), 0.05)
    (request,) = sent(link.tick(0.1, UP, (1, 0, 0)), LeaseRequest)
    effects = link.take(Lease(nonce=request.nonce, fence=7, lease_ms=500, feedback_taken=0), 0.1)
    assert told(effects) == [("o-1", "fenced")]
    assert (link.lease_until, link.joined) == (0.0, False)
    assert sent(link.tick(0.5, UP, (1, 0, 0)), Hello)


def test_a_breaker_that_says_goodbye_is_not_lost_and_one_that_does_not_is() -> None:
    link = joined()
    assert link.breaker_lost_for(100.0) == 0.0, "there never was a lease"
    lease_for(link, asked_at=0.2, answered_at=0.3)
    assert link.breaker_lost_for(0.6) == 0.0
    assert link.breaker_lost_for(30.7) == 30.0
    link.take(Goodbye(feedback_taken=3), 30.7)
    assert link.breaker_lost_for(100.0) == 0.0
    assert not link.joined


def test_an_old_copy_of_a_journal_gets_another_id() -> None:
    link = new_link()
    assert RenameJournal() in link.take(NotWelcome(reason="old copy", rename=True), 0.0)
    assert RenameJournal() not in link.take(NotWelcome(reason="another lives"), 0.0)


def test_a_welcome_for_the_id_that_is_given_up_takes_nobody_in() -> None:
    link = new_link()
    late = Welcome(fence=5, doubtful=[], feedback_after=0, journal_id=link.journal_id)
    link.take(NotWelcome(reason="old copy", rename=True), 0.0)
    assert RenameJournal() not in link.take(NotWelcome(reason="old copy", rename=True), 0.0), "it is under way"
    assert link.take(late, 0.0) == []
    assert sent(link.tick(0.3, UP, (1, 0, 0)), Hello) == [], "not under an id that is about to go"
    link.on_renamed("another")
    assert link.take(late, 0.3) == []
    assert [hello.journal_id for hello in sent(link.tick(0.3, UP, (1, 0, 0)), Hello)] == ["another"]
    assert link.take(structs.replace(late, journal_id="another"), 0.4)
    assert link.joined


def test_the_journal_of_a_process_that_was_taken_in_is_no_old_copy_when_its_hello_was_late() -> None:
    link = joined()
    assert RenameJournal() not in link.take(NotWelcome(reason="old copy", rename=True), 0.2)
    assert not link.joined


def test_not_welcome_ends_the_lease_and_refuses_the_inbox() -> None:
    link = joined()
    lease_for(link, 0.1, 0.1)
    link.take(place("o-1", fence=5), 0.2)
    effects = link.take(NotWelcome(reason="another executor lives"), 0.2)
    assert told(effects) == [("o-1", "lease")]
    assert link.lease_until == 0.0
    assert told(link.take(place("o-2", fence=5), 0.3)) == [("o-2", "lease")]


def test_the_inbox_is_bounded() -> None:
    link = joined()
    for order_id in ("o-1", "o-2"):
        assert link.take(place(order_id, fence=5), 0.1) == []
    assert told(link.take(place("o-3", fence=5), 0.1)) == [("o-3", "undelivered")]


def test_a_cancel_takes_an_order_out_of_the_inbox_or_goes_to_ib() -> None:
    link = joined()
    link.take(place("o-1", fence=5), 0.1)
    (cancel,) = link.take(CancelOrder(order_id="o-1", request_id="r"), 0.1)
    assert isinstance(cancel, CancelWaiting)
    assert (cancel.refusal.order_id, cancel.refusal.code, cancel.request_id) == ("o-1", "cancelled", "r")
    assert not link.inbox
    assert link.take(CancelOrder(order_id="o-1", request_id="r"), 0.1) == [CancelAtIB("o-1", "r")]


def test_feedback_that_the_breaker_lacks_for_a_second_is_sent_again() -> None:
    link = joined()
    link.on_feedback_sent(9, 0.0)
    (request,) = sent(link.tick(0.1, UP, (1, 0, 0)), LeaseRequest)
    assert Resend(7) not in link.take(Lease(nonce=request.nonce, fence=5, lease_ms=500, feedback_taken=7), 0.5)
    (request,) = sent(link.tick(0.9, UP, (1, 0, 0)), LeaseRequest) or sent(link.tick(0.95, UP, (1, 0, 0)), LeaseRequest)
    assert Resend(7) in link.take(Lease(nonce=request.nonce, fence=5, lease_ms=500, feedback_taken=7), 1.0)
    assert link.take(ResendFeedback(after_seq=3), 1.0) == [Resend(3)]


def test_what_a_person_accepts_is_carried_out_while_the_lease_runs_and_never_later() -> None:
    link = joined()
    accept = Accept(number=1, reason="my hedge", who="ann@desk")
    (dropped,) = link.take(accept, 0.0)
    assert isinstance(dropped, Note), "no lease yet"
    lease_for(link, asked_at=0.25, answered_at=0.375)
    assert link.take(accept, 0.74) == [AcceptByHand(accept)]
    (dropped,) = link.take(accept, 0.75)
    assert isinstance(dropped, Note)
    assert "dropped" in dropped.text


# -- changes ----------------------------------------------------------------------------------------------


def change(order_id: str = "o-1") -> ReplaceOrder:
    ids: dict[str, Any] = {"order_id": order_id, "strategy_id": "s1", "account": "", "scope": "strategy:s1"}
    return ReplaceOrder(**ids, request_id="r-1", revision=1, contract=STOCK, order=RESTING, fence=5, ttl_left_ms=5000)


def refused(effects: list[Any]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, RefuseReplace)]


def test_a_change_needs_a_breaker_that_has_taken_this_executor_in() -> None:
    assert refused(new_link().take(change(), 0.1)) == ["the breaker has not taken this executor in"]


def test_a_change_that_finds_the_inbox_full_is_refused() -> None:
    link = joined()
    for number in range(2):
        link.take(place(f"o-{number}", fence=5), 0.1)
    assert refused(link.take(change(), 0.1)) == ["the executor's inbox holds 2 orders"]


def test_a_change_that_waits_is_refused_when_its_order_is_cancelled_which_goes_to_ib() -> None:
    link = joined()
    link.take(change(), 0.1)
    effects = link.take(CancelOrder(order_id="o-1", request_id="c-1"), 0.2)
    assert refused(effects) == ["the order is cancelled"]
    assert effects[-1] == CancelAtIB("o-1", "c-1")
    assert not link.inbox


def test_a_change_that_waits_is_void_with_a_fence() -> None:
    link = joined()
    link.take(change(), 0.1)
    assert refused(link.take(Fence(fence=6, scope="system"), 0.2)) == ["the fence of system is 6 now"]


# -- refusals ---------------------------------------------------------------------------------------------


def test_why_the_breaker_does_not_take_this_executor_is_logged_once_for_each_reason() -> None:
    link = new_link()
    reasons = ["old", "old", "another account"]
    notes = [link.take(NotWelcome(reason=reason, rename=False), 0.1) for reason in reasons]
    assert [len(each) for each in notes] == [1, 0, 1]


def test_a_lease_with_an_older_fence_shows_that_the_breaker_lives_and_extends_nothing() -> None:
    link = joined(fence=5)
    link.take(Fence(fence=6, scope="system"), 0.1)
    lease_for(link, asked_at=0.2, answered_at=0.3, fence=5)
    assert link.lease_until == 0.0
    assert link.joined
