"""One line of others' words, and the name that was meant."""

from __future__ import annotations

import pytest

from orderfuse.text import ROUGHLY_ALIKE, did_you_mean, folded, nearest, plain, plain_number, printable, shown


def test_no_text_of_others_begins_a_line_or_moves_a_cursor() -> None:
    assert plain("a\nb\x1b[2J") == "a�b�[2J"
    assert printable("plain") == "plain"


def test_a_long_text_says_that_it_was_cut() -> None:
    assert plain("x" * 10, 10) == "x" * 10
    assert plain("x" * 11, 10) == "x" * 7 + "..."
    assert len(shown("x" * 1000)) == 80
    assert shown(10**10_000) == "a number of thousands of digits"


def test_white_space_of_any_kind_becomes_one_space() -> None:
    assert folded(" a\r\n\tb  c ") == "a b c"


@pytest.mark.parametrize(("value", "said"), [(190.50, "190.5"), (1_234_567.0, "1234567"), (100, "100"), (0.1, "0.1")])
def test_a_number_has_neither_an_exponent_nor_zeros_at_its_end(value: float, said: str) -> None:
    assert plain_number(value) == said


def test_the_nearest_name_is_offered_and_none_that_is_far() -> None:
    known = ["failure_threshold", "failure_window_secs"]
    assert nearest("failure_treshold", known) == "failure_threshold"
    assert did_you_mean("failure_treshold", known) == "; did you mean failure_threshold?"
    assert nearest("seed", known) == did_you_mean("seed", iter(known)) == ""
    assert nearest("portal", ["port_of"], alike=ROUGHLY_ALIKE) == "port_of"
