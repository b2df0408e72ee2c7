"""What the gateway's tests share: a process's worth of gateway on real stores, small bundles, and a way to ask."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import asyncpg
import numpy as np
import pytest
from redis.asyncio import Redis

from api.catalogue import Catalogue
from api.errors import public_errors
from api.graphql.context import Context, Gateway
from api.graphql.schema import SCHEMA
from api.models import ServingModels
from api.people import People
from api.scopes import SCOPES
from api.signing import Signer
from api.viewer import Viewer
from core.contract import Person
from core.settings import Settings
from db.serving import MAIN, Model, promote, register_model
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.rfm import FALLBACK_EDGES
from ml.universe import COLUMNS, Universe
from workers.enqueue import Broker

MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Write a bundle over a catalogue's items: each is nearest to the next, and `seed` tells two bundles apart."""

    def make(catalogue: Catalogue, ids: Sequence[str], *, seed: int = 0) -> Path:
        ordered = sorted(ids, key=lambda id: catalogue.number_of(id) or 0)
        n = len(ordered)
        padding = np.full((n + 1, 2), n, np.int32)
        near, score = padding.copy(), np.zeros((n + 1, 2), np.float32)
        near[:n, 0], score[:n, 0] = (np.arange(n) + 1) % n, 0.9
        universe = Universe(
            numbers=catalogue.numbers_of(ordered),
            columns=np.zeros((n + 1, len(COLUMNS)), np.float32),
            rest=np.full(n + 1, 6 * 3600, np.float32),
            near=near,
            near_score=score,
            next=padding,
            next_score=np.zeros((n + 1, 2), np.float32),
            popular=np.arange(n, dtype=np.int32),
        )
        weights = np.random.default_rng(seed).normal(size=(len(FEATURES), 1)).astype(np.float32)
        return write(
            tmp_path / "bundles",
            universe,
            Network(kernels=(weights,), biases=(np.zeros(1, np.float32),)),
            item_ids=ordered,
            rfm_edges=FALLBACK_EDGES,
            evaluation={"ndcg_at_10": 0.2, "seed": seed},
            created_at=datetime(2026, 1, 5, tzinfo=UTC),
        )

    return make


async def serve(pool: asyncpg.Pool, path: Path) -> str:
    """Register the bundle at `path` and let it serve; returns its id."""
    opened = AffinityModel.open(path)
    model = Model(opened.id, "affinity", opened.created_at, opened.digest, opened.evaluation, None)
    await register_model(pool, model)
    await promote(pool, MAIN, opened.id, "a test says so", {}, "test")
    return opened.id


@pytest.fixture
def serving() -> Callable[[asyncpg.Pool, Path], Any]:
    """`serve`, for tests."""
    return serve


@dataclass(frozen=True)
class Answer:
    """What a GraphQL request came to: data, and codes of errors."""

    data: Any
    codes: list[str]
    messages: list[str]


class Ask(Protocol):
    """Ask the gateway as a viewer; by default as a client with every scope."""

    async def __call__(
        self,
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        person: Person | None = None,
        scopes: Sequence[str] | None = None,
    ) -> Answer: ...


@pytest.fixture
async def gateway(pool: asyncpg.Pool, redis: Redis, tmp_path: Path) -> Gateway:
    """A gateway over an empty catalogue; load or refresh it after storing items. It takes no events in."""
    catalogue = Catalogue(pool, poll=0.02)
    await catalogue.load()
    models = ServingModels(pool, tmp_path / "bundles", catalogue, poll=0.02, popular_window=28)
    return Gateway(
        settings=Settings(),
        pool=pool,
        redis=redis,
        catalogue=catalogue,
        models=models,
        people=People(pool, redis, catalogue),
        ingest=cast(Any, None),
        signer=Signer("a secret of a test"),
        broker=Broker("amqp://nobody@127.0.0.1:1/none", 0.5),
        verifier=cast(Any, None),
    )


@pytest.fixture
def ask(gateway: Gateway) -> Ask:
    """Run an operation as some viewer, without HTTP."""

    async def ask(
        query: str,
        variables: Mapping[str, Any] | None = None,
        *,
        person: Person | None = None,
        scopes: Sequence[str] | None = None,
    ) -> Answer:
        viewer = Viewer("tests", frozenset(SCOPES if scopes is None else scopes), person, 2**33)
        result = await SCHEMA.execute(
            query, variable_values=dict(variables or {}), context_value=Context(viewer, gateway, "request")
        )
        errors = public_errors(result.errors or [], "request")
        return Answer(
            result.data, [error["extensions"]["code"] for error in errors], [error["message"] for error in errors]
        )

    return ask
