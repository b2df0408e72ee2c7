"""The items most like one that the model does not know, by the catalogue alone."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from ml.fallback import Fallback, fill

KIN: Final = 16  # items of a category that a view of one of them lifts
MOST: Final = 2_048  # categories whose items are kept, of 64 bytes each
_NONE: Final = np.empty(0, np.uint32)


class KinLists:
    """The first available items of a category, in the order of a fallback; kept until the catalogue or that changes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept: dict[str, NDArray[np.uint32]] = {}
        self._made_from: tuple[int, Fallback | None] = (-1, None)

    def of(self, fallback: Fallback, number: int) -> NDArray[np.uint32]:
        """The first available items of an item's last category; none for an item that is not live or has no category.

        Do not write to the result.
        """
        item = self._catalogue.item(number)
        if item is None or not item.categories:
            return _NONE
        revision, made_from = self._made_from
        if revision != self._catalogue.revision or made_from is not fallback or len(self._kept) >= MOST:
            self._kept.clear()
            self._made_from = (self._catalogue.revision, fallback)
        category = item.categories[-1]
        found = self._kept.get(category)
        if found is None:
            inside = self._catalogue.sellable(Filter(categories=(category,)))
            found = self._kept[category] = fill(_NONE, np.empty(0, np.float32), inside, fallback, KIN)[0]
        return found
