"""One script of steps, played by other people's IB clients against the paper gateway.

The parent (`python -m tests.clients`) runs in the project's environment. What it starts for each client
(`player.py`) runs in that client's own environment, so `driver.py`, `script.py`, `player.py` and the two drivers
import nothing but the standard library and the client.
"""
