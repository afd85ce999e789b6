"""Pages as they are written: their blocks, and the commands in them with the output that is printed.

```console      lines that begin with "$ " are commands, what follows is their output. Every one of them is run.
                A line of output that is only `...` stands for any number of lines.
```python title="strategy.py"     a file, written where the commands run. So are toml, ini and others with a title.
```sh           commands that no test can run as they stand; `test_pages` names each, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
ANYTHING = "..."

# What differs from run to run, on the page and in the output alike. The first that fits wins.
MASKS = [
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+|,\d+)?(\+00:00|Z| UTC)?", "<time>"),
        (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "<time>"),
        (r"[\w.]+-[0-9a-f]{32}", "<id>"),
        (r"[0-9a-f]{8}\.[0-9a-f]{8}\.\d\d\.\d\d", "<execution>"),
        (r"\b127\.0\.0\.1:\d+", "<address>"),
        (r"\b\d+(\.\d+)? ?(ms|s|min|h)\b( \d+ ?(s|min)\b)?", "<duration>"),
        (r"\b\d+(\.\d+)? (bytes|kB|MB|GB)\b", "<size>"),
        (r"\[\d+\]|\b(seq|ib_order_id)=\d+|\bpid \d+", "<number>"),
        (r"\b\d+\.\d+\b|\b\d{8,}\b", "<number>"),
        # Frames and columns are as wide as what stands in them.
        (r"[━─═]+", "─"),
        (r"\s+", " "),
    )
]


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line` is that of its fence, from 1."""

    page: str
    line: int
    language: str
    title: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Step:
    """A command and its printed output, which begins in the line `line` of the page."""

    page: str
    line: int
    command: str
    printed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}, line {self.line - 1}: $ {self.command}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found: list[Block] = []
    opened: Block | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if opened is not None and line == "```":
            found.append(opened)
            opened = None
        elif opened is not None:
            opened.lines.append(line)
        elif line.startswith("```"):
            language, _, rest = line.removeprefix("```").partition(" ")
            title = re.fullmatch(r'title="([^"]+)"', rest)
            assert title or not rest, f"{page.name}, line {number}: {rest!r} is not title=..."
            opened = Block(page.name, number, language, title[1] if title else "", [])
    if opened is not None:
        raise AssertionError(f"{page.name}, line {opened.line}: this block does not end")
    return found


def steps(block: Block) -> list[Step]:
    """The commands of a console block."""
    found: list[Step] = []
    for number, line in enumerate(block.lines, block.line + 1):
        if line.startswith("$ "):
            found.append(Step(block.page, number + 1, line.removeprefix("$ ")))
        else:
            assert found, f"{block.page}, line {number}: output without a command"
            found[-1].printed.append(line)
    return found


def masked(lines: list[str]) -> list[str]:
    """Lines without what differs from run to run; empty ones are left out."""
    return [line for line in map(mask, lines) if line]


def mask(line: str) -> str:
    """One line without what differs from run to run."""
    for pattern, replacement in MASKS:
        line = pattern.sub(replacement, line)
    return line.strip()


def agrees(printed: list[str], said: list[str]) -> bool:
    """Whether the output is what the page prints."""
    expected = "\n".join(masked(printed))
    pattern = re.escape(expected).replace(re.escape(ANYTHING), "(?s:.*)")
    return re.fullmatch(pattern, "\n".join(masked(said))) is not None


def missing(printed: list[str], said: list[str]) -> list[str]:
    """The printed lines that have not been said, in this order, by something that goes on saying more."""
    rest = iter(masked(said))
    return [line for line in printed if mask(line) not in ("", ANYTHING) and not any(mask(line) == one for one in rest)]
