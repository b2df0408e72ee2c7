"""Random values for every input type of a schema: right ones, odd ones and wrong ones."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLScalarType,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
)

_NAME = re.compile("[_A-Za-z][_0-9A-Za-z]*", re.ASCII)
MOST_KEPT = 200  # values learned for one name
DEEPEST = 4  # levels of input objects


@dataclass(frozen=True, slots=True)
class Name:
    """A value written without quotes in a document, such as the member of an enum; a string in JSON."""

    text: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable in a document."""

    name: str


TEXTS: list[str] = [
    "", " ", "a", "1", "0", "-1", "null", "true", "home", "EUR", "eur", "EURO", "CH", "nobody", "__typename",
    "$v", "%s", "é", "\u0301", "日本語", "🛒", "a\u200bb", "\u202e", "\ufeff", "\x00", "a\x00b", "\x1b[0m", "\n",
    "\t", "\r\n", '"', "\\", "'; DROP TABLE items; --", "{{7*7}}", "../../etc/passwd", "http://a.example/x",
    "javascript:alert(1)", "\ud800", "urn:penchant:guest:a", "urn:penchant:", "x" * 128, "x" * 129, "x" * 1025,
    "x" * 20_001, "é" * 128, "P7D", "NaN", "1e400", "1.5", "2026-01-01T00:00:00Z", "9" * 30, "9" * 400, "[]",
    "{}",
]  # fmt: skip
NUMBERS: list[int] = [0, 1, 2, 3, 10, 20, 100, 101, 500, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**53 + 1,
                      2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**400]  # fmt: skip
SHARES: list[float] = [0.0, -0.0, 0.5, 1.0, 1.5, -1.5, 1e-320, 1e308, 1e17, float("nan"), float("inf")]
TIMES = [
    "2026-01-01T00:00:00Z", "2026-10-20T12:34:56.789012345+14:00", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z", "2026-01-01",
    "2026-01-01T00:00:00", "2026-01-01t00:00:00z", "-2026-01-01T00:00:00Z", "2026-01-01T00:00:00+99:99",
    "1990-01-01T00:00:00Z", "1989-12-31T23:59:59Z", "2300-01-01T00:00:00Z",
]  # fmt: skip
DURATIONS = ["P7D", "PT12H", "P1W", "P0D", "PT0S", "P28D", "P365D", "P99999W", "P999999D", "PT1S", "PT99999999999S",
             "P1M", "P1Y", "P", "PT", "-P1D", "P1.5D", "p7d"]  # fmt: skip
DECIMALS: list[Any] = ["1.50", "0", "-0", "0.0001", "12.90", "-1", "99999999999.9999", "9" * 28, "9" * 29, "1e3", "1_0",
                       "NaN", "-Infinity", "0." + "1" * 18, "0." + "1" * 19, " 1", 1, 0, -1, 10**20, 1.5, True,
                       ""]  # fmt: skip
SCALARS: dict[str, list[Any]] = {  # the first four are ordinary
    "Int": [10, 1, 2, 3, *NUMBERS],
    "Float": [0.5, 1.5, *SHARES],
    "Boolean": [True, False],
    "DateTime": TIMES,
    "Duration": DURATIONS,
    "Decimal": DECIMALS,
}


