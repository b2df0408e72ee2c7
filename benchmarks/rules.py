"""A new list of 20 items in places without rules, with 10, with nearly 10,000, and with settings: the gateway's CPU."""

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
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
from engine.placements.changing import replace_placements
from engine.rules.changing import replace_rules

MINUTES = 3
WARM_UP, ROUNDS, CALLS = 50, 15, 60  # lists of each place in a round
PLACES = ("none", "placed", "boosts", "ten", "many", "short")
MANY = 9_960
HTTP_TIMEOUT = 30.0  # seconds
BY = "benchmark"

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
        draw = random.Random(seed)  # noqa: S311 - no secret
        asyncio.run(_save(found.postgres_url, _rules(items, draw), {"placed": _placed(items, draw)}))
        connection.close()  # the gateway closes one that is idle for some seconds
        try:
            wait_until(lambda: _is_first(connection, found.users[0], items[0]["id"]), [], 60)
            return _compare(found, connection, items, seed)
        finally:
            asyncio.run(_remove(found.postgres_url))
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
        used = dict.fromkeys(PLACES, 0.0)
        for user in draw.choices(found.users, k=CALLS):
            item = draw.choice(items)["id"]
            _ask(connection, user, "none", item)  # the first list after another person's costs more
            for place in draw.sample(PLACES, len(PLACES)):
                before = running_seconds(pid)
                _ask(connection, user, place, item)
                used[place] += (running_seconds(pid) - before) / CALLS
        rounds.append(used)
    return {
        f"{place}_cpu_us": Figure(median(one[place] for one in rounds) * 1e6, "us", reference="CPU of a new list")
        for place in PLACES
    } | {
        "placed_ratio": _ratio(
            rounds, "placed", "none", "a placement with filter, prices, repeats and fallback; goal 1.1"
        ),
        "boosts_ratio": _ratio(rounds, "boosts", "none", "10 rules of boosts and exclusions; goal 1.1"),
        "ten_ratio": _ratio(rounds, "ten", "none", "10 rules of all kinds; goal 1.1"),
        "many_ratio": _ratio(rounds, "many", "ten", "9,970 rules; those with 10 = 1; goal 1"),
        "short_ratio": _ratio(rounds, "short", "none", "1 rule AT_MOST that ends most lists before 20 items"),
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
        {"kind": "AT_MOST", "count": 15, "per": "BRAND"},  # most items are of one of two brands
    ]
    rules = {
        f"benchmark-boosts-{at}": {**each, "when": {"placements": ["boosts"]}} for at, each in enumerate(folded * 2)
    }
    for place in ("ten", "many"):
        for at, each in enumerate([*folded, *arranging]):
            rules[f"benchmark-{place}-{at}"] = {**each, "when": {"placements": [place]}}
    short = {"kind": "AT_MOST", "count": 8, "per": "BRAND", "when": {"placements": ["short"]}}
    rules["benchmark-short"] = short
    for at in range(MANY):
        when: dict[str, Any] = {"placements": ["many"]}
        if at % 2:
            when["itemIds"] = [draw.choice(items)["id"]]
        ids = [item["id"] for item in draw.sample(items, 5)]
        rules[f"benchmark-more-{at}"] = {"kind": "BOOST", "factor": 1.2, "filter": {"ids": ids}, "when": when}
    return rules


def _placed(items: Sequence[dict[str, Any]], draw: random.Random) -> dict[str, Any]:
    """Settings of a placement that leave most items in its lists."""
    hidden = draw.choice([item["categories"][-1] for item in items if item["categories"]])
    return {
        "filter": {"not": {"categories": [hidden]}},
        "price": [{"from": "0.5", "to": "500"}],
        "repeat": "DUE_ONLY",
        "fallback": ["NEW", "POPULAR"],
    }


async def _save(
    postgres_url: str, rules: Mapping[str, Mapping[str, Any]], placements: Mapping[str, Mapping[str, Any]]
) -> None:
    async with await connect_pool(postgres_url, size=1, timeout=60) as pool:
        await replace_rules(pool, rules, BY)
        await replace_placements(pool, placements, BY)


async def _remove(postgres_url: str) -> None:
    """Remove the rules and placements that a benchmark saved, all at once."""
    async with await connect_pool(postgres_url, size=1, timeout=60) as pool, transaction(pool) as inside:
        for table in ("rules", "placements"):
            await inside.execute(
                f"INSERT INTO {table} (id, version, changed_by) SELECT id, max(version) + 1, $1 FROM {table}"
                " WHERE changed_by = $1 GROUP BY id",
                BY,
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
