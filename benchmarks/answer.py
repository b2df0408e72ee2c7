"""One personalized answer of 20 items with reasons, one request at a time: latency, CPU, memory, GraphQL's share."""

import json
import multiprocessing
import random
import time
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.figures import Figure
from benchmarks.gateway_connection import GatewayConnection
from benchmarks.layer import serve
from benchmarks.processes import cpu_seconds, listening_process, resident_mb
from benchmarks.shop import Shop, shop
from cli.gateway_client import answers
from cli.stack.folder import free_ports
from cli.stack.processes import wait_until

MINUTES = 4
WARM_UP, REQUESTS = 200, 3_000  # requests over HTTP
ROUNDS, CALLS = 9, 200  # rounds over both routes, calls to each route in a round
P99_LIMIT_MS = 25.0
HTTP_TIMEOUT = 30.0  # seconds

QUERY = """query Answer($id: ID!) { user(id: $id) { recommendations(first: 20) {
  impressionId modelVersion asOf degraded
  edges { rank score reason { code text } node { id title brand categories url price { amount currency } } }
} } }"""


def run(seed: int) -> dict[str, Figure]:
    """Ask the running demo, or a stack of our own; then compare GraphQL with a plain route inside one server."""
    with shop(seed) as found:
        pid = listening_process(urlsplit(found.client.base_url).port or 80)
        figures = _over_http(found, pid, seed)
        figures["rss_mb"] = Figure(resident_mb(pid), "MB", reference="limit 350 MB")
        figures["graphql_layer_ratio"] = _layer(found)
    return figures


def _over_http(found: Shop, pid: int, seed: int) -> dict[str, Figure]:
    """Latency on one kept-alive connection, and the gateway's CPU per answer, for random users with cached states."""
    connection = GatewayConnection(found.client.base_url, found.client.token(), HTTP_TIMEOUT)
    users = random.Random(seed).choices(found.users, k=REQUESTS)  # noqa: S311 - no secret
    for user in [*found.users, *users[:WARM_UP]]:
        _answer_ms(connection, user)
    before = cpu_seconds(pid)
    times = [_answer_ms(connection, user) for user in users]
    cpu = (cpu_seconds(pid) - before) / len(users)
    connection.close()
    return {
        "p50_ms": Figure(median(times), "ms"),
        "p99_ms": _p99(times),
        "cpu_us": Figure(cpu * 1e6, "us", reference="the gateway's CPU per answer; goal 1200"),
    }


def _p99(times: list[float]) -> Figure:
    """The 99th percentile with its 95 % interval by order statistics (binomial, normal approximation)."""
    ordered, n = sorted(times), len(times)
    spread = 1.96 * (n * 0.99 * 0.01) ** 0.5
    low, high = (ordered[min(n - 1, max(0, round(n * 0.99 + side * spread)))] for side in (-1, 1))
    return Figure(float(np.quantile(times, 0.99)), "ms", low, high, reference=f"limit {P99_LIMIT_MS:g} ms")


def _answer_ms(connection: GatewayConnection, user: str) -> float:
    """Milliseconds until the whole answer arrived; it must have all 20 items."""
    body = _body(user)
    began = time.perf_counter()
    _, answer = connection.post("/graphql", body)
    took = (time.perf_counter() - began) * 1000
    assert len(_edges(answer)) == 20, answer[:300]
    return took


def _layer(found: Shop) -> Figure:
    """CPU of a plain route over CPU of the GraphQL endpoint, by turns in one server; person and list are given."""
    (port,) = free_ports(1)
    user = found.users[0]
    arguments = (found.postgres_url, found.redis_url, found.bundles, user, port)
    server = multiprocessing.get_context("spawn").Process(target=serve, args=arguments, daemon=True)
    server.start()
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/cpu"), [], 60)
        connection, body = GatewayConnection(f"http://127.0.0.1:{port}", "any", HTTP_TIMEOUT), _body(user)
        by_graphql, by_route = (connection.post(path, body)[1] for path in ("/graphql", "/plain"))
        assert _edges(by_graphql) == _edges(by_route)
        ratios = sorted(
            _cpu_per_request(connection, "/plain", body) / _cpu_per_request(connection, "/graphql", body)
            for _ in range(ROUNDS)
        )
        connection.close()
    finally:
        server.terminate()
        server.join()
    reference = "CPU of a plain Starlette route that encodes the same 20 objects; goal 0.7"
    return Figure(median(ratios), "x", ratios[0], ratios[-1], reference)


def _cpu_per_request(connection: GatewayConnection, path: str, body: str) -> float:
    """The server's CPU seconds per request to `path`."""
    before = _server_cpu(connection)
    for _ in range(CALLS):
        connection.post(path, body)
    return (_server_cpu(connection) - before) / CALLS


def _server_cpu(connection: GatewayConnection) -> float:
    return float(connection.get("/cpu")[1])


def _body(user: str) -> str:
    return json.dumps({"query": QUERY, "variables": {"id": user}})


def _edges(answer: bytes) -> Any:
    found = json.loads(answer)
    return (found["data"]["user"]["recommendations"] if "data" in found else found)["edges"]
