"""The schemas of bodies and answers: those of events and uploads come from the models that read them."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from api.routes.batch import MAX_IDS
from api.routes.health import STORES
from core.contract import LONGEST_ID, VERSIONS
from core.currencies import CURRENCIES
from core.uploads import ItemUpload, UserUpload
from engine.many_lists.batch import MAX_FIRST
from engine.outcomes import MAX_ELEMENTS, Outcome
from engine.recommending.people import Degradation
from ml.ranked import REASONS

Schema = dict[str, Any]

VERSION: Final = next(reversed(VERSIONS))
"""The newest version of the event contract, which the routes read."""
TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}


class _WithoutTitles(GenerateJsonSchema):
    """Writes no title on a field: it would only repeat the name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


def schemas() -> dict[str, Schema]:
    """All schemas by name."""
    return {**_contracts(), **_ANSWERS}


def ref(name: str) -> Schema:
    """A reference to the schema of this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def record(required: dict[str, Schema], **optional: Schema) -> Schema:
    """An object with these fields; answers may get more fields later."""
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def elements(name: str) -> Schema:
    """A list of the elements of one upload."""
    return {"type": "array", "items": ref(name), "maxItems": MAX_ELEMENTS}


def _contracts() -> dict[str, Schema]:
    events = VERSIONS[VERSION]
    models: list[type[BaseModel]] = [*events.values(), ItemUpload, UserUpload]
    _, made = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=_WithoutTitles,
    )
    found: dict[str, Schema] = made["$defs"]
    for schema in found.values():
        if "currency" in schema["properties"]:
            schema["properties"]["currency"] = nullable(ref("Currency"))
    found["Currency"] = {
        "description": "The code of a currency in ISO 4217.",
        "type": "string",
        "enum": sorted(CURRENCIES),
    }
    mapping = {str(type): ref(model.__name__)["$ref"] for type, model in events.items()}
    found["Event"] = {
        "description": f"An event in version {VERSION.removeprefix('v')} of the contract.",
        "oneOf": [ref(model.__name__) for model in events.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    return found


_LIST: Final = record(
    {
        "userId": TEXT,
        "placement": TEXT,
        "modelVersion": nullable(TEXT),
        "asOf": {"type": "string", "format": "date-time"},
        "degraded": {"type": "array", "items": {"type": "string", "enum": [str(each) for each in Degradation]}},
        "items": {"type": "array", "items": ref("RecommendedItem"), "maxItems": MAX_FIRST},
    }
)
_ANSWERS: Final[dict[str, Schema]] = {
    "Result": {
        "description": "What happened to one element. `code`, `field` and `message` say why it was not accepted.",
        **record(
            {
                "index": COUNT,
                "outcome": {"type": "string", "enum": [str(outcome) for outcome in Outcome]},
                "id": nullable(TEXT),
                "code": nullable(TEXT),
                "field": nullable({"type": "array", "items": TEXT}),
                "message": nullable(TEXT),
            }
        ),
    },
    "Results": {
        "description": "The outcome of each element, in the order of the body. RETRY: send this element again.",
        **record(
            {
                **dict.fromkeys(("accepted", "rejected", "duplicate", "conflict", "retry"), COUNT),
                "results": {"type": "array", "items": ref("Result")},
            }
        ),
    },
    "Refusal": {
        "description": "Why the request was refused.",
        **record({"errors": {"type": "array", "items": ref("Error"), "minItems": 1, "maxItems": 5}}),
    },
    "Error": record(
        {"message": TEXT, "extensions": record({"code": TEXT}, requestId=TEXT, retryAfter={"type": "integer"})}
    ),
    "UserIds": {
        "description": "The shop's own ids of users.",
        "type": "array",
        "items": TEXT | {"examples": ["anna"], "maxLength": LONGEST_ID},
        "maxItems": MAX_IDS,
    },
    "RecommendedItem": record(
        {
            "id": TEXT,
            "rank": {"type": "integer", "minimum": 1},
            "score": {"type": "number"},
            "reason": {"type": "string", "enum": sorted(REASONS)},
            "reasonItemId": TEXT,
        }
    ),
    "UserList": {
        "description": "The list of one user, or why there is none.",
        "anyOf": [_LIST, record({"userId": TEXT, "error": record({"code": TEXT, "message": TEXT})})],
    },
    "SegmentLine": {
        "description": "A user of a segment, or after the last one the page: its snapshot, and the cursor of the next.",
        "anyOf": [
            record({"userId": TEXT, "member": {"type": "boolean"}}),
            record(
                {
                    "segment": TEXT,
                    "snapshot": nullable({"type": "integer"}),
                    "asOf": nullable({"type": "string", "format": "date-time"}),
                    "next": nullable(TEXT),
                }
            ),
        ],
    },
    "OAuthError": {
        "description": "An error of RFC 6749, section 5.2.",
        **record({"error": TEXT}, error_description=TEXT),
    },
    "Tokens": record(
        {
            "access_token": TEXT,
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer"},
            "scope": TEXT,
        },
        refresh_token=TEXT,
        id_token=TEXT,
        issued_token_type=TEXT,
    ),
    "Introspection": {
        "description": "RFC 7662: what a token of the client that asks still allows.",
        **record({"active": {"type": "boolean"}}, scope=TEXT, client_id=TEXT, sub=TEXT, exp={"type": "integer"}),
    },
    "KeySet": {
        "description": "RFC 7517: the public keys that verify our tokens.",
        **record({"keys": {"type": "array", "items": {"type": "object"}}}),
    },
    "ServerMetadata": {
        "description": "RFC 8414: the addresses and abilities of the authorization server.",
        **record({"issuer": TEXT, "authorization_endpoint": TEXT, "token_endpoint": TEXT, "jwks_uri": TEXT}),
    },
    "Readiness": record(
        {
            "status": {"type": "string", "enum": ["ready", "stopping"]},
            **{store: {"type": "string", "enum": ["ok", "down", "full"]} for store in STORES},
            "bundle": nullable(TEXT),
            "bundleRefused": {"type": "boolean"},
            "problems": {"type": "array", "items": TEXT},
        }
    ),
    "Health": record({"status": {"const": "ok"}}),
    "GraphQLRequest": {
        "description": "GraphQL over HTTP. The schema is `schema.graphql`.",
        "type": "object",
        "properties": {
            "query": TEXT,
            "documentId": {"type": "string", "description": "The id of a persisted document, in place of `query`."},
            "operationName": nullable(TEXT),
            "variables": nullable({"type": "object"}),
            "extensions": nullable({"type": "object"}),
        },
    },
    "GraphQLAnswer": {
        "type": "object",
        "properties": {
            "data": nullable({"type": "object"}),
            "errors": {"type": "array", "items": ref("Error"), "minItems": 1, "maxItems": 5},
        },
    },
}
