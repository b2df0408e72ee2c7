"""A schema with every kind of field, odd values for it, and operations made at random."""

import asyncio
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from random import Random
from typing import Annotated, Any, cast

import strawberry
from graphql import Undefined
from strawberry.scalars import JSON
from strawberry.schema.config import StrawberryConfig

from api.graphql.execution.columns import Columns, Versioned, kept_as
from api.graphql.planning.pure import pure
from api.graphql.types.connections import Connection, Edge
from api.graphql.types.nodes import Node
from api.graphql.types.permissions import requires
from api.graphql.types.scalars import SCALARS
from engine.catalogue.fragments import Fragments
from tests.kept_texts import new_place


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

    @strawberry.field
    @pure
    def shouted(self, times: int = 1, end: str | None = "!") -> str | None:
        return None if times < 0 else str(self.text).upper() * times + (end or "")

    @strawberry.field
    @pure
    def half(self) -> int:
        return self.count // 2  # raises for odd counts that are no numbers

    @strawberry.field
    @pure
    def reader(self, info: strawberry.Info) -> str:
        return str(info.context.viewer.client_id)


class RowColumns(Columns["Row"]):
    """Rows as columns: two of its fields have one, one has not. The text of a list may be `kept`."""

    changing = frozenset({"share"})

    def __init__(self, rows: list[Any], *, kept: bool = False) -> None:
        self._rows, self.kept = rows, new_place() if kept else None

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, position: int) -> "Row":
        count, leaves, share = self._rows[position]
        return Row(count=count, leaves=leaves, share=share)

    def count(self) -> list[int]:  # type: ignore[override]
        return [row[0] for row in self._rows]

    def leaves(self) -> list[Leaves | None]:
        return [row[1] for row in self._rows]


def there(fails: bool) -> str:
    """Fail, or not."""
    if fails:
        raise LookupError("required")
    return "there"


@kept_as(RowColumns)
@strawberry.type
class Row:
    """An object that lists keep as columns."""

    count: int
    leaves: Leaves | None
    share: float | None

    @strawberry.field
    @pure
    def double(self, plus: int = 0) -> int | None:
        return self.count * 2 + plus


class GoodColumns(Versioned["Good"]):
    """Rows with versions, whose JSON is kept."""

    def __init__(self, rows: list[Any]) -> None:
        self.fragments, self.shared = FRAGMENTS, None
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def row(self, position: int) -> "Good":
        name, leaves = self._rows[position]
        return Good(name=name, leaves=leaves)

    def versions(self) -> Sequence[Hashable]:
        return [ID_OF.setdefault(id(row), (len(ID_OF), row))[0] for row in self._rows]


@kept_as(GoodColumns)
@strawberry.type
class Good:
    """An object with a version."""

    name: str
    leaves: Leaves | None
    alone: strawberry.Private[Any] = None

    @strawberry.field
    @pure
    def called(self, name: str = "?", times: int | None = None) -> str | None:
        return f"{self.name} {name} {times}"


