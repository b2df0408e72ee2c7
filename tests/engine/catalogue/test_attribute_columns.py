"""What rules read of an attribute."""

from typing import Any

import numpy as np
import pytest

from engine.catalogue.attribute_columns import AttributeColumn


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5.0), ("5.50", 5.5), (" -1e3 ", -1000.0), (True, np.nan), (None, np.nan), ([5], np.nan), ("much", np.nan),
        ("38_40", np.nan), ("inf", np.nan), ("nan", np.nan),
    ],
)  # fmt: skip
def test_an_attribute_has_the_number_that_people_read_in_it(value: Any, number: float) -> None:
    column = AttributeColumn("size", 2)
    column.learn(1, {"size": value})
    np.testing.assert_array_equal(column.numbers, [np.nan, number])
