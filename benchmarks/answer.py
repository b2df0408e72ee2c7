"""One personalized answer of 20 items with reasons, one request at a time: latency, CPU, memory, GraphQL's share."""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, cycle
from statistics import median
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import numpy as np

from benchmarks.figures import Figure
from benchmarks.gateway_connection import GatewayConnection
from benchmarks.layer import serve
from benchmarks.processes import listening_process, resident_mb, running_seconds
from benchmarks.saturation import p99_at_share
from benchmarks.shop import Shop, shop
from cli.gateway_client import answers
from cli.stack.folder import free_ports
from cli.stack.processes import wait_until

MINUTES = 6
WARM_UP, REQUESTS = 200, 3_000  # requests for the latency
ROUNDS, CALLS = 15, 200  # rounds over all ways of asking, calls of each way in a round
FEW_USERS = 20  # whose lists are asked for again
P99_LIMIT_MS = 25.0
HTTP_TIMEOUT = 30.0  # seconds

_SELECTED = """{
  impressionId modelVersion asOf degraded
  edges { rank score reason { code text } node { id title brand categories url price { amount currency } } }
}"""
QUERY = f"query Answer($id: ID!) {{ user(id: $id) {{ recommendations(first: 20) {_SELECTED} }} }}"
MISS = f"""query Miss($id: ID!, $exclude: [ID!]) {{
  user(id: $id) {{ recommendations(first: 20, exclude: $exclude) {_SELECTED} }}
}}"""
"""The same for a list that nobody asked for before: it leaves out an item that is not there."""
SIMILAR = f"query Similar($id: ID!) {{ item(id: $id) {{ similar(first: 20) {_SELECTED} }} }}"
TOGETHER = f"query Together($id: ID!) {{ item(id: $id) {{ boughtTogether(first: 20) {_SELECTED} }} }}"
TRENDING = f"{{ trending(first: 20) {_SELECTED} }}"

_numbers = count()


def run(seed: int) -> dict[str, Figure]:
    """Ask the running demo, or a stack of our own; compare it, and GraphQL alone, with a plain route in a server."""
    with shop(seed) as found, _one_list(found) as one_list:
        pid = listening_process(urlsplit(found.client.base_url).port or 80)
        gateway = GatewayConnection(found.client.base_url, found.client.token(), HTTP_TIMEOUT)
        figures = _latency(found, gateway, seed)
        figures |= _cpu(found, gateway, pid, one_list)
        figures |= p99_at_share(found, QUERY, seed)
        figures["rss_mb"] = Figure(resident_mb(pid), "MB", reference="limit 350 MB")
        gateway.close()
    return figures


def _latency(found: Shop, gateway: GatewayConnection, seed: int) -> dict[str, Figure]:
    """Latency of new lists on one kept-alive connection, for random users with cached states."""
    users = random.Random(seed).choices(found.users, k=REQUESTS)  # noqa: S311 - no secret
    for user in [*found.users, *users[:WARM_UP]]:
        _answer_ms(gateway, _miss(user))
    times = [_answer_ms(gateway, _miss(user)) for user in users]
    return {"p50_ms": Figure(median(times), "ms"), "p99_ms": _p99(times)}


def _cpu(found: Shop, gateway: GatewayConnection, pid: int, one_list: GatewayConnection) -> dict[str, Figure]:
    """CPU per request, by turns: new and repeated lists in the gateway, one list with and without GraphQL."""
    hit, few = _body(QUERY, found.users[0]), cycle(found.users[:FEW_USERS])
    items = cycle(_shown_items(found, gateway))
    ways: dict[str, Callable[[], float]] = {
        "plain": lambda: _server_cpu(one_list, "/plain", hit),
        "warm": lambda: _server_cpu(one_list, "/graphql", hit),
        "cold": lambda: _server_cpu(one_list, "/cold", hit),
        "miss": lambda: _gateway_cpu(gateway, pid, lambda: _miss(next(few))),
        "hit": lambda: _gateway_cpu(gateway, pid, lambda: _body(QUERY, next(few))),
        "similar": lambda: _gateway_cpu(gateway, pid, lambda: _body(SIMILAR, next(items))),
        "together": lambda: _gateway_cpu(gateway, pid, lambda: _body(TOGETHER, next(items))),
        "trending": lambda: _gateway_cpu(gateway, pid, lambda: json.dumps({"query": TRENDING})),
        "ranker": lambda: _ranker_cpu(one_list, lambda: next(few), "&kept=1"),
        "first ranker": lambda: _ranker_cpu(one_list, lambda: next(few)),
    }
    rounds = [{name: measure() for name, measure in ways.items()} for _ in range(ROUNDS)]
    plain = "CPU of a plain Starlette route that encodes the same 20 objects"

    def ratio(over: str, under: str, goal: str) -> Figure:
        return _middle([one[over] / one[under] for one in rounds], "x", f"{plain}; {goal}")

    return {
        "cpu_us": _middle([one["miss"] * 1e6 for one in rounds], "us", "the gateway's CPU for a new list; goal 1200"),
        "hit_cpu_us": _middle([one["hit"] * 1e6 for one in rounds], "us", "for a list asked for before; goal 500"),
        **{
            f"{name}_cpu_us": _middle(
                [one[name] * 1e6 for one in rounds], "us", f"the gateway's CPU for {what}; goal 1000"
            )
            for name, what in (
                ("similar", "the list of one item after the other"),
                ("together", "boughtTogether of one item after the other"),
                ("trending", "the list that is the same for all"),
            )
        },
        "route_cpu_us": _middle([one["plain"] * 1e6 for one in rounds], "us", plain),
        "ratio_to_route": ratio("miss", "plain", "limit 11"),
        "ranker_us": _middle([one["ranker"] * 1e6 for one in rounds], "us", "the model alone, in the route's server"),
        "first_ranker_us": _middle(
            [one["first ranker"] * 1e6 for one in rounds], "us", "the same for the first list after a purchase"
        ),
        "ratio_to_route_without_ranker": _middle(
            [(one["miss"] - one["ranker"]) / one["plain"] for one in rounds],
            "x",
            "a new list less ranker_us, for the same people; limit 11 with the ranker",
        ),
        "hit_ratio_to_route": ratio("hit", "plain", "limit 4.5"),
        "graphql_layer_ratio": ratio("plain", "warm", "person and list are given, texts of items kept; goal 0.7"),
        "graphql_layer_ratio_cold": ratio("plain", "cold", "no texts of items are kept"),
    }


