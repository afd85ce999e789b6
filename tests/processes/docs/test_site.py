"""The site that `make docs` builds: strict, complete, and from one place only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from docs import generate_bounds, generate_ib_codes, generate_settings
from orderfuse.settings import SETTINGS_FILE, TABLES, load_settings, setting_names, variable_name
from tests.processes.docs.pages import DOCS, ROOT, blocks

# What a browser fetches by itself; a link that a person follows may lead anywhere.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*\b(?:src|data)=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon|prefetch)[^>]*href=["']?(?:https?:)?//"""
    r"""|<link\b[^>]*href=["']?(?:https?:)?//[^>]*rel=["']?(?:stylesheet|preload|preconnect|icon|prefetch)"""
    r"""|url\(["']?(?:https?:)?//|@import""",
    re.IGNORECASE,
)


def test_the_site_is_built_strictly_and_fetches_nothing_from_another_host(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {path.stem for path in tmp_path.glob("*.html")} - {"404"}
    assert pages == {path.stem for path in DOCS.glob("*.md")}
    for path in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css"), *tmp_path.rglob("*.svg")]:
        found = FETCHED.search(path.read_text(encoding="utf-8"))
        assert found is None, path.name


def test_what_is_fetched_from_elsewhere_would_be_seen() -> None:
    for text in (
        '<script src="https://cdn.example/x.js">',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<link href="https://fonts.example" rel="preconnect">',
        "src: url(https://fonts.example/a.woff2)",
        '<img alt="" src=http://example/x.png>',
    ):
        assert FETCHED.search(text), text
    assert not FETCHED.search('<a href="https://example">x</a><script src="assets/x.js"></script>')


def test_the_page_of_settings_is_what_the_code_says() -> None:
    page = generate_settings.page(generate_settings.printed_refusal())
    assert generate_settings.PAGE.read_text(encoding="utf-8") == page, "run: make docs"


def test_the_page_of_bounds_is_what_the_code_says() -> None:
    assert generate_bounds.PAGE.read_text(encoding="utf-8") == generate_bounds.page(), "run: make docs"


def test_the_page_of_ibs_codes_is_what_the_code_says() -> None:
    assert generate_ib_codes.PAGE.read_text(encoding="utf-8") == generate_ib_codes.page(), "run: make docs"


def test_every_setting_is_on_its_page_with_variable_range_and_meaning() -> None:
    page = generate_settings.PAGE.read_text(encoding="utf-8")
    for table in TABLES:
        rows = re.findall(
            r"^\| `(\w+)`<br>`(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
            page.partition(f"\n## [{table}]\n")[2].partition("\n## ")[0],
            re.MULTILINE,
        )
        assert [(row[0], row[1]) for row in rows] == [
            (key, variable_name(table, key)) for key in setting_names(table)
        ], table
        assert all(cell.strip() for row in rows for cell in row)


def test_the_file_with_every_setting_is_taken_and_changes_nothing(tmp_path: Path) -> None:
    (block,) = [block for block in blocks(generate_settings.PAGE) if block.language == "toml"]
    (tmp_path / SETTINGS_FILE).write_text("\n".join(block.lines) + "\n", encoding="utf-8")
    given = load_settings(tmp_path, environ={})
    (tmp_path / SETTINGS_FILE).unlink()
    assert given == load_settings(tmp_path, environ={})
    named = re.findall(r"^(?:# )?(\w+)(?: =|:)", "\n".join(block.lines), re.MULTILINE)
    assert named == [key for table in TABLES for key in setting_names(table)]
