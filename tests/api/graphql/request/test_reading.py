"""The operation of an HTTP request and the media type of its answer are read strictly."""

import pytest

from api.errors import RequestRefused
from api.graphql.request.reading import GraphQLRequest, choose_media_type, read_body, read_query_string

HEADERS = {b"content-type": b"application/json"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("application/json", "application/json"),
        ("application/graphql-response+json", "application/graphql-response+json"),
        ("application/graphql-response+json, application/json;q=0.9", "application/graphql-response+json"),
        ("application/json, application/graphql-response+json;q=0.9", "application/json"),
        ("application/graphql-response+json, application/json, text/event-stream", "application/graphql-response+json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/json;q=high", "application/json"),
    ],
)
def test_the_media_type_follows_the_weights_of_accept(accept: str | None, kind: str) -> None:
    assert choose_media_type({b"accept": accept.encode()} if accept else {}) == kind


@pytest.mark.parametrize("accept", ["text/plain", "application/json;q=0", "text/*, image/png", ""])
def test_an_accept_header_may_allow_neither_media_type(accept: str) -> None:
    assert choose_media_type({b"accept": accept.encode()}) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"1",
        b'"{ hello }"',
        b"[]",
        b'[{"query":"{ hello }"}]',
        b"{}",
        b'{"query":null}',
        b'{"query":""}',
        b'{"query":1}',
        b'{"query":["{ hello }"]}',
        b'{"query":"{ hello }","variables":[]}',
        b'{"query":"{ hello }","variables":"{}"}',
        b'{"query":"{ hello }","variables":{"a":NaN}}',
        b'{"query":"{ hello }","operationName":1}',
        b'{"query":"{ hello }","extensions":[]}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_bodies_without_a_graphql_request_are_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_body(HEADERS, body)
    assert (refused.value.status, refused.value.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "query_string",
    [
        "",
        "query=",
        "query={hello}&query={hello}",
        "query={hello}&variables={",
        "query={hello}&variables=[]",
        "query=%ff",
        "a=1&" * 100,
    ],
)
def test_urls_without_a_graphql_request_are_refused(query_string: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_query_string(query_string.encode())
    assert (refused.value.status, refused.value.code) == (400, "BAD_REQUEST")


def test_null_parameters_count_as_left_out() -> None:
    body = b'{"query":"{ a }","variables":null,"operationName":null,"extensions":null,"other":1}'
    assert read_body(HEADERS, body) == GraphQLRequest("{ a }", None, {}, 7)  # the brace in the text may be a value
    query_string = b"query={+a+}&variables=&operationName=&extensions="
    assert read_query_string(query_string) == GraphQLRequest("{ a }", None, {}, 0)
