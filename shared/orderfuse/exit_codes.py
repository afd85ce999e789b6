"""How a process ends: the exit codes of every service and of every command, in one table. Pure.

| code | a service | a command |
|---|---|---|
| 0 | was told to stop, and did | done |
| 1 | cannot run here now: another one does, a port is taken, a journal cannot be opened | refused |
| 2 | a setting or an argument is wrong: starting it again changes nothing | usage: likewise |
| 3 | | nothing answers; it may be asked again |
| 130 | | ended by ctrl-C, as shells count it |
"""

from typing import Final

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NOTHING_ANSWERS: Final = 3
INTERRUPTED: Final = 130
