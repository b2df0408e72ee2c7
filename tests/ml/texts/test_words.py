"""Hashed words of items."""

import time

import numpy as np
import pytest

from ml.words import BUCKETS, MOST_FEATURES, ItemText, ItemWords


def features_of(text: ItemText) -> dict[int, float]:
    words = ItemWords.of({1: text})
    return dict(zip(words.buckets.tolist(), words.weights.tolist(), strict=True))


def common(one: ItemText, other: ItemText) -> int:
    return len(features_of(one).keys() & features_of(other).keys())


def test_forms_of_a_word_and_other_spellings_share_features() -> None:
    assert features_of(ItemText("\uff23hocolate BAR")) == features_of(ItemText("chocolate bar"))
    assert common(ItemText("chocolates"), ItemText("chocolate")) > 4
    assert common(ItemText("巧克力牛奶糖"), ItemText("牛奶巧克力糖")) >= 4, "a language without spaces"
    assert common(ItemText("🎄"), ItemText("🎄")) > 0
    assert not common(ItemText("lamp"), ItemText("🎄"))


@pytest.mark.parametrize("title", [None, "", "   ", "<b></b>", "&nbsp;"])
def test_an_item_without_words_has_no_feature(title: str | None) -> None:
    assert features_of(ItemText(title, description=title)) == {}


def test_tags_and_entities_are_no_words() -> None:
    assert features_of(ItemText("<p class='x'>Tea &amp; milk</p>")) == features_of(ItemText("Tea & milk"))


def test_huge_texts_are_read_in_part_and_at_once() -> None:
    huge = "<" * 50_000 + "".join(f"word{number} " for number in range(50_000))
    began = time.thread_time()
    found = features_of(ItemText(huge, huge, [huge] * 500, huge, {f"key{number}": huge for number in range(500)}))
    assert time.thread_time() - began < 1
    assert 0 < len(found) <= MOST_FEATURES
    assert all(0 <= bucket < BUCKETS for bucket in found)


def test_every_level_of_a_category_the_brand_and_plain_attributes_count() -> None:
    plain = features_of(ItemText("tea"))
    for text in (
        ItemText("tea", categories=("Drinks", "Tea")),
        ItemText("tea", brand="Acme"),
        ItemText("tea", attributes={"colour": "green"}),
    ):
        assert len(features_of(text)) > len(plain)
    assert features_of(ItemText("tea", attributes={"nested": {"a": [1]}, "none": None})) == plain


def test_a_lone_surrogate_is_read() -> None:
    assert features_of(ItemText("tea \ud83d"))


def test_items_are_by_number_whatever_order_they_come_in() -> None:
    words = ItemWords.of({9: ItemText("tea"), 3: ItemText(), 5: ItemText("milk")})
    np.testing.assert_array_equal(words.numbers, [3, 5, 9])
    assert np.diff(words.starts)[0] == 0
    assert words.starts[-1] == len(words.buckets) == len(words.weights)


def test_pages_of_items_are_those_of_the_whole_catalogue() -> None:
    texts = {number: ItemText(f"tea no {number} tea", "a long text", ["Drinks"]) for number in range(1, 9)}
    pages = [
        ItemWords.of({n: text for n, text in texts.items() if n in few})
        for few in ({1, 2}, set(), {3}, {4, 5, 6, 7, 8})
    ]
    whole, joined = ItemWords.of(texts), ItemWords.joined(pages)
    for name in ("numbers", "starts", "buckets", "weights"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
        assert getattr(joined, name).dtype == getattr(whole, name).dtype
    assert not len(ItemWords.joined([]).numbers)


def test_buckets_and_weights_stay_what_projections_were_learned_for() -> None:
    assert features_of(ItemText("Tea tea", categories=["A"])) == {
        15189: 1.5, 2457: 2.0, 6987: 1.0, 5625: 1.0, 9485: 1.0,
    }  # fmt: skip
