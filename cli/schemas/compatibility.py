"""Finds what a JSON Schema refuses that the one before it accepted, by the keywords that our schemas use."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any, Final

Schema = Mapping[str, Any]

_LEAST: Final = ("minimum", "minLength", "minItems")
_MOST: Final = ("maximum", "maxLength", "maxItems")
_HARMLESS: Final = frozenset({"$schema", "$id", "title", "description", "default", "examples", "deprecated"})
_COMPARED: Final = frozenset({"type", "const", "enum", "properties", "required", "additionalProperties", "items"})
_ALL_TYPES: Final = ("array", "boolean", "null", "number", "object", "string")


def narrowings(old: Schema, new: Schema, at: str = "") -> Iterator[str]:
    """Each way in which `new` accepts less than `old`, in words; `at` is the field that both describe.

    An unknown keyword that is new or differs counts as a narrowing: a false alarm is better than a missed break.
    """
    if "anyOf" in new:
        for before in old.get("anyOf", [old]):
            refusals = [list(narrowings(before, after, at)) for after in new["anyOf"]]
            if all(refusals):
                yield from min(refusals, key=len)
        yield from narrowings(_without_alternatives(old), _without_alternatives(new), at)
    elif "anyOf" in old:
        for before in old["anyOf"]:
            yield from narrowings(before, new, at)
    elif not _types(old) <= _types(new):
        yield f"{at}: its type is narrower"  # bounds of different types cannot be compared
    else:
        yield from _of_values(old, new, at)
        yield from _of_fields(old, new, at)
        yield from _of_other_keywords(old, new, at)


def _without_alternatives(schema: Schema) -> Schema:
    return {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}


def _of_values(old: Schema, new: Schema, at: str) -> Iterator[str]:
    before, after = _allowed_values(old), _allowed_values(new)
    if after is not None and (before is None or not before <= after):
        yield f"{at}: some of its values are gone"
    for keyword in _LEAST:
        if new.get(keyword, -inf) > old.get(keyword, -inf):
            yield f"{at}: {keyword} is higher"
    for keyword in _MOST:
        if new.get(keyword, inf) < old.get(keyword, inf):
            yield f"{at}: {keyword} is lower"


def _types(schema: Schema) -> set[str]:
    given = schema.get("type", _ALL_TYPES)
    types = {given} if isinstance(given, str) else set(given)
    return types | {"integer"} if "number" in types else types


def _allowed_values(schema: Schema) -> set[str] | None:
    """The values that the schema allows; None when it allows every value of its types."""
    return {schema["const"]} if "const" in schema else set(schema["enum"]) if "enum" in schema else None


def _of_fields(old: Schema, new: Schema, at: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    unknown, unknown_now = (schema.get("additionalProperties", True) for schema in (old, new))
    if unknown is not False and unknown_now not in (True, unknown):
        yield f"{at}: unknown fields are refused"
    for name in before.keys() - after.keys() if unknown_now is False else ():
        yield f"{_inside(at, name)}: is gone"
    for name in after.keys() & before.keys() if unknown is False else after:
        yield from narrowings(before.get(name, {}), after[name], _inside(at, name))
    for name in set(new.get("required", ())) - set(old.get("required", ())):
        yield f"{_inside(at, name)}: is required"
    if "items" in new:
        yield from narrowings(old.get("items", {}), new["items"], _inside(at, "[]"))


def _inside(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _of_other_keywords(old: Schema, new: Schema, at: str) -> Iterator[str]:
    for keyword in new.keys() - _HARMLESS - _COMPARED - {*_LEAST, *_MOST}:
        if new[keyword] != old.get(keyword):
            yield f"{at}: {keyword} differs"
