"""Documents from a grammar that knows every kind of type, right or wrong, are answered or refused, and never fail."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    get_named_type,
    is_required_argument,
    parse,
)
from starlette.types import Message, Scope

from api.errors import RequestRefused
from api.graphql.request.documents import Documents
from api.graphql.request.endpoint import GraphQLEndpoint
from api.graphql.request.limits import check_limits, measure
from api.graphql.schema import SCHEMA
from core.errors import PenchantError
from engine.scopes import SCOPES
from engine.viewer import Viewer
from tests.storeless import Storeless

TYPES = SCHEMA._schema.type_map
NAMES = (*TYPES, "Nothing", "Subscription", "True")
FIELDS = sorted(
    {
        name
        for type_ in TYPES.values()
        if isinstance(type_, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType)
        for name in type_.fields
    }
    | {"__typename", "__schema", "__type", "nothing"}
)
ARGUMENTS = ("first", "filter", "id", "ids", "after", "window", "types", "nodeId", "items", "events", "nothing")
DIRECTIVES = ("include", "skip", "requires", "atMost", "deprecated", "oneOf", "specifiedBy", "defer", "nothing")
VALUES = (
    "1", "-0", "1.5e400", "9" * 60, "9" * 5000, '"x"', '""', '"\\u0000"', '"""block"""', "true", "null", "VIEW", "$v",
    "$w", "[]", "{}", "[[[1]]]", "{not: {not: {}}}", "{a: $v}", "[$v, null]", '"P7D"', '"2026-01-01T00:00:00Z"',
)  # fmt: skip


class Grammar:
    """Generates documents; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311

    def document(self) -> str:
        if self._likely():
            return f"query A {self._tame(3, 'Query')}"
        parts = [self._operation() for _ in range(self._random.choice((0, 1, 1, 1, 2)))]
        parts += [self._fragment() for _ in range(self._random.choice((0, 0, 1, 3)))]
        if self._random.random() < 0.05:
            parts.append(self._pick(("type A { b: C }", "extend type Query { a: Int }", "scalar S")))
        self._random.shuffle(parts)
        return " ".join(parts)

    def _tame(self, depth: int, parent: str) -> str:
        """Selections that mostly are valid: fields of the type, with the arguments they need."""
        fields: Mapping[str, GraphQLField] = getattr(TYPES[parent], "fields", {})
        leaves = [name for name, one in fields.items() if not hasattr(get_named_type(one.type), "fields")]
        objects = [name for name in fields if name not in leaves] if depth else []
        chosen = [self._pick(names) for names in (leaves, objects, objects) if names]
        return (
            "{ __typename "
            + " ".join(self._tame_field(depth, name, fields[name]) for name in dict.fromkeys(chosen))
            + " }"
        )

    def _tame_field(self, depth: int, name: str, field: GraphQLField) -> str:
        needed = [one for one, declared in field.args.items() if is_required_argument(declared)]
        sent = f"({' '.join(f'{one}: {self._pick(VALUES)}' for one in needed)})" if needed else ""
        inner = get_named_type(field.type)
        return f"{name}{sent} {self._tame(depth - 1, inner.name) if hasattr(inner, 'fields') else ''}"

    def _operation(self) -> str:
        kind = self._pick(("query", "query", "query", "mutation", "subscription"))
        name = self._pick(("", "A", "A", "B"))
        variables = f"({' '.join(self._variable() for _ in range(self._random.randrange(1, 3)))})"
        return f"{kind} {name} {self._maybe(variables)} {self._directives()} {self._selections(4, kind.capitalize())}"

    def _variable(self) -> str:
        type_ = self._pick(NAMES)
        wrapped = self._pick((type_, f"{type_}!", f"[{type_}]", f"[[{type_}!]!]!"))
        return f"${self._pick('vw')}: {wrapped} {self._maybe(f'= {self._pick(VALUES)}')} {self._directives()}"

    def _fragment(self) -> str:
        type_ = self._pick(NAMES)
        return f"fragment {self._pick('FGH')} on {type_} {self._directives()} {self._selections(3, type_)}"

    def _selections(self, depth: int, parent: str) -> str:
        count = self._random.randrange(1, 4)
        return "{ " + " ".join(self._selection(depth, parent) for _ in range(count)) + " }"

    def _selection(self, depth: int, parent: str) -> str:
        chance = self._random.random()
        if chance < 0.1:
            return f"...{self._pick('FGHI')} {self._directives()}"
        if chance < 0.3 and depth:
            type_ = self._pick(NAMES) if self._random.random() < 0.5 else parent
            return f"... on {type_} {self._directives()} {self._selections(depth - 1, type_)}"
        if chance < 0.35 and depth:
            return f"... {self._directives()} {self._selections(depth - 1, parent)}"
        return self._field(depth, parent)

    def _field(self, depth: int, parent: str) -> str:
        """A field of the parent, nearly always; with the arguments it needs, mostly."""
        fields = getattr(TYPES.get(parent), "fields", {})
        if not fields or self._random.random() < 0.1:
            chosen = f"{self._pick(FIELDS)} {self._arguments(ARGUMENTS)} {self._directives()}"
            return chosen + (self._selections(depth - 1, self._pick(NAMES)) if depth and self._likely() else "")
        name = self._pick(sorted(fields))
        needed = [one for one, declared in getattr(fields[name], "args", {}).items() if is_required_argument(declared)]
        sent = f"({' '.join(f'{one}: {self._pick(VALUES)}' for one in needed)})" if needed else ""
        inner = get_named_type(fields[name].type)
        selected = self._selections(max(depth - 1, 0), inner.name) if hasattr(inner, "fields") and depth else ""
        return f"{self._maybe('a:')} {name} {sent or self._arguments(ARGUMENTS)} {self._directives()} {selected}"

    def _likely(self) -> bool:
        return self._random.random() < 0.5

    def _directives(self) -> str:
        return self._maybe(f"@{self._pick(DIRECTIVES)}{self._arguments(('if', 'reason', 'scopes'))}", 0.1)

    def _arguments(self, names: Sequence[str]) -> str:
        sent = " ".join(f"{self._pick(names)}: {self._pick(VALUES)}" for _ in range(self._random.randrange(1, 3)))
        return self._maybe(f"({sent})")

    def _pick(self, options: Sequence[str]) -> str:
        return self._random.choice(options)

    def _maybe(self, text: str, chance: float = 0.3) -> str:
        return text if self._random.random() < chance else ""


