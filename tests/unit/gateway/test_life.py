"""The life of a connection in virtual time: no socket, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orderfuse.settings import IbSettings
from services.gateway.accounts import AccountRefused
from services.gateway.diagnosis import FIRST_REQUEST_ID
from services.gateway.frames import Ask, Dial, Frame, HangUp
from services.gateway.life import CLIENT_ID_IN_USE, Life
from services.gateway.news import Connected, News, RoundComplete
from services.gateway.phases import DIALLING, SILENT, Phase, Sign
from services.gateway.reports import (
    Accounts,
    Closed,
    Dialled,
    ErrorReport,
    Heard,
    NextOrderId,
    NotDialled,
    Report,
    RequestEnd,
)
from services.gateway.round import LISTS
from services.gateway.timing import Timing
from services.runtime.notes import Note

TIMING = Timing()
LOST, BACK = 1100, 1102
# A power of two: sums of it are exact.
STEP = 1 / 16


class Bench:
    """A life, and a gateway that answers at once whatever it is asked, but for what is in `mute`."""

    def __init__(self, *, mute: tuple[str, ...] = (), ib: IbSettings | None = None, **more: Any) -> None:
        self.now = 1000.0
        self.life = Life(ib or IbSettings(), **more)
        self.mute = set(mute)
        self.accounts = ("DU1",)
        self.next_order_id = 5
        # What the gateway says while a connection is made.
        self.greeting: list[Report] = []
        self.buffer_empty = True
        self.frames: list[Frame] = []
        self.news: list[News] = []
        self.notes: list[Note] = []

    @property
    def number(self) -> int:
        return [frame.number for frame in self.frames if isinstance(frame, Dial)][-1]

    def tick(self, secs: float = 0.0) -> Bench:
        self.now += secs
        self.life.on_time(self.now, buffer_empty=self.buffer_empty)
        return self._carry_out()

    def wait(self, secs: float) -> Bench:
        """Let so much time pass, in small steps."""
        until = self.now + secs
        while self.now < until:
            self.tick(STEP)
        return self

    def hear(self, *reports: Report, number: int | None = None) -> Bench:
        for report in reports:
            self.life.step(Heard(self.number if number is None else number, report), self.now)
        return self._carry_out()

    def error(self, code: int, req_id: int = -1) -> Bench:
        return self.hear(ErrorReport(req_id, code, "text"))

    def name(self) -> Bench:
        """IB names accounts and the next order id."""
        self.hear(Accounts(self.accounts), NextOrderId(self.next_order_id))
        self.life.step(Dialled(self.number), self.now)
        return self._carry_out()

    def end_lists(self) -> Bench:
        """Each list of a round comes to its end, whoever had asked for it."""
        for question in LISTS:
            self.tick().hear(RequestEnd(question))
        return self

    def asked(self, question: str) -> int:
        return sum(1 for frame in self.frames if isinstance(frame, Ask) and frame.question == question)

    def dials(self) -> list[int]:
        return [frame.number for frame in self.frames if isinstance(frame, Dial)]

    def hung_up(self) -> list[int]:
        return [frame.number for frame in self.frames if isinstance(frame, HangUp)]

    def told(self, kind: type[Any]) -> list[Any]:
        return [each for each in self.news if isinstance(each, kind)]

    def warnings(self) -> list[str]:
        return [note.text for note in self.notes if note.level == "WARNING"]

    def _carry_out(self) -> Bench:
        out = self.life.take_out()
        while out.frames or out.news or out.notes:
            self.frames += out.frames
            self.news += out.news
            self.notes += out.notes
            for frame in out.frames:
                self._answer(frame)
            out = self.life.take_out()
        return self

    def _answer(self, frame: Frame) -> None:
        match frame:
            case Dial(number) if "dial" not in self.mute:
                for report in (*self.greeting, Accounts(self.accounts), NextOrderId(self.next_order_id)):
                    self.life.step(Heard(number, report), self.now)
                self.life.step(Dialled(number), self.now)
            case Ask(question) if question not in self.mute and question != "end_positions":
                self.life.step(Heard(self.number, RequestEnd(question)), self.now)
            case _:
                pass


def serving(**more: Any) -> Bench:
    bench = Bench(**more).tick().wait(1.0)
    assert bench.life.usable
    return bench


def over(bench: Bench) -> Bench:
    """The connection is lost, or the attempt leads to nothing."""
    if bench.life.ready:
        return bench.hear(Closed())
    bench.life.step(NotDialled(bench.number, error="refused"), bench.now)
    return bench._carry_out()


def renewed(bench: Bench) -> Bench:
    bench.life.renew("for the orders in doubt")
    return bench.tick()


def dialling() -> Bench:
    return Bench(mute=("dial",)).tick()


def listing(**more: Any) -> Bench:
    return Bench(mute=LISTS, **more).tick().tick()


def silent(bench: Bench) -> Bench:
    bench.mute.add("current_time")
    return bench.wait(TIMING.silent + TIMING.probe_every + STEP)


REACH: dict[Phase, Callable[[], Bench]] = {
    Phase.AWAY: Bench,
    Phase.DIALLING: dialling,
    Phase.DIALLING_IB_AWAY: lambda: dialling().error(LOST),
    Phase.LISTING: listing,
    Phase.SERVING: serving,
    Phase.IB_AWAY: lambda: serving().error(LOST),
    Phase.SILENT: lambda: silent(serving()),
    Phase.SILENT_IB_AWAY: lambda: silent(serving()).error(LOST),
}
SHOW: dict[Sign, Callable[[Bench], Bench]] = {
    Sign.DIALLED: Bench.tick,
    Sign.NAMED: Bench.name,
    Sign.LISTED: Bench.end_lists,
    Sign.IB_LOST: lambda bench: bench.error(LOST),
    Sign.IB_BACK: lambda bench: bench.error(BACK),
    Sign.SILENCE: silent,
    Sign.ANSWER: lambda bench: bench.hear(RequestEnd("current_time")),
    Sign.ENDED: over,
    Sign.RENEWED: renewed,
}


# What moves, and where to; all else moves nothing.
MOVED: dict[Phase, dict[Sign, Phase]] = {
    Phase.AWAY: {Sign.DIALLED: Phase.DIALLING},
    Phase.DIALLING: {Sign.NAMED: Phase.LISTING, Sign.IB_LOST: Phase.DIALLING_IB_AWAY},
    Phase.DIALLING_IB_AWAY: {Sign.NAMED: Phase.IB_AWAY, Sign.IB_BACK: Phase.DIALLING},
    Phase.LISTING: {Sign.LISTED: Phase.SERVING, Sign.IB_LOST: Phase.IB_AWAY, Sign.SILENCE: Phase.SILENT},
    Phase.SERVING: {Sign.IB_LOST: Phase.IB_AWAY, Sign.IB_BACK: Phase.LISTING, Sign.SILENCE: Phase.SILENT},
    Phase.IB_AWAY: {Sign.IB_BACK: Phase.LISTING, Sign.SILENCE: Phase.SILENT_IB_AWAY},
    Phase.SILENT: {Sign.ANSWER: Phase.LISTING, Sign.IB_LOST: Phase.SILENT_IB_AWAY},
    Phase.SILENT_IB_AWAY: {Sign.ANSWER: Phase.IB_AWAY, Sign.IB_BACK: Phase.SILENT},
}
for each in Phase:
    MOVED[each][Sign.ENDED] = Phase.AWAY
# An attempt is no connection yet, and in LISTING the round under way comes to its end first.
for each in (Phase.SERVING, Phase.IB_AWAY, Phase.SILENT, Phase.SILENT_IB_AWAY):
    MOVED[each][Sign.RENEWED] = Phase.AWAY


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_reached(phase: Phase) -> None:
    assert REACH[phase]().life.phase is phase


@pytest.mark.parametrize("sign", Sign)
@pytest.mark.parametrize("phase", Phase)
def test_each_sign_moves_the_phase_or_moves_nothing(phase: Phase, sign: Sign) -> None:
    bench = REACH[phase]()
    bench.mute |= {"dial", *LISTS}
    if phase is Phase.AWAY and sign is not Sign.DIALLED:
        # Nothing is heard without a connection; and time that passes there begins an attempt.
        bench.life.step(Dialled(1), bench.now)
        bench.life.step(Heard(1, ErrorReport(-1, LOST, "text")), bench.now)
        bench.life.step(Heard(1, RequestEnd("current_time")), bench.now)
        assert bench.life.phase is Phase.AWAY
        return
    assert SHOW[sign](bench).life.phase is MOVED[phase].get(sign, phase)


def test_a_connection_is_of_use_once_the_three_lists_have_ended_in_their_order() -> None:
    bench = listing()
    for question in LISTS:
        assert not bench.life.usable
        assert bench.asked(question) == 1, question
        bench.hear(RequestEnd(question)).tick()
    assert bench.life.usable
    assert [type(each) for each in bench.news if isinstance(each, Connected | RoundComplete)] == [
        Connected,
        RoundComplete,
    ]
    assert (bench.life.status().usable, bench.life.status().account, bench.life.status().detail) == (True, "DU1", "")


def test_the_end_of_a_list_that_was_not_asked_for_is_not_that_of_the_next_one() -> None:
    bench = listing()
    bench.hear(RequestEnd("completed_orders"), RequestEnd("executions")).tick()
    assert bench.asked("executions") == 0
    bench.hear(RequestEnd("open_orders"), RequestEnd("completed_orders")).tick()
    assert bench.asked("completed_orders") == 0
    assert not bench.life.usable


def test_a_connection_that_is_lost_is_made_again_with_a_number_of_its_own() -> None:
    bench = serving()
    bench.hear(Closed())
    assert (bench.life.ready, bench.hung_up(), bench.life.status().detail) == (False, [1], "the connection was lost")
    bench.wait(TIMING.first_pause + 1.0)
    assert bench.dials() == [1, 2]
    assert bench.life.usable
    bench.hear(Closed(), number=1)
    assert bench.life.usable, "the end of the one before comes late"


def test_the_pauses_between_attempts_double_up_to_the_longest_and_begin_anew_once_one_was_of_use() -> None:
    bench = Bench(mute=("dial",))
    pauses = []
    for _ in range(7):
        begun = len(bench.dials())
        waited = bench.now
        while len(bench.dials()) == begun:
            bench.tick(STEP)
        pauses.append(bench.now - waited)
        bench.life.step(NotDialled(bench.number, error="refused"), bench.now)
        bench.tick()
    assert pauses[1:] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0]
    bench.mute.clear()
    bench.wait(TIMING.longest_pause + 1.0)
    assert bench.life.usable
    before = len(bench.dials())
    bench.hear(Closed()).wait(TIMING.first_pause + STEP)
    assert len(bench.dials()) == before + 1


def test_an_account_that_is_not_the_one_to_trade_ends_the_process() -> None:
    bench = dialling()
    bench.accounts = ("U1234567",)
    with pytest.raises(AccountRefused):
        bench.name()


def test_a_gateway_that_answers_stays_of_use_and_is_asked_the_time_every_second() -> None:
    bench = serving()
    asked = bench.asked("current_time")
    bench.wait(60.0)
    assert (bench.life.usable, bench.hung_up(), bench.asked("current_time") - asked) == (True, [], 60)


# -- silence ----------------------------------------------------------------------------------------------


def test_a_silent_gateway_keeps_its_connection_and_is_of_use_once_it_answers_and_everything_was_looked_up() -> None:
    bench = silent(serving())
    status = bench.life.status()
    assert (status.connected, status.usable, status.silent, status.planned) == (True, False, True, False)
    assert bench.warnings() == ["the gateway has not answered for 3 s"]
    rounds, disturbed = len(bench.told(RoundComplete)), bench.life.undisturbed_since
    bench.mute = set(LISTS)
    bench.hear(RequestEnd("current_time")).wait(TIMING.look_up_pause + STEP)
    status = bench.life.status()
    assert (status.usable, status.silent, status.planned) == (False, False, True)
    assert len(bench.told(RoundComplete)) == rounds
    bench.end_lists()
    assert (bench.life.usable, bench.life.status().planned, bench.hung_up()) == (True, False, [])
    assert bench.told(RoundComplete)[-1].undisturbed_since > disturbed


def test_silence_is_noticed_while_a_list_is_awaited() -> None:
    assert silent(listing()).life.phase is Phase.SILENT


def test_a_gateway_that_stays_silent_is_given_up_and_counts_as_silent_until_another_connection_is_made() -> None:
    bench = serving()
    bench.mute |= {"current_time", "dial"}
    bench.wait(TIMING.drop)
    assert bench.hung_up() == []
    bench.wait(TIMING.probe_every + STEP)
    assert bench.hung_up() == [1]
    status = bench.life.status()
    assert (status.connected, status.silent, status.detail) == (False, True, "the gateway has not answered for 15 s")
    bench.wait(TIMING.first_pause + STEP)
    assert bench.life.status().silent
    bench.mute.clear()
    bench.name()
    assert not bench.life.status().silent


def test_nothing_is_looked_up_while_the_gateway_is_silent() -> None:
    bench = silent(serving())
    asked = [bench.asked(question) for question in LISTS]
    bench.life.look_up()
    bench.wait(TIMING.look_up_pause + 1.0)
    assert [bench.asked(question) for question in LISTS] == asked


# -- IB away and back -------------------------------------------------------------------------------------


def test_lists_that_ib_was_away_from_prove_nothing_and_are_asked_for_again() -> None:
    bench = listing()
    bench.hear(RequestEnd("open_orders")).tick()
    bench.error(LOST)
    assert bench.life.status().detail == "IB is not behind the gateway: 1100"
    bench.tick(STEP).error(BACK).hear(RequestEnd("executions")).tick().hear(RequestEnd("completed_orders"))
    assert (bench.life.phase, bench.told(RoundComplete)) == (Phase.LISTING, [])
    bench.wait(TIMING.look_up_pause + STEP)
    assert bench.asked("open_orders") == 2
    bench.end_lists()
    assert bench.life.usable
    assert len(bench.told(RoundComplete)) == 1


def test_a_short_absence_of_ib_that_only_its_return_tells_of_is_looked_up_all_the_same() -> None:
    bench = serving()
    bench.mute |= set(LISTS)
    bench.error(BACK)
    assert (bench.life.phase, bench.life.undisturbed_since) == (Phase.LISTING, bench.now)


def test_ib_that_goes_while_the_gateway_is_silent_is_away_when_the_gateway_answers() -> None:
    bench = silent(serving()).error(LOST)
    bench.mute = set(LISTS)
    bench.hear(RequestEnd("current_time"))
    assert (bench.life.phase, bench.life.usable, bench.life.status().silent) == (Phase.IB_AWAY, False, False)
    bench.error(BACK).wait(TIMING.look_up_pause + STEP)
    assert bench.life.phase is Phase.LISTING
    bench.end_lists()
    assert bench.life.usable


def test_ib_that_comes_back_while_the_gateway_is_silent_leaves_it_silent() -> None:
    bench = silent(serving().error(LOST))
    assert bench.life.phase is Phase.SILENT_IB_AWAY
    assert bench.error(BACK).life.phase is Phase.SILENT


def test_ib_that_is_lost_twice_is_told_once() -> None:
    bench = serving().error(LOST).error(LOST)
    assert len([text for text in bench.warnings() if "has lost IB" in text]) == 1


def test_ib_that_was_lost_during_a_silence_is_not_away_on_purpose_once_the_gateway_answers() -> None:
    bench = silent(serving()).error(LOST).hear(RequestEnd("current_time"))
    assert (bench.life.phase, bench.life.status().planned) == (Phase.IB_AWAY, False)


def test_a_loss_while_a_silence_is_looked_into_is_not_planned() -> None:
    bench = silent(serving())
    bench.mute = set(LISTS)
    bench.hear(RequestEnd("current_time"))
    assert bench.life.status().planned
    bench.error(LOST)
    assert not bench.life.status().planned


# -- lists ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", LISTS)
def test_a_list_that_never_ends_ends_the_connection_and_is_named_until_it_ends(missing: str) -> None:
    bench = Bench(mute=(missing,)).tick().wait(TIMING.request - STEP)
    assert bench.hung_up() == []
    # The lists are asked for one by one, one at a time.
    bench.wait(4 * STEP)
    assert bench.hung_up() == [1]
    named = missing.replace("_", " ")
    assert f"IB's list of {named} has not ended within 10 s, tried once" in bench.life.status().detail
    bench.wait(TIMING.first_pause + 2 * STEP)
    assert "tried once" in bench.life.status().detail, "also while it is asked for again"
    bench.wait(TIMING.request + 4 * STEP)
    assert "tried 2 times" in bench.life.status().detail
    bench.mute.clear()
    bench.wait(2.0)
    assert (bench.life.usable, bench.life.status().detail) == (True, "")
    bench.mute = set(LISTS)
    bench.error(BACK)
    assert bench.life.status().detail == "IB is back; asking for orders and executions"


def test_a_list_that_is_refused_ends_the_connection_and_other_errors_do_not() -> None:
    bench = Bench(mute=("executions",)).tick().tick().tick()
    (request_id,) = [frame.request_id for frame in bench.frames if isinstance(frame, Ask) and frame.request_id]
    bench.error(321, req_id=5)
    assert bench.hung_up() == []
    bench.error(322, req_id=request_id)
    assert bench.hung_up() == [1]
    assert "IB's list of executions was refused (322 text)" in bench.life.status().detail


def test_a_refusal_that_comes_behind_the_end_of_the_list_costs_nothing() -> None:
    bench = serving().error(322, req_id=FIRST_REQUEST_ID)
    assert (bench.life.usable, bench.hung_up()) == (True, [])


def test_where_few_messages_are_allowed_the_questions_wait_for_their_turn() -> None:
    bench = Bench(ib=IbSettings(messages_per_second=3)).tick().wait(0.5)
    assert [bench.asked(question) for question in (*LISTS, "positions")] == [1, 0, 0, 0]
    bench.wait(3.0)
    assert [bench.asked(question) for question in (*LISTS, "positions")] == [1, 1, 1, 1]
    assert bench.life.usable


def test_what_must_be_looked_up_is_asked_for_with_a_pause_behind_the_round_before() -> None:
    bench = serving()
    bench.wait(TIMING.look_up_pause)
    bench.life.look_up()
    bench.wait(4 * STEP)
    assert bench.asked("completed_orders") == 2
    bench.life.look_up()
    bench.wait(TIMING.look_up_pause / 2)
    assert bench.asked("open_orders") == 2
    bench.wait(TIMING.look_up_pause)
    assert bench.asked("completed_orders") == 3


# -- attempts ---------------------------------------------------------------------------------------------


def test_an_attempt_of_which_the_rim_says_nothing_is_given_up_and_made_again() -> None:
    bench = dialling().wait(TIMING.connect + 5.0 - STEP)
    assert (bench.life.phase, bench.hung_up()) == (Phase.DIALLING, [])
    bench.wait(2 * STEP)
    assert (bench.life.phase, bench.hung_up()) == (Phase.AWAY, [1])
    assert bench.life.status().detail == "nobody has said within 9 s what became of the attempt"
    bench.life.step(Dialled(1), bench.now)
    assert not bench.life.ready
    bench.wait(TIMING.first_pause + STEP)
    assert (bench.dials(), bench.life.phase) == ([1, 2], Phase.DIALLING)
    bench.life.step(Dialled(1), bench.now)
    assert not bench.life.ready, "what became of the first comes late"
    assert bench.name().life.phase is Phase.LISTING


def why_not(*outcomes: NotDialled, heard: tuple[Report, ...] = ()) -> str:
    """What is said of the last of these attempts, none of which made a connection."""
    bench = dialling()
    for outcome in outcomes:
        bench.wait(TIMING.longest_pause)
        assert bench.life.phase in DIALLING
        bench.hear(*heard)
        bench.life.step(replace(outcome, number=bench.number), bench.now)
        bench._carry_out()
        assert bench.life.phase is Phase.AWAY
    return bench.life.status().detail


@pytest.mark.parametrize(
    ("outcome", "heard", "said"),
    [
        (NotDialled(0, error="Connection refused"), (), "Connection refused"),
        (NotDialled(0, timed_out=True), (), "nobody takes the connection there within 4 s; check ib.host"),
        (NotDialled(0, timed_out=True, reached=True), (), "did not answer as TWS or IB Gateway within 4 s; check"),
        (NotDialled(0, reached=True), (), "what listens there closed the connection at once; check ib.host"),
        (NotDialled(0, timed_out=True, version=176), (), "has named no account within 4 s: it is not logged in yet"),
        (NotDialled(0, timed_out=True, version=176), (Accounts(("DU1",)),), "has named no order id within 4 s"),
        (NotDialled(0, version=176), (), "closed the connection before it had named an account and an order id"),
        (NotDialled(0, version=90, needed_version=100), (), "too old (server version 90, needed is 100 or higher)"),
        (NotDialled(0), (ErrorReport(-1, CLIENT_ID_IN_USE, "in use"),), "ib.client_id 7 is in use"),
    ],
)
def test_an_attempt_that_led_to_nothing_is_told_as_far_as_it_came(
    outcome: NotDialled, heard: tuple[Report, ...], said: str
) -> None:
    assert said in why_not(outcome, heard=heard)


def test_how_often_a_gateway_was_waited_for_in_vain_is_told_until_another_thing_happens() -> None:
    silent = NotDialled(0, timed_out=True, reached=True)
    assert "within 4 s (tried 3 times); check" in why_not(silent, silent, silent)
    assert "within 4 s; check" in why_not(silent, silent, NotDialled(0, error="refused"), silent)


def test_a_client_id_in_use_is_tried_again_after_the_longest_pause() -> None:
    bench = Bench()
    bench.greeting = [ErrorReport(-1, CLIENT_ID_IN_USE, "in use")]
    bench.tick()
    assert (bench.life.phase, bench.hung_up()) == (Phase.AWAY, [1])
    assert "ib.client_id 7 is in use" in bench.life.status().detail
    bench.greeting = []
    bench.wait(TIMING.longest_pause - STEP)
    assert bench.dials() == [1]
    bench.wait(3 * STEP)
    assert bench.dials() == [1, 2]
    assert bench.life.ready


def test_a_client_id_that_our_own_lost_connection_holds_is_told_only_once_it_cannot_be_that_one() -> None:
    bench = serving()
    bench.greeting = [ErrorReport(-1, CLIENT_ID_IN_USE, "in use")]
    bench.hear(Closed()).wait(14.5)
    assert len(bench.dials()) > 2
    assert bench.told(ErrorReport) == []
    bench.wait(6.0)
    assert {each.code for each in bench.told(ErrorReport)} == {CLIENT_ID_IN_USE}


def test_a_connection_that_ended_because_its_client_id_is_in_use_holds_none() -> None:
    bench = serving().error(CLIENT_ID_IN_USE)
    bench.greeting = [ErrorReport(-1, CLIENT_ID_IN_USE, "in use")]
    bench.hear(Closed()).wait(TIMING.longest_pause + 2 * STEP)
    assert len(bench.told(ErrorReport)) == 2


def test_a_planned_renewal_is_told_as_one_until_the_next_connection_is_of_use() -> None:
    bench = serving()
    bench.mute |= set(LISTS)
    bench.life.renew("for the orders in doubt")
    bench.tick()
    assert bench.hung_up() == [1]
    assert (bench.life.status().planned, bench.life.status().detail) == (True, "for the orders in doubt")
    bench.wait(TIMING.first_pause + STEP)
    assert bench.life.status().planned
    bench.end_lists()
    assert (bench.life.usable, bench.life.status().planned) == (True, False)


def test_a_renewal_waits_for_the_end_of_the_round_under_way() -> None:
    bench = listing()
    bench.life.renew("for the orders in doubt")
    bench.wait(1.0)
    assert bench.hung_up() == []
    bench.end_lists().tick()
    assert bench.hung_up() == [1]


def test_what_ends_the_connection_before_a_planned_renewal_is_not_planned() -> None:
    bench = listing()
    bench.life.renew("for the orders in doubt")
    bench.tick(STEP).hear(Closed())
    assert (bench.life.status().planned, bench.life.status().detail) == (False, "the connection was lost")


def test_what_ends_the_attempt_after_a_planned_renewal_is_not_planned() -> None:
    bench = serving()
    bench.mute.add("dial")
    bench.life.renew("for the orders in doubt")
    bench.tick().wait(TIMING.first_pause + STEP)
    bench.life.step(NotDialled(2, error="refused"), bench.now)
    assert (bench.life.status().planned, bench.life.status().detail) == (False, "refused")


# -- order ids --------------------------------------------------------------------------------------------


def test_a_next_order_id_out_of_range_keeps_orders_back_and_is_asked_for_again_over_a_new_connection() -> None:
    bench = Bench()
    bench.next_order_id = FIRST_REQUEST_ID
    bench.tick().wait(1.0)
    status = bench.life.status()
    assert (bench.life.usable, status.usable) == (True, False), "cancels may leave"
    assert "IB's next order id is 2147000000" in status.detail
    assert status.remedy.startswith("reset the API order id sequence")
    bench.buffer_empty = False
    bench.wait(TIMING.renumber_every)
    assert bench.hung_up() == [], "the last orders have not left"
    bench.buffer_empty = True
    bench.wait(STEP)
    assert bench.hung_up() == [1]
    bench.wait(2.0)
    assert len([text for text in bench.warnings() if "no order can be placed" in text]) == 1
    bench.next_order_id = 5
    bench.wait(TIMING.renumber_every + 2.0)
    assert (bench.life.status().usable, bench.life.ids.next) == (True, 5)


def test_the_next_order_id_is_above_all_that_were_used_here_whatever_the_gateway_says() -> None:
    bench = serving(used_id=41)
    assert bench.life.ids.take() == 42
    bench.hear(Closed()).wait(TIMING.first_pause + 1.0)
    assert bench.life.ids.take() == 43


def test_each_phase_of_silence_is_told_as_silence() -> None:
    assert {phase for phase in Phase if REACH[phase]().life.status().silent} == SILENT
