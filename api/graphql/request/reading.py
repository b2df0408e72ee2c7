"""GraphQL over HTTP: reads the operation of a request, and the media type to answer in."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from api.errors import RequestRefused
from api.http.endpoint import Headers
from api.http.json_body import parse_json
from db.documents import LONGEST_ALIAS, is_digest

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
_OFFERED = (JSON, RESPONSE_JSON)
LONGEST_DOCUMENT_ID: Final = LONGEST_ALIAS  # characters


class GraphQLRequest(NamedTuple):
    """One operation to run. `nodes` is the number of JSON values in `variables`, or more.

    Its document is the text `query`, or the persisted one that `document_id` names. With both, `document_id` is the
    SHA-256 under which the caller wants to use the text from now on.
    """

    query: str | None
    operation_name: str | None
    variables: dict[str, Any]
    nodes: int
    document_id: str | None = None


def choose_media_type(headers: Headers) -> str | None:
    """The media type to answer in: the one that Accept weighs more; None when Accept allows neither.

    At equal weights it is `application/graphql-response+json` only when Accept names it.
    """
    accept = headers.get(b"accept")
    if accept is None or accept == b"*/*" or accept == b"application/json":
        return JSON
    ranges = dict(_read_ranges(accept.decode("latin-1")))
    weights = {kind: _weight_of(kind, ranges) for kind in _OFFERED}
    best = max(_OFFERED, key=lambda kind: (weights[kind], kind in ranges, kind == RESPONSE_JSON and kind in ranges))
    return best if weights[best] else None


def not_acceptable() -> RequestRefused:
    """The refusal of a request whose Accept allows no media type that we offer."""
    return RequestRefused("NOT_ACCEPTABLE", f"Accept must allow {' or '.join(_OFFERED)}.", 406)


def accepts_events(headers: Headers) -> bool:
    """Whether Accept names event streams: the caller may subscribe."""
    return b"text/event-stream" in headers.get(b"accept", b"")


def accepts_html(headers: Headers) -> bool:
    """Whether Accept names HTML: the caller is a browser that shows a page."""
    return b"text/html" in headers.get(b"accept", b"")


def read_body(headers: Headers, body: bytes) -> GraphQLRequest:
    """The operation in a POST body.

    Raises RequestRefused: 415 for another media type or encoding, 400 for a body that is not a GraphQL request, 413 for
    one with too many values.
    """
    if headers.get(b"content-type") != b"application/json" or b"content-encoding" in headers:
        _check_content_headers(headers)
    parsed = parse_json(body, "The body")
    parameters = parsed.value
    if isinstance(parameters, list):
        raise _bad_request("Batches of operations are not supported: send one operation per request.")
    if not isinstance(parameters, dict):
        raise _bad_request("The body must be a JSON object.")
    return _graphql_request(parameters, parsed.nodes)


def read_query_string(query_string: bytes) -> GraphQLRequest:
    """The operation in the URL of a GET request; raises RequestRefused (400) for a URL without a GraphQL request."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise _bad_request("The query string of the URL cannot be read: it must be percent-encoded UTF-8.") from None
    parameters: dict[str, Any] = {}
    for name, text in pairs:
        if name in parameters:
            raise _bad_request(f"The parameter {name[:40]} is repeated: send it once.")
        parameters[name] = text
    nodes = 0
    for name in ("variables", "extensions"):
        if parameters.get(name):
            parsed = parse_json(parameters[name], name)
            parameters[name] = parsed.value
            nodes += parsed.nodes
        else:
            parameters.pop(name, None)
    return _graphql_request(parameters, nodes)


def read_payload(payload: dict[str, Any], nodes: int) -> GraphQLRequest:
    """The operation in the payload of a WebSocket message of so many JSON values; raises RequestRefused (400)."""
    return _graphql_request(payload, nodes)


def _check_content_headers(headers: Headers) -> None:
    kind, _, rest = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != JSON or charset not in ("", "utf-8", "utf8"):
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json in UTF-8.", 415)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", "The body must not be encoded: leave Content-Encoding out.", 415)


def _graphql_request(parameters: dict[str, Any], nodes: int) -> GraphQLRequest:
    query, name = parameters.get("query"), parameters.get("operationName")
    variables, extensions = parameters.get("variables"), parameters.get("extensions")
    if name is not None and not isinstance(name, str):
        raise _bad_request("operationName must be a string.")
    if variables is not None and not isinstance(variables, dict):
        raise _bad_request("variables must be an object.")
    if extensions is not None and not isinstance(extensions, dict):
        raise _bad_request("extensions must be an object.")
    document_id = None
    if extensions or "documentId" in parameters:
        document_id = _read_document_id(parameters, extensions or {})
    if (document_id is None or query is not None) and (not isinstance(query, str) or not query):
        raise _bad_request("query must be a string with a GraphQL document.")
    return GraphQLRequest(query, name or None, variables or {}, nodes, document_id)


def _read_document_id(parameters: Mapping[str, Any], extensions: Mapping[str, Any]) -> str | None:
    """The id of a persisted document: `documentId`, or Apollo's `extensions.persistedQuery.sha256Hash`."""
    own, automatic = parameters.get("documentId"), extensions.get("persistedQuery")
    if own is not None:
        if parameters.get("query") is not None:
            raise _bad_request("Send documentId or query, not both.")
        return _read_id(own, "documentId")
    if automatic is None:
        return None
    if not isinstance(automatic, dict):
        raise _bad_request("extensions.persistedQuery must be an object.")
    if automatic.get("version") != 1:
        raise RequestRefused("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
    return _read_id(automatic.get("sha256Hash"), "extensions.persistedQuery.sha256Hash")


def _read_id(value: Any, name: str) -> str:
    """A document's id; a SHA-256 in small letters and without its prefix."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_DOCUMENT_ID or not value.isprintable():
        raise _bad_request(f"{name} must be a string of 1 to {LONGEST_DOCUMENT_ID} characters.")
    digest = value.removeprefix("sha256:").lower()
    return digest if is_digest(digest) else value


def _read_ranges(accept: str) -> list[tuple[str, float]]:
    """The media ranges of Accept with their weights (RFC 9110, section 12.5.1); a malformed weight counts as 1."""
    found = []
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weights = [text[2:] for text in parameters if text.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 1.0
        found.append((kind, weight))
    return found


def _weight_of(kind: str, ranges: Mapping[str, float]) -> float:
    """The weight of the most specific range that matches `kind`; 0 when none does."""
    return next((ranges[text] for text in (kind, "application/*", "*/*") if text in ranges), 0.0)


def _bad_request(message: str) -> RequestRefused:
    return RequestRefused("BAD_REQUEST", message, 400)
