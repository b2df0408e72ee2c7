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
from benchmarks.processes import listening_process, running_seconds
from benchmarks.shop import Shop, shop

MINUTES = 3
WARM_UP, ROUNDS, PEOPLE = 100, 9, 150  # people in a round get their page, and then their lists
FIRST = 12  # items of a slot
HTTP_TIMEOUT = 30.0  # seconds

LIST = """{ impressionId modelVersion asOf degraded
  edges { rank score reason { code text } node { id title brand categories url price { amount currency } } } }"""
PAGE = f"""query Page($id: ID!, $requests: [PlacementRequest!]!) {{ user(id: $id) {{
  page(requests: $requests) {{ key recommendations {LIST} }} }} }}"""
SINGLE = f"""query Single($id: ID!, $placement: String!, $first: Int!, $filter: ItemFilter, $exclude: [ID!]) {{
  user(id: $id) {{
    recommendations(placement: $placement, first: $first, filter: $filter, exclude: $exclude) {LIST} }} }}"""


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
    rounds, times = list[dict[str, float]](), list[float]()
    for start in range(WARM_UP, len(users), PEOPLE):
        some, used = users[start : start + PEOPLE], dict[str, float]()
        for kind in ("new", "kept"):  # what is asked for again is kept
            before = running_seconds(pid)
            took = [_page(connection, user, _new(slots, f"{start + at}")) for at, user in enumerate(some)]
            between = running_seconds(pid)
            for at, user in enumerate(some):
                _singles(connection, user, [_new([slot], f"{start + at}-{slot['key']}")[0] for slot in slots])
            used |= {f"{kind} page": between - before, f"{kind} singles": running_seconds(pid) - between}
            times += took if kind == "new" else []
        rounds.append({name: seconds / PEOPLE for name, seconds in used.items()})
    connection.close()
    return _figures(rounds, times)


def _figures(rounds: list[dict[str, float]], times: list[float]) -> dict[str, Figure]:
    def cpu(of: str, what: str) -> Figure:
        return Figure(median(one[of] for one in rounds) * 1e6, "us", reference=f"the gateway's CPU for {what}")

    def ratio(page: str, singles: str, limit: str) -> Figure:
        ratios = sorted(one[page] / one[singles] for one in rounds)
        return Figure(median(ratios), "x", ratios[1], ratios[-2], f"the {singles} = 1; {limit}")  # 96 % interval of 9

    return {
        "page_p50_ms": Figure(median(times), "ms"),
        "page_cpu_us": cpu("new page", f"5 slots of {FIRST} items that nobody asked for before"),
        "kept_page_cpu_us": cpu("kept page", "the same again"),
        "singles_cpu_us": cpu("new singles", "the 5 lists one by one, new"),
        "kept_singles_cpu_us": cpu("kept singles", "the 5 lists one by one again"),
        "ratio_to_new_singles": ratio("new page", "new singles", "goal 0.6"),
        "kept_ratio": ratio("kept page", "kept singles", "a page asked for again"),
        "ratio_to_kept_singles": ratio("new page", "kept singles", "goal 1"),
    }


def _new(slots: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The slots as nobody asked for them before: they leave out an item that is not there."""
    return [{**slot, "exclude": [f"no-item-{name}"]} for slot in slots]


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
                "variables": {
                    "id": user,
                    **{name: slot[name] for name in ("placement", "first", "filter", "exclude") if name in slot},
                },
            }
        )
        _, answer = connection.post("/graphql", body)
        assert b'"errors"' not in answer, answer[:300]
