"""One server with the GraphQL endpoint and a plain route, over the same list of 20 items, ranked in advance."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.gateway import Gateway
from api.graphql.context import Context
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.schema import SCHEMA
from api.http.endpoint import Direct
from core import clock
from core.contract import Person
from core.settings import Settings
from db.cache import connect_redis
from db.postgres import connect_pool
from db.shares import share_out
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.fragments import Fragments
from engine.clients.deprecated_uses import DeprecatedUses
from engine.forecasting.serving_forecast import ServingForecast
from engine.maintenance.vitals import Vitals
from engine.placements.serving_placements import ServingPlacements
from engine.reasons.texts import ReasonTexts
from engine.recommending.people import PeopleReader
from engine.recommending.recommendations import ListRequest, RecommendedList, Recommender
from engine.recommending.serving_models import ServingModels
from engine.recommending.trends import Trends
from engine.rules.serving_rules import ServingRules
from engine.scopes import SCOPES
from engine.signing import Signer
from engine.viewer import Viewer
from ml.affinity.lifts import NONE
from ml.affinity.ranking import score, select, view_person
from ml.ranked import REASONS

TEXTS = ReasonTexts.own()
VIEWER = Viewer("benchmark", frozenset(SCOPES), None, 2**33)


class Verified:
    """Accepts every token."""

    async def verify(self, token: str) -> Viewer:
        """The benchmark's viewer."""
        return VIEWER


def serve(postgres_url: str, redis_url: str, bundles: Path, user: str, port: int) -> None:
    """Serve until killed: the main function of a process.

    /graphql answers with kept item texts, past the router as in the gateway; /cold with none, /plain without GraphQL;
    /cpu says the CPU seconds so far, /ranker those that the model takes to rank the items of a `user`, with reasons and
    probabilities; with `kept` for somebody whose evidence is kept, as a gateway has it for every list but the first
    after a purchase. The list is one that nobody asked for before: its own text is not kept.
    """
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=5)
    listed: list[RecommendedList] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            gateway = await _gateway(stack, postgres_url, redis_url, bundles)
            person = Person("user", user)
            listed.append(await Context(VIEWER, gateway, "").recommender.for_person(person, ListRequest(20)))
            stack.enter_context(patch.object(Recommender, "for_person", ranked))
            yield {"gateway": gateway, "verifier": Verified()}

    async def ranked(*_: object) -> RecommendedList:
        return listed[0]

    async def plain(request: Request) -> Response:
        assert orjson.loads(await request.body())["variables"]["id"]
        body = orjson.dumps(objects(request.state.gateway.catalogue, listed[0]))
        return Response(body, media_type="application/json")

    async def cold(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["gateway"].catalogue.fragments = Fragments()
        await endpoint(scope, receive, send)

    async def ranker(request: Request) -> Response:
        gateway = request.state.gateway
        bundle, person = gateway.models.current, Person("user", request.query_params["user"])
        state = (await gateway.people.state(person)).state
        allowed, fallback = gateway.catalogue.sellable(None, None), gateway.models.fallback(bundle)
        as_of, kept = int(clock.now().timestamp()), None
        if "kept" in request.query_params:
            kept = view_person(bundle, state, as_of=as_of - 1, context=NONE, kept=gateway.models.evidence.find(person))
            gateway.models.evidence.keep(person, kept)
        began, evidence = time.process_time(), gateway.models.evidence.find(person) if kept else None
        view = view_person(bundle, state, as_of=as_of, context=NONE, kept=evidence)
        best = select(score(view, allowed, fallback), 21)
        assert len(best.reasons) == len(best.probabilities) == 21
        return Response(str(time.process_time() - began))

    async def cpu(_: Request) -> Response:
        return Response(str(time.process_time()))

    routes = [Route("/plain", plain, methods=["POST"]), Route("/cold", _Asgi(cold))]
    routes += [Route("/cpu", cpu), Route("/ranker", ranker)]
    app = Starlette(
        routes=routes, middleware=[Middleware(Direct, path="/graphql", endpoint=endpoint)], lifespan=lifespan
    )
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", log_config=None, access_log=False)


@dataclass(frozen=True, slots=True)
class _Asgi:
    """An ASGI app, which Starlette would take for a function of a request otherwise."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


async def _gateway(stack: AsyncExitStack, postgres_url: str, redis_url: str, bundles: Path) -> Gateway:
    pool = await stack.enter_async_context(await connect_pool(postgres_url))
    redis = await stack.enter_async_context(connect_redis(redis_url))
    catalogue = Catalogue(pool, 60)
    await catalogue.load()
    shares = share_out(pool, 5.0)
    trends = Trends(shares.expensive, timedelta(days=28), empty_age=60)
    models = ServingModels(pool, bundles, catalogue, poll=60, trends=trends)
    await models.load()
    people, signer, none = PeopleReader(shares.people, redis, catalogue), Signer("of a benchmark"), cast(Any, None)
    placements = ServingPlacements(pool, ReasonTexts.own(), poll=60)
    vitals = Vitals(pool, redis)
    return Gateway(
        Settings(),
        pool,
        shares,
        redis,
        catalogue,
        models,
        ServingForecast(pool, bundles, poll=60),
        people,
        vitals,
        none,
        signer,
        none,
        none,
        none,
        DeprecatedUses(pool),
        placements,
        ServingRules(pool, poll=60),
    )


def objects(catalogue: Catalogue, listed: RecommendedList) -> dict[str, Any]:
    """The objects that a plain route would encode: the fields that QUERY of benchmarks/answer.py selects."""
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
                    "text": TEXTS.text(code, None, item.title or item.id, cause.title or cause.id, page.every[at]),
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
