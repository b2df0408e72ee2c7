"""Completes rows and lists as JSON texts that are kept: an item that many lists show is encoded once per selection."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from api.graphql.execution.columns import Columns, Versioned
from api.graphql.planning.arguments import key_of

_OWN_BYTES: Final = 600  # what a kept list takes besides its text


def fragment_of(
    value: Any,
    expected: type[Any],
    selection: str,
    complete: Callable[[Any, Sequence[dict[str, Any]]], Any],
    given: Sequence[dict[str, Any]],
    varying: Sequence[int],
) -> Any:
    """An object of the class `expected` as `fragments_of` returns a row; completed without the store if not `alone`."""
    alone: Versioned[Any] | None = value.alone if value.__class__ is expected else None
    if alone is None:
        return complete(value, given)
    return fragments_of(alone, selection, complete, given, varying)[0]


def fragments_of(
    rows: Versioned[Any],
    selection: str,
    complete: Callable[[Any, Sequence[dict[str, Any]]], Any],
    given: Sequence[dict[str, Any]],
    varying: Sequence[int],
) -> list[Any]:
    """The rows as `orjson.Fragment`, from the store or completed now.

    `varying` are the indices of the arguments in `given` that differ from request to request. Rows whose arguments are
    not short scalars are completed without the store.
    """
    keys = [key_of(given[at]) for at in varying] if varying else ()
    if None in keys:
        return [complete(row, given) for row in rows]
    store, versions, shelf = rows.fragments, rows.versions(), (selection, rows.shared, *keys)
    found = store.find(shelf, versions)
    if not all(found):  # a fragment is true, and compared with None it would take longer
        for position, fragment in enumerate(found):
            if fragment is None:
                text = orjson.dumps(complete(rows[position], given))
                found[position] = store.keep(shelf, versions[position], text)
    return found


def list_fragment_of(
    columns: Columns[Any],
    selection: str,
    complete: Callable[[Any, Sequence[dict[str, Any]]], Any],
    given: Sequence[dict[str, Any]],
    varying: Sequence[int],
) -> Any:
    """A list that is kept as one `orjson.Fragment`, from its store or completed now. `varying` as in `fragments_of`."""
    keys = [key_of(given[at]) for at in varying] if varying else ()
    if columns.kept is None or None in keys:
        return complete(columns, given)
    store, name = columns.kept
    key = (name, selection, *keys)
    fragment = store.find(key)
    if fragment is None:
        text = orjson.dumps(complete(columns, given))
        fragment = orjson.Fragment(text)
        store.keep(key, fragment, len(text) + 2 * len(repr(keys)) + _OWN_BYTES)
    return fragment
