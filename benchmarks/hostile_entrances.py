"""Random requests to every entrance: calls of the grammar as POST and GET, bulk bodies, token forms, paths, headers."""

import gzip
import json
from collections.abc import Sequence
from random import Random
from typing import Any, cast
from urllib.parse import quote, urlencode

from graphql import GraphQLInputObjectType, GraphQLSchema

from api.oauth.grant_types import ANONYMOUS_ID, GRANTS, USER_ID
from benchmarks.operation_grammar import OperationGrammar
from benchmarks.operation_values import TEXTS, plain

ELEMENTS = {"/items": "ItemInput", "/events": "EventInput", "/users": "UserInput"}
KINDS = ["application/json", "application/x-ndjson", "application/jsonl", "application/json; charset=utf-8", "text/csv",
         "application/json;charset=utf-16", "multipart/form-data; boundary=b", "application/graphql", ""]  # fmt: skip
ACCEPTED = ["*/*", "application/json", "application/graphql-response+json", "text/html", "text/event-stream",
            "application/json;q=0", "application/*;q=x", "multipart/mixed", ",,;;", "*/*;q=1e400"]  # fmt: skip
PATHS = ["/", "/graphql", "/graphql/", "/events", "/items", "/users", "/oauth/token", "/oauth/revoke", "/healthz",
         "/readyz", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/no", "/%ff", "/..%2f",
         "/oauth/%74oken", "/items%00", "//", "/graphql;a", "/" + "a" * 2_000]  # fmt: skip
METHODS = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "BREW"]
FORM = "application/x-www-form-urlencoded"
PARAMETERS = ["grant_type", "scope", "client_id", "client_secret", "subject_token", "subject_token_type", "audience",
              "requested_token_type", "actor_token", "code", "refresh_token", "redirect_uri", "resource"]  # fmt: skip
MEANINGS = [USER_ID, ANONYMOUS_ID, "catalog:read", "events:write openid"]

Headers = dict[str, str]
Request = tuple[str, str, Headers, bytes]  # method, path with query, headers, body


class Entrances:
    """Makes requests. Headers never hold what a client of HTTP would refuse to send."""

    def __init__(self, schema: GraphQLSchema, grammar: OperationGrammar, seed: int) -> None:
        self._schema, self._grammar = schema, grammar
        self._random = Random(seed)  # noqa: S311 - no secret

    def request(self) -> Request:
        """The next request, without a token."""
        kinds = [self._graphql, self._graphql, self._bulk, self._bulk, self._bulk, self._form, self._form, self._any]
        method, path, headers, body = self._random.choice(kinds)()
        if self._random.random() < 0.1:
            headers[
                self._random.choice(["Origin", "Cookie", "X-Forwarded-For", "traceparent", "Range", "If-Match"])
            ] = self._random.choice(
                ["null", "https://a.example", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "a" * 4_000]
            )
        return method, path, headers, body

    def _graphql(self) -> Request:
        call = self._grammar.call()
        headers = {"Accept": self._random.choice(ACCEPTED)}
        if self._random.random() < 0.5:
            parts = {"query": call.query, "variables": self._json(call.variables), "operationName": call.operation_name}
            some = [
                (name, value) for name, value in parts.items() if value is not None and self._random.random() < 0.95
            ]
            if self._random.random() < 0.1:
                some.append((self._random.choice(["query", "extensions", "id"]), self._random.choice(TEXTS)))
            return "GET", f"/graphql?{_encoded(some)[:6_000]}", headers, b""
        body = {"query": call.query, "variables": call.variables, "operationName": call.operation_name}
        name = self._random.choice([*body, "extensions", "id"])
        changed: Any = {**body, name: plain(self._grammar.values.anything())}
        changed = self._random.choice([changed, changed, [changed], call.query, plain(self._grammar.values.anything())])
        headers["Content-Type"] = self._random.choice(["application/json"] * 5 + KINDS)
        return "POST", "/graphql", headers, self._cut(self._json(changed).encode())

    def _bulk(self) -> Request:
        path = self._random.choice([*ELEMENTS])
        type = cast(GraphQLInputObjectType, self._schema.type_map[ELEMENTS[path]])
        self._grammar.values.odd = self._random.choice([0, 0, 0.1, 0.5])
        elements = [
            plain(self._grammar.values.value(type, "element")) for _ in range(self._random.choice([0, 1, 1, 3, 20]))
        ]
        kind = self._random.choice([*KINDS[:3], *KINDS[:3], *KINDS])
        lines = "\n".join(map(self._json, elements))
        body = self._cut((self._json(elements) if kind == KINDS[0] else lines).encode())
        headers = {"Content-Type": kind}
        if self._random.random() < 0.2:
            body = self._cut(gzip.compress(body))
            headers["Content-Encoding"] = self._random.choice(
                ["gzip", "gzip", "x-gzip", "deflate", "gzip, gzip", "identity"]
            )
        query = self._random.choice(
            ["", "", "?only=REJECTED", "?only=A,B", "?only=", "?%ff&only=%00", "?only=ACCEPTED,RETRY"]
        )
        return "POST", path + query, headers, body

    def _form(self) -> Request:
        names = self._random.sample(PARAMETERS, self._random.randint(0, 5))
        pairs = [(name, self._random.choice([*MEANINGS, *TEXTS])) for name in names]
        if self._random.random() < 0.8:
            pairs.append(("grant_type", self._random.choice([*GRANTS.values(), "password"])))
        kind = self._random.choice([FORM] * 6 + KINDS)
        return (
            "POST",
            self._random.choice(["/oauth/token"] * 4 + ["/oauth/revoke"]),
            {"Content-Type": kind},
            self._cut(_encoded(pairs).encode()),
        )

    def _any(self) -> Request:
        body = self._random.choice([b"", b"{}", b"\xff\xfe", b"[1]", b"a=b", "é".encode()])
        headers = {"Content-Type": self._random.choice(KINDS), "Accept": self._random.choice(ACCEPTED)}
        return self._random.choice(METHODS), self._random.choice(PATHS), headers, body

    def _json(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=self._random.random() < 0.5).encode(errors="replace").decode()

    def _cut(self, body: bytes) -> bytes:
        """The body, now and then cut off or with a byte changed."""
        if not body or self._random.random() > 0.1:
            return body
        at = self._random.randrange(len(body))
        return self._random.choice([body[:at], body[:at] + bytes([self._random.randrange(256)]) + body[at + 1 :]])


def _encoded(pairs: Sequence[tuple[str, str]]) -> str:
    return urlencode([(name, value.encode(errors="replace")) for name, value in pairs], quote_via=quote)
