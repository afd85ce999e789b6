"""The help says each exit code as the table has it."""

from pathlib import Path

from orderfuse import exit_codes
from orderfuse.cli.exits import EXIT_CODES

COMMANDS = Path(__file__).parents[3] / "docs" / "commands.md"


def test_the_help_says_every_code_that_a_command_answers_with() -> None:
    codes = {value for value in vars(exit_codes).values() if isinstance(value, int)}
    assert codes - exit_codes.OF_COMMANDS.keys() == {exit_codes.INTERRUPTED}
    for code, meaning in exit_codes.OF_COMMANDS.items():
        assert f"{code} {meaning}" in EXIT_CODES
    assert EXIT_CODES in COMMANDS.read_text(encoding="utf-8")