def _shown_items(found: Shop, gateway: GatewayConnection) -> list[str]:
    """The ids of all items that the lists of the users show, each once."""
    shown = (_edges(gateway.post("/graphql", _body(QUERY, user))[1]) for user in found.users)
    return list(dict.fromkeys(edge["node"]["id"] for edges in shown for edge in edges))


def _middle(values: list[float], unit: str, reference: str) -> Figure:
    """The median with its 95 % interval by order statistics: of 15 values, from the 4th to the 12th."""
    ordered, n = sorted(values), len(values)
    cut = max(0, int((n - 1.96 * n**0.5) / 2))
    return Figure(median(ordered), unit, ordered[cut], ordered[-1 - cut], reference)


def _p99(times: list[float]) -> Figure:
    """The 99th percentile with its 95 % interval by order statistics (binomial, normal approximation)."""
    ordered, n = sorted(times), len(times)
    spread = 1.96 * (n * 0.99 * 0.01) ** 0.5
    low, high = (ordered[min(n - 1, max(0, round(n * 0.99 + side * spread)))] for side in (-1, 1))
    return Figure(float(np.quantile(times, 0.99)), "ms", low, high, reference=f"limit {P99_LIMIT_MS:g} ms")


def _answer_ms(connection: GatewayConnection, body: str) -> float:
    """Milliseconds until the whole answer arrived; it must have all 20 items."""
    began = time.perf_counter()
    _, answer = connection.post("/graphql", body)
    took = (time.perf_counter() - began) * 1000
    assert len(_edges(answer)) == 20, answer[:300]
    return took


@contextmanager
def _one_list(found: Shop) -> Iterator[GatewayConnection]:
    """A connection to a server that answers with one list, with and without GraphQL."""
    (port,) = free_ports(1)
    arguments = (found.postgres_url, found.redis_url, found.bundles, found.users[0], port)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=arguments, daemon=True)
    with patch.dict(os.environ, OPENBLAS_NUM_THREADS="1"):  # as the gateway; more threads would wait, and use the CPU
        server.start()
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/cpu"), [], 60)
        connection, body = GatewayConnection(f"http://127.0.0.1:{port}", "any", HTTP_TIMEOUT), _body(QUERY, "any")
        for _ in range(10):
            by_graphql, cold, by_route = (connection.post(at, body)[1] for at in ("/graphql", "/cold", "/plain"))
            assert _edges(by_graphql) == _edges(cold) == _edges(by_route)
        yield connection
        connection.close()
    finally:
        server.terminate()
        server.join()


def _server_cpu(connection: GatewayConnection, path: str, body: str) -> float:
    """The server's CPU seconds per request to `path`."""
    connection.close()  # a server closes a connection that was idle for some seconds
    before = float(connection.get("/cpu")[1])
    for _ in range(CALLS):
        connection.post(path, body)
    return (float(connection.get("/cpu")[1]) - before) / CALLS


def _ranker_cpu(connection: GatewayConnection, next_user: Callable[[], str], more: str = "") -> float:
    """The CPU seconds that ranking takes per list, with nothing around it."""
    connection.close()
    return sum(float(connection.get(f"/ranker?user={quote(next_user())}{more}")[1]) for _ in range(CALLS)) / CALLS


def _gateway_cpu(connection: GatewayConnection, pid: int, next_body: Callable[[], str]) -> float:
    """The gateway's CPU seconds per request."""
    connection.close()
    before = running_seconds(pid)
    for _ in range(CALLS):
        connection.post("/graphql", next_body())
    return (running_seconds(pid) - before) / CALLS


def _body(query: str, user: str, **more: Any) -> str:
    return json.dumps({"query": query, "variables": {"id": user, **more}})


def _miss(user: str) -> str:
    return _body(MISS, user, exclude=[f"no-item-{next(_numbers)}"])


def _edges(answer: bytes) -> Any:
    found = json.loads(answer)
    return (found["data"]["user"]["recommendations"] if "data" in found else found)["edges"]