@dataclass
class ValueMaker:
    """Makes values from `random`. `odd` is the share of wrong ones; `learned` has values of earlier answers by name.

    `pools` has values that exist, by the name of the argument or input field.
    """

    random: Random
    pools: Mapping[str, list[str]] = field(default_factory=dict)
    odd: float = 0.0
    learned: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def value(self, type: GraphQLInputType, name: str, depth: int = 0) -> Any:
        """A value for an argument, variable or input field with this name."""
        if self.chance(self.odd):
            return self.anything()
        if is_non_null_type(type):
            return self._given(type.of_type, name, depth)
        return None if self.chance(0.03) else self._given(type, name, depth)

    def _given(self, type: GraphQLInputType, name: str, depth: int) -> Any:
        if is_list_type(type):
            return self._list(type.of_type, name, depth)
        if isinstance(type, GraphQLEnumType):
            return Name(self.random.choice([*type.values]))
        if isinstance(type, GraphQLInputObjectType):
            return self._object(type, depth)
        assert isinstance(type, GraphQLScalarType)
        return self._scalar(type.name, name)

    def anything(self, depth: int = 2) -> Any:
        """A value of any kind."""
        kinds: list[Callable[[], Any]] = [
            lambda: None,
            lambda: self.random.choice([True, False]),
            lambda: self.random.choice(TEXTS),
            lambda: self.random.choice(NUMBERS),
            lambda: self.random.choice(SHARES),
            lambda: Name(self.random.choice(["VIEW", "NOT_A_MEMBER", "nan", "Item"])),
            lambda: Variable("undeclared"),
        ]
        if depth:
            kinds.append(lambda: [self.anything(depth - 1) for _ in range(self.random.randint(0, 3))])
            kinds.append(lambda: {self._key(): self.anything(depth - 1) for _ in range(self.random.randint(0, 3))})
        return self.random.choice(kinds)()

    def learn(self, answer: Any) -> None:
        """Keep the strings of an answer under the names of their fields: a cursor is sent as `after` later."""
        if isinstance(answer, dict):
            for name, value in answer.items():
                if isinstance(value, str):
                    self._keep("after" if "ursor" in name else name, value)
                self.learn(value)
        elif isinstance(answer, list):
            for value in answer:
                self.learn(value)

    def chance(self, share: float) -> bool:
        """True for this share of the calls."""
        return self.random.random() < share

    def _keep(self, name: str, value: str) -> None:
        kept = self.learned[name]
        if len(kept) < MOST_KEPT:
            kept.append(value)
        else:
            kept[self.random.randrange(MOST_KEPT)] = value

    def _list(self, element: GraphQLInputType, name: str, depth: int) -> Any:
        if self.chance(self.odd):  # GraphQL makes a list of a single value
            return self.value(element, name, depth)
        size = self.random.choice([0, 1, 1, 2, 2, 3, 5]) if self.chance(0.98) else self.random.choice([50, 500, 501])
        if size > 5 and depth:
            size = 5
        return [self.value(element, name, depth) for _ in range(size)]

    def _object(self, type: GraphQLInputObjectType, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, part in type.fields.items():
            needed = is_required_input_field(part)
            wanted = not self.chance(self.odd) if needed else self.chance(0.4 if depth < DEEPEST else 0.02)
            if wanted:
                made[name] = self.value(part.type, name, depth + 1)
        if self.chance(self.odd / 2):
            made[self._key()] = self.anything()
        return made

    def _scalar(self, type: str, name: str) -> Any:
        if name == "first" and self.chance(0.9):
            return self.random.choice([1, 1, 2, 3])
        choices = SCALARS.get(type)
        if choices is not None:
            return self.random.choice(choices[:4] if self.chance(0.5) else choices)
        if type == "JSON":
            return {self._key(): self.anything() for _ in range(self.random.randint(0, 4))}
        if type == "_Any":
            kind = self.random.choice(["Item", "User"])
            return {"__typename": kind, self.random.choice(["id", "nodeId"]): self._text("id")}
        return self._text(name)

    def _text(self, name: str) -> Any:
        known = [*self.pools.get(name, ()), *self.learned.get(name, ())]
        if known and self.chance(0.8):
            found = self.random.choice(known)
            return found if self.chance(0.97) else self._damaged(str(found))
        return self.random.choice(TEXTS)

    def _damaged(self, text: str) -> str:
        at = self.random.randrange(len(text) + 1)
        return text[:at] + self.random.choice(["", "A", "=", "é", "\x00", text]) + text[at + 1 :]

    def _key(self) -> str:
        return self.random.choice(["a", "b", "id", "__proto__", "é", "", "x" * 200, "key with spaces"])


def is_writable(value: Any) -> bool:
    """Whether the value can be written in a document: its keys are names, and it has no half characters."""
    if isinstance(value, dict):
        return all(_NAME.fullmatch(name) and is_writable(part) for name, part in value.items())
    if isinstance(value, list):
        return all(map(is_writable, value))
    return not isinstance(value, str) or value.isprintable()


def literal(value: Any) -> str:
    """The value as it is written in a document."""
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Variable):
        return f"${value.name}"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {literal(part)}' for name, part in value.items())}}}"
    return json.dumps(value)


def plain(value: Any) -> Any:
    """The value as it is sent in JSON."""
    if isinstance(value, Name):
        return value.text
    if isinstance(value, Variable):
        return f"${value.name}"
    if isinstance(value, list):
        return [plain(part) for part in value]
    return {name: plain(part) for name, part in value.items()} if isinstance(value, dict) else value
