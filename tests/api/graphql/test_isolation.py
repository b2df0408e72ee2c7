"""A person's token reaches that person only: others are refused alike, there or not, before any store is read."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn, cast

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from graphql import GraphQLInputObjectType, GraphQLObjectType, get_named_type, is_introspection_type

from api.gateway import Gateway
from api.graphql.planning import plans
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.schema import SCHEMA
from api.graphql.types.nodes import node_id_of
from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core.contract import Person
from core.settings import Ingest
from db.postgres import Pool
from db.shares import share_out
from engine.intake.ingest import EventIntake
from engine.scopes import PEOPLE
from engine.viewer import Viewer
from tests.erasing import TRACK, ask, authorize, drain, event, track
from tests.fixtures.gateway import IssuedTokens
from workers.process import Connections

ABOUT = (
    "id nodeId anonymous known traits rfm { frequency } churn { band } nextPurchase { probability }"
    " nextPurchase { items { nodes { id } } } affinities { key } history { nodes { id } }"
    ' hidden { itemIds categories } paused interests { key } whyDoISeeThis(itemId: "milk") { rank }'
    " recommendations { nodes { id } }"
    ' page(requests: [{key: "k", placement: "p"}]) { recommendations { nodes { id } } }'
)
PERSONS_TOKEN = "events:write orders:write profiles:read recommendations:read"
RESULTS = "{ accepted results { outcome code field message } }"
JOINED = "{ user { id } userErrors { code field message } }"
CHOSEN = "{ user { id } userErrors { code field } }"
THERE, ABSENT = "bert", "nobody"
OTHERS = {  # every argument or input field that can name a person: what to ask about $id, and the code of the answer
    "Query.user(id)": [
        ("NOT_FOUND", "user(id: $id) { ...U }"),
        ("NOT_FOUND", "a: user(id: $id) { id } b: user(id: $id) { ... on User { known } } c: user(id: $id) { ...U }"),
    ],
    "Query.visitor(anonymousId)": [("NOT_FOUND", "visitor(anonymousId: $id) { ...U }")],
    "Query.node(nodeId)": [
        ("NOT_FOUND", "node(nodeId: $user) { nodeId ...U }"),
        ("NOT_FOUND", "node(nodeId: $guest) { ...U }"),
    ],
    "Query._entities(representations)": [
        ("NOT_FOUND", '_entities(representations: [{__typename: "User", id: $id}]) { ...U }'),
        ("NOT_FOUND", '_entities(representations: [{__typename: "User", nodeId: $user}]) { ...U }'),
        ("NOT_FOUND", '_entities(representations: [{__typename: "User", nodeId: $guest}]) { ...U }'),
    ],
    "Query.explain(userId)": [("FORBIDDEN", 'explain(userId: $id, itemId: "milk") { outcome }')],
    "EventInput.userId": [
        ("NOT_YOURS", f'trackEvents(events: [{{type: VIEW, itemId: "milk", userId: $id}}]) {RESULTS}'),
    ],
    "EventInput.anonymousId": [
        (
            "NOT_YOURS",
            f'trackEvents(events: [{{type: VIEW, itemId: "milk", userId: $id, anonymousId: $id}}]) {RESULTS}',
        ),
    ],
    "IdentifyInput.userId": [
        ("NOT_YOURS", f'identify(input: {{userId: $id, anonymousId: "g-new"}}) {JOINED}'),
    ],
    "IdentifyInput.anonymousId": [
        ("NOT_YOURS", f'identify(input: {{userId: "anna", anonymousId: $id}}) {JOINED}'),
        ("NOT_YOURS", f'identify(input: {{userId: "anna", anonymousId: $id, anonymousToken: "x"}}) {JOINED}'),
    ],
    "MergeUsersInput.fromId": [("FORBIDDEN", f'mergeUsers(input: {{fromId: $id, intoId: "anna"}}) {JOINED}')],
    "MergeUsersInput.intoId": [("FORBIDDEN", f'mergeUsers(input: {{fromId: "anna", intoId: $id}}) {JOINED}')],
    "UserInput.id": [("FORBIDDEN", f"upsertUsers(users: [{{id: $id, traits: {{}}}}]) {RESULTS}")],
    "Query.previewPlacement(userIds)": [
        ("FORBIDDEN", 'previewPlacement(id: "home", userIds: [$id], changes: {}) { userId after { nodes { id } } }'),
    ],
    "Query.previewRules(userIds)": [
        ("FORBIDDEN", 'previewRules(placement: "home", userIds: [$id], rules: []) { userId after { nodes { id } } }'),
    ],
    **{
        f"Mutation.{choice}(userId)": [("NOT_YOURS", f"{choice}({argument}, userId: $id) {CHOSEN}")]
        for choice, argument in (
            ("hideItem", 'itemId: "milk"'),
            ("showItem", 'itemId: "milk"'),
            ("hideCategory", 'category: "dairy"'),
            ("showCategory", 'category: "dairy"'),
            ("pausePersonalization", "paused: true"),
        )
    },
    "Mutation.eraseUser(id)": [("FORBIDDEN", "eraseUser(id: $id) { erasure { id } userErrors { code } }")],
    "Mutation.exportUser(id)": [("FORBIDDEN", "exportUser(id: $id) { export { profile } userErrors { code } }")],
}
MUTATIONS = SCHEMA._schema.mutation_type.fields if SCHEMA._schema.mutation_type else {}
OPERATIONS = [(code, asked) for operations in OTHERS.values() for code, asked in operations]
NO_PERSON = {  # what else is an id: of items, models, jobs, receipts, orders ...
    "Query.erasure(id)", "Query.item(id)", "Query.item(market)", "Query.items(ids)", "Query.items(market)",
    "Query.trending(market)", "Query.explain(itemId)", "Query.explain(market)",
    "Query.explain(modelVersionId)", "Query.explain(exclude)", "Query.model(id)", "Query.modelDiff(firstId)",
    "Query.modelDiff(secondId)", "Query.job(id)",
    "User.recommendations(exclude)", "User.whyDoISeeThis(itemId)", "User.whyDoISeeThis(impressionId)",
    "User.whyDoISeeThis(market)",
    "User.recommendations(among)", "User.recommendations(market)", "User.page(market)", "PlacementRequest.exclude",
    "Item.price(market)", "Item.listPrice(market)",
    "Item.available(market)", "Item.similar(market)", "Item.boughtTogether(market)", "ItemFilter.ids",
    "RecommendationContext.itemIds",
    "RecommendationContext.cartItemIds", "RecommendationContext.recentItemIds", "RecommendationContext.market",
    "RecommendationContext.sessionId",
    "Mutation.hideItem(itemId)", "Mutation.showItem(itemId)",
    "Mutation.removeItems(ids)", "Mutation.promoteModel(id)", "Mutation.cancelJob(id)",
    "Mutation.replayDeadEvents(ids)",
    "Mutation.discardDeadEvents(ids)", "EventInput.id", "EventInput.itemId", "EventInput.itemIds",
    "EventInput.orderId", "EventInput.impressionId", "EventInput.sessionId", "ItemInput.id", "ItemInput.groupId",
    "ItemInput.market", "RequestListsInput.market", "OfferInput.market", "Query.client(id)",
    "Query.segment(id)", "Mutation.deleteSegment(id)", "Mutation.updateSegment(id)", "SegmentInput.id",
    "Query.placement(id)", "Query.previewPlacement(id)", "Query.previewPlacement(market)", "PlacementInput.id",
    "Mutation.removePlacement(id)", "PriceBandInput.market", "Query.rule(id)", "Query.previewRules(market)",
    "Query.previewRules(removed)", "Mutation.removeRule(id)", "RuleInput.id", "RuleInput.itemId",
    "RuleConditionInput.markets", "RuleConditionInput.itemIds", "RuleConditionInput.segments",
    "Mutation.rotateClientSecret(id)", "Subscription.jobs(id)",
    "Mutation.disableClient(id)", "Mutation.enableClient(id)", "Mutation.setClientScopes(id)", "CreateClientInput.id",
}  # fmt: skip


def ids() -> Iterator[str]:
    """Every argument and input field that is an id, or holds one as an entity does."""
    for type_ in SCHEMA._schema.type_map.values():
        if isinstance(type_, GraphQLInputObjectType):
            yield from (f"{type_.name}.{n}" for n, field in type_.fields.items() if is_id(field.type))
        elif hasattr(type_, "fields") and not is_introspection_type(type_):
            fields = cast(GraphQLObjectType, type_).fields.items()
            yield from (f"{type_.name}.{n}({a})" for n, field in fields for a, x in field.args.items() if is_id(x.type))


def is_id(type_: Any) -> bool:
    return bool(get_named_type(type_).name in ("ID", "_Any"))


def test_every_id_in_the_schema_is_known_to_name_a_person_or_not() -> None:
    assert set(ids()) == OTHERS.keys() | NO_PERSON


def operation(asked: str, id: str) -> dict[str, Any]:
    """The body of a request that asks this about the person `id`."""
    known = {"id": id, "user": node_id_of("User", f"user:{id}"), "guest": node_id_of("User", f"guest:{id}")}
    variables = {name: value for name, value in known.items() if f"${name}" in asked}
    kind = "mutation" if asked.split("(")[0] in MUTATIONS else "query"
    declared = ", ".join(f"${name}: ID!" for name in variables)
    fragment = f"fragment U on User {{ {ABOUT} }}" if "...U" in asked else ""
    return {"query": f"{kind} ({declared}) {{ {asked} }} {fragment}", "variables": variables}


def masked(answer: httpx.Response, id: str) -> tuple[int, Any]:
    """Status and body, without the id that was asked for."""
    return answer.status_code, json.loads(answer.text.replace(id, "WHO"))


def named(answer: httpx.Response) -> dict[str, str]:
    """The headers, but for those that differ from one answer to the next."""
    changing = ("x-request-id", "content-length", "ratelimit")
    return {name: value for name, value in answer.headers.items() if name not in changing}


@pytest.fixture
async def shop(http: httpx.AsyncClient, channel: AbstractChannel, connections: Connections) -> httpx.AsyncClient:
    """Anna asks; bert is a user and a guest with data."""
    assert (
        await track(
            http,
            event("e1"),
            event("e2", userId=THERE),
            event("e3", anonymousId=THERE, type="VIEW"),
            event("e4", anonymousId="g-anna", type="VIEW"),
        )
        == [("ACCEPTED", None)] * 4
    )
    await ask(http, 'mutation { upsertUsers(users: [{id: "bert", traits: {city: "Bern"}}]) { accepted } }')
    await drain(channel, connections)
    return http


async def as_person(http: httpx.AsyncClient, id: str = "anna", kind: str = USER_ID) -> None:
    form = {"subject_token": id, "subject_token_type": kind, "scope": PERSONS_TOKEN}
    await authorize(http, grant_type=TOKEN_EXCHANGE, **form)


@pytest.mark.parametrize("unplanned", [0, 100])
@pytest.mark.parametrize("kind", [USER_ID, ANONYMOUS_ID])
async def test_people_who_are_there_and_people_who_are_not_are_refused_alike(
    shop: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, kind: str, unplanned: int
) -> None:
    monkeypatch.setattr(plans, "_COMPILED_AT", unplanned)  # requests for a document before it has a plan
    assert (await ask(shop, 'query { user(id: "bert") { known traits } }')) == {
        "known": True,
        "traits": {"city": "Bern"},
    }
    await as_person(shop, kind=kind)
    for code, asked in OPERATIONS:
        answers = [await shop.post("/graphql", json=operation(asked, id)) for id in (THERE, ABSENT)]
        there, absent = (masked(answer, id) for answer, id in zip(answers, (THERE, ABSENT), strict=True))
        assert there == absent, asked
        assert code in answers[0].text and "Bern" not in answers[0].text, answers[0].text
        headers = [named(answer) for answer in answers]
        assert headers[0] == headers[1]


async def test_the_routes_refuse_a_persons_token_for_others(shop: httpx.AsyncClient) -> None:
    await as_person(shop)
    for path in ("/recommendations/batch", "/users", "/items"):
        answers = [await shop.post(path, json=[{"id": id}]) for id in (THERE, ABSENT)]
        assert {answer.status_code for answer in answers} == {403}
        assert masked(answers[0], THERE) == masked(answers[1], ABSENT)
    sent = [
        await shop.post("/events", json=[{"type": "VIEW", "itemId": "milk", "userId": id}]) for id in (THERE, ABSENT)
    ]
    assert [answer.json()["results"][0]["code"] for answer in sent] == ["NOT_YOURS"] * 2
    assert masked(sent[0], THERE) == masked(sent[1], ABSENT)


async def test_an_event_with_the_list_or_guest_of_another_is_the_senders_own(
    shop: httpx.AsyncClient, pool: Pool, channel: AbstractChannel, connections: Connections
) -> None:
    listed = 'query { user(id: "bert") { recommendations { impressionId } } }'
    impression = (await ask(shop, listed))["recommendations"]["impressionId"]
    await as_person(shop)
    own = {"type": "VIEW", "itemId": "soap", "impressionId": impression, "anonymousId": THERE}
    assert (await ask(shop, TRACK, events=[own]))["results"][0]["outcome"] == "ACCEPTED"
    assert await drain(channel, connections) == [1]
    assert await pool.fetchval("SELECT user_id FROM events WHERE item_id = 'soap'") == "anna"
    assert await ask(shop, "query { me { history { nodes { itemId } } } }") == {
        "history": {"nodes": [{"itemId": "soap"}, {"itemId": "milk"}]}
    }
    await authorize(shop, grant_type=CLIENT_CREDENTIALS)
    for other in ('user(id: "bert")', 'visitor(anonymousId: "bert")'):
        history = await ask(shop, f"query {{ {other} {{ history {{ nodes {{ itemId }} }} }} }}")
        assert history == {"history": {"nodes": [{"itemId": "milk"}]}}


async def test_a_cursor_of_another_person_shows_ones_own_events_only(shop: httpx.AsyncClient) -> None:
    pages = "{ history(first: 1) { edges { cursor } } recommendations(first: 1) { edges { cursor } } }"
    bert = await ask(shop, f'query {{ user(id: "bert") {pages} }}')
    history, listed = (bert[name]["edges"][0]["cursor"] for name in ("history", "recommendations"))
    await as_person(shop)
    own = "query ($after: String) { me { history(after: $after) { nodes { userId } } } }"
    assert {node["userId"] for node in (await ask(shop, own, after=history))["history"]["nodes"]} <= {"anna"}
    query = "query ($after: String) { me { recommendations(after: $after) { nodes { id } } } }"
    answer = await shop.post("/graphql", json={"query": query, "variables": {"after": listed}})
    (error,) = answer.json()["errors"]
    assert error["message"] == "after is a cursor of another list."


class Untouchable:
    """A store that must not be used."""

    def get_max_size(self) -> int:
        return 8

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"a store was asked: {name}")


async def test_others_are_refused_before_any_store_is_read(gateway: Gateway) -> None:
    store = cast(Any, Untouchable())
    tokens = IssuedTokens()
    closed = replace(
        gateway, verifier=tokens, pool=store, shares=share_out(store, 5.0), redis=store, people=store, broker=store,
        archive=store, ingest=EventIntake(Ingest(), store, store, store),
    )  # fmt: skip
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=30)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"gateway": closed, "verifier": tokens, "request_id": "request"}
        await endpoint(scope, receive, send)

    token = tokens.issue(Viewer("tests", PEOPLE, Person("user", "anna"), 2**33))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.example") as client:
        client.headers["authorization"] = f"Bearer {token}"
        for code, asked in OPERATIONS:
            answer = await client.post("/graphql", json=operation(asked, THERE))
            assert code in answer.text and "INTERNAL" not in answer.text, (asked, answer.text)
