"""The serving row changes only together with the decision that gives the reason."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import InvalidInput
from db.anchors import pin_anchor
from db.postgres import Pool
from db.serving import (
    Model,
    bundle_before,
    current_serving,
    decision_about,
    decision_about_trained,
    list_decisions,
    list_models,
    model_by_id,
    promote,
    refresh,
    refuse,
    register_model,
    roll_back,
    serving_rows,
)

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


async def register(pool: Pool, *ids: str) -> None:
    for age, id in enumerate(ids):
        await register_model(pool, Model(id, "main", MONDAY + timedelta(hours=age), "d", {"ndcg": 0.3}, None))


async def test_a_promotion_is_recorded_with_its_reason(pool: Pool) -> None:
    await register(pool, "one", "two")
    await promote(pool, "one", "first", {"ndcg": 0.2}, "ada")
    serving = await promote(pool, "two", "better", {"ndcg": 0.3}, "ada")
    assert (serving.bundle, serving.generation) == ("two", 2)
    assert await current_serving(pool) == serving
    newest, oldest = await list_decisions(pool, 10)
    assert (newest.action, newest.bundle, newest.previous, newest.reason) == ("PROMOTED", "two", "one", "better")
    assert (newest.evidence, newest.decided_by, oldest.previous) == ({"ndcg": 0.3}, "ada", None)


async def test_a_refusal_is_recorded_and_changes_nothing(pool: Pool) -> None:
    await register(pool, "one", "two")
    await promote(pool, "one", "first", {}, "ada")
    await refuse(pool, "two", "worse than popularity", {"ndcg": 0.1}, "gate")
    serving = await current_serving(pool)
    assert serving is not None and serving.bundle == "one"
    assert (await list_decisions(pool, 1))[0].action == "REFUSED"


async def test_an_unknown_bundle_is_neither_served_nor_recorded(pool: Pool) -> None:
    with pytest.raises(InvalidInput, match="no model 'ghost'"):
        await promote(pool, "ghost", "?", {}, "ada")
    assert (await current_serving(pool), await list_decisions(pool, 1)) == (None, [])


async def test_promotions_at_once_leave_an_unbroken_chain_of_decisions(pool: Pool) -> None:
    ids = [f"m{index}" for index in range(8)]
    await register(pool, *ids)
    await asyncio.gather(*(promote(pool, id, "race", {}, "ada") for id in ids))
    decisions = list(reversed(await list_decisions(pool, 100)))
    assert [decision.previous for decision in decisions] == [None, *(decision.bundle for decision in decisions[:-1])]
    serving = await current_serving(pool)
    assert serving is not None
    assert (serving.bundle, serving.generation) == (decisions[-1].bundle, 8)


async def test_models_and_decisions_are_paged_newest_first(pool: Pool) -> None:
    await register(pool, "a", "b", "c")
    first = await list_models(pool, 2)
    assert [model.id for model in first] == ["c", "b"]
    rest = await list_models(pool, 2, (first[-1].created_at, first[-1].id))
    assert [model.id for model in rest] == ["a"]
    for id in "abc":
        await refuse(pool, id, "no", {}, "gate")
    newest = await list_decisions(pool, 2)
    assert [decision.bundle for decision in newest] == ["c", "b"]
    assert [decision.bundle for decision in await list_decisions(pool, 2, newest[-1].id)] == ["a"]


async def test_registering_again_only_adds_the_registry_version(pool: Pool) -> None:
    await register(pool, "a")
    await register_model(pool, Model("a", "main", MONDAY, "other", {}, "7"))
    await register_model(pool, Model("a", "main", MONDAY, "other", {}, None))
    assert await model_by_id(pool, "a") == Model("a", "main", MONDAY, "d", {"ndcg": 0.3}, "7")
    assert await model_by_id(pool, "b") is None


async def test_repeated_rollbacks_go_further_back(pool: Pool) -> None:
    await register(pool, "one", "two", "three")
    assert await bundle_before(pool) is None
    for id in ("one", "two", "three"):
        await promote(pool, id, "better", {}, "ada")
    assert (await roll_back(pool, "sales fell", "ada")).bundle == "two"
    (newest,) = await list_decisions(pool, 1)
    assert (newest.action, newest.bundle, newest.previous, newest.reason) == (
        "ROLLED_BACK",
        "two",
        "three",
        "sales fell",
    )
    assert (await roll_back(pool, "still", "ada")).bundle == "one"
    with pytest.raises(InvalidInput, match="Nothing served before"):
        await roll_back(pool, "again", "ada")


async def test_the_newest_decision_about_a_bundle_is_found(pool: Pool) -> None:
    await register(pool, "one", "two")
    assert await decision_about(pool, "one") is None
    await refuse(pool, "one", "worse", {}, "gate")
    await promote(pool, "two", "better", {}, "gate")
    found = await decision_about(pool, "one")
    assert found and (found.action, found.reason) == ("REFUSED", "worse")


async def test_an_anchor_that_serves_no_more_is_not_said_to_serve(pool: Pool) -> None:
    await register(pool, "one", "two")
    await promote(pool, "one", "first", {}, "ada")
    await pin_anchor(pool, "one")
    assert list(await serving_rows(pool, ["one", "two"])) == ["one"]
    await promote(pool, "two", "better", {}, "ada")
    assert list(await serving_rows(pool, ["one", "two"])) == ["two"]


async def test_the_newest_decision_about_a_trained_model_is_of_its_slot_and_no_baseline(pool: Pool) -> None:
    await register(pool, "one", "two")
    await register_model(pool, Model("popular", "affinity", MONDAY, "d", {"baseline": "popularity"}, None))
    await register_model(pool, Model("soon", "forecast", MONDAY, "d", {}, None))
    assert await decision_about_trained(pool) is None
    await promote(pool, "one", "first", {}, "gate")
    await refuse(pool, "two", "too few people", {}, "gate")
    await promote(pool, "popular", "stands in", {}, "gate")
    await refresh(pool, "popular", "tables of today", {}, "gate")
    await refuse(pool, "soon", "not better than recency", {}, "gate")
    found = await decision_about_trained(pool)
    assert found and (found.action, found.bundle, found.reason) == ("REFUSED", "two", "too few people")
