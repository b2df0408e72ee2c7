"""Errors about documents are short and know no Python."""

import pytest

from api.errors import public_errors
from api.graphql.request.documents import Documents
from api.graphql.request.parsing import DocumentInvalid
from api.graphql.schema import SCHEMA


@pytest.mark.parametrize(
    "query",
    [
        "{ items(first: " + "9" * 90 + ") { nodes { id } } }",
        "{ items(first: null) { nodes { id } } }",
        "{ items(filter: true) { nodes { id } } }",
        "{ items(filter: {price: {min: 1.5}}) { nodes { id } } }",
        '{ trending(window: "' + "x" * 60_000 + '") { nodes { id } } }',
        '{ item(id: "\\ud800") { id } }',
        "{ item(id: " + "[" * 50 + "]" * 50 + ") { id } }",
        "{ " + "a" * 90 + " { " + "b" * 90 + "(" + "c" * 90 + ": 1) } }",
        "query($v: " + "X" * 90 + ") { item(id: $v) { id } }",
        "{ me(" + " ".join(f"a{number}: 1" for number in range(300)) + ") { id } }",
    ],
)
def test_error_texts_are_short_and_know_no_python(query: str) -> None:
    with pytest.raises(DocumentInvalid) as refused:
        Documents(SCHEMA._schema).read(query)
    for error in public_errors(refused.value.errors, "r1", default=refused.value.code):
        assert len(error["message"]) <= 200
        assert "[[" in query or error["locations"]  # graphql-core gives a list in place of a scalar no location
        assert not any(word in error["message"] for word in ("None", "True", "False", "sys.", "Traceback"))
