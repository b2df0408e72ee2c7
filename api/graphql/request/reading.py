"""GraphQL over HTTP, the request half: what was asked, and in which media type the answer is wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from api.errors import RequestRefused
from api.http.endpoint import Headers

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
_OFFERED = (JSON, RESPONSE_JSON)


@dataclass(frozen=True, slots=True)
class GraphQLRequest:
    """One operation to run."""

    query: str
    operation_name: str | None
    variables: dict[str, Any]


def media_type(headers: Headers) -> str:
    """The media type to answer in: `application/json` unless the other is asked for by name or weighs more.

    Raises RequestRefused (406) when the caller takes neither.
    """
    accept = headers.get(b"accept")
    if accept is None or accept == b"*/*" or accept == b"application/json":
        return JSON
    ranges = dict(_ranges(accept.decode("latin-1")))
    quality = {kind: _quality(ranges, kind) for kind in _OFFERED}
    best = max(_OFFERED, key=lambda kind: (quality[kind], kind in ranges, kind == RESPONSE_JSON and kind in ranges))
    if not quality[best]:
        raise RequestRefused("NOT_ACCEPTABLE", f"The answer can be {' or '.join(_OFFERED)}.", 406)
    return best


def wants_page(headers: Headers) -> bool:
    """Whether the caller is a browser that shows pages."""
    return b"text/html" in headers.get(b"accept", b"")


def read_body(headers: Headers, body: bytes) -> GraphQLRequest:
    """The operation in a POST body; raises RequestRefused: 415 for another media type or encoding, 400 otherwise."""
    _check_content(headers)
    try:
        parameters = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _bad("The body is not JSON.") from None
    if isinstance(parameters, list):
        raise _bad("Batches of operations are not answered; send one operation per request.")
    if not isinstance(parameters, dict):
        raise _bad("The body must be a JSON object.")
    return _request(parameters)


def read_query_string(query_string: bytes) -> GraphQLRequest:
    """The operation in a GET request's URL; raises RequestRefused (400)."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise _bad("The URL's query is not readable.") from None
    parameters: dict[str, Any] = {}
    for name, text in pairs:
        if name in parameters:
            raise _bad(f"The parameter {name[:40]} is given twice.")
        parameters[name] = text
    for name in ("variables", "extensions"):
        if parameters.get(name):
            parameters[name] = _json(name, parameters[name])
        else:
            parameters.pop(name, None)
    return _request(parameters)


def _check_content(headers: Headers) -> None:
    kind, _, rest = headers.get(b"content-type", b"").decode("latin-1").partition(";")
    charset = rest.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != JSON or charset not in ("", "utf-8", "utf8"):
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json in UTF-8.", 415)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise RequestRefused("UNSUPPORTED_MEDIA_TYPE", "The body must not be encoded.", 415)


def _request(parameters: dict[str, Any]) -> GraphQLRequest:
    query, name = parameters.get("query"), parameters.get("operationName")
    variables = parameters.get("variables")
    if not isinstance(query, str) or not query:
        raise _bad("query must be a text with a GraphQL document.")
    if name is not None and not isinstance(name, str):
        raise _bad("operationName must be a text.")
    if variables is not None and not isinstance(variables, dict):
        raise _bad("variables must be an object.")
    if not isinstance(parameters.get("extensions"), dict | None):
        raise _bad("extensions must be an object.")
    return GraphQLRequest(query, name or None, variables or {})


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _bad(f"{name} is not JSON.") from None


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Media ranges and their weights, RFC 9110 section 12.5.1; an unreadable weight counts as none given."""
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


def _quality(ranges: Mapping[str, float], kind: str) -> float:
    """The weight of the most specific range that takes `kind`."""
    return next((ranges[text] for text in (kind, "application/*", "*/*") if text in ranges), 0.0)


def _bad(message: str) -> RequestRefused:
    return RequestRefused("BAD_REQUEST", message, 400)
