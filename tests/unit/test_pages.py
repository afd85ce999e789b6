"""The documents name files that are there: a module that moves takes its name along in every page."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
CONTRIBUTING = ROOT / "docs" / "contributing.md"
# What a page calls by its place in the repository; what `make` brings about is not there in a clone.
PLACE = re.compile(r"\b((?:services|shared|tests|docs|tools|benchmarks|examples)/[\w./-]*\w)")


def places_in(text: str) -> list[str]:
    return PLACE.findall(text)


def test_every_file_that_a_page_names_is_there() -> None:
    named = [(page, place) for page in PAGES for place in places_in(page.read_text(encoding="utf-8"))]
    assert len(named) > 50
    missing = [f"{page.name}: {place}" for page, place in named if not (ROOT / place).exists()]
    assert missing == []


def test_every_folder_of_code_stands_in_the_list_of_rooms() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8").partition("## The rooms")[2].partition("\n## ")[0]
    rooms = {place.parent.relative_to(ROOT) for place in (ROOT / "services").glob("*/*/__init__.py")}
    paper = Path("services/paper")
    assert {f"{room}/" for room in rooms if room.parent != paper} <= set(re.findall(r"`([\w/]+)`", text))
    assert {f"{room.name}/" for room in rooms if room.parent == paper} <= set(re.findall(r"`([\w/]+)`", text))


def test_the_way_of_an_order_leads_through_twelve_files_at_most() -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8").partition("## The way of one order")[2].partition("\n## ")[0]
    files = set(places_in(text))
    assert 0 < len(files) <= 12
    assert files == set(re.findall(r"^\d+\. `([^`]+)`", text, re.MULTILINE))
