"""The connection to TWS or IB Gateway, for the processes that need one: the fence round ib_insync."""
