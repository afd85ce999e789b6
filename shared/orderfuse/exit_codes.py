"""How a process ends: the exit codes of every service and of every command. Pure.

| code | a service |
|---|---|
| 0 | was told to stop, and did |
| 1 | cannot run here now: another one does, a port is taken, a journal cannot be opened |
| 2 | a setting or an argument is wrong: starting it again changes nothing |

What each says of a command stands in `OF_COMMANDS`, from which the help is made.
"""

from typing import Final

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NOTHING_ANSWERS: Final = 3
# Ended by ctrl-C, as shells count it for every program.
INTERRUPTED: Final = 130

# Without INTERRUPTED, which is no answer of a command.
OF_COMMANDS: Final = {DONE: "done", REFUSED: "refused", USAGE: "usage", NOTHING_ANSWERS: "nothing answers"}
