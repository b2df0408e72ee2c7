"""`boughtTogether` of an item: complements with their reason, filtered, paged, and told from what is similar."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from api.gateway import Gateway
from core import clock
from core.uploads import Offer
from db.items import remove_items, upsert_items
from ml.affinity.model import AffinityModel
from tests.fixtures.gateway import Ask, MakeBundle, Serve

IDS = [f"i{number:02}" for number in range(12)]
LIST = """query ($id: ID! = "i03", $first: Int! = 5, $after: String, $filter: ItemFilter, $market: ID) {
  item(id: $id) { boughtTogether(first: $first, after: $after, filter: $filter, market: $market) {
    degraded modelVersion placement impressionId nodes { id } pageInfo { hasNextPage endCursor }
    edges { rank probability node { id } reason { code text(language: "de") item { id } events { id } } } } } }"""


def ids(listed: Any) -> list[str]:
    return [node["id"] for node in listed["nodes"]]


@pytest.fixture
async def shop(gateway: Gateway) -> Gateway:
    """Twelve items; i04 and i05 are variants."""
    now = clock.now() - timedelta(days=1)
    groups = {"i04": "g", "i05": "g"}
    await upsert_items(
        gateway.pool,
        [{"id": id, "updated_at": now, "title": id.upper(), "group_id": groups.get(id)} for id in IDS],
    )
    await gateway.catalogue.refresh()
    return gateway


@pytest.fixture
async def completed(
    shop: Gateway, make_bundle: MakeBundle, serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> AffinityModel:
    """A model in which i01, i05, i07 and i04 complete i03, in this order, and nothing else anything."""
    await serving(shop.pool, make_bundle(shop.catalogue, IDS))
    await shop.models.load()
    model = shop.models.current
    assert model is not None
    universe, n = model.universe, len(IDS)
    rows, scores = np.full((n + 1, 6), n, np.int32), np.zeros((n + 1, 6), np.float32)
    row = universe.rows(shop.catalogue.numbers_of(["i03"]))[0]
    rows[row, :4] = universe.rows(shop.catalogue.numbers_of(["i01", "i05", "i07", "i04"]))
    scores[row, :4] = [0.5, 0.4, 0.3, 0.2]
    object.__setattr__(universe, "together", rows)
    object.__setattr__(universe, "together_score", scores)
    return model


async def listed(ask: Ask, **variables: Any) -> Any:
    answer = await ask(LIST, variables)
    assert answer.codes == []
    return answer.data["item"]["boughtTogether"]


async def test_the_list_has_what_completes_the_item_with_a_reason_that_says_so(
    ask: Ask, completed: AffinityModel
) -> None:
    found = await listed(ask)
    assert ids(found) == ["i01", "i05", "i07"], "one of a group of variants"
    assert (found["placement"], found["degraded"], found["modelVersion"]) == ("boughtTogether", [], completed.id)
    assert found["impressionId"]
    first = found["edges"][0]
    assert (first["rank"], first["probability"]) == (1, None)
    assert first["reason"] == {
        "code": "BOUGHT_TOGETHER",
        "text": "Wird oft zusammen mit I03 gekauft.",
        "item": {"id": "i03"},
        "events": [],
    }


async def test_nothing_fills_the_list(ask: Ask, completed: AffinityModel) -> None:
    found = await listed(ask, id="i08", first=100)
    assert (found["nodes"], found["edges"], found["degraded"]) == ([], [], [])
    assert found["pageInfo"] == {"hasNextPage": False, "endCursor": None}


async def test_without_a_model_the_list_is_empty_and_degraded(ask: Ask, shop: Gateway) -> None:
    await shop.models.load()
    found = await listed(ask)
    assert (found["nodes"], found["degraded"], found["modelVersion"]) == ([], ["NO_MODEL"], None)


async def test_a_model_that_did_not_learn_the_list_says_so(ask: Ask, completed: AffinityModel) -> None:
    object.__setattr__(completed.universe, "together", None)
    found = await listed(ask)
    assert (found["nodes"], found["degraded"], found["modelVersion"]) == ([], ["OLD_MODEL"], completed.id)


async def test_filters_and_markets_choose_before_items_are_counted(
    ask: Ask, shop: Gateway, completed: AffinityModel
) -> None:
    assert ids(await listed(ask, first=1, filter={"ids": ["i04", "i07", "i09"]})) == ["i07"]
    assert ids(await listed(ask, filter={"not": {"ids": ["i05"]}})) == ["i01", "i07", "i04"]
    await upsert_items(
        shop.pool, [{"id": "i01", "updated_at": clock.now(), "offers": [Offer("at", None, None, None, available=True)]}]
    )
    await remove_items(shop.pool, ["i07"])
    await shop.catalogue.refresh()
    assert ids(await listed(ask, market="de")) == ["i05"]
    assert ids(await listed(ask, market="at")) == ["i01", "i05"]


async def test_pages_continue_the_list(ask: Ask, completed: AffinityModel) -> None:
    page = await listed(ask, first=2)
    assert (ids(page), page["pageInfo"]["hasNextPage"]) == (["i01", "i05"], True)
    rest = await listed(ask, first=2, after=page["pageInfo"]["endCursor"])
    assert (ids(rest), rest["edges"][0]["rank"], rest["pageInfo"]["hasNextPage"]) == (["i07"], 3, False)
    similar = await ask(
        'query ($after: String) { item(id: "i03") { similar(after: $after) { nodes { id } } } }',
        {"after": page["pageInfo"]["endCursor"]},
    )
    assert similar.codes == ["BAD_USER_INPUT"], "a cursor of another list"


async def test_a_list_for_the_page_of_an_item_does_not_repeat_what_completes_it(
    ask: Ask, completed: AffinityModel
) -> None:
    both = """{ item(id: "i03") { boughtTogether(first: 2) { nodes { id } } }
      user(id: "anna") { recommendations(first: 6, context: {itemIds: ["i03"]}) { nodes { id } } } }"""
    data = (await ask(both)).data
    assert ids(data["item"]["boughtTogether"]) == ["i01", "i05"]
    assert {"i01", "i05", "i04"}.isdisjoint(ids(data["user"]["recommendations"]))


async def test_the_scope_of_recommendations_is_needed(ask: Ask, completed: AffinityModel) -> None:
    answer = await ask('{ item(id: "i03") { id boughtTogether { nodes { id } } } }', scopes=["catalog:read"])
    assert (answer.data["item"], answer.codes) == ({"id": "i03", "boughtTogether": None}, ["FORBIDDEN"])
