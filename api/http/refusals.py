"""The answer to a request that is refused before it reaches an endpoint. It closes the connection."""

import orjson

from api.errors import RequestRefused, refusal_answer


def refusal_body(refusal: RequestRefused) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the JSON body of the answer."""
    body = orjson.dumps(refusal_answer(refusal))
    headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"private, no-store"),
        (b"connection", b"close"),
    ]
    if refusal.status in (429, 503):
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    return headers, body
