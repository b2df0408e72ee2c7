"""GET /openapi.json: an OpenAPI 3.1 document of every route but the forms where people sign in. It needs no token."""

from functools import cache
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.graphql.schema import SCHEMA
from api.routes.openapi import oauth, operations
from api.routes.openapi.inputs import input_schemas
from api.routes.openapi.schemas import VERSION, schemas
from engine.scopes import PROTOCOL, SCOPES

PATH: Final = "/openapi.json"


def document() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penchant",
            "version": VERSION,
            "description": "The HTTP routes. Recommendations for pages and apps come from /graphql.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**operations.operations(), **oauth.operations()},
        "components": {
            "schemas": dict(sorted({**schemas(), **input_schemas(SCHEMA._schema, "ItemFilter")}.items())),
            "securitySchemes": _SECURITY,
        },
    }


@cache
def document_text() -> bytes:
    """The document as it is served and committed."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def route() -> Route:
    """The route. It answers the same bytes as long as the process lives."""
    text = document_text()

    async def read_document(request: Request) -> Response:
        return Response(text, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})

    return Route(PATH, read_document)


_SECURITY: Final[dict[str, Any]] = {
    "oauth": {
        "type": "oauth2",
        "description": "An access token of /oauth/token, or of an identity provider that the shop trusts.",
        "flows": {
            "clientCredentials": {"tokenUrl": "/oauth/token", "scopes": SCOPES},
            "authorizationCode": {
                "authorizationUrl": "/oauth/authorize",
                "tokenUrl": "/oauth/token",
                "scopes": SCOPES | PROTOCOL,
            },
        },
    },
    "clientSecret": {"type": "http", "scheme": "basic", "description": "The id and secret of the client."},
    "metricsToken": {"type": "http", "scheme": "bearer", "description": "PENCHANT_METRICS_TOKEN."},
}
