"""The operations for programs with an access token, and the probes: what each takes and answers."""

from typing import Any, Final

from api.graphql.request.reading import RESPONSE_JSON
from api.routes.elements import LINES
from api.routes.openapi.answers import JSON, answer, probe_refusals, refusals
from api.routes.openapi.schemas import TEXT, elements, ref
from core import metrics
from core.contract import LONGEST_ID
from engine.many_lists.batch import MAX_FIRST
from engine.outcomes import Outcome
from engine.placements.settings import ListKind
from engine.segments.reading import MOST

Schema = dict[str, Any]

_WRONG: Final = (401, 403, 405, 413, 415)
_LISTS: Final = LINES[0]
_OTHERS: Final = ", ".join(LINES[1:])


def operations() -> dict[str, Schema]:
    """The path items by path."""
    return {
        "/events": _upload("events", "events:write", "Report events", "Event", "of the mutation `trackEvents`"),
        "/items": _upload("items", "catalog:write", "Add or change items", "ItemUpload", "of `upsertItems`"),
        "/users": _upload("users", "profiles:write", "Add or change users", "UserUpload", "of `upsertUsers`"),
        "/recommendations/batch": {"post": _BATCH},
        "/segments/{id}/members": {"get": _MEMBERS},
        "/graphql": {"get": _graphql("get"), "post": _graphql("post")},
        "/healthz": {"get": _probe("health", "Whether the process runs", ref("Health"))},
        "/readyz": {
            "get": _probe("readiness", "Whether the gateway takes requests, and what is wrong", ref("Readiness"))
            | {"responses": _READINESS}
        },
        "/metrics": {"get": _METRICS},
        "/openapi.json": {
            "get": {
                "operationId": "openapi",
                "summary": "This document",
                "tags": ["discovery"],
                "security": [],
                "responses": {"200": answer("An OpenAPI 3.1 document.", {"type": "object"}), **refusals()},
            }
        },
    }


def _upload(name: str, scope: str, summary: str, element: str, checks: str) -> Schema:
    body = elements(element)
    return {
        "post": {
            "operationId": f"upload{name.capitalize()}",
            "summary": summary,
            "tags": ["bulk"],
            "description": f"With the checks and results {checks}. The body is a JSON array, or has an object per line;"
            f" {_OTHERS} mean the same as {LINES[0]}. It may be compressed with gzip. One wrong"
            " element does not affect the others.",
            "security": [{"oauth": [scope]}],
            "parameters": [_ONLY],
            "requestBody": {"required": True, "content": {kind: {"schema": body} for kind in (JSON, LINES[0])}},
            "responses": {"200": answer("The outcome of each element.", ref("Results")), **refusals(*_WRONG, 504)},
        }
    }


def _query(name: str, schema: Schema, description: str, **more: Any) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


_ONLY: Final = _query(
    "only",
    {"type": "array", "items": {"type": "string", "enum": [str(outcome) for outcome in Outcome]}, "minItems": 1},
    "Answer only with elements that have one of these outcomes.",
    style="form",
    explode=False,
)
_BATCH: Final[Schema] = {
    "operationId": "recommendMany",
    "summary": "The lists of many users",
    "tags": ["bulk"],
    "description": "The answer has a line of JSON for each id, in their order, sent as it is made. Without its last"
    " chunk it is incomplete. Needs a client's own token.",
    "security": [{"oauth": ["recommendations:read"]}],
    "parameters": [
        _query("placement", TEXT | {"minLength": 1, "maxLength": 64, "default": "home"}, "Where the lists are shown."),
        _query(
            "first",
            {"type": "integer", "minimum": 1, "maximum": MAX_FIRST},
            "How many items a list has at most. Left out: as many as the placement says, 20 by default.",
        ),
        _query("market", TEXT | {"minLength": 1, "maxLength": LONGEST_ID}, "Only items that are available there."),
        {
            "name": "filter",
            "in": "query",
            "description": "Only items that match.",
            "content": {JSON: {"schema": ref("ItemFilter")}},
        },
        _query("list", TEXT | {"enum": list(ListKind)}, "What to list. Left out: what the placement says."),
    ],
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": ref("UserIds")} for kind in (JSON, LINES[0])},
    },
    "responses": {"200": answer("A list per line.", ref("UserList"), _LISTS), **refusals(*_WRONG)},
}
_MEMBERS: Final[Schema] = {
    "operationId": "segmentMembers",
    "summary": "The users of a segment",
    "tags": ["bulk"],
    "description": "A line of JSON for each user, by id, and a last line with the snapshot and `next`, the cursor of"
    " the next page: null for the last page. All pages of one reading are of one snapshot. Needs a client's own token.",
    "security": [{"oauth": ["segments:read"]}],
    "parameters": [
        {"name": "id", "in": "path", "required": True, "schema": TEXT | {"minLength": 1}},
        _query(
            "first",
            {"type": "integer", "minimum": 1, "maximum": MOST, "default": MOST},
            "How many users a page has at most.",
        ),
        _query("after", TEXT, "`next` of the page before; it has the changedSince of that."),
        _query(
            "changedSince",
            {"type": "string", "format": "date-time"},
            "Only users who joined (`member` true) or left (false) after the newest snapshot at this time.",
        ),
    ],
    "responses": {
        "200": answer("Users, and where to go on.", ref("SegmentLine"), _LISTS),
        **refusals(401, 403, 404, 405, 504),
    },
}
_READINESS: Final = {
    "200": answer("It takes requests.", ref("Readiness")),
    "503": answer("It is stopping.", ref("Readiness"), Retry_After="Seconds to wait."),
    **probe_refusals(408, 413, 431, 500),
}
_METRICS: Final[Schema] = {
    "operationId": "metrics",
    "summary": "Metrics for Prometheus",
    "tags": ["probes"],
    "description": "With PENCHANT_METRICS_TOKEN for callers who send it, else for direct callers on the same machine.",
    "security": [{}, {"metricsToken": []}],
    "responses": {
        "200": answer("All metrics.", TEXT, metrics.CONTENT_TYPE.partition(";")[0]),
        **probe_refusals(401, 403, 408, 413, 431, 500),
    },
}


def _probe(name: str, summary: str, schema: Schema) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["probes"],
        "security": [],
        "responses": {"200": answer("Yes.", schema), **probe_refusals(408, 413, 431, 500)},
    }


def _graphql(method: str) -> Schema:
    request: Schema = {"requestBody": {"required": True, "content": {JSON: {"schema": ref("GraphQLRequest")}}}}
    if method == "get":
        request = {
            "parameters": [
                _query("query", TEXT | {"minLength": 1}, "The document: one with queries only.", required=True),
                _query("operationName", TEXT, "Which operation of the document."),
                {"name": "variables", "in": "query", "content": {JSON: {"schema": {"type": "object"}}}},
            ]
        }
    kinds = JSON, RESPONSE_JSON
    return {
        "operationId": f"{method}Graphql",
        "summary": "Run a GraphQL query" if method == "get" else "Run a GraphQL operation",
        "tags": ["graphql"],
        "description": "Every field says in `schema.graphql` which scopes it needs. Under `application/json`, errors of"
        " the operation have the status 200.",
        "security": [{"oauth": []}],
        **request,
        "responses": {
            "200": answer("Data, errors or both.", ref("GraphQLAnswer"), *kinds),
            **{status: _in_kinds(each, kinds) for status, each in refusals(401, 403, 405, 406, 413, 415, 504).items()},
        },
    }


def _in_kinds(described: Schema, kinds: tuple[str, ...]) -> Schema:
    return described | {"content": dict.fromkeys(kinds, described["content"][JSON])}
