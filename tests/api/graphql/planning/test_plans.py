"""A plan never changes an answer: generated operations over odd values, checked against graphql-core."""

from functools import partial
from typing import Any, cast

import pytest
from graphql import parse
from graphql.execution.values import VariableValues
from strawberry.utils.str_converters import to_camel_case

from api.graphql.execution.executor import Executor
from api.graphql.planning import plans as module
from api.graphql.planning.plan import compile_plan
from api.graphql.planning.plans import Plans
from api.graphql.types.permissions import check_permissions
from engine.viewer import Viewer
from tests.odd_answers import (
    GOOD,
    LEAVES,
    NEARLY_GOOD,
    ODD,
    SCHEMA,
    Good,
    GoodColumns,
    Leaves,
    Maker,
    RowColumns,
    thing,
)
from tests.ways_to_answer import STOCK, Asked, run, run_plan

NOBODY = Viewer("shop", frozenset(), None, 2**33)
OTHERS = {"yes": False, "no": True, "number": -1, "text": "x" * 100}


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 1000, 100)])
def test_every_answer_is_the_same_as_graphql_cores(seeds: range) -> None:
    for seed in seeds:
        maker = Maker(seed)
        text, asked = maker.operation(), Asked(maker.thing())
        for values in ({}, OTHERS):
            expected = run(parse(text), asked, STOCK, values)
            assert run_plan(parse(text), asked, values) == expected, text
            assert run_plan(parse(text), asked, values) == expected, text  # with the fragments that are kept now


@pytest.mark.parametrize("name", sorted(GOOD))
def test_one_odd_value_alone_is_answered_as_by_graphql_core(name: str) -> None:
    field = to_camel_case(name)
    document = parse(f"{{ thing {{ leaves {{ {field} }} many {{ {field} }} goods {{ leaves {{ {field} }} }} }} }}")
    for odd in [*ODD, *NEARLY_GOOD.get(name, ())]:
        value = thing()
        setattr(value.leaves, name, odd)
        value.goods = cast(Any, GoodColumns([("a", value.leaves)]))
        assert run_plan(document, Asked(value)) == run(document, Asked(value), STOCK), odd


def test_one_odd_value_alone_in_a_column_is_answered_as_by_graphql_core() -> None:
    document = parse("{ thing { rows { count share leaves { count } } } }")
    for odd in [*ODD, *NEARLY_GOOD["count"], *NEARLY_GOOD["share"]]:
        for row in ((odd, None, 0.5), (1, odd, 0.5), (1, None, odd)):
            value = thing()
            value.rows = cast(Any, RowColumns([(1, None, 0.5), row]))
            assert run_plan(document, Asked(value)) == run(document, Asked(value), STOCK), odd


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(1000, 1400, 100)])
def test_every_answer_without_permissions_is_the_same_as_the_executors(seeds: range) -> None:
    for seed in seeds:
        maker = Maker(seed)
        text, asked = maker.operation(), Asked(maker.thing(), NOBODY)
        expected = run(parse(text), asked, Executor, check=partial(check_permissions, NOBODY))
        assert run_plan(parse(text), asked) == expected, text


def answered_without_graphql_core(monkeypatch: pytest.MonkeyPatch, text: str, value: Any) -> str:
    def refuse(*_: Any) -> Any:
        raise AssertionError("graphql-core was asked")

    with monkeypatch.context() as patched:
        patched.setattr(Executor, "execute_field", refuse)
        patched.setattr(Executor, "complete_value", refuse)
        return cast(str, run_plan(parse(text), Asked(value)))


