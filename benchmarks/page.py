"""A page of 5 slots against the same 5 lists in single queries: the gateway's CPU, and the time of an answer."""

import json
import random
import time
from collections import Counter
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import Figure
from benchmarks.gateway_connection import GatewayConnection
from benchmarks.processes import cpu_seconds, listening_process
from benchmarks.shop import Shop, shop

MINUTES = 3
WARM_UP, ROUNDS, PEOPLE = 100, 9, 150  # people in a round get their page, and then their lists
FIRST = 12  # items of a slot
HTTP_TIMEOUT = 30.0  # seconds

LIST = """{ impressionId modelVersion asOf degraded
  edges { rank score reason { code text } node { id title brand categories url price { amount currency } } } }"""
PAGE = f"""query Page($id: ID!, $requests: [PlacementRequest!]!) {{ user(id: $id) {{
  page(requests: $requests) {{ key recommendations {LIST} }} }} }}"""
SINGLE = f"""query Single($id: ID!, $placement: String!, $first: Int!, $filter: ItemFilter) {{ user(id: $id) {{
  recommendations(placement: $placement, first: $first, filter: $filter) {LIST} }} }}"""


def run(seed: int) -> dict[str, Figure]:
    """Ask the running demo, or a stack of our own, for pages and for single lists in turns."""
    with shop(seed) as found:
        return _compare(found, seed)


def _compare(found: Shop, seed: int) -> dict[str, Figure]:
    pid = listening_process(urlsplit(found.client.base_url).port or 80)
    connection = GatewayConnection(found.client.base_url, found.client.token(), HTTP_TIMEOUT)
    slots = _slots(connection, found.users[0])
    users = random.Random(seed).choices(found.users, k=WARM_UP + ROUNDS * PEOPLE)  # noqa: S311 - no secret
    for user in users[:WARM_UP]:
        _page(connection, user, slots)
        _singles(connection, user, slots)
    pages, singles, times = list[float](), list[float](), list[float]()
    for start in range(WARM_UP, len(users), PEOPLE):
        before = cpu_seconds(pid)
        times += [_page(connection, user, slots) for user in users[start : start + PEOPLE]]
        between = cpu_seconds(pid)
        for user in users[start : start + PEOPLE]:
            _singles(connection, user, slots)
        pages.append((between - before) / PEOPLE)
        singles.append((cpu_seconds(pid) - between) / PEOPLE)
    connection.close()
    ratios = sorted(page / single for page, single in zip(pages, singles, strict=True))
    reference = f"5 single queries of {FIRST} items each = 1"
    return {
        "page_p50_ms": Figure(median(times), "ms"),
        "page_cpu_us": Figure(median(pages) * 1e6, "us", reference=f"the gateway's CPU for 5 slots of {FIRST} items"),
        "singles_cpu_us": Figure(median(singles) * 1e6, "us", reference="the gateway's CPU for the 5 lists one by one"),
        "ratio_to_singles": Figure(median(ratios), "x", ratios[0], ratios[-1], reference),
    }


def _slots(connection: GatewayConnection, user: str) -> list[dict[str, Any]]:
    """Three slots of all items, and two of one large category each."""
    query = "query ($id: ID!) { user(id: $id) { recommendations(first: 100) { nodes { categories } } } }"
    body = json.dumps({"query": query, "variables": {"id": user}})
    nodes = json.loads(connection.post("/graphql", body)[1])["data"]["user"]["recommendations"]["nodes"]
    counted = Counter(node["categories"][-1] for node in nodes if node["categories"])
    names = [name for name, _ in counted.most_common(2)]
    filters: list[dict[str, Any] | None] = [None, None, None, *({"categories": [name]} for name in names)]
    return [
        {"key": f"slot-{at}", "placement": f"slot-{at}", "first": FIRST, "filter": filter}
        for at, filter in enumerate(filters)
    ]


def _page(connection: GatewayConnection, user: str, slots: list[dict[str, Any]]) -> float:
    """Milliseconds until the whole page arrived; its slots must be full and have no item twice."""
    body = json.dumps({"query": PAGE, "variables": {"id": user, "requests": slots}})
    began = time.perf_counter()
    _, answer = connection.post("/graphql", body)
    took = (time.perf_counter() - began) * 1000
    lists = [slot["recommendations"]["edges"] for slot in json.loads(answer)["data"]["user"]["page"]]
    ids = [edge["node"]["id"] for edges in lists for edge in edges]
    assert len(ids) == len(set(ids)), answer[:300]
    assert len(lists[0]) == FIRST, answer[:300]
    return took


def _singles(connection: GatewayConnection, user: str, slots: list[dict[str, Any]]) -> None:
    for slot in slots:
        body = json.dumps(
            {
                "query": SINGLE,
                "variables": {"id": user, **{name: slot[name] for name in ("placement", "first", "filter")}},
            }
        )
        _, answer = connection.post("/graphql", body)
        assert b'"errors"' not in answer, answer[:300]
