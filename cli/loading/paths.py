"""Paths into nested values, as a recipe writes them: `category.name`, `products.0.sku`, `items[].item_id`."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

EVERY: Final = "[]"
"""The step into every value of a list; each value makes a line."""

Path = tuple[str, ...]
_STEP: Final = re.compile(r'(?:"((?:[^"]|"")+)"|([^".\[\]]+))((?:\[[0-9]{0,9}\])*)(\.|$)')
_DEEPEST: Final = 6  # steps of the paths that are offered in an error


def path_of(text: str) -> Path:
    """The steps of a path. A text that is not a path is the name of a column."""
    steps: list[str] = []
    place, more = 0, "."
    while more and (step := _STEP.match(text, place)):
        quoted, plain, brackets, more = step.groups()
        steps += [(quoted or plain).replace('""', '"'), *_indices(brackets)]
        place = step.end()
    return tuple(steps) if not more else (text,)


def _indices(brackets: str) -> list[str]:
    return [inside or EVERY for inside in brackets.replace("]", "").split("[")[1:]]


def value_at(value: Any, path: Path) -> Any:
    """The value at the path; None where there is none. Where the path has a name for a list, it is the list itself."""
    for step in path:
        value = _opened(value)
        if isinstance(value, dict):
            value = value if _is_only_one(value, step) else value.get(step)
        elif isinstance(value, list):
            if not step.isdecimal():
                return value
            value = value[int(step)] if int(step) < len(value) else None
        elif step != "0":
            return None
    return value


def values_at(value: Any, path: Path) -> list[Any]:
    """The values of the list at the path, where one value counts as a list of one. `[None]` when there is none."""
    found = _opened(value_at(value, path))
    return (found or [None]) if isinstance(found, list) else [found]


def is_at(value: Any, path: Path) -> bool | None:
    """Whether the path exists; None where an empty value on the way leaves it open."""
    if not path:
        return True
    value, step, rest = _opened(value), path[0], path[1:]
    if value is None or value == []:
        return None
    if step == EVERY:
        return _any(is_at(inside, rest) for inside in (value if isinstance(value, list) else [value]))
    if isinstance(value, dict) and not _is_only_one(value, step):
        return is_at(value[step], rest) if step in value else False
    if isinstance(value, list) and step.isdecimal():
        return is_at(value[int(step)], rest) if int(step) < len(value) else None
    return step == "0" and is_at(value, rest)


def _is_only_one(value: dict[str, Any], step: str) -> bool:
    """Whether an object is the only value of what is a list elsewhere: XML does not tell the two apart."""
    return step == "0" and step not in value


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    found = set(verdicts)
    return True if True in found else None if found == {None} else False


def occurs(values: Sequence[Any], path: Path) -> bool:
    """Whether the path exists in one of the values at least, or is left open by all."""
    return bool(values) and _any(is_at(value, path) for value in values) is not False


def paths_in(value: Any, before: str = "", depth: int = _DEEPEST) -> list[str]:
    """The paths in a value, as a recipe writes them."""
    if isinstance(value, list) and depth:
        return paths_in(value[0], f"{before}{EVERY}", depth - 1) if value else [f"{before}{EVERY}"]
    if not isinstance(value, dict) or not depth:
        return [before] if before else []
    lead = f"{before}." if before else ""
    return [path for name, inside in value.items() for path in paths_in(inside, lead + _quoted(name), depth - 1)]


def _quoted(name: str) -> str:
    return name if path_of(name) == (name,) and '"' not in name else '"' + name.replace('"', '""') + '"'


def _opened(value: Any) -> Any:
    """The object or list in a text that holds JSON; every other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value
