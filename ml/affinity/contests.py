"""The test span in windows: everything but weights and calibration is rebuilt as of each, as it is in serving."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ml.evaluation import Contest, Method
from ml.log import Log
from ml.snapshot import snapshot
from ml.splits import Window
from ml.texts.likeness import Support
from ml.universe import Universe

# (the lines of its items before a window, the universe as of its start, the support of all items) -> methods by name
MakeMethods = Callable[[Log, Universe, Support], Mapping[str, Method]]


def contests(
    log: Log,
    windows: Sequence[Window],
    make_methods: MakeMethods,
    *,
    item_limit: int,
    clockless: bool,
    first: Universe | None = None,
) -> Iterator[Contest]:
    """The contest of each window, made when it is asked for: its items are the `item_limit` best supported before it.

    Nothing from the start of a window on is read for its tables. `first` is the universe of the first window, where it
    is made already.
    """
    for place, window in enumerate(windows):
        past = log.between(None, window.start)
        support = Support.of(past, item_limit)
        numbers = np.sort(support.known)
        past = past.of_items(numbers)
        known = first if place == 0 else None
        universe = known or snapshot(past, numbers, window.start, clockless=clockless)
        yield Contest(window, numbers, make_methods(past, universe, support))
