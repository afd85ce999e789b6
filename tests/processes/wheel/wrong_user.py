"""A user's mistakes. `mypy --strict` must refuse each line that is marked with its error code, and no other."""

import orderfuse
from orderfuse import CircuitBreakerConfig, OrderClient, OrderHandle, TradingCircuitBreaker, Watcher, load_settings
from orderfuse.events import Filled

orderfuse.Follower  # refused: attr-defined
orderfuse.events.Place  # refused: attr-defined
settings = load_settings("~/.orderfuse")  # refused: arg-type
client = OrderClient(7)  # refused: arg-type
client = OrderClient("s", after="1")  # refused: call-arg
handle = client.submit({}, {}, ttl_ms="5000")  # refused: arg-type
client.submit({})  # refused: call-arg
client.submit({}, {}, order_id=1)  # refused: arg-type
client.cancel(handle)  # refused: arg-type
client.replace("o-1", {})  # refused: call-arg
client.heartbeat("5 s")  # refused: arg-type
client.status("o-1")["state"]  # refused: index
handle.wait(timeout="60")  # refused: arg-type
handle.events[0].no_such_field  # refused: union-attr
kind: str = handle.wait().kind
number: int = handle.wait().kind  # refused: assignment
OrderHandle(client)  # refused: call-arg
Filled(order_id="o", strategy_id="s")  # refused: call-arg
Watcher(settings, "order/")  # refused: arg-type
breaker = TradingCircuitBreaker(CircuitBreakerConfig(failure_threshold="5"))  # refused: arg-type
breaker.record_neutral()  # refused: call-arg
breaker.on_transition = lambda: None  # refused: assignment
CircuitBreakerConfig(treshold=5)  # refused: call-arg
