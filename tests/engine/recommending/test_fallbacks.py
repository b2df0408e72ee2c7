"""The fallback follows the catalogue and the purchases, and survives a store that does not answer."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from api.gateway import Gateway
from core import clock
from core.contract import read_event
from db.events import insert_events
from db.items import remove_items, upsert_items
from db.shares import share_out
from engine.recommending.fallbacks import Fallbacks
from engine.recommending.trends import Trends
from ml.affinity.model import AffinityModel
from ml.ranked import REASONS
from tests.fixtures.gateway import MakeBundle

IDS = ["milk", "soap", "vase", "wine"]


@pytest.fixture
async def trends(gateway: Gateway) -> Trends:
    """Trends over four items that nobody bought."""
    await upsert_items(gateway.pool, [{"id": id, "updated_at": clock.now(), "categories": [id]} for id in IDS])
    await gateway.catalogue.refresh()
    return Trends(share_out(gateway.pool, 5.0).expensive, timedelta(days=28), empty_age=0)


async def buy(gateway: Gateway, person: str, item: str, days: float) -> None:
    now = clock.now()
    raw = {"type": "PURCHASE", "userId": person, "itemId": item, "id": f"{person}-{item}-{days}"}
    raw["occurredAt"] = (now - timedelta(days=days)).isoformat()
    await insert_events(gateway.pool, [read_event(raw, source="till", received_at=now)])


def claims(gateway: Gateway, fallbacks: Fallbacks, bundle: AffinityModel | None = None) -> dict[str, str]:
    """The claim about each item of the fallback's order."""
    fallback, listed = fallbacks.of(bundle), dict[str, str]()
    for part in fallback.order:
        for number, code in zip(part.tolist(), fallback.explain(part).reasons.tolist(), strict=True):
            item = gateway.catalogue.item(number)
            if item is not None:
                listed[item.id] = REASONS[code]
    return listed


async def test_it_is_made_anew_only_after_a_change(gateway: Gateway, trends: Trends) -> None:
    fallbacks = Fallbacks(gateway.catalogue, trends)
    assert claims(gateway, fallbacks) == {}
    await fallbacks.refresh(with_model=True)
    first = fallbacks.of(None)
    assert claims(gateway, fallbacks) == dict.fromkeys(IDS, "OTHER")
    await fallbacks.refresh(with_model=True)
    assert fallbacks.of(None) is first
    await remove_items(gateway.pool, ["vase"])
    await gateway.catalogue.refresh()
    await buy(gateway, "a", "wine", 2)
    await trends.refresh()
    assert claims(gateway, fallbacks) == {"wine": "POPULAR", "milk": "OTHER", "soap": "OTHER"}
    assert fallbacks.of(None) is not first


async def test_earlier_purchases_come_after_those_of_the_window_and_before_the_rest(
    gateway: Gateway, trends: Trends
) -> None:
    for person, item, days in (("a", "milk", 200), ("b", "milk", 200), ("c", "wine", 100), ("c", "soap", 3)):
        await buy(gateway, person, item, days)
    await buy(gateway, "c", "wine", 300)
    await trends.refresh()
    fallbacks = Fallbacks(gateway.catalogue, trends)
    await fallbacks.refresh(with_model=False)
    found = claims(gateway, fallbacks)
    assert list(found.items()) == [
        ("soap", "POPULAR"), ("wine", "BOUGHT_BY_OTHERS"), ("milk", "BOUGHT_BY_OTHERS"), ("vase", "OTHER"),
    ]  # fmt: skip


async def test_a_model_brings_its_own_earlier_purchases(
    gateway: Gateway, trends: Trends, make_bundle: MakeBundle
) -> None:
    await buy(gateway, "a", "vase", 200)
    await trends.refresh()
    fallbacks = Fallbacks(gateway.catalogue, trends)
    await fallbacks.refresh(with_model=False)
    bundle = AffinityModel.open(make_bundle(gateway.catalogue, ["milk", "soap"]))
    assert {id for id, claim in claims(gateway, fallbacks, bundle).items() if claim == "BOUGHT_BY_OTHERS"} == {
        "milk",
        "soap",
    }
    assert claims(gateway, fallbacks)["vase"] == "BOUGHT_BY_OTHERS"


async def test_what_cannot_be_counted_stays_as_it_was(gateway: Gateway, trends: Trends) -> None:
    await trends.refresh()
    fallbacks = Fallbacks(gateway.catalogue, trends)
    await gateway.pool.execute("ALTER TABLE events RENAME TO hidden")
    try:
        with capture_logs() as logs:
            await fallbacks.refresh(with_model=False)
    finally:
        await gateway.pool.execute("ALTER TABLE hidden RENAME TO events")
    assert [line["doing"] for line in logs if line["event"] == "store_unavailable"] == ["count earlier purchases"]
    assert claims(gateway, fallbacks) == dict.fromkeys(IDS, "OTHER")
