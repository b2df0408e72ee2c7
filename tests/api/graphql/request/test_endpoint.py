"""GraphQL over HTTP: media types, methods, statuses, tokens and codes, with a small schema of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import strawberry
from starlette.types import Receive, Scope, Send
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from api.errors import RequestRefused
from api.graphql.context import Info
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.types.permissions import requires
from api.graphql.types.scalars import SCALARS
from core.errors import InvalidInput, InvalidToken, NotFound, StoreUnavailable
from engine.viewer import Viewer
from tests.storeless import Storeless

BOTH = {"application/json", "application/graphql-response+json"}
RESPONSE_JSON = {"accept": "application/graphql-response+json"}
SECRET = "hunter2 of an error that only our log may show"


@strawberry.type
class Query:
    """Fields that succeed, and fields that fail in every way."""

    @strawberry.field
    def hello(self, name: str = "world") -> str:
        return f"hello {name}"

    @strawberry.field
    async def client(self, info: Info) -> str:
        return info.context.viewer.client_id

    @strawberry.field(permission_classes=[requires("profiles:read")])
    def private(self) -> str | None:
        return "private"

    @strawberry.field(permission_classes=[requires("profiles:read")])
    def secret(self, numbers: list[int]) -> str | None:
        return "secret"

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    def mistyped(self) -> int | None:
        return SECRET  # type: ignore[return-value]

    @strawberry.field
    def missing(self) -> str:
        return None  # type: ignore[return-value]

    @strawberry.field
    def unknown(self) -> str | None:
        raise NotFound("There is no such item.")

    @strawberry.field
    def bounded(self, first: int) -> str | None:
        raise InvalidInput("first must be between 1 and 100.", field="first")

    @strawberry.field
    def down(self) -> str | None:
        raise StoreUnavailable("postgres")

    @strawberry.field
    def unreachable(self) -> str | None:
        raise StoreUnavailable("redis", SECRET)

    @strawberry.field
    async def slow(self) -> str | None:
        await asyncio.Event().wait()
        return None

    @strawberry.field
    def odd(self) -> JSON | None:
        return object()  # type: ignore[return-value]

    @strawberry.field
    def number(self, count: int) -> int | None:
        return count

    @strawberry.field
    def echo(self, value: JSON) -> JSON | None:
        return value


@strawberry.type
class Mutation:
    """A mutation that succeeds and one that refuses the request."""

    @strawberry.mutation
    def change(self) -> str:
        return "changed"

    @strawberry.mutation
    def send(self) -> str | None:
        raise RequestRefused("PAYLOAD_TOO_LARGE", "At most 500 events a call.", 413)


SCHEMA = strawberry.Schema(Query, Mutation, config=StrawberryConfig(scalar_map=SCALARS))


class Tokens:
    """Two tokens are valid: `schema` has the scope schema:read, `plain` has no scope."""

    async def verify(self, token: str) -> Viewer:
        if token == "store-down":
            raise StoreUnavailable("postgres")
        if token not in ("plain", "schema"):
            raise InvalidToken()
        return Viewer("shop", frozenset({"schema:read"} if token == "schema" else ()), None, 2**40)


def app(graphiql: bool = False) -> Any:
    endpoint = GraphQLEndpoint(SCHEMA, graphiql=graphiql, timeout=0.2)

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"gateway": Storeless(), "verifier": Tokens(), "request_id": "r1"}
        await endpoint(scope, receive, send)

    return call


def connect(graphiql: bool = False) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app(graphiql))
    return httpx.AsyncClient(transport=transport, base_url="http://shop", headers={"authorization": "Bearer plain"})


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with connect() as opened:
        yield opened


def code(response: httpx.Response) -> str:
    found: str = response.json()["errors"][0]["extensions"]["code"]
    return found


async def ask(client: httpx.AsyncClient, query: str, **headers: str) -> httpx.Response:
    return await client.post("/graphql", json={"query": query}, headers={**RESPONSE_JSON, **headers})


async def test_a_query_is_answered(client: httpx.AsyncClient) -> None:
    response = await client.post("/graphql", json={"query": "{ hello client }"})
    assert response.status_code == 200
    assert response.json() == {"data": {"hello": "hello world", "client": "shop"}}
    assert response.headers["cache-control"] == "private, no-store"


async def test_variables_and_the_operation_name_are_used(client: httpx.AsyncClient) -> None:
    query = "query A($n: String!) { hello(name: $n) } query B { client }"
    body = {"query": query, "operationName": "A", "variables": {"n": "you"}}
    assert (await client.post("/graphql", json=body)).json() == {"data": {"hello": "hello you"}}


async def test_an_unsupported_media_type_is_refused(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ hello }", accept="text/plain")
    assert (response.status_code, code(response)) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
async def test_unsupported_bodies_are_415(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await client.post("/graphql", content=b'{"query":"{ hello }"}', headers=headers)
    assert (response.status_code, code(response)) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_body_with_the_charset_utf_8_is_read(client: httpx.AsyncClient) -> None:
    headers = {"content-type": 'application/json; charset="UTF-8"'}
    response = await client.post("/graphql", content=b'{"query":"{ hello }"}', headers=headers)
    assert response.status_code == 200


async def test_requests_without_an_operation_are_400_without_data(client: httpx.AsyncClient) -> None:
    for response in (await client.post("/graphql", json=[]), await client.get("/graphql?query=")):
        assert (response.status_code, code(response)) == (400, "BAD_REQUEST")
        assert "data" not in response.json()


async def test_the_answer_has_the_media_type_of_accept(client: httpx.AsyncClient) -> None:
    for kind in ("application/json", "application/graphql-response+json"):
        response = await ask(client, "{ hello }", accept=kind)
        assert response.headers["content-type"] == f"{kind}; charset=utf-8"


async def test_queries_are_answered_by_get(client: httpx.AsyncClient) -> None:
    parameters = {"query": "query A($n: String) { hello(name: $n) }", "operationName": "A", "variables": '{"n":"ä"}'}
    response = await client.get("/graphql", params=parameters)
    assert response.json() == {"data": {"hello": "hello ä"}}


async def test_mutations_by_get_are_405_and_run_nothing(client: httpx.AsyncClient) -> None:
    response = await client.get("/graphql", params={"query": "mutation { change }"})
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert (await ask(client, "mutation { change }")).json() == {"data": {"change": "changed"}}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, "/graphql")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ hello", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ number(count: true) }", "BAD_USER_INPUT"),
        ("{ number(count: 1, other: 2) }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ nothing number(count: true) }", "GRAPHQL_VALIDATION_FAILED"),
        ("query($n: Int!) { number(count: $n) }", "BAD_USER_INPUT"),
        ("{ " + "hello " * 21 + "}", "QUERY_TOO_COMPLEX"),
    ],
)
async def test_request_errors_are_400_without_data_or_200_in_plain_json(
    client: httpx.AsyncClient, query: str, expected: str
) -> None:
    response = await ask(client, query)
    assert (response.status_code, code(response)) == (400, expected)
    plain = await ask(client, query, accept="application/json")
    assert (plain.status_code, code(plain)) == (200, expected)
    assert "data" not in response.json() and "data" not in plain.json()


async def test_without_a_token_the_answer_is_401_with_a_challenge(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    response = await ask(client, "{ hello }", accept="application/json")
    assert (response.status_code, code(response)) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert "error=" not in response.headers["www-authenticate"]


@pytest.mark.parametrize("value", ["Bearer forged", "Basic plain", "Bearer", "Bearer ", "plain", "Bearer a, Bearer b"])
async def test_a_bad_token_is_401_with_the_error_invalid_token(client: httpx.AsyncClient, value: str) -> None:
    response = await ask(client, "{ hello }", authorization=value)
    assert (response.status_code, code(response)) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


async def test_a_cookie_does_not_authenticate(client: httpx.AsyncClient) -> None:
    del client.headers["authorization"]
    assert (await ask(client, "{ hello }", cookie="token=plain; authorization=Bearer plain")).status_code == 401


async def test_tokens_that_cannot_be_checked_are_503(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ hello }", authorization="Bearer store-down")
    assert (response.status_code, code(response)) == (503, "SERVICE_UNAVAILABLE")
    assert response.headers["retry-after"] == "1"


async def test_a_missing_scope_is_a_field_error_and_the_rest_is_answered(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ hello private }")
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello world", "private": None}
    assert code(response) == "FORBIDDEN"
    assert response.json()["errors"][0]["path"] == ["private"]


async def test_a_missing_object_is_not_found(client: httpx.AsyncClient) -> None:
    assert code(await ask(client, "{ unknown }")) == "NOT_FOUND"


async def test_an_error_about_an_argument_has_its_name_as_field(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ bounded(first: 0) }")
    assert response.json()["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT", "field": ["first"]}


@pytest.mark.parametrize("field", ["broken", "mistyped", "missing"])
async def test_unexpected_errors_are_masked_and_have_the_request_id(client: httpx.AsyncClient, field: str) -> None:
    response = await ask(client, f"{{ {field} }}")
    assert response.status_code == 200
    assert response.json()["errors"][0]["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": "r1"}
    assert response.json()["errors"][0]["message"] == "Something went wrong on our side."
    for leak in ("hunter2", "RuntimeError", "Traceback", "Cannot return null", ".py"):
        assert leak not in response.text


async def test_an_answer_that_json_cannot_express_is_masked(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ odd }")
    assert code(response) == "INTERNAL_SERVER_ERROR"


async def test_an_unavailable_store_fails_its_own_field_only(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ hello down unreachable }")
    assert response.status_code == 200
    assert response.json()["data"] == {"hello": "hello world", "down": None, "unreachable": None}
    assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"SERVICE_UNAVAILABLE"}
    assert "hunter2" not in response.text


async def test_when_every_field_needs_an_unavailable_store_the_status_is_503(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ down unreachable }")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_a_resolver_may_refuse_the_whole_request(client: httpx.AsyncClient) -> None:
    response = await ask(client, "mutation { send }", accept="application/json")
    assert (response.status_code, code(response)) == (413, "PAYLOAD_TOO_LARGE")
    assert (await ask(client, "mutation { change send }")).status_code == 200


async def test_an_answer_that_takes_too_long_is_a_timeout(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ hello slow }")
    assert (response.status_code, code(response)) == (504, "TIMEOUT")


async def test_at_most_five_errors_are_returned(client: httpx.AsyncClient) -> None:
    for query in ("{ " + " ".join(f"a{n}: broken" for n in range(9)) + " }", "{ " + "nothing " * 9 + "}"):
        assert len((await ask(client, query)).json()["errors"]) == 5


async def test_introspection_needs_its_scope(client: httpx.AsyncClient) -> None:
    for query in ("{ __schema { types { name } } }", '{ __type(name: "Query") { name } }'):
        response = await ask(client, query)
        assert (response.status_code, code(response)) == (403, "FORBIDDEN")
        assert (await ask(client, query, authorization="Bearer schema")).status_code == 200
    assert (await ask(client, "{ __typename }")).json() == {"data": {"__typename": "Query"}}


async def test_names_are_suggested_only_with_the_scope_to_read_the_schema(client: httpx.AsyncClient) -> None:
    assert "Did you mean" not in (await ask(client, "{ helo }")).text
    assert "Did you mean 'hello'?" in (await ask(client, "{ helo }", authorization="Bearer schema")).text


async def test_deeply_nested_json_is_refused(client: httpx.AsyncClient) -> None:
    query, headers = (
        '{"query":"query($v: JSON!) { echo(value: $v) }","variables":{"v":',
        {"content-type": "application/json"},
    )
    for levels, expected in ((30, None), (31, "BAD_REQUEST"), (900, "BAD_REQUEST"), (5000, "BAD_REQUEST")):
        body = f"{query}{'[' * levels}{']' * levels}}}}}"
        response = await client.post("/graphql", content=body, headers=headers)
        assert (code(response) if "errors" in response.json() else None) == expected
        assert expected is None or "nested too deeply" in response.text


async def test_browsers_get_the_graphiql_page_only_when_it_is_enabled() -> None:
    headers = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with connect(graphiql=True) as client:
        del client.headers["authorization"]
        page = await client.get("/graphql", headers=headers)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "http://" not in page.text and "https://" not in page.text
        assert "unsafe" not in page.headers["content-security-policy"]
        assert (await client.get("/graphql?" + urlencode({"query": "{ hello }"}), headers=headers)).status_code == 401
    async with connect() as client:
        assert (await client.get("/graphql", headers=headers)).status_code == 400


@pytest.mark.parametrize("accept", ["text/event-stream", "text/plain", "", "application/json;q=0"])
async def test_without_a_token_nothing_else_is_said_about_the_request(client: httpx.AsyncClient, accept: str) -> None:
    del client.headers["authorization"]
    for body in (b'{"query":"{ hello }"}', b"{", b'{"query":"{ nothing }"}', b"[" * 900_000):
        response = await client.post("/graphql", content=body, headers={"accept": accept})
        assert (response.status_code, code(response)) == (401, "UNAUTHENTICATED")
        assert response.headers["content-type"] == "application/json; charset=utf-8"


async def test_a_401_has_the_media_type_of_accept(client: httpx.AsyncClient) -> None:
    response = await ask(client, "{ hello }", authorization="Bearer forged")
    assert response.headers["content-type"] == "application/graphql-response+json; charset=utf-8"


async def test_a_forbidden_field_is_refused_before_its_arguments_are_read(client: httpx.AsyncClient) -> None:
    query = "query($n: [Int!]!, $m: Int!) { secret(numbers: $n) number(count: $m) }"
    response = await client.post("/graphql", json={"query": query, "variables": {"n": ["x"] * 900, "m": 1}})
    assert response.json()["data"] == {"secret": None, "number": 1}
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "FORBIDDEN"}
    assert error["path"] == ["secret"] and error["locations"]


async def test_when_every_field_is_forbidden_no_variable_is_read(client: httpx.AsyncClient) -> None:
    query = "query($n: [Int!]!) { secret(numbers: $n) private }"
    response = await client.post("/graphql", json={"query": query})
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["FORBIDDEN"] * 2
    assert response.json()["data"] == {"secret": None, "private": None}