@strawberry.type
class Thing(Node):
    """Plain fields, fields with resolvers, and other Things."""

    leaves: Leaves
    maybe_leaves: Leaves | None
    many: list[Leaves] | None
    page: Connection[Leaves] | None
    next: "Thing | None"
    nexts: list["Thing | None"] | None
    rows: list[Row]
    goods: list[Good] | None
    good: Good | None = None
    either: list[Annotated["Good | Leaves | Thing", strawberry.union("Either")] | None] | None = None

    @strawberry.field(permission_classes=[requires("models:read")])  # type: ignore[untyped-decorator]
    def secret(self) -> str | None:
        return "secret"

    @strawberry.field(permission_classes=[requires("models:read")])  # type: ignore[untyped-decorator]
    async def later_secret(self) -> Leaves | None:
        return self.leaves

    @strawberry.field
    def required(self, fails: bool = False) -> str:
        return there(fails)

    @strawberry.field
    async def later_required(self, fails: bool = False) -> str:
        await asyncio.sleep(0)
        return there(fails)

    @strawberry.field
    @pure
    def leaf(self, at: int | None = 0, among: list[str] | None = None) -> Leaves | None:
        return self.many[at or 0] if self.many and among is None else None

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
        return info.context.value  # type: ignore[no-any-return]

    @strawberry.field
    async def later_thing(self, info: strawberry.Info, twice: bool = True) -> Thing | None:
        await asyncio.sleep(0)
        return info.context.value if twice else None

    @strawberry.field
    async def things(self, info: strawberry.Info) -> list[Thing]:
        return [info.context.value, info.context.value]

    @strawberry.field
    def node(self, info: strawberry.Info) -> Node | None:
        return info.context.value  # type: ignore[no-any-return]


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
NEARLY_GOOD: dict[str, list[Any]] = {  # values that a careless check would take
    "text": [None, Text("x"), 5, b"x"],
    "count": [None, 2**31, -(2**31) - 1, True, 1.0],
    "maybe_count": [2**31, True, 1.0],
    "share": [float("nan"), float("inf"), 1, True],
    "flag": [0, 1, "true"],
    "colour": ["red", "RED", 2],
    "at": [datetime(2026, 1, 1)],  # noqa: DTZ001
    "price": [Decimal("NaN"), 1.5],
    "texts": [None, ("a",), [None], ["a", 1], [Text("x")]],
    "maybe_texts": [("a",), ["a", 1], [True]],
}
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
VARIABLES = {"$yes": "Boolean!", "$no": "Boolean!", "$number": "Int! = 1", "$text": "String!"}
FRAGMENTS = Fragments()
ID_OF: dict[int, Any] = {}  # keeps the rows, so that no two have the same id
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
            setattr(made, name, self.choice(self.choice([ODD, NEARLY_GOOD.get(name, ODD)])))
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
            rows=self.choice(
                [self.rows(), cast(Any, RowColumns([(1, self.leaves(), 0.5)], kept=True)), self.choice([[], *ODD])]
            ),
            goods=self.choice([None, cast(Any, GoodColumns(self.goods())), list(GoodColumns(self.goods()))]),
            good=self.good(),
            either=self.choice([None, [self.good(), self.leaves(), self.good()], [self.thing(0)], self.choice(ODD)]),
        )

    def rows(self) -> Any:
        counts, shares = ([*GOOD[name], *NEARLY_GOOD[name], self.choice(ODD)] for name in ("count", "share"))
        rows = [(self.choice(counts), self.leaves(), self.choice(shares)) for _ in range(3)]
        return self.choice([RowColumns(rows), RowColumns(rows, kept=True), list(RowColumns(rows))])

    def goods(self) -> Any:
        return [(self.choice(["a", "b", "c", *ODD]), self.leaves()) for _ in range(3)]

    def good(self) -> Any:
        if self.random() < 0.1:
            return self.choice(ODD)
        rows = GoodColumns(self.goods()[:1])
        name, leaves = rows._rows[0]
        return Good(name=name, leaves=leaves, alone=self.choice([None, rows]))

    def operation(self) -> str:
        roots = ["thing { %s }", "things { %s }", "node { nodeId ... on Thing { %s } }", "laterThing { %s }"]
        roots += ["a: thing { %s } b: laterThing(twice: $yes) { %s } __typename"]
        root = self.choice(roots)
        selected = root.replace("%s", self.selection())
        fragment = " fragment L on Leaves { maybeText at __typename }" if "...L" in selected else ""
        used = [f"{name}: {type_}" for name, type_ in VARIABLES.items() if name in selected]
        return f"query{f'({chr(44).join(used)})' if used else ''} {{ {selected} }}{fragment}"

    def selection(self, depth: int = 2) -> str:
        kinds = ["nodeId", "resolved", "failing", "__typename", "t: __typename", "n: nodeId @include(if: $yes)"]
        kinds += ["leaves { ...L }", "... on Thing { nodeId many { count } }", "a: leaves { text } a: leaves { count }"]
        kinds += [
            "page { nodes { text count } edges { cursor node { maybeText at } } }",
            "page { pageInfo { endCursor } }",
        ]
        kinds += ["secret", "required", "laterRequired", "required(fails: true)", "laterRequired(fails: $no)"]
        kinds += ["laterSecret { text }", "leaf(at: $number) { text shouted(times: $number) }"]
        kinds += ["rows { count leaves { text half } share }", "rows { double(plus: $number) __typename reads: count }"]
        kinds += ["goods { name called(name: $text, times: $number) leaves { anything shouted reader price } }"]
        kinds += ["goods { called } skipped: goods @skip(if: $no) { name } taken: goods @include(if: $no) { name }"]
        kinds += [
            "many { shouted(times: 2, end: null) half reader s: shouted(times: -1) }",
            "leaf(among: [$text]) { at }",
        ]
        kinds += ["good { name called(name: $text, times: $number) leaves { shouted(times: $number) reader } }"]
        kinds += ["good { n: name leaves { text } }", "either { __typename ... on Good { name called(name: $text) } }"]
        kinds += ["either { ... on Leaves { maybeText at } ... on Thing { resolved } }", "either { ...L __typename }"]
        for name in ("leaves", "maybeLeaves", "many", "awaited"):
            kinds.append(f"{name} {{ {' '.join(self.sample(LEAVES, self.randint(1, 4)))} }}")
        if depth:
            kinds += [f"{name} {{ {self.selection(depth - 1)} }}" for name in ("next", "nexts", "later")]
        return " ".join(self.sample(kinds, self.randint(1, 5)))


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
        rows=[],
        goods=None,
    )
