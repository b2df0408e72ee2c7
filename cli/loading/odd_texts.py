"""Reads the texts of a column that are not plain one by one, each text once; the plain ones stay as they are."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cli.loading.chunks import ODD

TEXT: Final = pa.string()
Faults = dict[int, tuple[str, str]]
"""For each place that cannot be read: the wrong field and the reason, without the field's name."""


class Meaning(NamedTuple):
    """What a text means: its value (None for none), or the reason why it cannot be read."""

    value: str | None = None
    reason: str | None = None
    currency: str | None = None  # a sign or a code that is written beside an amount
    rounded: bool = False


class Meanings(NamedTuple):
    """What the texts of a column mean; `currencies` is None where no text names one."""

    column: pa.Array
    faults: dict[int, str]  # the reasons, by place
    currencies: pa.Array | None = None
    rounded: int = 0


def read_odd(texts: pa.Array, plain: pa.Array, read: Callable[[str], Meaning]) -> Meanings:
    """The column with each text that is not `plain` read by `read`; what cannot be read is null. From (n,) to (n,).

    What was no text, ODD, stays: the contract decides about it.
    """
    odd = pc.and_(pc.is_valid(texts), pc.invert(pc.fill_null(plain, False)))
    if odd.true_count:
        odd = pc.and_(odd, pc.not_equal(texts, ODD))
    if not odd.true_count:
        return Meanings(texts, {})
    words = texts.filter(odd).dictionary_encode()
    found = [read(word) for word in words.dictionary.to_pylist()]
    places, which = np.flatnonzero(odd.to_numpy(zero_copy_only=False)), words.indices.to_numpy()
    wrong = np.array([each.reason is not None for each in found])[which]
    faults = {int(places[at]): found[which[at]].reason or "" for at in np.flatnonzero(wrong)}
    values = pa.array([each.value for each in found], TEXT).take(words.indices)
    rounded = int(np.array([each.rounded for each in found])[which].sum())
    return Meanings(pc.replace_with_mask(texts, odd, values), faults, _currencies(odd, found, words), rounded)


def _currencies(odd: pa.Array, found: list[Meaning], words: pa.DictionaryArray) -> pa.Array | None:
    if all(each.currency is None for each in found):
        return None
    named = pa.array([each.currency for each in found], TEXT).take(words.indices)
    return pc.replace_with_mask(pa.nulls(len(odd), TEXT), odd, named)
