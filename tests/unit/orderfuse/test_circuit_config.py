import math
from decimal import Decimal
from typing import Any

import pytest

from orderfuse.circuit import CircuitBreakerConfig, TradingCircuitBreaker

COUNTS = {
    "failure_threshold": 1_000_000,
    "half_open_max_tries": 1_000,
    "consecutive_failure_threshold": 1_000_000,
}
SECS = ("failure_window_secs", "open_timeout_secs", "half_open_timeout_secs", "open_timeout_max_secs")


def refusal(field, value):
    with pytest.raises(ValueError, match=field) as caught:
        CircuitBreakerConfig(**{field: value})
    return str(caught.value)


def test_the_defaults_are_the_documented_ones():
    config = CircuitBreakerConfig()
    assert config.failure_threshold == 5
    assert config.failure_window_secs == 60
    assert config.open_timeout_secs == 300
    assert config.half_open_max_tries == 3
    assert config.half_open_timeout_secs == 30
    assert config.consecutive_failure_threshold is None
    assert config.open_timeout_multiplier == 1.0
    assert config.open_timeout_max_secs == 3600


@pytest.mark.parametrize("field", COUNTS)
def test_a_count_may_be_one_and_its_highest_but_nothing_beyond(field):
    highest = COUNTS[field]
    CircuitBreakerConfig(**{field: 1})
    CircuitBreakerConfig(**{field: highest})
    assert refusal(field, highest + 1).startswith(f"{field} must be an integer from 1 to {highest:,}")
    assert refusal(field, 0).endswith(", not 0")


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, -math.inf, 5.0, True, "5", [], Decimal(5)])
@pytest.mark.parametrize("field", COUNTS)
def test_a_count_that_is_no_positive_integer_is_refused_by_name_and_value(field, value):
    assert repr(value) in refusal(field, value)


def test_only_the_row_rule_may_be_absent():
    CircuitBreakerConfig(consecutive_failure_threshold=None)
    assert "or None" in refusal("consecutive_failure_threshold", 0)
    assert "None" in refusal("failure_threshold", None)
    assert "None" in refusal("half_open_max_tries", None)


@pytest.mark.parametrize("field", SECS)
def test_a_duration_may_be_tiny_and_ten_million_seconds_but_nothing_beyond(field):
    for secs in (1e-12, 10_000_000, 10_000_000.0):
        fields: dict[str, Any] = {field: secs}
        CircuitBreakerConfig(**fields)
    refused = refusal(field, 10_000_000.001)
    assert refused == (f"{field} must be a number of seconds above 0 and at most 10,000,000, not 10000000.001")


@pytest.mark.parametrize("value", [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, True, None, "60", Decimal(60)])
@pytest.mark.parametrize("field", SECS)
def test_a_duration_that_is_no_positive_finite_number_is_refused_by_name_and_value(field, value):
    assert repr(value) in refusal(field, value)


@pytest.mark.parametrize("value", [0, 0.999, -2, 100.001, math.nan, math.inf, True, None, "2"])
def test_a_multiplier_outside_one_to_a_hundred_is_refused(value):
    assert refusal("open_timeout_multiplier", value) == (
        f"open_timeout_multiplier must be a number from 1 to 100, not {value!r}"
    )


@pytest.mark.parametrize("value", [1, 1.0, 2.5, 100])
def test_a_multiplier_from_one_to_a_hundred_is_taken(value):
    assert CircuitBreakerConfig(open_timeout_multiplier=value).open_timeout_multiplier == value


def test_a_config_has_no_other_fields():
    with pytest.raises(AttributeError):
        CircuitBreakerConfig().failure_treshold = 3  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        CircuitBreakerConfig(failure_treshold=3)  # type: ignore[call-arg]


def test_changing_a_config_changes_no_running_breaker():
    config = CircuitBreakerConfig(failure_threshold=2)
    breaker = TradingCircuitBreaker(config)
    config.failure_threshold = 1
    breaker.config.failure_threshold = 1
    assert breaker.config == CircuitBreakerConfig(failure_threshold=2)
    breaker.record_failure()
    assert breaker.is_trading_allowed() == (True, None)


def test_a_config_that_was_spoilt_after_its_making_is_refused_by_the_breaker():
    config = CircuitBreakerConfig()
    config.failure_threshold = 0
    with pytest.raises(ValueError, match="failure_threshold"):
        TradingCircuitBreaker(config)
