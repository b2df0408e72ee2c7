"""A new list of 20 items in places without rules, with 10 and with nearly 10,000: the gateway's CPU of each."""

import asyncio
import json
import random
from collections.abc import Sequence
from itertools import count
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import Figure
from benchmarks.gateway_connection import GatewayConnection
from benchmarks.processes import listening_process, running_seconds
from benchmarks.shop import Shop, shop
from cli.stack.processes import wait_until
from db.postgres import connect_pool, transaction
from engine.rules.changing import checked

MINUTES = 3
WARM_UP, ROUNDS, CALLS = 100, 15, 100  # lists of each place in a round
PLACES = ("none", "boosts", "ten", "many")
MANY = 9_960
HTTP_TIMEOUT = 30.0  # seconds

QUERY = """query Rules($id: ID!, $placement: String!, $context: RecommendationContext, $exclude: [ID!]) {
  user(id: $id) { recommendations(first: 20, placement: $placement, context: $context, exclude: $exclude) {
    impressionId modelVersion asOf degraded
    edges { rank score reason { code text } node { id title brand categories url price { amount currency } } } } } }"""

_numbers = count()


def run(seed: int) -> dict[str, Figure]:
    """Save rules in the running demo, or in a stack of our own; ask for lists in turns; remove the rules."""
    with shop(seed) as found:
        connection = GatewayConnection(found.client.base_url, found.client.token(), HTTP_TIMEOUT)
        items = _items(connection, found.users)
        asyncio.run(_save(found.postgres_url, _rules(items, random.Random(seed))))  # noqa: S311 - no secret
        connection.close()  # the gateway closes one that is idle for some seconds
        try:
            wait_until(lambda: _is_first(connection, found.users[0], items[0]["id"]), [], 60)
            return _compare(found, connection, items, seed)
        finally:
            asyncio.run(_save(found.postgres_url, {}))
            connection.close()


def _compare(
    found: Shop, connection: GatewayConnection, items: Sequence[dict[str, Any]], seed: int
) -> dict[str, Figure]:
    pid = listening_process(urlsplit(found.client.base_url).port or 80)
    draw = random.Random(seed)  # noqa: S311 - no secret
    for place in PLACES:
        for user in draw.choices(found.users, k=WARM_UP):
            _ask(connection, user, place, draw.choice(items)["id"])
    rounds = list[dict[str, float]]()
    for _ in range(ROUNDS):
        asked = [(user, draw.choice(items)["id"]) for user in draw.choices(found.users, k=CALLS)]
        used = dict[str, float]()
        for place in draw.sample(PLACES, len(PLACES)):
            before = running_seconds(pid)
            for user, item in asked:
                _ask(connection, user, place, item)
            used[place] = (running_seconds(pid) - before) / CALLS
        rounds.append(used)
    return {
        f"{place}_cpu_us": Figure(median(one[place] for one in rounds) * 1e6, "us", reference="CPU of a new list")
        for place in PLACES
    } | {
        "boosts_ratio": _ratio(rounds, "boosts", "none", "10 rules of boosts and exclusions; goal 1.1"),
        "ten_ratio": _ratio(rounds, "ten", "none", "10 rules of all kinds; goal 1.1"),
        "many_ratio": _ratio(rounds, "many", "ten", "9,970 rules; those with 10 = 1; goal 1"),
    }


def _ratio(rounds: list[dict[str, float]], one: str, other: str, reference: str) -> Figure:
    """The median with its 95 % interval by order statistics: of 15 values, from the 4th to the 12th."""
    ratios = sorted(each[one] / each[other] for each in rounds)
    return Figure(median(ratios), "x", ratios[3], ratios[11], reference)


def _rules(items: Sequence[dict[str, Any]], draw: random.Random) -> dict[str, dict[str, Any]]:
    """Rules by id: the same ten in two places, with many more in one of them."""
    categories = list({item["categories"][-1] for item in items if item["categories"]})
    folded: list[dict[str, Any]] = [
        {"kind": kind, "factor": factor, "filter": {"categories": [draw.choice(categories)]}}
        for kind, factor in (("BOOST", 2), ("BOOST", 3), ("BURY", 2), ("BURY", 5))
    ]
    folded += [{"kind": "EXCLUDE", "filter": {"ids": [item["id"] for item in items[-5:]]}}]
    arranging: list[dict[str, Any]] = [
        {"kind": "PIN", "itemId": items[0]["id"], "position": 1},
        {"kind": "PIN", "itemId": items[1]["id"], "position": 5},
        {"kind": "SLOTS", "filter": {"categories": [draw.choice(categories)]}, "count": 2, "of": 10},
        {"kind": "AT_MOST", "count": 8, "per": "CATEGORY"},
        {"kind": "AT_MOST", "count": 8, "per": "BRAND"},
    ]
    rules = {
        f"benchmark-boosts-{at}": {**each, "when": {"placements": ["boosts"]}} for at, each in enumerate(folded * 2)
    }
    for place in ("ten", "many"):
        for at, each in enumerate([*folded, *arranging]):
            rules[f"benchmark-{place}-{at}"] = {**each, "when": {"placements": [place]}}
    for at in range(MANY):
        when: dict[str, Any] = {"placements": ["many"]}
        if at % 2:
            when["itemIds"] = [draw.choice(items)["id"]]
        ids = [item["id"] for item in draw.sample(items, 5)]
        rules[f"benchmark-more-{at}"] = {"kind": "BOOST", "factor": 1.2, "filter": {"ids": ids}, "when": when}
    return rules


async def _save(postgres_url: str, rules: dict[str, dict[str, Any]]) -> None:
    """Put rules into the place of those that a benchmark saved, all at once."""
    async with await connect_pool(postgres_url, size=1) as pool, transaction(pool) as inside:
        await inside.execute(
            "INSERT INTO rules (id, version, changed_by) SELECT id, max(version) + 1, 'benchmark' FROM rules"
            " WHERE id LIKE 'benchmark-%' GROUP BY id"
        )
        for id, settings in rules.items():
            await inside.execute(
                "INSERT INTO rules (id, version, settings, changed_by) SELECT $1, coalesce(max(version), 0) + 1, $2,"
                " 'benchmark' FROM rules WHERE id = $1",
                id,
                checked(settings),
            )


def _items(connection: GatewayConnection, users: Sequence[str]) -> list[dict[str, Any]]:
    """The items that lists of some users show, each once."""
    query = "query ($id: ID!) { user(id: $id) { recommendations(first: 100) { nodes { id categories } } } }"
    shown = dict[str, dict[str, Any]]()
    for user in users[:20]:
        _, answer = connection.post("/graphql", json.dumps({"query": query, "variables": {"id": user}}))
        shown |= {node["id"]: node for node in json.loads(answer)["data"]["user"]["recommendations"]["nodes"]}
    return list(shown.values())


def _is_first(connection: GatewayConnection, user: str, item: str) -> bool:
    """Whether the gateway follows the rules."""
    first: str = _ask(connection, user, "many", "none")[0]["node"]["id"]
    return first == item


def _ask(connection: GatewayConnection, user: str, placement: str, item: str) -> list[dict[str, Any]]:
    """A list that nobody asked for before, on the page of an item."""
    variables = {
        "id": user, "placement": placement, "context": {"itemIds": [item]}, "exclude": [f"no-item-{next(_numbers)}"],
    }  # fmt: skip
    _, answer = connection.post("/graphql", json.dumps({"query": QUERY, "variables": variables}))
    edges: list[dict[str, Any]] = json.loads(answer)["data"]["user"]["recommendations"]["edges"]
    assert edges, answer[:300]
    return edges
