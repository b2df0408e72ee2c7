"""JSON from callers is read within bounds, and refused for what it is."""

import asyncio
import json
from random import Random
from typing import Any

import pytest

from api.errors import RequestRefused
from api.http.json_body import MANY_CONTAINERS, MAX_NODES, HeavyBodies, Json, count_containers, count_nodes, parse_json
from core.turns import Turns


def read(text: bytes | str) -> Json:
    """The JSON of a body, as the endpoints read it."""
    encoded = text.encode() if isinstance(text, str) else text
    count_containers(encoded, "The body")
    return parse_json(encoded, "The body")


def refusal(text: bytes | str) -> tuple[str, int, str]:
    with pytest.raises(RequestRefused) as refused:
        read(text)
    return refused.value.code, refused.value.status, str(refused.value)


def test_every_value_counts_as_a_node() -> None:
    assert count_nodes(json.loads('{"a": [1, "x", null, {}], "b": {"c": true}}'), "x") == 1 + 1 + 4 + 1 + 1
    assert read("1").nodes == 1
    assert read(b"[" + b",".join([b'"a,b"'] * 40) + b"]").nodes == 41


def test_a_small_body_is_never_counted_as_less_than_it_is() -> None:
    random = Random(7)  # noqa: S311 - no secret

    def value(depth: int) -> Any:
        kinds = ["x,{[", 1, None, True, [], {}]
        if depth:
            kinds += [[value(depth - 1) for _ in range(random.randint(0, 4))]]
            kinds += [{f"k{at}": value(depth - 1) for at in range(random.randint(0, 4))}]
        return random.choice(kinds)

    for _ in range(2_000):
        made = value(4)
        assert read(json.dumps(made)).nodes >= count_nodes(made, "x"), made


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b",".join([b"[]"] * 345_000) + b"]",
        b"[" + b",".join([b"{}"] * 345_000) + b"]",
        b"[" + b",".join([b"1"] * 500_000) + b"]",
        b"[" + b",".join([b'"["'] * 250_000) + b"]",
        b"{" + b",".join(b'"%d":0' % number for number in range(90_000)) + b"}",
        b"[" + b",".join([b"[" * 900 + b"]" * 900] * 550) + b"]",
    ],
    ids=["arrays", "objects", "numbers", "brackets in strings", "names", "deep arrays"],
)
def test_a_megabyte_of_values_is_too_large(text: bytes) -> None:
    assert refusal(text) == ("PAYLOAD_TOO_LARGE", 413, f"The body has more than {MAX_NODES} JSON values.")


def test_exactly_the_bound_is_accepted() -> None:
    assert read(json.dumps([0] * (MAX_NODES - 1))).nodes == MAX_NODES
    assert refusal(json.dumps([0] * MAX_NODES))[1] == 413


@pytest.mark.parametrize("text", ['"[[[["', r'"\"[[[["', r'"\\"', r'["a\\", "[[[["]'])
def test_brackets_in_strings_are_no_values(text: str) -> None:
    assert read(text.replace("[[[[", "[" * 60_000)).nodes <= 3


@pytest.mark.parametrize("levels", [33, 200, 900, 5_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_nesting_is_called_what_it_is(levels: int, brackets: str) -> None:
    opening = brackets[0] if brackets == "[]" else '{"a":'
    text = opening * (levels - 1) + brackets + brackets[1] * (levels - 1)
    assert refusal(text) == ("BAD_REQUEST", 400, "The body is nested too deeply: at most 32 levels are allowed.")


def test_32_levels_are_accepted() -> None:
    assert read("[" * 32 + "]" * 32).nodes == 32


def test_what_is_not_json_is_refused() -> None:
    for text in (b"", b"{", b"NaN", b"\xff", b'"\\ud800"', b"1" * 1_000_000 + b"x"):
        assert refusal(text) == ("BAD_REQUEST", 400, "The body is not JSON.")


def test_a_value_alone_is_one_node() -> None:
    values: tuple[Any, ...] = ("text", None, [], {}, [[1]])
    assert [count_nodes(value, "x") for value in values] == [1, 1, 1, 1, 3]


LARGE = b"[" * (MANY_CONTAINERS + 1)


async def test_only_heavy_bodies_wait_for_a_place() -> None:
    heavy, turns = HeavyBodies(), Turns()
    async with heavy.place(LARGE, "a", turns), heavy.place(LARGE, "b", turns):
        async with heavy.place(b"[]", "c", turns), heavy.place(b'"' + LARGE + b'"', "c", turns):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), heavy.place(LARGE, "c", turns):
                pass
    async with heavy.place(LARGE, "c", turns):
        pass


async def test_a_caller_has_one_of_the_places_of_heavy_bodies() -> None:
    heavy, turns = HeavyBodies(), Turns()
    async with heavy.place(LARGE, "a", turns):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), heavy.place(LARGE, "a", turns):
                pass
        async with heavy.place(LARGE, "b", turns):
            pass