def test_attributes_and_pure_resolvers_are_completed_without_graphql_core(monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = " ".join([*LEAVES, "shouted(times: 2) half reader"])
    page = f"page {{ nodes {{ {leaves} }} edges {{ cursor node {{ {leaves} }} }} pageInfo {{ endCursor }} }}"
    text = f"{{ laterThing {{ nodeId many {{ {leaves} }} secret awaited {{ {leaves} }} {page} }} }}"
    answer = answered_without_graphql_core(monkeypatch, text, thing())
    assert answer == run(parse(text), Asked(thing()), STOCK)
    assert '"shouted":"AA!"' in answer


def test_rows_of_columns_are_made_only_for_fields_without_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    value, made = thing(), list[int]()
    value.rows = cast(Any, RowColumns([(1, value.leaves, 0.5), (2, None, 0.25)]))
    make = RowColumns.row
    monkeypatch.setattr(RowColumns, "row", lambda self, at: made.append(at) or make(self, at))  # type: ignore[func-returns-value]
    answer = answered_without_graphql_core(monkeypatch, "{ thing { rows { count leaves { text } } } }", value)
    assert '[{"count":1,"leaves":{"text":"a"}},{"count":2,"leaves":null}]' in answer
    assert made == []
    assert '[{"share":0.5,"double":2},' in answered_without_graphql_core(
        monkeypatch, "{ thing { rows { share double } } }", value
    )
    assert made == [0, 1]


def test_a_kept_list_is_encoded_once_per_selection_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    value, read = thing(), list[object]()
    count = RowColumns.count
    monkeypatch.setattr(RowColumns, "count", lambda self: read.append(self) or count(self))  # type: ignore[func-returns-value]

    def answered(document: str, columns: RowColumns, **values: Any) -> str:
        value.rows = cast(Any, columns)
        return cast(str, run_plan(parse(document), Asked(value), values))

    kept, doubled = (
        RowColumns([(1, None, 0.5)], kept=True),
        "query($n: Int!) { thing { rows { count double(plus: $n) } } }",
    )
    assert '[{"count":1,"leaves":null}]' in answered("{ thing { rows { count leaves { text } } } }", kept)
    assert '[{"count":1,"leaves":null}]' in answered("{ thing { rows { count leaves { text } } } }", kept)
    assert len(read) == 1
    assert ['"double":3' in answered(doubled, kept, n=1), '"double":4' in answered(doubled, kept, n=2)] == [True, True]
    assert '"double":3' in answered(doubled, kept, n=1)
    assert len(read) == 3
    assert '"count":2' in answered(
        "{ thing { rows { count leaves { text } } } }", RowColumns([(2, None, 0.5)], kept=True)
    )
    for columns, document in [
        (kept, "{ thing { rows { count share } } }"),  # one that changes
        (RowColumns([(1, None, 0.5)]), "{ thing { rows { count } } }"),
    ]:
        before = len(read)
        assert answered(document, columns) == answered(document, columns)
        assert len(read) == before + 2


def test_versioned_rows_are_encoded_once_per_selection_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    value, made = thing(), list[int]()
    value.goods = cast(Any, GoodColumns([("a", value.leaves)]))
    make = GoodColumns.row
    monkeypatch.setattr(GoodColumns, "row", lambda self, at: made.append(at) or make(self, at))  # type: ignore[func-returns-value]

    def called(document: str, **values: Any) -> str:
        return cast(str, run_plan(parse(document), Asked(value), values))

    first = called("query($text: String!) { thing { goods { name called(name: $text) } } }", text="one")
    assert '{"name":"a","called":"a one None"}' in first
    again = called("query Other($text: String!) { thing { goods { name called(name: $text) } } }", text="one")
    assert again == first
    assert made == [0]
    assert "a two None" in called("query($text: String!) { thing { goods { name called(name: $text) } } }", text="two")
    assert "a one 3" in called('{ thing { goods { name called(name: "one", times: 3) } } }')
    assert made == [0, 0, 0]


def test_an_object_alone_is_encoded_once_as_a_row_is(monkeypatch: pytest.MonkeyPatch) -> None:
    value = thing()
    columns = GoodColumns([("a", value.leaves)])
    value.goods = cast(Any, columns)
    value.good = Good(name="a", leaves=value.leaves, alone=columns)
    value.either = [value.good, value.leaves]
    in_list = answered_without_graphql_core(monkeypatch, "{ thing { goods { name leaves { count } } } }", value)
    with monkeypatch.context() as patched:
        patched.setattr(GoodColumns, "row", lambda self, at: pytest.fail("a row was made"))
        alone = answered_without_graphql_core(patched, "{ thing { good { name leaves { count } } } }", value)
    encoded = '{"name":"a","leaves":{"count":1}}'
    assert f'"goods":[{encoded}]' in in_list
    assert f'"good":{encoded}' in alone
    text = "{ thing { either { __typename ... on Good { name leaves { count } } ... on Leaves { text } } } }"
    assert answered_without_graphql_core(monkeypatch, text, value) == run(parse(text), Asked(value), STOCK)


def test_a_resolver_that_is_not_pure_runs_once_whatever_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    value = thing()
    value.leaves.text = cast(Any, None)
    field = cast(Any, type(value)).__strawberry_definition__.get_field("awaited")
    calls, resolve = list[Any](), field.base_resolver.wrapped_func

    async def counted(self: Any) -> Leaves | None:
        calls.append(self)
        return cast(Leaves | None, await resolve(self))

    monkeypatch.setattr(field.base_resolver, "wrapped_func", counted)
    answer = run_plan(parse("{ thing { awaited { count text } } }"), Asked(value))
    assert answer == run(parse("{ thing { awaited { count text } } }"), Asked(value), STOCK)
    assert "Cannot return null for non-nullable field Leaves.text." in str(answer)
    assert len(calls) == 2  # once for each answer


def test_other_fields_of_an_object_that_fails_end_in_the_background() -> None:
    for text in (
        "{ thing { later { nodeId } awaited { text } required(fails: true) laterRequired } }",
        "{ a: thing { laterRequired(fails: true) laterSecret { text } } b: laterThing { required } }",
    ):
        asked = Asked(thing())
        assert run_plan(parse(text), asked) == run(parse(text), asked, STOCK), text


def executor_of(document: str, **values: Any) -> Executor:
    made = Executor.build(SCHEMA._schema, parse(document), None, Asked(thing()), values)
    assert isinstance(made, Executor)
    return made


def found(plans: Plans, document: str, **values: Any) -> Any:
    executor = executor_of(document, **values)
    return plans.find(executor.variable_values, lambda: executor)


def test_an_operation_gets_a_plan_when_it_is_asked_again() -> None:
    plans, text = Plans(), "{ thing { nodeId } }"
    assert [found(plans, text) is None for _ in range(5)] == [True, True, True, False, False]
    assert found(plans, text) is found(plans, text)


def test_there_is_a_plan_for_each_value_of_the_variables_in_directives() -> None:
    plans, text = Plans(), "query($yes: Boolean!, $text: String!) { thing { nodeId @include(if: $yes) required } }"
    for _ in range(3):
        found(plans, text, yes=True, text="")
    first = found(plans, text, yes=True, text="a")
    assert found(plans, text, yes=True, text="b") is first
    assert found(plans, text, yes=False, text="a") is not first
    assert found(plans, text, yes=True, text="c") is first


def test_more_values_of_directives_than_are_kept_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[Executor] = []

    def compile_one(executor: Executor) -> Any:
        compiled.append(executor)
        return compile_plan(executor)

    monkeypatch.setattr(module, "compile_plan", compile_one)
    plans, names = Plans(), [f"v{number}" for number in range(4)]
    declared = " ".join(f"${name}: Boolean!" for name in names)
    text = f"query({declared}) {{ thing {{ nodeId {' '.join(f'{n}: nodeId @include(if: ${n})' for n in names)} }} }}"
    for _ in range(2):
        for bits in range(2 ** len(names)):
            found(plans, text, **{name: bool(bits >> at & 1) for at, name in enumerate(names)})
    assert len(compiled) == module._MAX_PLANS


def test_what_only_graphql_core_can_execute_has_no_plan() -> None:
    assert compile_plan(executor_of("{ __schema { queryType { name } } }")) is None


def test_arguments_without_variables_are_read_when_the_plan_is_made() -> None:
    document = (
        'query($text: String) { thing { secret leaf(at: 0) { shouted(times: 2, end: "?") a: shouted(end: $text) } } }'
    )
    plan = compile_plan(executor_of(document, text="t"))
    assert plan is not None
    thing_step = plan.fields.steps[0]
    assert thing_step.fields is not None
    leaf = thing_step.fields.steps[1]
    assert leaf.call is not None and leaf.complete is not None
    assert leaf.call.arguments.constant == {"at": 0, "among": None}
    assert [one.constant for one in leaf.complete.arguments] == [{"times": 2, "end": "?"}, None]
    assert leaf.complete.arguments[1].read(VariableValues({}, {"text": "t"}), cast(Any, None)) == {
        "times": 1,
        "end": "t",
    }


def test_pure_resolvers_get_the_context() -> None:
    assert '"reader":"shop"' in str(run_plan(parse("{ thing { many { reader } } }"), Asked(thing())))
