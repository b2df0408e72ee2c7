"""GraphQL against a plain route: one server with both, over the same list of 20, ranked before anybody asks."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.catalogue import Catalogue
from api.graphql import recommendations
from api.graphql.context import Context, Gateway
from api.graphql.http import GraphQLEndpoint
from api.graphql.schema import SCHEMA
from api.models import ServingModels
from api.people import People
from api.recommendations import Listed, Wish, for_person
from api.scopes import SCOPES
from api.signing import Signer
from api.viewer import Viewer
from core.contract import Person
from core.settings import Settings
from db.cache import connect_redis
from db.postgres import connect_pool
from ml.ranked import REASONS

VIEWER = Viewer("benchmark", frozenset(SCOPES), None, 2**33)


class Verified:
    """Takes every token at its word."""

    async def verify(self, token: str) -> Viewer:
        """The benchmark's viewer."""
        return VIEWER


def serve(postgres_url: str, redis_url: str, bundles: Path, user: str, port: int) -> None:
    """Serve /graphql, /plain and /cpu (seconds used so far) until killed. A process's main function."""
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=5)
    listed: list[Listed] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            gateway = await _gateway(stack, postgres_url, redis_url, bundles)
            person = Person("user", user)
            listed.append(await for_person(Context(VIEWER, gateway, ""), person, Wish(20)))
            stack.enter_context(patch.object(recommendations, "for_person", ranked))
            yield {"gateway": gateway, "verifier": Verified()}

    async def ranked(*_: object) -> Listed:
        return listed[0]

    async def plain(request: Request) -> Response:
        assert orjson.loads(await request.body())["variables"]["id"]
        body = orjson.dumps(objects(request.state.gateway.catalogue, listed[0]))
        return Response(body, media_type="application/json")

    async def cpu(_: Request) -> Response:
        return Response(str(time.process_time()))

    routes = [Route("/graphql", endpoint), Route("/plain", plain, methods=["POST"]), Route("/cpu", cpu)]
    app = Starlette(routes=routes, lifespan=lifespan)
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False)


async def _gateway(stack: AsyncExitStack, postgres_url: str, redis_url: str, bundles: Path) -> Gateway:
    pool = await stack.enter_async_context(await connect_pool(postgres_url))
    redis = await stack.enter_async_context(connect_redis(redis_url))
    catalogue = Catalogue(pool, 60)
    await catalogue.load()
    models = ServingModels(pool, bundles, catalogue, poll=60, popular_window=28)
    await models.load()
    people, signer = People(pool, redis, catalogue), Signer("of a benchmark")
    return Gateway(
        Settings(), pool, redis, catalogue, models, people, cast(Any, None), signer, cast(Any, None), cast(Any, None)
    )


def objects(catalogue: Catalogue, listed: Listed) -> dict[str, Any]:
    """What a hand-written route would encode: the fields that QUERY of benchmarks/answer.py selects."""
    page, edges = listed.page, []
    for at, number in enumerate(page.numbers):
        item, code = catalogue.item(number), REASONS[page.reasons[at]]
        assert item is not None
        cause = catalogue.item(page.because[at]) or item
        offer = item.offers[0] if item.offers else None
        price = {"amount": str(offer.price), "currency": offer.currency} if offer and offer.price is not None else None
        edges.append(
            {
                "rank": at + 1,
                "score": page.scores[at],
                "reason": {
                    "code": code,
                    "text": recommendations._TEXTS[code].format(item=item.title, cause=cause.title),
                },
                "node": {
                    "id": item.id,
                    "title": item.title,
                    "brand": item.brand,
                    "categories": item.categories,
                    "url": item.url,
                    "price": price,
                },
            }
        )
    model = listed.bundle and listed.bundle.id
    return {"modelVersion": model, "asOf": page.pin.as_of, "degraded": listed.degraded, "edges": edges}
