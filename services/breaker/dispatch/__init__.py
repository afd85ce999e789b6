"""The one executor: how it is taken in, what it tells, and what it owes."""
