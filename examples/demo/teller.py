"""What the demo prints: colours and time to read on a terminal, plain lines in a pipe."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# For a person to read what a step has shown.
READING_S = 2.0
# Room for a time such as "12.345 s".
LEFT_WIDTH = 9
COLOURS = {"CLOSED": "green", "OPEN": "bold red", "HALF_OPEN": "yellow"}


class Teller:
    """Prints steps, facts with their time, commands with their answers, and what to notice."""

    def __init__(self) -> None:
        # In a pipe rich would cut lines at 80 characters.
        self._for_a_person = sys.stdout.isatty()
        self._console = Console(width=None if self._for_a_person else 200, highlight=False, markup=False)
        self._started_ns = time.time_ns()
        self._print("orderfuse demo: one incident, played by the real processes against a paper gateway.", style="bold")
        self._print("No account, and nothing leaves this machine. Seconds count from here.")

    def end(self) -> None:
        """Say that everything is over."""
        self._console.print()
        took_s = self._elapsed_s(time.time_ns())
        self._print(f"Every step happened, in {took_s:.0f} s. All processes have ended.", style="bold")
        self._print("Now yours: make run")

    def step(self, number: int, of: int, heading: str) -> None:
        """Begin a step."""
        self._console.print()
        self._print(f"{number}/{of}  {heading}", style="bold cyan")

    def fact(self, text: str, *, at_ns: int | None = None) -> None:
        """Something that happened at this time of the wall clock; default: now."""
        line = Text(text)
        for state, style in COLOURS.items():
            line.highlight_regex(rf"\b{state}\b", style)
        self._row(f"{self._elapsed_s(time.time_ns() if at_ns is None else at_ns):.3f} s", line)

    def count(self, number: int, what: str) -> None:
        """A number, and what it counts."""
        self._row(str(number), Text(what))

    def command(self, line: str, answer: str) -> None:
        """A command as a person would type it, and what it printed."""
        self._print(f"$ {line}", style="bold", indent=2)
        for answered in answer.splitlines():
            self._print(answered, indent=4)

    def notice(self, text: str) -> None:
        """What to take away from this step; on a terminal there is time to read it."""
        self._print(f"Notice: {text}", style="italic", indent=2)
        if self._for_a_person:
            time.sleep(READING_S)

    def _row(self, left: str, right: Text) -> None:
        """Print a line whose continuation, on a narrow terminal, stays in its column."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=LEFT_WIDTH, justify="right")
        grid.add_row(left, right)
        self._console.print(grid)

    def _print(self, text: str, *, style: str = "", indent: int = 0) -> None:
        """Print a paragraph."""
        self._console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))

    def _elapsed_s(self, at_ns: int) -> float:
        return max(0, at_ns - self._started_ns) / 1e9
