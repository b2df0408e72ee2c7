"""A shop to measure: the running demo, or a new stack with the same data and an untrained ranker.

An answer costs the same whatever the ranker's weights are. So the new stack skips the minutes of training: it has the
real items, and networks of the real shape with random weights.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import typer

from cli.demo.household_log import ShopFiles
from cli.demo.steps import Demo
from cli.gateway_client import Client, answers
from cli.local.deployment import Deployment, open_deployment
from cli.local.stack_files import read_credentials
from cli.stack.folder import free_ports, removed_at_the_end
from core import clock

PEOPLE = 500  # the most active users
RANKED = 10_000  # items


@dataclass(frozen=True, slots=True)
class Shop:
    """A client of the shop's gateway, ids of users, and the addresses of its stores."""

    client: Client
    users: list[str]
    postgres_url: str
    redis_url: str
    bundles: Path


@contextmanager
def shop(seed: int) -> Iterator[Shop]:
    """A shop that answers while the block runs."""
    demo = read_credentials()
    if demo and answers(f"{demo['base_url']}/healthz"):
        yield _running(demo)
        return
    with loaded_site(seed) as site:
        client = Demo(site).client()
        site.start_services()
        users = busiest_users(site)
        bundles = Path(site.settings["PENCHANT_BUNDLES"])
        typer.echo(f"The shop answers at {site.base_url}")
        yield Shop(client, users, site.settings["PENCHANT_POSTGRES_URL"], site.settings["PENCHANT_REDIS_URL"], bundles)


@contextmanager
def loaded_site(seed: int) -> Iterator[Deployment]:
    """A new stack with the shop's data and a bundle that serves. Its gateway and its worker are not started."""
    (port,) = free_ports(1)
    with (
        removed_at_the_end("benchmark") as path,
        open_deployment(path, port) as site,
    ):
        run = Demo(site)
        making = run.begin_making_files()
        site.start_stores(run.say)
        run.load(making)
        bundles = Path(site.settings["PENCHANT_BUNDLES"])
        asyncio.run(_serve_untrained(site.settings["PENCHANT_POSTGRES_URL"], bundles, seed))
        yield site


def busiest_users(site: Deployment) -> list[str]:
    """The ids of the most active users of a loaded site."""
    return _users(ShopFiles.under(site.folder.path / "data").people)


def _running(demo: dict[str, Any]) -> Shop:
    client = Client(demo["base_url"], demo["client_id"], demo["client_secret"])
    users = [str(user) for user in demo["users"][:PEOPLE]]
    return Shop(client, users, demo["postgres_url"], demo["redis_url"], Path(".penchant/bundles"))


def _users(file: Path) -> list[str]:
    import pyarrow.parquet as pq

    return [str(user) for user in pq.read_table(file)["userId"].to_pylist()[:PEOPLE]]


async def _serve_untrained(postgres_url: str, bundles: Path, seed: int) -> None:
    """Write a bundle of the real items with random weights, and promote it."""
    from db.postgres import connect_pool
    from db.purchases import purchase_log
    from db.serving import Model, promote, register_model
    from ml.affinity.model import AffinityModel, write
    from ml.log import Log
    from ml.rfm import FALLBACK_EDGES
    from ml.snapshot import best_supported, snapshot

    now = clock.now()
    async with await connect_pool(postgres_url, size=2, timeout=300) as pool:
        bought = await purchase_log(pool, now)
        numbers = bought.item_numbers.astype(np.uint32)
        item = bought.item.astype(np.uint32)
        log = Log.of(
            bought.people, bought.person, item, bought.occurred, bought.cents, bought.order, numbers, bought.item_ids
        )
        ranked = best_supported(log, RANKED)
        id_of = dict(zip(numbers.tolist(), bought.item_ids, strict=True))
        path = write(
            bundles,
            snapshot(log, ranked, int(now.timestamp())),
            _network(seed),
            item_ids=[id_of[number] for number in ranked.tolist()],
            rfm_edges=FALLBACK_EDGES,
            evaluation={},
            created_at=now,
        )
        opened = AffinityModel.open(path)
        await register_model(pool, Model(opened.id, "affinity", now, opened.digest, {}, None))
        await promote(pool, opened.id, "benchmark", {}, "benchmark")


def _network(seed: int) -> Any:
    """Networks of the shape that trained ones have, with scores that differ as theirs do."""
    from ml.affinity.config import DEFAULT
    from ml.affinity.network import Network, averaged
    from ml.affinity.pair_features import FEATURES

    generator = np.random.default_rng(seed)
    sizes = (len(FEATURES), *DEFAULT.hidden, 1)

    def one() -> Network:
        kernels = [
            generator.normal(0, size=(into, out), scale=into**-0.5).astype(np.float32) for into, out in pairwise(sizes)
        ]
        kernels[-1] *= np.float32(0.3)  # with more, many scores would be 1
        return Network(kernels=tuple(kernels), biases=tuple(np.zeros(size, np.float32) for size in sizes[1:]))

    return averaged([one() for _ in range(DEFAULT.models)])
