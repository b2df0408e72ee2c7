"""Events through GraphQL over HTTP into Postgres, everything on this machine: rate, latency, memory, CPU by part.

Gateway, worker and stores are real processes, fsync on. Every event has an id of its sender and is stored. The rate
includes the time until the last event is in Postgres. The reference is `db.events.insert_events` alone in the same run:
batches of 500 ready-made events on one connection into the same table.
"""

import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import numpy as np
import typer

from benchmarks import event_calls
from benchmarks.event_calls import GatewayAddress, Sent
from benchmarks.figures import Figure
from benchmarks.site_usage import cpu_by_part, memory_by_part
from benchmarks.steady_pace import PacedTimes, measure_at_steady_pace
from cli.local.deployment import Deployment, open_deployment
from cli.local.own_client import register_own_client
from cli.stack.folder import free_ports, removed_at_the_end
from core import clock
from core.contract import read_event
from core.sources import client_source
from db.events import insert_events
from db.items import upsert_items
from db.postgres import connect_pool

MINUTES = 8.0
CALL_SIZE, CONNECTIONS = 100, 8  # events a call, connections
WARM_UP, SECONDS = 100_000, 60.0  # events, seconds
MEMORY_EVENTS = 3_000_000  # events over which memory may grow
REFERENCE_EVENTS = 100_000
BATCH = 500
_SOURCE = client_source("benchmark")
_STORED = "SELECT count(*) FROM events WHERE source = $1"
T = TypeVar("T")


def run(seed: int) -> dict[str, Figure]:
    """Measure the rate, the bare insert, single events beside queries, and memory over millions of events."""
    (port,) = free_ports(1)
    with (
        removed_at_the_end("benchmark") as path,
        open_deployment(path, port) as site,
    ):
        site.start_stores(typer.echo)
        client = register_own_client(site, "benchmark")
        asyncio.run(_fill_catalogue(site))
        site.start_services()
        bench = EventsBenchmark(site, GatewayAddress(site.base_url, client.token()), seed)
        bench.send("warm", WARM_UP)
        figures = bench.rate()
        figures |= bench.steady_pace()
        figures |= bench.memory()
    return figures


class EventsBenchmark:
    """A running site, and senders in their own processes."""

    def __init__(self, site: Deployment, address: GatewayAddress, seed: int) -> None:
        self._site, self._address, self._seed = site, address, seed
        self._url = site.settings["PENCHANT_POSTGRES_URL"]
        self._sent = 0

    def send(self, prefix: str, most: float, seconds: float = 3600.0) -> tuple[Sent, float, float]:
        """Send events and wait until all are stored. Returns the events, the seconds of sending, and all seconds."""
        began = time.monotonic()
        sent = _in_new_process(_send, self._address, self._seed, prefix, seconds, most)
        sending = time.monotonic() - began
        self._sent += sent.events
        asyncio.run(self._all_stored())
        return sent, sending, time.monotonic() - began

    async def _all_stored(self) -> None:
        async with await connect_pool(self._url, size=1, timeout=60) as pool:
            # Postgres sends no notice
            while (left := self._sent - await pool.fetchval(_STORED, _SOURCE)) > 0:  # noqa: ASYNC110
                await asyncio.sleep(0.1 if left < 50_000 else 1)
            assert left == 0, f"{-left} events too many are stored"

    def rate(self) -> dict[str, Figure]:
        """Closed loop for a minute, until the queue is empty again; then the bare insert."""
        before = cpu_by_part()
        sent, sending, whole = self.send("rate", float("inf"), SECONDS)
        used = cpu_by_part() - before
        server = {part: seconds for part, seconds in used.items() if part != "sender"}
        rate, bare = sent.events / whole, asyncio.run(_bare_insert(self._url, self._seed))
        share = ", ".join(f"{part} {seconds / sent.events * 1e6:.0f}" for part, seconds in used.most_common())
        return {
            "events_per_s": Figure(rate, "events/s", reference="minimum 6,000, goal 12,000; calls of 100 for 60 s"),
            "accepted_per_s": Figure(sent.events / sending, "events/s", reference="while sending"),
            "drain_s": Figure(whole - sending, "s", reference="from the last acknowledgement to the last row"),
            "bare_insert_per_s": Figure(bare, "events/s", reference="the reference itself"),
            "ratio_to_storage": Figure(rate / bare, "x", reference="insert of ready-made events = 1; minimum .12"),
            "events_per_cpu_s": Figure(
                sent.events / sum(server.values()),
                "events/s",
                reference=f"without the sender; CPU us an event: {share}",
            ),
            "call_p99_ms": Figure(float(np.quantile(sent.milliseconds, 0.99)), "ms", reference="of a call of 100"),
        }

    def steady_pace(self) -> dict[str, Figure]:
        """Single events beside queries, at a steady pace."""
        found = _in_new_process(_steady_pace, self._address, self._url, self._seed)
        self._sent += found.events
        return {
            "accept_p50_ms": Figure(found.accept[0], "ms", reference="300 calls of 1 a second beside 30 queries"),
            "accept_p99_ms": Figure(found.accept[1], "ms", reference="limit 60"),
            "visible_p50_ms": Figure(found.visible[0], "ms", reference="from when it was due until Postgres shows it"),
            "visible_p99_ms": Figure(found.visible[1], "ms", reference="limit 150"),
            "query_p99_ms": Figure(found.query[1], "ms"),
            "known_at_once": Figure(
                found.known, "share", reference="answers after an order that include it; minimum 1"
            ),
        }

    def memory(self) -> dict[str, Figure]:
        """How much the memory of gateway and worker grows over millions of events."""
        before = memory_by_part()
        self.send("many", MEMORY_EVENTS)
        grown = {part: size - before[part] for part, size in memory_by_part().items()}
        reference = f"over {MEMORY_EVENTS:,} events; limit 20"
        return {
            f"{part}_growth_mb": Figure(grown[part], "MB", reference=f"{reference}; before: {before[part]:.0f} MB")
            for part in ("gateway", "worker")
        }


def _send(address: GatewayAddress, seed: int, prefix: str, seconds: float, most: float) -> Sent:
    calls = event_calls.bodies(seed, prefix, CALL_SIZE)
    return asyncio.run(event_calls.send(address, calls, CALL_SIZE, CONNECTIONS, seconds, most))


def _steady_pace(address: GatewayAddress, url: str, seed: int) -> PacedTimes:
    return asyncio.run(measure_at_steady_pace(address, url, seed))


def _in_new_process(work: Callable[..., T], *arguments: object) -> T:
    """The result of `work`, run in a new process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


async def _fill_catalogue(site: Deployment) -> None:
    async with await connect_pool(site.settings["PENCHANT_POSTGRES_URL"], size=1, timeout=60) as pool:
        items = [{"id": f"item-{number}", "title": f"Item {number}"} for number in range(event_calls.ITEMS)]
        await upsert_items(pool, [{**item, "updated_at": clock.now()} for item in items])  # type: ignore[typeddict-item]


async def _bare_insert(url: str, seed: int) -> float:
    """Events a second of the insert alone."""
    calls = event_calls.bodies(seed, "bare", BATCH)
    raws = [json.loads(next(calls))["variables"]["events"] for _ in range(REFERENCE_EVENTS // BATCH)]
    batches = [[read_event(raw, source="bare", received_at=clock.now()) for raw in call] for call in raws]
    async with await connect_pool(url, size=1, timeout=60) as pool:
        await insert_events(pool, batches.pop())
        began = time.monotonic()
        for batch in batches:
            await insert_events(pool, batch)
        return len(batches) * BATCH / (time.monotonic() - began)
