"""Columns are filled and read by name."""

import numpy as np
import pytest

from ml.columns import Columns

COLUMNS = Columns(("first", "second", "third"))


def test_values_are_ordered_by_name_whatever_their_order() -> None:
    assert COLUMNS.ordered({"third": 3, "first": 1, "second": 2}) == [1, 2, 3]


@pytest.mark.parametrize(
    "names", [("first", "second"), ("first", "second", "third", "fourth"), ("first", "second", "x")]
)
def test_missing_and_unknown_names_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="are needed"):
        COLUMNS.ordered(dict.fromkeys(names, 0))


def test_a_column_is_read_as_a_view() -> None:
    matrix = np.arange(6).reshape(2, 3)
    assert COLUMNS.read(matrix, "second").tolist() == [1, 4]
    COLUMNS.read(matrix, "second")[:] = 0
    assert matrix.tolist() == [[0, 0, 2], [3, 0, 5]]
    with pytest.raises(ValueError, match="not in tuple"):
        COLUMNS.read(matrix, "fourth")


def test_a_span_is_the_slice_of_neighbouring_columns() -> None:
    assert COLUMNS.span(("second", "third")) == slice(1, 3)
    assert COLUMNS.span(COLUMNS) == slice(0, 3)
    with pytest.raises(ValueError, match="side by side"):
        COLUMNS.span(("first", "third"))