class Anyone:
    """Accepts every token, with all scopes."""

    async def verify(self, token: str) -> Viewer:
        return Viewer("shop", frozenset(SCOPES), None, 2**40)


@pytest.mark.parametrize("seed", range(8))
def test_any_document_is_accepted_or_refused(seed: int) -> None:
    documents, grammar = Documents(SCHEMA._schema), Grammar(seed)
    for _ in range(250):
        text = grammar.document()
        with suppress(RequestRefused):
            documents.read(text)


@pytest.mark.parametrize("name", TYPES)
def test_any_type_can_be_measured_before_validation(name: str) -> None:
    selections = "{ first(first: $n) { id } not { ids } items(first: 9) { a } }"
    text = f"{{ ... on {name} {selections} ...F }} fragment F on {name} {selections}"
    document = parse(text)
    measured = measure(SCHEMA._schema, document, document.definitions[0], {"n": 5})  # type: ignore[arg-type]
    check_limits(measured)
    with pytest.raises(RequestRefused):
        Documents(SCHEMA._schema).read(text)


async def answer_to(endpoint: GraphQLEndpoint, body: dict[str, Any]) -> dict[str, Any]:
    """The answer of an endpoint without stores: what a resolver does with them fails as a refusal."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": orjson.dumps(body), "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer t"), (b"content-type", b"application/json")]
    state = {"gateway": Refusing(), "verifier": Anyone(), "request_id": "r1"}
    scope: Scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b"", "state": state}
    await endpoint(scope, receive, send)
    answer: dict[str, Any] = orjson.loads(sent[1]["body"])
    return answer


class Refusing(Storeless):
    """A gateway whose every other part refuses to be used."""

    def __getattr__(self, name: str) -> Any:
        raise PenchantRefusal(name)


class PenchantRefusal(RequestRefused, PenchantError):
    """A resolver ran."""

    def __init__(self, part: str) -> None:
        super().__init__("SERVICE_UNAVAILABLE", f"No {part} here.", 503)


@pytest.mark.parametrize("seed", range(4))
async def test_the_endpoint_answers_any_document_without_an_internal_error(seed: int) -> None:
    endpoint, grammar = GraphQLEndpoint(SCHEMA, graphiql=False, timeout=10), Grammar(1000 + seed)
    values: tuple[dict[str, Any], ...] = (
        {}, {"v": None, "w": True}, {"v": [1, {"a": None}], "w": "VIEW"}, {"v": {"not": {}}, "w": [[]]},
    )  # fmt: skip
    for index in range(250):
        body = {"query": grammar.document(), "variables": values[index % 4], "operationName": ("A", None)[index % 2]}
        answer = await answer_to(endpoint, body)
        for error in answer.get("errors", ()):
            assert error["extensions"]["code"] != "INTERNAL_SERVER_ERROR", (body, error)
            assert len(error["message"]) <= 200
            assert not any(word in error["message"] for word in ("None", "set_int_max_str_digits", "<class")), error
        await asyncio.sleep(0)
