"""Which version of the protocol is spoken with whom, and what each of them changes."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from services.paper.wire.framing import Layout, WireError, negotiate
from services.paper.wire.layouts import REPLIES, REQUESTS
from services.paper.wire.order_layouts import PLACE_ORDER
from tests.processes.paper.support import paper, raw_client

VERSIONS = [157, *range(159, 179)]
BY_NAME = {layout.name: layout for layout in [*REQUESTS.values(), *REPLIES.values()]}

# version -> message -> fields that came (+) and went (-) with it. 158 is never spoken, so its fields come with 159.
CHANGES = {
    159: {"placeOrder": "+duration", "openOrder": "+duration"},
    160: {"placeOrder": "+postToAts", "openOrder": "+postToAts"},
    162: {"placeOrder": "+autoCancelParent", "openOrder": "+autoCancelParent"},
    163: {"contractDetails": "+suggestedSizeIncrement"},
    164: {"contractDetails": "+minSize +sizeIncrement -version -mdSizeMultiplier"},
    166: {"placeOrder": "+advancedErrorOverride", "error": "+advancedOrderRejectJson"},
    169: {"placeOrder": "+manualOrderTime", "cancelOrder": "+manualOrderCancelTime"},
    170: {
        "openOrder": "+minTradeQty +minCompeteSize +competeAgainstBestOffset +midOffsetAtWhole +midOffsetAtHalf",
        "completedOrder": "+minTradeQty +minCompeteSize +competeAgainstBestOffset +midOffsetAtWhole +midOffsetAtHalf",
    },
    176: {"reqContractDetails": "+issuerId"},
    177: {"placeOrder": "-faProfile", "openOrder": "-faProfile", "completedOrder": "-faProfile"},
    178: {"execDetails": "+pendingPriceRevision"},
}


def test_a_client_that_begins_early_gets_the_lower_of_its_highest_and_ours():
    for high in range(157, 230):
        expected = 157 if high == 158 else min(178, high)
        assert negotiate(f"v100..{high}") == expected
        assert negotiate(f"v157..{high}") == expected


def test_a_client_never_gets_a_version_beyond_its_own_or_158():
    for low in range(100, 230):
        for high in range(low, 230):
            try:
                version = negotiate(f"v{low}..{high}")
            except WireError:
                assert high < 157 or low > 178 or low == high == 158
            else:
                assert max(low, 157) <= version <= min(high, 178)
                assert version != 158


@pytest.mark.parametrize(("before", "version"), list(pairwise(VERSIONS)))
def test_each_version_changes_exactly_the_fields_that_it_is_known_to_change(before, version):
    changes = {}
    for name, layout in BY_NAME.items():
        old, new = names(layout, before), names(layout, version)
        words = [f"+{field}" for field in new if field not in old] + [f"-{field}" for field in old if field not in new]
        if words:
            changes[name] = set(words)
        # Whatever stays, stays in its order.
        assert [field for field in new if field in old] == [field for field in old if field in new]
    assert changes == {name: set(words.split()) for name, words in CHANGES.get(version, {}).items()}


def names(layout: Layout, version: int) -> list[str]:
    """Return the fields of a message at a version, in order; those of an order that uses nothing special."""
    every = dict.fromkeys(layout.all_names(), "")
    marked: dict[str, Any] = {name: f"<{name}>" for name in every}
    # Fields that others hang on, or that count, stay as they are.
    for name in ("deltaNeutralContract", "deltaNeutralOrderType", "hedgeType", "algoStrategy"):
        marked[name] = ""
    for name in ("comboLegs", "orderComboLegs", "smartComboRoutingParams", "conditions", "algoParams", "secIds"):
        marked[name] = []
    return [text[1:-1] for text in layout.encode(version, marked) if text.startswith("<")]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_order_is_taken_and_told_at_every_version(version):
    order = {
        "orderId": "1",
        "symbol": "AAPL",
        "secType": "STK",
        "exchange": "SMART",
        "currency": "USD",
        "action": "BUY",
        "totalQuantity": "100",
        "orderType": "LMT",
        "lmtPrice": "100.5",
        "orderRef": "mine",
        "transmit": "1",
    }

    async def trade() -> tuple[list[str], list[str]]:
        async with paper() as gateway, raw_client(gateway, 7, versions=f"v100..{version}") as client:
            client.send(*PLACE_ORDER.encode(version, order))
            opened = await client.read_until(5)
            client.send(*REQUESTS[4].encode(version, {"version": "1", "orderId": "1"}))
            return opened, await client.read_until(4)

    opened, error = asyncio.run(trade())
    values, left_over = REPLIES["openOrder"].decode(version, opened)
    assert left_over == 0
    assert (values["orderId"], values["orderRef"], values["lmtPrice"], values["status"]) == (
        "1",
        "mine",
        "100.5",
        "Submitted",
    )
    values, left_over = REPLIES["error"].decode(version, error)
    assert left_over == 0
    assert (values["id"], values["code"]) == ("1", "202")
