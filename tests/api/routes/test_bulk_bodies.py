"""The body of a bulk upload: its media type, JSON lines and arrays."""

import json
from typing import Any

import pytest

from api.errors import RequestRefused
from api.routes.elements import read_elements

LINES = "application/x-ndjson"
MEGABYTE = 2**20
GOOD = b'{"type": "VIEW", "userId": "u1", "itemId": "i1"}'


def read(body: bytes, kind: str) -> list[Any]:
    return list(read_elements({b"content-type": kind.encode()}, body, MEGABYTE))


def refusal(body: bytes, kind: str) -> tuple[int, str]:
    with pytest.raises(RequestRefused) as refused:
        read(body, kind)
    return refused.value.status, refused.value.code


@pytest.mark.parametrize("kind", ["text/csv", "application/x-www-form-urlencoded", f"{LINES}; charset=latin-1", ""])
def test_another_media_type_is_415(kind: str) -> None:
    assert refusal(GOOD, kind) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("kind", [LINES, "application/jsonl", f"{LINES}; charset=UTF-8"])
def test_json_lines_have_several_names(kind: str) -> None:
    assert read(b"\xef\xbb\xbf" + GOOD, kind) == [json.loads(GOOD)]


@pytest.mark.parametrize("body", [b"", b"{", b"7", GOOD])
def test_a_json_body_that_is_not_an_array_is_400(body: bytes) -> None:
    assert refusal(body, "application/json") == (400, "BAD_REQUEST")
