"""Documents are prepared once, kept in a bounded store, and their operations are found by name."""

import pytest
from graphql import build_schema

from api.errors import RequestRefused
from api.graphql.request.documents import Documents
from api.graphql.request.parsing import DocumentInvalid

SCHEMA = build_schema("type Query { me: String you: String } type Mutation { do: String }")


def test_the_same_text_is_prepared_once() -> None:
    documents = Documents(SCHEMA)
    assert documents.read("{ me }") is documents.read("{ me }")


def test_the_least_recently_used_document_is_dropped() -> None:
    documents = Documents(SCHEMA, max_tokens=60)  # two documents of five tokens, and 20 for each document
    first, second = documents.read("{ me }"), documents.read("{ you }")
    documents.read("{ me }")
    documents.read("{ me you }")
    assert len(documents) == 2
    assert documents.read("{ me }") is first
    assert documents.read("{ you }") is not second


def test_long_texts_are_answered_but_not_kept() -> None:
    documents = Documents(SCHEMA)
    documents.read("{ me } #" + "x" * 10_000)
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


def refusal(text: str) -> tuple[str, str]:
    with pytest.raises(RequestRefused) as refused:
        Documents(SCHEMA).read(text)
    return refused.value.code, str(refused.value)


def test_the_store_is_bounded_by_the_tokens_it_keeps() -> None:
    documents = Documents(SCHEMA, max_tokens=1_000)
    for number in range(300):
        documents.read("{ me " + f"a{number % 100}: you " * (number % 20) + f"}} #{number}")
        assert documents.tokens <= 1_000
    assert 1 < len(documents) < 50
    assert documents.tokens == sum(document.tokens + 20 for document in documents._kept.values())


def test_a_document_that_is_kept_already_is_not_counted_again() -> None:
    documents = Documents(SCHEMA)
    document = documents.read("{ me }")
    tokens = documents.tokens
    documents.keep("{ me }", document)
    assert documents.tokens == tokens


@pytest.mark.parametrize("filling", ["#" + "x" * 65_536, "#" + "\u00e4" * 32_768, " " * 65_536, ',"' + "x" * 65_536])
def test_documents_longer_than_64_kb_are_refused_before_they_are_parsed(
    monkeypatch: pytest.MonkeyPatch, filling: str
) -> None:
    monkeypatch.setattr("api.graphql.request.parsing.parse", None)
    assert refusal("{ me } " + filling) == ("QUERY_TOO_COMPLEX", "The document is longer than 65536 bytes.")


@pytest.mark.parametrize(
    "text",
    [
        "{ me(a: " + "[" * 65 + "]" * 65 + ") }",
        "{ me(a: " + "[" * 200 + "]" * 200 + ") }",
        "{ me(a: " + "[" * 1_900,
        "{ me(a: " + "{a: " * 200 + "1" + "}" * 200 + ") }",
        "{ me(a: " + "{a: " * 600,
        "{ me " * 100 + "}" * 100,
        "{ me " * 300 + "}" * 300,
        "{ ... " * 90 + "{ me }" + "}" * 90,
        "query ($a: " + "[" * 200 + "Int" + "]" * 200 + ") { me }",
        "{ me }" + "".join(f"fragment F{n} on Query {{ ...F{n + 1} }}" for n in range(100)) + "{ ...F0 }",
    ],
)
def test_deep_nesting_is_called_what_it_is(text: str) -> None:
    code, message = refusal(text)
    assert (code, "nested too deeply" in message) == ("QUERY_TOO_COMPLEX", True)
    assert "variables" not in message


@pytest.mark.parametrize("number", ["1" * 10_000, "-" + "1" * 101, "1." + "1" * 10_000, "1e" + "1" * 5_000])
def test_a_number_of_many_digits_is_refused_with_its_place(number: str) -> None:
    with pytest.raises(DocumentInvalid) as refused:
        Documents(SCHEMA).read(f"{{ me(a: {number}) }}")
    assert refused.value.code == "GRAPHQL_VALIDATION_FAILED"
    assert str(refused.value) == "A number in the document is longer than 100 characters."
    assert [(place.line, place.column) for place in refused.value.errors[0].locations or ()] == [(1, 9)]


def test_a_name_of_many_characters_is_refused() -> None:
    assert "A name in the document" in refusal("{ " + "a" * 60_000 + " }")[1]
    assert Documents(SCHEMA).read("{ " + "a" * 100 + ": me }")
