"""Churn and the next purchase over GraphQL: from the forecast that serves, with its reasons."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.gateway import Gateway
from core import clock
from core.contract import read_event
from core.tasks import end
from db.events import insert_events
from db.items import upsert_items
from db.serving import FORECAST_SLOT, Model, current_serving, promote, register_model
from ml.affinity.network import Network
from ml.hazard.examples import BINS
from ml.hazard.features import FEATURES, GROUPS
from ml.hazard.model import Forecaster, write
from tests.faults import eventually
from tests.fixtures.gateway import Ask, MakeBundle, Serve

QUERY = """query ($id: ID! = "anna", $churn: Duration! = "P90D", $next: Duration! = "P30D") { user(id: $id) {
  churn(within: $churn) { probability band drivers { side contribution text } asOf modelVersion degraded }
  nextPurchase(within: $next) { probability expectedDate asOf modelVersion degraded items(first: 1) { nodes { id } } }
} }"""
Promote = Callable[..., Awaitable[str]]


@pytest.fixture
async def anna(gateway: Gateway) -> None:
    """Two customers: anna ordered 3 and 40 days ago, bert 300 days ago."""
    await upsert_items(gateway.pool, [{"id": "milk", "updated_at": clock.now()}])
    await gateway.catalogue.refresh()
    await insert_events(gateway.pool, [bought("anna", 3), bought("anna", 40), bought("bert", 300)])


def bought(user: str, days: int) -> Any:
    now = clock.now()
    raw = {
        "id": f"{user}-{days}", "type": "PURCHASE", "itemId": "milk", "userId": user, "orderId": f"{user}-{days}",
        "unitPrice": "12.50", "quantity": 2, "occurredAt": (now - timedelta(days=days)).isoformat(),
    }  # fmt: skip
    return read_event(raw, source="till", received_at=now)


@pytest.fixture
def forecast(gateway: Gateway, tmp_path: Path) -> Promote:
    """Promote a forecast by which only the days since the last order count."""

    async def make(weight: float = -1.0) -> str:
        n = len(FEATURES)
        kernel = np.zeros((n, BINS), np.float32)
        kernel[FEATURES.index("quiet")] = weight
        low, high = np.full(n, -100, np.float32), np.full(n, 100, np.float32)
        forecaster = Forecaster(Network((kernel,), (np.zeros(BINS, np.float32),)), low, high, np.full(n, 3, np.float32))
        at = datetime(2026, 1, 5, tzinfo=UTC)
        path = write(tmp_path / "bundles", forecaster, evaluation={"days": 90}, training={}, created_at=at)
        await register_model(gateway.pool, Model(path.name, "forecast", at, "d", {"days": 90}, None))
        await promote(gateway.pool, path.name, "a test says so", {}, "test")
        return path.name

    return make


async def test_forecasts_follow_the_model_that_serves(
    ask: Ask, gateway: Gateway, anna: None, forecast: Promote
) -> None:
    id = await forecast()
    await gateway.forecast.load()
    found = [(await ask(QUERY, {"id": user})).data["user"] for user in ("anna", "bert")]
    soon, late = (each["churn"] for each in found)
    assert soon["probability"] < late["probability"]
    assert (late["band"], late["modelVersion"], late["degraded"]) == ("HIGH", id, [])
    assert late["drivers"][0]["side"] == "RECENCY"
    assert late["drivers"][0]["contribution"] > 0 > soon["drivers"][0]["contribution"]
    assert late["drivers"][0]["text"] == "The last order was 300 days ago."
    assert {driver["side"] for driver in soon["drivers"]} == set(GROUPS)
    expected = datetime.fromisoformat(found[0]["nextPurchase"]["expectedDate"])
    assert clock.now() < expected < clock.now() + timedelta(days=30)
    assert found[0]["nextPurchase"]["items"] == {"nodes": [{"id": "milk"}]}


async def test_the_categories_of_the_next_order_are_the_affinities_of_its_day(
    ask: Ask, gateway: Gateway, anna: None, forecast: Promote
) -> None:
    await upsert_items(gateway.pool, [{"id": "milk", "updated_at": clock.now(), "categories": ["food", "drinks"]}])
    await gateway.catalogue.refresh()
    query = """{ user(id: "anna") { affinities { key score }
      nextPurchase(within: "P60D") { expectedDate categories(first: 1) { key score share basis } } } }"""
    user = (await ask(query)).data["user"]
    assert user["nextPurchase"] == {
        "expectedDate": None,
        "categories": [{**user["affinities"][0], "share": 1.0, "basis": "PURCHASES"}],
    }
    await forecast()
    await gateway.forecast.load()
    user = (await ask(query)).data["user"]
    (then,), (now,) = user["nextPurchase"]["categories"], user["affinities"]
    assert (then["key"], then["share"]) == ("drinks", 1)
    days = (datetime.fromisoformat(user["nextPurchase"]["expectedDate"]) - clock.now()) / timedelta(days=1)
    assert days > 5
    assert then["score"] == pytest.approx(now["score"] * 0.5 ** (days / 42), rel=1e-3), "purchases halve in 42 days"


async def test_leaving_and_ordering_are_one_probability(
    ask: Ask, gateway: Gateway, anna: None, forecast: Promote
) -> None:
    await forecast()
    await gateway.forecast.load()
    by_days = []
    for within in ("P1D", "P30D", "P365D"):
        user = (await ask(QUERY, {"churn": within, "next": within})).data["user"]
        assert user["churn"]["probability"] + user["nextPurchase"]["probability"] == pytest.approx(1)
        by_days.append(user["nextPurchase"]["probability"])
    assert by_days == sorted(by_days)


async def test_without_a_forecast_the_answer_says_so(ask: Ask, anna: None) -> None:
    user = (await ask(QUERY)).data["user"]
    assert (user["churn"]["probability"], user["churn"]["band"], user["churn"]["drivers"]) == (None, None, [])
    assert user["churn"]["degraded"] == user["nextPurchase"]["degraded"] == ["NO_MODEL"]
    assert (user["nextPurchase"]["probability"], user["nextPurchase"]["expectedDate"]) == (None, None)


async def test_who_never_bought_has_no_forecast(ask: Ask, anna: None) -> None:
    assert (await ask(QUERY, {"id": "nobody"})).data["user"] == {"churn": None, "nextPurchase": None}


@pytest.mark.parametrize("within", ["PT1H", "P366D", "P0D"])
async def test_a_forecast_has_bounds(ask: Ask, anna: None, within: str) -> None:
    answer = await ask(QUERY, {"churn": within})
    assert answer.codes == ["BAD_USER_INPUT"]
    assert answer.messages == ["A forecast looks ahead from P1D to P365D."]


async def test_a_forecast_serves_beside_the_lists_and_a_damaged_one_does_not_replace_it(
    ask: Ask, gateway: Gateway, anna: None, forecast: Promote, make_bundle: MakeBundle, serving: Serve, tmp_path: Path
) -> None:
    lists = await serving(gateway.pool, make_bundle(gateway.catalogue, ["milk"]))
    good = await forecast()
    await gateway.forecast.load()
    for row, id in (
        (await current_serving(gateway.pool), lists),
        (await current_serving(gateway.pool, FORECAST_SLOT), good),
    ):
        assert row is not None
        assert row.bundle == id
    bad = await forecast(weight=-2.0)
    (tmp_path / "bundles" / bad / "typical.npy").chmod(0o644)
    (tmp_path / "bundles" / bad / "typical.npy").write_bytes(b"cut")
    await gateway.forecast.load()
    assert (await ask(QUERY)).data["user"]["churn"]["modelVersion"] == good


async def test_a_promotion_reaches_a_gateway_by_itself(gateway: Gateway, anna: None, forecast: Promote) -> None:
    following = asyncio.create_task(gateway.forecast.run())
    id = await forecast()
    await eventually(lambda: gateway.forecast.current is not None and gateway.forecast.current.id == id)
    await end([following])
