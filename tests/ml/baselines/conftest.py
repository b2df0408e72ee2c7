"""Logs of a few lines, so that the values can be computed by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from ml.log import Log

DAY = 86_400
CUT = 1_700_000_000
Line = tuple[str, int, int, int]  # person, item, days before the cut, order of the person


@pytest.fixture(scope="session")
def log_of() -> Callable[..., Log]:
    """A log of lines before CUT, of items 1 to `items`."""

    def make(*lines: Line, items: int = 4) -> Log:
        people = sorted({person for person, *_ in lines})
        return Log.of(
            people=people,
            person=np.array([people.index(person) for person, *_ in lines], np.int32),
            item=np.array([item for _, item, *_ in lines], np.uint32),
            occurred=np.array([CUT - days * DAY for *_, days, _ in lines], np.int64),
            cents=np.full(len(lines), 100),
            order=np.array([people.index(person) * 100 + order for person, *_, order in lines], np.int64),
            numbers=np.arange(1, items + 1, dtype=np.uint32),
            item_ids=[f"item {number}" for number in range(1, items + 1)],
        )

    return make
