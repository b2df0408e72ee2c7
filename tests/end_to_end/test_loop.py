"""The whole loop on a part of the real log: load, answer, train, answer, purchase, answer, restart, answer."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from cli.demo.household_log import ShopFiles, make_shop_files
from core import clock
from tests.running import until

HOUSEHOLDS = 120  # the gate needs 100
ITEMS = 400  # the most bought ones
ORDERS = "[037]$"  # about a third of the orders: a training needs people, not many orders
TRIES = 20
SECRET = "only-for-this-test-0123456789abcdef"  # of a shop that exists for a minute
SCOPES = "recommendations:read profiles:read catalog:read models:read events:write orders:write"

LIST = """
query Next($person: ID!, $first: Int!) {
  user(id: $person) {
    known
    recommendations(first: $first) {
      modelVersion degraded
      edges { score reason { code text } node { id title } }
    }
  }
}
"""
HISTORY = (
    "query ($person: ID!) { user(id: $person) { history(types: [PURCHASE], first: 1) { nodes { itemId orderId } } } }"
)
TRACK = """
mutation ($events: [EventInput!]!) {
  trackEvents(events: $events) { accepted rejected results { index outcome code message } }
}
"""


def _slice(folder: Path) -> ShopFiles:
    """The files of the demo's shop: a few households, some of their orders, and the items they bought most."""
    make_shop_files(folder, clock.now())
    files = ShopFiles.under(folder)
    people = pc.unique(pq.read_table(files.users)["id"]).slice(0, HOUSEHOLDS)
    for path in (files.events, files.holdout):
        _keep(path, pc.match_substring_regex(pq.read_table(path)["orderId"], ORDERS))
    for path, column in ((files.users, "id"), (files.events, "userId"), (files.holdout, "userId")):
        _keep(path, pc.is_in(pq.read_table(path)[column], value_set=people))
    counted = pc.value_counts(pq.read_table(files.events, columns=["itemId"])["itemId"].combine_chunks())
    most = pc.sort_indices(counted.field("counts"), sort_keys=[("", "descending")])[:ITEMS]
    items = counted.field("values").take(most)
    for path, column in ((files.items, "id"), (files.events, "itemId"), (files.holdout, "itemId")):
        _keep(path, pc.is_in(pq.read_table(path)[column], value_set=items))
    return files


def _keep(path: Path, rows: pa.ChunkedArray) -> None:
    pq.write_table(pq.read_table(path).filter(rows), path)


def _most_active(files: ShopFiles, count: int) -> list[str]:
    people = pq.read_table(files.events, columns=["userId"])["userId"].value_counts().to_pylist()
    return [each["values"] for each in sorted(people, key=lambda each: -each["counts"])[:count]]


def _token(url: str) -> str:
    """A token, requested by a client library that is not ours."""
    session = OAuth2Session(client=BackendApplicationClient(client_id="partner"))
    token = session.fetch_token(f"{url}/oauth/token", client_id="partner", client_secret=SECRET)
    return str(token["access_token"])


@pytest.mark.timeout(900)
def test_a_purchase_changes_the_next_answer_and_a_restart_keeps_it(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # loopback
    files = _slice(shop.folder / "data")
    people = _most_active(files, TRIES)
    shop.start()
    for kind in ("items", "users", "events"):
        loaded = json.loads(shop.penchant("load", kind, getattr(files, kind), "--json"))
        assert loaded["stored"] == pq.read_metadata(getattr(files, kind)).num_rows
    shop.penchant(
        "clients",
        "create",
        "partner",
        "--secret-stdin",
        "--grant",
        "client_credentials",
        "--scope",
        SCOPES,
        stdin=SECRET,
    )
    token = _token(shop.url)

    def recommendations(person: str) -> dict[str, Any]:
        found: dict[str, Any] = shop.ask(token, LIST, person=person, first=10)["user"]["recommendations"]
        return found

    def ids(person: str) -> list[str]:
        return [edge["node"]["id"] for edge in recommendations(person)["edges"]]

    def newest_is(person: str, order: str) -> bool:
        nodes = shop.ask(token, HISTORY, person=person)["user"]["history"]["nodes"]
        return bool(nodes[0]["orderId"] == order)

    until(lambda: len(ids(people[0])) == 10, "the loaded catalogue answers")
    before = recommendations(people[0])
    assert before["modelVersion"] is None
    assert "NO_MODEL" in before["degraded"]

    shop.penchant("train", "--holdout", files.holdout)
    trained = until(
        lambda: (found := recommendations(people[0]))["modelVersion"] and found,
        "the trained bundle serves",
    )
    assert trained["degraded"] == []
    assert {edge["reason"]["code"] for edge in trained["edges"]} & {"BOUGHT_BEFORE", "DUE_AGAIN", "SIMILAR_TO"}

    bought: dict[str, str] = {}
    for number, person in enumerate(people):
        item = bought[person] = ids(person)[0]
        order = {"type": "PURCHASE", "userId": person, "itemId": item, "orderId": f"o-{number}", "quantity": 1}
        tracked = shop.ask(token, TRACK, events=[{**order, "unitPrice": "1.99", "currency": "USD"}])["trackEvents"]
        assert tracked["accepted"] == 1, tracked
        assert item not in ids(person), "the next answer leaves the bought item out"

    for number, person in enumerate(people):
        until(partial(newest_is, person, f"o-{number}"), "the purchase is stored")
    lists = {person: ids(person) for person in people}

    assert shop.stop() in (0, 130)
    shop.start()
    token = _token(shop.url)
    again = until(
        lambda: (found := recommendations(people[0]))["modelVersion"] and found, "the bundle serves after a restart"
    )
    assert again["modelVersion"] == trained["modelVersion"]
    for person in people:
        now = ids(person)
        assert bought[person] not in now
        assert len(set(now) & set(lists[person])) >= 8, "the list is about the same after the restart"
