"""What `make test` says of what its first half has covered, counted from made-up data of a made-up house."""

from __future__ import annotations

from pathlib import Path

import pytest
from coverage import CoverageData

from tests import covered

CODE = '''"""{what}"""

def judge(asked):
    if asked:
        return "yes"
    return "no"
'''
# The lines of `CODE` from line to line, as coverage.py notes them; -3 is the way into the function and out of it.
LOADED, YES, NO = [(-1, 1), (1, 3), (3, -1)], [(-3, 4), (4, 5), (5, -3)], [(-3, 4), (4, 6), (6, -3)]


class House:
    """A root with its own files, and the data that coverage.py has of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"

    def write(self, place: str, what: str = "It decides. Pure.") -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CODE.format(what=what), encoding="utf-8")
        return path

    def note(self, arcs: dict[Path, list[tuple[int, int]]]) -> None:
        data = CoverageData(str(self.data))
        data.add_arcs({str(path): taken for path, taken in arcs.items()})
        data.write()

    def judge(self) -> int:
        return covered.main(self.root, self.data)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.chdir(tmp_path)
    return House(tmp_path)


def test_what_decides_is_covered_in_full(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.note({house.write("services/breaker/circuits/gates.py"): [*LOADED, *YES, *NO]})
    assert house.judge() == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].split() == ["together", "2", "0", "4", "0", "100.0%"]
    assert "below 97 %" not in told.out
    assert told.err == ""


def test_a_line_and_a_branch_that_nobody_took_count_alike_and_fail(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.note({house.write("services/executor/placing.py"): [*LOADED, *YES]})
    assert house.judge() == 1
    told = capsys.readouterr()
    # Of four lines and two branches one each.
    assert "services/executor/placing.py" in told.out.partition("of it below 97 %")[2]
    assert told.out.splitlines()[-1].split() == ["together", "2", "1", "4", "1", "66.7%"]
    assert told.err == "what decides is covered to 66.67 %, 97 % is the least: a case has no test\n"


def test_one_file_may_lack_what_all_of_them_together_have(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    full = [house.write(f"services/gateway/codes/c{number}.py") for number in range(20)]
    house.note(
        {path: [*LOADED, *YES, *NO] for path in full} | {house.write("services/gateway/life.py"): [*LOADED, *YES]}
    )
    assert house.judge() == 0
    decides, _, low = capsys.readouterr().out.partition("of it below 97 %")
    assert [line.split()[0] for line in decides.splitlines()[2:-1]] == [
        "services/gateway",
        "services/gateway/codes",
        "together",
    ]
    assert [line.split()[0] for line in low.splitlines()[1:]] == ["services/gateway/life.py", "together"]


def test_what_is_no_middle_fails_nothing(house: House) -> None:
    decides = {house.write("shared/orderfuse/circuit/breaker.py"): [*LOADED, *YES, *NO]}
    elsewhere = {house.write("services/paper/book.py"): LOADED}
    rim = {house.write("services/breaker/loop.py", "Sockets around the stage."): LOADED}
    house.note(decides | elsewhere | rim)
    assert house.judge() == 0


@pytest.mark.parametrize("trouble", ["renamed", "new", "none", "of another folder"])
def test_data_of_other_code_ends_in_a_sentence_that_says_what_to_do(
    house: House, capsys: pytest.CaptureFixture[str], trouble: str
) -> None:
    path = house.write("services/breaker/stage.py")
    if trouble != "none":
        house.note({path: [*LOADED, *YES, *NO]})
    if trouble == "renamed":
        path.rename(path.with_name("scene.py"))
    elif trouble == "new":
        house.write("services/breaker/scene.py")
    elif trouble == "of another folder":
        house.note({Path("/elsewhere/services/breaker/stage.py"): LOADED})
    assert house.judge() == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "is not of this code" in told.err
    assert told.err.endswith(f"Run the tests again: {covered.RUN_AGAIN}\n")
