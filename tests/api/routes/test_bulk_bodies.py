"""The body of a bulk upload: its media type, JSON lines and arrays."""

import json
from typing import Any

import orjson
import pytest

from api.errors import RequestRefused
from api.routes import elements
from api.routes.elements import read_elements, unpack
from core.errors import TooManyElements

LINES = "application/x-ndjson"
MEGABYTE = 2**20
GOOD = b'{"type": "VIEW", "userId": "u1", "itemId": "i1"}'


def read(body: bytes, kind: str) -> list[Any]:
    return list(read_elements(*unpack({b"content-type": kind.encode()}, body, MEGABYTE)))


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


MANY = b"[" + b"[]," * 300_000 + b"[]]"


@pytest.mark.parametrize(
    "element", [b'{"a": ' + MANY + b"}", b'{"a": [' + b"1," * 50_000 + b"1]}", b"[" + b'{"a":' * 60_000]
)
def test_a_body_with_very_many_values_is_413(element: bytes) -> None:
    assert refusal(b"[" + element + b"]", "application/json") == (413, "PAYLOAD_TOO_LARGE")
    assert refusal(GOOD + b"\n" + element, LINES) == (413, "PAYLOAD_TOO_LARGE")


def test_very_many_values_in_many_lines_are_413() -> None:
    line = b'{"a": [' + b"1," * 200 + b"1]}\n"
    assert len(read(line * 240, LINES)) == 240
    assert refusal(line * 260, LINES) == (413, "PAYLOAD_TOO_LARGE")


def test_very_many_objects_and_lists_are_refused_before_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making them takes a tenth of a second a megabyte, in one stretch of the event loop."""
    monkeypatch.setattr(elements, "orjson", None)
    for body in (MANY, b'["\\"[", ' + MANY, b'{"a": ' * 60_000):
        assert refusal(body, "application/json") == (413, "PAYLOAD_TOO_LARGE")


def test_brackets_inside_texts_are_not_counted() -> None:
    text = "[{" * 100_000 + '"\\'
    assert read(json.dumps([{"id": text}]).encode(), "application/json") == [{"id": text}]
    assert read(json.dumps({"id": text}).encode(), LINES) == [{"id": text}]


def test_blank_lines_are_skipped_and_counted() -> None:
    body = b"\r\n" * 200_000 + GOOD + b"\r\n" + b" \t\n" * 100_000 + b"  {} broken\n" + b"\n" * 100_000 + GOOD
    first, broken, last = read(body, LINES)
    assert first == last == json.loads(GOOD)
    assert broken.message == "Line 300002 is not JSON: see its character 4."


def test_more_than_500_lines_are_refused_without_reading_all(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    loads = orjson.loads

    def counted(line: bytes) -> Any:
        lines.append(line)
        return loads(line)

    monkeypatch.setattr(orjson, "loads", counted)
    with pytest.raises(TooManyElements):
        read(b"1\n" * 200_000, LINES)
    assert len(lines) == 500


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"id": "\xed\xa0\x80"}', "is not UTF-8"),
        (b'{"id": "\\ud800"}', "is not JSON: see its character 9"),
        (b"\x00", "is not JSON: see its character 1"),
        (b'{"id": "a\x00"}', "is not JSON: see its character 10"),
        (b'{"id": NaN}', "is not JSON: see its character 8"),
        (b'{"id": 1e999}', "is not JSON"),
        (b"[" * 2_000, "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b"{'id': 1}", "is not JSON: see its character 2"),
        (b"[1]", "is not an object"),
        (b"null", "is not an object"),
    ],
)
def test_a_line_that_is_no_object_is_rejected_in_plain_words_and_its_neighbours_are_kept(
    line: bytes, reason: str
) -> None:
    before, bad, after = read(GOOD + b"\n" + line + b"\n" + GOOD, LINES)
    assert before == after == json.loads(GOOD)
    assert (bad.index, bad.outcome, bad.code) == (1, "REJECTED", "BAD_REQUEST")
    assert bad.message.startswith(f"Line 2 {reason}") and len(bad.message) < 60


@pytest.mark.parametrize("kind", ["application/json;charset=utf-16", "application/json; charset=utf-8; charset=utf-7"])
def test_another_charset_is_415(kind: str) -> None:
    assert refusal(b"[]", kind) == (415, "UNSUPPORTED_MEDIA_TYPE")
