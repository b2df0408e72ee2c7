"""The operations of the authorization server: endpoints for clients, the two addresses for browsers, discovery."""

from typing import Any, Final

from api.oauth.authorizing.requests import LONGEST
from api.oauth.form import MEDIA_TYPE
from api.oauth.grant_types import ANONYMOUS_ID, GRANTS, USER_ID
from api.routes.openapi.answers import JSON, answer, oauth_refusals, refusals
from api.routes.openapi.schemas import TEXT, ref

Schema = dict[str, Any]

_HTML: Final = "text/html"
_CLIENT: Final[list[Schema]] = [{"clientSecret": []}, {}]


def operations() -> dict[str, Schema]:
    """The path items by path."""
    return {
        "/oauth/token": {"post": _TOKEN},
        "/oauth/revoke": {"post": _about_token("revoke", "Give a token back", {"description": "It is not valid now."})},
        "/oauth/introspect": {
            "post": _about_token("introspect", "What a token still allows", answer("Its claims.", ref("Introspection")))
        },
        "/oauth/authorize": _page("authorize", "Let a person sign in and allow the client", _AUTHORIZE),
        "/oauth/logout": _page("endSession", "Sign the person out", _LOGOUT),
        "/.well-known/jwks.json": {"get": _document("keys", "The public keys", ref("KeySet"))},
        "/.well-known/oauth-authorization-server": {"get": _document("serverMetadata", "The metadata", _METADATA)},
        "/.well-known/openid-configuration": {"get": _document("openidMetadata", "The metadata", _METADATA)},
    }


_METADATA: Final = ref("ServerMetadata")
_OF_CLIENT: Final[Schema] = {
    "client_id": TEXT,
    "client_secret": TEXT,
    "client_assertion_type": TEXT,
    "client_assertion": TEXT,
}
_STATUSES: Final = (400, 401, 405, 413)


def _form(required: dict[str, Schema], **optional: Schema) -> Schema:
    schema = {"type": "object", "properties": {**required, **optional, **_OF_CLIENT}, "required": list(required)}
    return {"required": True, "content": {MEDIA_TYPE: {"schema": schema}}}


_TOKEN: Final[Schema] = {
    "operationId": "token",
    "summary": "Get tokens",
    "tags": ["oauth"],
    "description": "RFC 6749, 7636, 7523 and 8693. A client authenticates with its secret (Basic or in the form) or"
    " with an assertion; a public client sends its id alone.",
    "security": _CLIENT,
    "requestBody": _form(
        {"grant_type": {"type": "string", "enum": list(GRANTS.values())}},
        scope=TEXT,
        code=TEXT,
        redirect_uri=TEXT,
        code_verifier=TEXT,
        refresh_token=TEXT,
        subject_token=TEXT,
        subject_token_type={"type": "string", "enum": [USER_ID, ANONYMOUS_ID]},
        resource=TEXT,
        audience=TEXT,
    ),
    "responses": {"200": answer("The tokens.", ref("Tokens")), **oauth_refusals(*_STATUSES)},
}


def _about_token(name: str, summary: str, success: Schema) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["oauth"],
        "security": _CLIENT,
        "requestBody": _form({"token": TEXT}, token_type_hint=TEXT),
        "responses": {"200": success, **oauth_refusals(*_STATUSES)},
    }


_AUTHORIZE: Final[dict[str, Schema]] = {
    "response_type": {"const": "code"},
    "client_id": TEXT,
    "redirect_uri": TEXT,
    "code_challenge": TEXT,
    "code_challenge_method": {"const": "S256"},
    "scope": TEXT,
    "prompt": TEXT,
    "max_age": {"type": "integer", "minimum": 0},
    **{name: TEXT | {"maxLength": most} for name, most in LONGEST.items()},
}
_LOGOUT: Final[dict[str, Schema]] = dict.fromkeys(
    ("id_token_hint", "client_id", "post_logout_redirect_uri", "state", "ui_locales"), TEXT
)


def _page(name: str, summary: str, parameters: dict[str, Schema]) -> Schema:
    """An address that a client sends a browser to, with the parameters in the query or in a form."""
    query = [{"name": key, "in": "query", "schema": schema} for key, schema in parameters.items()]
    form = {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "object", "properties": parameters}}}}
    return {
        "get": _sent_by(name, summary, "302") | {"parameters": query},
        "post": _sent_by(f"{name}ByForm", f"{summary}, by a form", "303", 403, 413) | {"requestBody": form},
    }


def _sent_by(name: str, summary: str, redirect: str, *refused: int) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["oauth"],
        "description": "For browsers.",
        "security": [],
        "responses": {
            "200": answer("A page for the person.", TEXT, _HTML),
            redirect: answer("Where the browser goes next.", Location="An address of ours, or of the client."),
            **refusals(),
            **{
                str(status): answer("A page that says what is wrong.", TEXT, _HTML, JSON)
                for status in (400, 503, *refused)
            },
        },
    }


def _document(name: str, summary: str, schema: Schema) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["discovery"],
        "security": [],
        "responses": {"200": answer("As JSON; it may be kept for five minutes.", schema), **refusals()},
    }
