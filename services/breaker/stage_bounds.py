"""What a program outside can make grow in the breaker's decisions and on its disk, each with its bound."""

from __future__ import annotations

from collections.abc import Iterator

from orderfuse.settings import BreakerSettings
from services.breaker import answers, core, dead_man, publisher, refusals, remembered
from services.breaker.circuits import trips
from services.breaker.circuits.scopes import SECOND_NS
from services.breaker.control import accepting, last_failures, lookups, operator
from services.breaker.public.bounds import ALL, Bound
from services.breaker.store import keeping

STRATEGY = "a strategy"
PROGRAM = "a program; where its pid is not known, a strategy"
SCOPE = "a circuit"


def of_stage(settings: BreakerSettings) -> Iterator[Bound]:
    """All bounds of what the breaker keeps of messages, in memory and on disk."""
    yield from _of_strategies(settings)
    yield from _of_answers()
    yield from _of_people()
    yield from _of_the_disk(settings)


def _of_strategies(settings: BreakerSettings) -> Iterator[Bound]:
    blocked = "it is blocked, `{}`".format
    yield Bound("orders in a second", settings.max_orders_per_second, STRATEGY, blocked("rate_limit"))
    yield Bound("orders and replaces that wait", settings.queue_limit, STRATEGY, blocked("queue_full"))
    yield Bound(
        "strategies with a place",
        settings.max_strategies,
        ALL,
        "one without orders makes room: of the newcomer's own program first, then of the one with the most places; "
        "where none can, the newcomer's orders are blocked, `too_many_strategies`",
    )
    yield Bound(
        "numbered topics", publisher.MAX_TOPICS, ALL, "the one that was quiet longest is given up, and counts on later"
    )
    yield Bound("fences of strategies", core.MAX_FENCES, ALL, "one more is a fence of all")
    yield Bound("names with a heartbeat", dead_man.MOST, ALL, "the oldest without a circuit is forgotten")


def _of_answers() -> Iterator[Bound]:
    refused = "its further ones are refused, `{}`".format
    yield Bound("cancels that wait for their order", remembered.MOST_OF_ONE, PROGRAM, refused("queue_full"))
    yield Bound("cancels that wait for their order, in all", remembered.MOST_OF_ALL, ALL, refused("queue_full"))
    yield Bound(
        "refusals that are remembered and not on disk",
        refusals.MOST_OF_ONE,
        STRATEGY,
        refused("queue_full") + ", until there is room and every copy that found none is too old",
    )
    yield Bound(
        "refusals that are remembered and not on disk, in all",
        refusals.MOST_OF_ALL,
        ALL,
        f"no program has more than half of what is left, and {refusals.FEW} in any case",
    )
    yield Bound(
        "programs and strategies that are refused because an answer found no room",
        refusals.MOST_SHUT,
        ALL,
        "submits under further names are not answered",
        "refused_too_often",
    )
    yield Bound("answered requests at hand", answers.MAX_RECENT_REQUESTS, ALL, "older ones are read from the journal")
    yield Bound("programs with a budget of kept refusals", refusals.MOST_BUDGETS, ALL, "the oldest begins anew")


def _of_people() -> Iterator[Bound]:
    refused = "one more is refused, `not_allowed`"
    yield Bound("pages under way", lookups.MOST_OF_ONE, PROGRAM, refused)
    yield Bound("pages under way, in all", lookups.MOST, ALL, refused)
    yield Bound("reported conditions", operator.MAX_REPORTED, SCOPE, refused)
    yield Bound(
        "trips that wait for the executor", trips.MAX_PENDING_TRIPS, ALL, "one more is answered at once, not fenced"
    )
    yield Bound("requests to accept that wait for the executor", accepting.MAX_PENDING, ALL, refused)
    yield Bound("failures that are told", last_failures.MOST, SCOPE, "the oldest goes")


def _of_the_disk(settings: BreakerSettings) -> Iterator[Bound]:
    yield Bound(
        "refusals on disk at once", refusals.KEPT_AT_ONCE, PROGRAM, "more are told and not kept; events say `skipped`"
    )
    yield Bound(
        "refusals on disk, in a minute after those",
        60 * SECOND_NS // refusals.KEPT_EVERY_NS,
        PROGRAM,
        "more are told and not kept; events say `skipped`",
    )
    yield Bound("megabytes of events", settings.keep_events_mb, ALL, "the oldest go")
    yield Bound("days of events and answered requests", keeping.KEEP_EVENTS_NS // keeping.DAY_NS, ALL, "older ones go")
    yield Bound(
        "days of orders that never passed", refusals.KEEP_REFUSED_NS // keeping.DAY_NS, ALL, "their ids are free again"
    )
    yield Bound("decisions of people", keeping.KEEP_DECISIONS, ALL, "the oldest go")
