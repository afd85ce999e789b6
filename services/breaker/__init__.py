"""The breaker process: lets each order through or not, at the last possible moment."""
