"""The documents of the benchmark `hostile`: each is refused, or found valid, in less than a second of one core."""

from time import thread_time

import pytest

from api.errors import RequestRefused
from api.graphql.request.documents import Documents
from api.graphql.schema import SCHEMA
from benchmarks.hostile_documents import nested, repeating, texts

DEEP = 20_000  # literals inside each other
ATTACKS = {
    "texts": texts(),
    "nested": nested(),
    "repeating": repeating(),
    "deeper": [
        f"{{ items(ids: {'[' * DEEP}{']' * DEEP}) {{ totalCount }} }}",
        f"{{ trending(filter: {'{a:' * DEEP}1{'}' * (65_000 - 3 * DEEP)} }}",
    ],
}
VALID = {"texts": 7, "nested": 1, "repeating": 1, "deeper": 0}  # comments, spaces and a few long values are allowed


@pytest.fixture(scope="module")
def documents() -> Documents:
    """A store that has made the types of the schema."""
    prepared = Documents(SCHEMA._schema)
    prepared.prepare("{ __typename }")
    return prepared


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_hostile_document_takes_less_than_a_second(documents: Documents, kind: str) -> None:
    valid = 0
    for text in ATTACKS[kind]:
        began = thread_time()
        try:
            documents.prepare(text)
            valid += 1
        except RequestRefused:
            pass
        took = thread_time() - began
        assert took < 1, text[:200]
    assert valid == VALID[kind]
