"""One personalized answer of 20 items with reasons, one request after another: time, CPU, memory, GraphQL's share."""

import http.client
import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.figures import Figure
from benchmarks.layer import serve
from benchmarks.shop import Shop, shop
from cli.gateway_client import answers
from cli.stack.folder import free_ports
from cli.stack.processes import wait_until

MINUTES = 4
WARM, REQUESTS = 200, 3_000  # requests over HTTP
ROUNDS, CALLS = 9, 200  # of each route, taking turns
BAR_MS = 25.0

QUERY = """query Answer($id: ID!) { user(id: $id) { recommendations(first: 20) {
  impressionId modelVersion asOf degraded
  edges { rank score reason { code text } node { id title brand categories url price { amount currency } } }
} } }"""


def run(seed: int) -> dict[str, Figure]:
    """Ask the running demo, or a stack of our own; then compare the encoders within this process."""
    with shop(seed) as found:
        pid = _listening(urlsplit(found.client.base_url).port or 80)
        figures = _over_http(found, pid, seed)
        figures["rss_mb"] = Figure(_resident(pid), "MB", reference="bar 350 MB")
        figures["graphql_layer_ratio"] = _layer(found)
    return figures


def _over_http(found: Shop, pid: int, seed: int) -> dict[str, Figure]:
    """Latency on one kept-alive connection, and the gateway's CPU time per answer; states are warm, users random."""
    address = urlsplit(found.client.base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    headers = {"Authorization": f"Bearer {found.client.token()}", "Content-Type": "application/json"}
    users = random.Random(seed).choices(found.users, k=REQUESTS)  # noqa: S311 - no secret
    for user in [*found.users, *users[:WARM]]:
        _ask(connection, headers, user)
    before = _cpu_seconds(pid)
    times = [_ask(connection, headers, user) for user in users]
    cpu = (_cpu_seconds(pid) - before) / len(users)
    connection.close()
    return {
        "p50_ms": Figure(median(times), "ms"),
        "p99_ms": _p99(times),
        "cpu_us": Figure(cpu * 1e6, "us", reference="CPU of the gateway per answer; goal 1200"),
    }


def _p99(times: list[float]) -> Figure:
    """The 99th percentile with its 95 % interval by order statistics (binomial, normal approximation)."""
    ordered, n = sorted(times), len(times)
    spread = 1.96 * (n * 0.99 * 0.01) ** 0.5
    low, high = (ordered[min(n - 1, max(0, round(n * 0.99 + side * spread)))] for side in (-1, 1))
    return Figure(float(np.quantile(times, 0.99)), "ms", low, high, reference=f"bar {BAR_MS:g} ms")


def _ask(connection: http.client.HTTPConnection, headers: dict[str, str], user: str) -> float:
    """Milliseconds until the whole answer was there, which must be a good one."""
    body = json.dumps({"query": QUERY, "variables": {"id": user}})
    began = time.perf_counter()
    connection.request("POST", "/graphql", body, headers)
    answer = connection.getresponse().read()
    took = (time.perf_counter() - began) * 1000
    found = json.loads(answer)
    edges = found["data"]["user"]["recommendations"]["edges"]
    assert len(edges) == 20, answer[:300]
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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        body = json.dumps({"query": QUERY, "variables": {"id": user}})
        assert _edges(_post(connection, "/graphql", body)) == _edges(_post(connection, "/plain", body))
        ratios = sorted(
            _spent(connection, "/plain", body) / _spent(connection, "/graphql", body) for _ in range(ROUNDS)
        )
        connection.close()
    finally:
        server.terminate()
        server.join()
    reference = "CPU of a plain Starlette route that encodes the same 20 objects; goal 0.7"
    return Figure(median(ratios), "x", ratios[0], ratios[-1], reference)


def _spent(connection: http.client.HTTPConnection, path: str, body: str) -> float:
    """CPU seconds of the server per request to `path`."""
    before = _cpu_said(connection)
    for _ in range(CALLS):
        _post(connection, path, body)
    return (_cpu_said(connection) - before) / CALLS


def _cpu_said(connection: http.client.HTTPConnection) -> float:
    connection.request("GET", "/cpu")
    return float(connection.getresponse().read())


def _post(connection: http.client.HTTPConnection, path: str, body: str) -> bytes:
    headers = {"Authorization": "Bearer any", "Content-Type": "application/json"}
    connection.request("POST", path, body, headers)
    return connection.getresponse().read()


def _edges(answer: bytes) -> Any:
    found = json.loads(answer)
    return (found["data"]["user"]["recommendations"] if "data" in found else found)["edges"]


def _listening(port: int) -> int:
    """The process that listens on this port of this machine."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    inodes = {
        f"socket:[{line[9]}]" for line in lines if line[3] == "0A" and int(line[1].rpartition(":")[2], 16) == port
    }
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(descriptor) in inodes:  # noqa: PTH115 - not a path: a socket's name
                return int(descriptor.parts[2])
        except OSError:
            continue
    raise RuntimeError(f"nobody listens on {port}, or it is somebody else's process")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> float:
    """Megabytes of memory held, shared pages of mapped bundles among them."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
