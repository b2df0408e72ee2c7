"""Two models side by side: their settings, data, code and metrics, and what differs."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from db.serving import Model

NOT_COMPARABLE: Final = (
    "The two were evaluated on different orders: `penchant evaluate --versions` compares them on the same ones."
)


def differences(first: Model, second: Model) -> dict[str, Any]:
    """Plain values: `parts` of what made them, `metrics` of the methods that both were evaluated with, and a `note`.

    Of a metric, `difference` is the second value minus the first, and `overlap` says whether the 95 % intervals share
    a value. Overlapping intervals do not say that the models are equal; those that do not overlap say that they differ.
    """
    return {
        "models": [first.id, second.id],
        "parts": {part: _rows(first.training.get(part), second.training.get(part)) for part in _parts(first, second)},
        "metrics": list(_metrics(first, second)),
        "note": None if _same_orders(first, second) else NOT_COMPARABLE,
    }


def _parts(first: Model, second: Model) -> list[str]:
    return list(dict.fromkeys([*first.training, *second.training]))


def _rows(first: Any, second: Any) -> list[dict[str, Any]]:
    """The values of a part by name."""
    flat = [dict(flattened(values)) for values in (first, second)]
    return [
        {"name": name, "values": [each.get(name) for each in flat], "same": flat[0].get(name) == flat[1].get(name)}
        for name in dict.fromkeys([*flat[0], *flat[1]])
    ]


def flattened(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values inside dictionaries, with the names on the way to them.

    >>> list(flattened({"a": {"b": 1, "c": [2]}}))
    [('a.b', 1), ('a.c', [2])]
    """
    if isinstance(values, Mapping):
        for key, inside in values.items():
            yield from flattened(inside, f"{name}.{key}" if name else str(key))
    elif values is not None:
        yield name, values


def _same_orders(first: Model, second: Model) -> bool:
    """Whether both were evaluated after the same cut, with as many people and items."""
    return all(first.evaluation.get(key) == second.evaluation.get(key) for key in ("cut_at", "people", "items"))


def _metrics(first: Model, second: Model) -> Iterator[dict[str, Any]]:
    sides = [model.evaluation.get("methods", {}) for model in (first, second)]
    candidates = [model.evaluation.get("candidate") for model in (first, second)]
    names: list[tuple[str, str]] = [(str(candidates[0]), str(candidates[1]))] if all(candidates) else []
    names += [(name, name) for name in sides[0] if name in sides[1] and (name, name) not in names]
    for one, other in names:
        before, after = sides[0].get(one, {}), sides[1].get(other, {})
        for metric in before:
            if metric in after:
                yield _metric(one if one == other else f"{one}, {other}", metric, before[metric], after[metric])


def _metric(method: str, metric: str, before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, Any]:
    return {
        "method": method,
        "metric": metric,
        "values": [dict(before), dict(after)],
        "difference": after["value"] - before["value"],
        "overlap": before["low"] <= after["high"] and after["low"] <= before["high"],
    }
