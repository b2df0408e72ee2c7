"""The fast path never changes an answer: generated operations over odd values, checked against graphql-core."""

from typing import Any

import pytest
from graphql import parse

from api.graphql.execution.executor import Executor, Selections
from tests.odd_answers import LEAVES, Maker, thing
from tests.ways_to_answer import STOCK, Asked, run


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 600, 100)])
def test_every_answer_is_the_same_as_graphql_cores(seeds: range) -> None:
    for seed in seeds:
        maker = Maker(seed)
        text, asked = maker.operation(), Asked(maker.thing())
        document = parse(text)
        expected = run(document, asked, STOCK)
        assert run(document, asked, Executor) == expected, text
        if "@" not in text:
            shared = Selections()
            assert run(document, asked, Executor, selections=shared) == expected, text
            assert run(document, asked, Executor, selections=shared) == expected, text


def test_a_plain_subtree_is_completed_without_graphql_core(monkeypatch: Any) -> None:
    asked: list[str] = []
    original = Executor.execute_field

    def counted(self: Executor, parent: Any, source: Any, details: Any, *rest: Any) -> Any:
        asked.append(details[0].node.name.value)
        return original(self, parent, source, details, *rest)

    monkeypatch.setattr(Executor, "execute_field", counted)
    leaves = " ".join(LEAVES)
    page = f"page {{ nodes {{ {leaves} }} edges {{ cursor node {{ {leaves} }} }} pageInfo {{ endCursor }} }}"
    answer = run(parse(f"{{ thing {{ nodeId resolved many {{ {leaves} }} {page} }} }}"), Asked(thing()), Executor)
    assert asked == ["thing", "resolved"]
    assert '"colour":"BLUE"' in answer


def test_the_selections_of_an_operation_are_collected_once() -> None:
    document, shared = parse("{ thing { nodeId leaves { text } resolved } }"), Selections()
    run(document, Asked(thing()), Executor, selections=shared)
    sizes = len(shared.fields), len(shared.splits), len(shared.completers)
    for _ in range(5):
        run(document, Asked(thing()), Executor, selections=shared)
    assert (len(shared.fields), len(shared.splits), len(shared.completers)) == sizes
