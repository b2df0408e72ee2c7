"""Random operations and requests over every kind of type: the gateway may refuse them, never fail."""

import httpx

from api.graphql.schema import SCHEMA
from api.oauth.grant_types import ANONYMOUS_ID, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from benchmarks.hostile_entrances import Entrances
from benchmarks.operation_grammar import OperationGrammar
from tests.running import CLIENT, SECRET

OPERATIONS, REQUESTS = 1_000, 300
POOLS = {"id": ["milk", "soap", "anna"], "ids": ["milk", "soap"], "itemId": ["milk"], "userId": ["anna"]}
PERSON = {"grant_type": TOKEN_EXCHANGE, "subject_token": "anna", "subject_token_type": USER_ID}
GUEST = PERSON | {"subject_token_type": ANONYMOUS_ID}
FEW = {"grant_type": CLIENT_CREDENTIALS, "scope": "catalog:read"}


async def bearers(http: httpx.AsyncClient) -> list[str]:
    """Of the client with every scope, mostly; of a person, of a guest, of a client with one scope."""
    tokens = [http.headers["authorization"]] * 7
    for form in (PERSON, GUEST, FEW):
        granted = (await http.post("/oauth/token", data=form, auth=(CLIENT, SECRET))).json()
        tokens.append(f"Bearer {granted['access_token']}")
    return tokens


async def answer_to(http: httpx.AsyncClient, shown: str, request: httpx.Request) -> httpx.Response:
    """The answer, which must not say that the gateway failed; `shown` names the request in the message."""
    try:
        answer = await http.send(request)
    except Exception as error:
        raise AssertionError(f"{shown}\n{error!r}") from error
    assert answer.status_code != 500 and "INTERNAL_SERVER_ERROR" not in answer.text, f"{shown}\n{answer.text}"
    return answer


async def test_no_random_operation_makes_the_gateway_fail(http: httpx.AsyncClient) -> None:
    grammar, tokens = OperationGrammar(SCHEMA._schema, 1, POOLS), await bearers(http)
    for number in range(OPERATIONS):
        call = grammar.call()
        headers = {"authorization": tokens[number % len(tokens)], "content-type": "application/json"}
        request = http.build_request("POST", "/graphql", content=call.body, headers=headers)
        answer = await answer_to(http, f"operation {number}: {call.body}", request)
        grammar.values.learn(answer.json().get("data"))


async def test_no_random_request_makes_the_gateway_fail(http: httpx.AsyncClient) -> None:
    grammar, tokens = OperationGrammar(SCHEMA._schema, 2, POOLS), await bearers(http)
    entrances = Entrances(SCHEMA._schema, grammar, 2)
    for number in range(REQUESTS):
        method, path, headers, body = entrances.request()
        headers["authorization"] = tokens[number % len(tokens)]
        request = http.build_request(method, path, content=body, headers=headers)
        await answer_to(http, f"request {number}: {method} {path} {headers} {body!r}", request)
