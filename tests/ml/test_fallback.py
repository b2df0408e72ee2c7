"""What fills a list: in its order, with no claim that is not true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import fallback
from ml.fallback import NEW_FOR, SETTLED, Fallback, are_new, claims_of, fill, in_turns, places_in
from ml.ranked import REASON, REASONS
from ml.universe import DAY, HOUR

NOTHING = np.empty(0, np.uint32), np.empty(0, np.float32)
NOW = 1_700_000_000


def numbers(*given: int) -> np.ndarray:
    return np.array(given, np.uint32)


def test_a_list_is_filled_from_the_parts_in_their_order_then_by_any_other_item() -> None:
    made = Fallback((numbers(7, 3), numbers(3, 9, 2)), np.zeros(0, np.uint8))
    allowed = np.ones(12, np.bool_)
    allowed[[0, 9]] = False
    found, scores = fill(numbers(5), np.array([0.5], np.float32), allowed, made, 7)
    assert found.tolist() == [5, 7, 3, 2, 1, 4, 6]
    assert (np.diff(scores) < 0).all()
    assert fill(numbers(5), np.array([0.5], np.float32), allowed, made, 1)[0].tolist() == [5]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_a_filled_list_is_short_only_when_nothing_else_is_allowed(seed: int, first: int) -> None:
    random = np.random.default_rng(seed)
    allowed = random.random(50) < 0.3
    allowed[0] = False
    parts = tuple(random.permutation(np.arange(1, 60, dtype=np.uint32))[: random.integers(0, 30)] for _ in range(3))
    found, _ = fill(*NOTHING, allowed, Fallback(parts, np.zeros(0, np.uint8)), first)
    with_places = Fallback(parts, np.zeros(0, np.uint8), places_in(parts[-1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fallback, "HEAD", 2)
        np.testing.assert_array_equal(found, fill(*NOTHING, allowed, with_places, first)[0])
    assert len(found) == len(set(found.tolist())) == min(first, int(allowed.sum()))
    assert allowed[found].all()


def test_the_strongest_true_claim_is_made_and_none_of_unknown_items() -> None:
    claims = claims_of(np.zeros(0, np.uint8), NEW=numbers(1, 2, 3), BOUGHT_BY_OTHERS=numbers(2, 3), POPULAR=numbers(3))
    reasons, because, _ = Fallback((), claims).explain(numbers(3, 2, 1, 4, 4_000_000))
    assert [REASONS[code] for code in reasons] == ["POPULAR", "BOUGHT_BY_OTHERS", "NEW", "OTHER", "OTHER"]
    assert because.tolist() == [0] * 5
    assert claims[0] == REASON["OTHER"]


def test_items_come_in_turns_of_their_categories_and_the_newest_first() -> None:
    random = np.random.default_rng(3)
    items = np.arange(1, 301, dtype=np.uint32)
    category = random.integers(0, 5, 300).astype(np.uint32)
    added = (NOW - random.integers(0, 3, 300) * int(2 * HOUR)).astype(np.uint32)
    order = in_turns(items, category, added)
    assert sorted(order.tolist()) == items.tolist()
    least = int(np.bincount(category).min())
    for turn in order[: 5 * least].reshape(-1, 5):
        assert set(category[turn - 1].tolist()) == {0, 1, 2, 3, 4}
    for code in range(5):
        of = order[category[order - 1] == code]
        assert (np.diff(added[of - 1].astype(np.int64)) <= 0).all()
        same_hour = of[added[of - 1] == added[of - 1][0]].astype(np.int64)
        assert (np.diff(same_hour) > 0).any()
        assert (np.diff(same_hour) < 0).any(), "not the order of the alphabet, nor its reverse"
    assert in_turns(items[:0], category[:0], added[:0]).tolist() == []


@pytest.mark.parametrize(
    ("added", "new"),
    [
        ([NOW - HOUR, NOW - HOUR], [False, False]),  # the first upload
        ([NOW - SETTLED, NOW - HOUR, NOW], [False, False, True]),
        ([NOW - 300 * DAY, NOW - NEW_FOR, NOW - NEW_FOR + 1], [False, False, True]),
        ([0, NOW - DAY, NOW - 40 * DAY], [False, True, False]),  # 0: before that was recorded
        ([], []),
    ],
)
def test_an_item_is_new_for_a_month_and_not_with_the_first_upload(added: list[float], new: list[bool]) -> None:
    assert are_new(np.array(added, np.uint32), NOW).tolist() == new
