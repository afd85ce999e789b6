"""The executor: places the orders that the breaker passed with Interactive Brokers, each exactly once."""
