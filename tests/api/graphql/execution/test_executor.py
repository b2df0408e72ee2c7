"""The fast path never changes an answer: generated operations over odd values, checked against graphql-core."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Any

import pytest
import strawberry
from graphql import DocumentNode, ExecutionResult, Undefined, execute, parse
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from api.graphql.execution.executor import Executor, Selections
from api.graphql.types.connections import Connection, Edge
from api.graphql.types.nodes import Node
from api.graphql.types.scalars import SCALARS


@strawberry.enum
class Colour(Enum):
    """An enum, which GraphQL writes by the names of its members."""

    RED = "red"
    BLUE = 2


@strawberry.type
class Leaves:
    """Every kind of leaf, required and nullable."""

    text: str
    maybe_text: str | None
    count: int
    maybe_count: int | None
    share: float | None
    flag: bool | None
    colour: Colour | None
    at: datetime | None
    price: Decimal | None
    anything: JSON | None
    texts: list[str]
    maybe_texts: list[str | None] | None


@strawberry.type
class Thing(Node):
    """Plain fields, fields with resolvers, and other Things."""

    leaves: Leaves
    maybe_leaves: Leaves | None
    many: list[Leaves] | None
    page: Connection[Leaves] | None
    next: "Thing | None"
    nexts: list["Thing | None"] | None

    @strawberry.field
    def resolved(self) -> str:
        return "resolved"

    @strawberry.field
    async def awaited(self) -> Leaves | None:
        return self.leaves

    @strawberry.field
    def failing(self) -> str | None:
        raise ValueError("failed")

    @strawberry.field
    async def later(self) -> "Thing | None":
        await asyncio.sleep(0)
        return self.next


@strawberry.type
class Query:
    """Returns the value of the test."""

    @strawberry.field
    def thing(self, info: strawberry.Info) -> Thing | None:
        return info.context  # type: ignore[no-any-return]

    @strawberry.field
    async def things(self, info: strawberry.Info) -> list[Thing]:
        return [info.context, info.context]

    @strawberry.field
    def node(self, info: strawberry.Info) -> Node | None:
        return info.context  # type: ignore[no-any-return]


SCHEMA = strawberry.Schema(Query, types=[Thing], config=StrawberryConfig(scalar_map=SCALARS))


class Text(str):
    """A subclass of str."""


async def soon() -> str:
    """An awaitable in an unexpected place."""
    return "soon"


class Awaitable:
    """An object that can be awaited many times."""

    def __await__(self) -> Any:
        return soon().__await__()


ODD: list[Any] = [
    None,
    Undefined,
    Text("x"),
    2**31,
    -(2**31) - 1,
    1.0,
    float("nan"),
    float("inf"),
    True,
    "red",
    "RED",
    2,
]
ODD += [b"x", ValueError("as a value"), (), ("a", "b"), {"a": "b"}, [None], ["a", 1], [[]], {1}, object, Awaitable()]
ODD += [datetime(2026, 1, 1), Decimal("NaN"), LookupError, Colour.RED]  # noqa: DTZ001
GOOD: dict[str, list[Any]] = {
    "text": ["", "a"],
    "maybe_text": [None, "a"],
    "count": [0, 2**31 - 1, -(2**31)],
    "maybe_count": [None, 1],
    "share": [None, 0.5, -0.0],
    "flag": [None, True],
    "colour": [None, *Colour],
    "at": [None, datetime(2026, 1, 1, tzinfo=UTC)],
    "price": [None, Decimal("1.50")],
    "anything": [None, {"a": [1, None]}, "a", 0],
    "texts": [[], ["a", "b"]],
    "maybe_texts": [None, [None, "a"]],
}
LEAVES = "text maybeText count maybeCount share flag colour at price anything texts maybeTexts __typename".split()


def page_of(*nodes: Any) -> Connection[Any]:
    """A page of a list; its GraphQL type is generic."""
    return Connection.of([Edge(cursor=str(at), node=node) for at, node in enumerate(nodes)], None, more=False)


class Maker(Random):
    """Makes values and operations, some of them odd. The same seed makes the same ones."""

    def leaves(self) -> Any:
        if self.random() < 0.1:
            return self.choice(ODD)
        made = Leaves(**{name: self.choice(values) for name, values in GOOD.items()})
        for name in self.sample(sorted(GOOD), self.choice([0, 0, 1, 2])):
            setattr(made, name, self.choice(ODD))
        if self.random() < 0.05:
            delattr(made, self.choice(sorted(GOOD)))
        return made

    def thing(self, depth: int = 2) -> Any:
        if depth < 0 or self.random() < 0.1:
            return self.choice(ODD)
        return Thing(
            node_id=strawberry.ID("t1"),
            leaves=self.leaves(),
            maybe_leaves=self.choice([None, self.leaves()]),
            many=self.choice([None, [self.leaves(), self.leaves()], self.choice(ODD)]),
            page=self.choice([None, page_of(self.leaves(), self.leaves()), self.choice(ODD)]),
            next=self.choice([None, self.thing(depth - 1)]),
            nexts=self.choice([None, [self.thing(depth - 1), None], self.choice(ODD)]),
        )

    def operation(self) -> str:
        root = self.choice(["thing { %s }", "things { %s }", "node { nodeId ... on Thing { %s } }"])
        selected = root % self.selection()
        fragment = " fragment L on Leaves { maybeText at __typename }" if "...L" in selected else ""
        return f"query{'($yes: Boolean!)' if '$yes' in selected else ''} {{ {selected} }}{fragment}"

    def selection(self, depth: int = 2) -> str:
        kinds = ["nodeId", "resolved", "failing", "__typename", "t: __typename", "n: nodeId @include(if: $yes)"]
        kinds += ["leaves { ...L }", "... on Thing { nodeId many { count } }", "a: leaves { text } a: leaves { count }"]
        kinds += [
            "page { nodes { text count } edges { cursor node { maybeText at } } }",
            "page { pageInfo { endCursor } }",
        ]
        for name in ("leaves", "maybeLeaves", "many", "awaited"):
            kinds.append(f"{name} {{ {' '.join(self.sample(LEAVES, self.randint(1, 4)))} }}")
        if depth:
            kinds += [f"{name} {{ {self.selection(depth - 1)} }}" for name in ("next", "nexts", "later")]
        return " ".join(self.sample(kinds, self.randint(1, 5)))


def run(document: DocumentNode, context: Any, executor: type[Any], **more: Any) -> str:
    """Data and errors as text, so that the order of keys counts and NaN is equal to itself."""

    async def asked() -> ExecutionResult:
        result = execute(
            SCHEMA._schema,
            document,
            context_value=context,
            variable_values={"yes": True},
            executor_class=executor,
            **more,
        )
        answer = result if isinstance(result, ExecutionResult) else await result
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
        return answer

    result = asyncio.run(asked())
    errors = [(error.message, error.path, error.locations, type(error.original_error)) for error in result.errors or ()]
    return repr((result.data, sorted(errors, key=repr)))


@pytest.mark.parametrize("seeds", [range(start, start + 100) for start in range(0, 600, 100)])
def test_every_answer_is_the_same_as_graphql_cores(seeds: range) -> None:
    for seed in seeds:
        maker = Maker(seed)
        text, context = maker.operation(), maker.thing()
        document = parse(text)
        expected = run(document, context, StrawberryGraphQLCoreExecutionContext)
        assert run(document, context, Executor) == expected, text
        if "@" not in text:
            shared = Selections()
            assert run(document, context, Executor, selections=shared) == expected, text
            assert run(document, context, Executor, selections=shared) == expected, text


def thing() -> Thing:
    leaves = Leaves(
        text="a",
        maybe_text=None,
        count=1,
        maybe_count=None,
        share=0.5,
        flag=True,
        colour=Colour.BLUE,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        price=Decimal("1.50"),
        anything=JSON({"a": 1}),
        texts=["a"],
        maybe_texts=[None],
    )
    return Thing(
        node_id=strawberry.ID("t1"),
        leaves=leaves,
        maybe_leaves=None,
        many=[leaves],
        page=page_of(leaves),
        next=None,
        nexts=None,
    )


def test_a_plain_subtree_is_completed_without_graphql_core(monkeypatch: Any) -> None:
    asked: list[str] = []
    original = Executor.execute_field

    def counted(self: Executor, parent: Any, source: Any, details: Any, *rest: Any) -> Any:
        asked.append(details[0].node.name.value)
        return original(self, parent, source, details, *rest)

    monkeypatch.setattr(Executor, "execute_field", counted)
    leaves = " ".join(LEAVES)
    page = f"page {{ nodes {{ {leaves} }} edges {{ cursor node {{ {leaves} }} }} pageInfo {{ endCursor }} }}"
    answer = run(parse(f"{{ thing {{ nodeId resolved many {{ {leaves} }} {page} }} }}"), thing(), Executor)
    assert asked == ["thing", "resolved"]
    assert "'colour': 'BLUE'" in answer


def test_the_selections_of_an_operation_are_collected_once() -> None:
    document, shared = parse("{ thing { nodeId leaves { text } resolved } }"), Selections()
    run(document, thing(), Executor, selections=shared)
    sizes = len(shared.fields), len(shared.splits), len(shared.completers)
    for _ in range(5):
        run(document, thing(), Executor, selections=shared)
    assert (len(shared.fields), len(shared.splits), len(shared.completers)) == sizes
