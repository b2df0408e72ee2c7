"""Documents are prepared once, kept in a bounded store, and their operations are found by name."""

import pytest
from graphql import build_schema

from api.errors import RequestRefused
from api.graphql.request.documents import DocumentInvalid, Documents

SCHEMA = build_schema("type Query { me: String you: String } type Mutation { do: String }")


def test_the_same_text_is_prepared_once() -> None:
    documents = Documents(SCHEMA)
    assert documents.read("{ me }") is documents.read("{ me }")


def test_the_least_recently_used_document_is_dropped() -> None:
    documents = Documents(SCHEMA, size=2)
    first, second = documents.read("{ me }"), documents.read("{ you }")
    documents.read("{ me }")
    documents.read("{ me you }")
    assert len(documents) == 2
    assert documents.read("{ me }") is first
    assert documents.read("{ you }") is not second


def test_long_texts_are_answered_but_not_kept() -> None:
    documents = Documents(SCHEMA)
    documents.read("{ me } #" + "x" * 100_000)
    assert len(documents) == 0


def test_refused_texts_are_not_kept() -> None:
    documents = Documents(SCHEMA)
    for text in ("{ nothing }", "{", "{ " + "me " * 21 + "}"):
        with pytest.raises(RequestRefused):
            documents.read(text)
    assert len(documents) == 0


def test_an_operation_is_chosen_by_name() -> None:
    document = Documents(SCHEMA).read("query A { me } mutation B { do }")
    assert document.operation("A").is_query
    assert not document.operation("B").is_query
    for name in (None, "", "C"):
        with pytest.raises(RequestRefused) as refused:
            document.operation(name)
        assert refused.value.code == "BAD_USER_INPUT"


def test_a_document_of_fragments_alone_is_refused() -> None:
    with pytest.raises(RequestRefused):
        Documents(SCHEMA).read("fragment F on Query { me }").operation(None)


def test_parse_and_validation_errors_have_different_codes() -> None:
    for text, code in (("{ me", "GRAPHQL_PARSE_FAILED"), ("{ mee }", "GRAPHQL_VALIDATION_FAILED")):
        with pytest.raises(DocumentInvalid) as refused:
            Documents(SCHEMA).read(text)
        assert refused.value.code == code


def test_names_of_the_schema_are_suggested_only_when_suggestions_are_shown() -> None:
    with pytest.raises(DocumentInvalid) as hidden:
        Documents(SCHEMA).read("{ yuo }")
    with pytest.raises(DocumentInvalid) as shown:
        Documents(SCHEMA).read("{ yuo }", hide_suggestions=False)
    assert "Did you mean" not in hidden.value.errors[0].message
    assert "Did you mean 'you'?" in shown.value.errors[0].message
