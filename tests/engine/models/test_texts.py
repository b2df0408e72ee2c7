"""The words of the catalogue."""

from datetime import UTC, datetime

import numpy as np

from core.uploads import ItemPatch
from db.items import remove_items, upsert_items
from db.postgres import Pool
from engine.models.texts import catalogue_words
from ml.words import ItemText, ItemWords

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


async def test_the_words_of_live_items_are_those_of_all_their_texts(pool: Pool) -> None:
    tea: ItemPatch = {
        "id": "tea", "updated_at": MONDAY, "title": "Green tea", "description": "<p>From Assam</p>",
        "categories": ["Drinks", "Tea"], "brand": "Leaf", "attributes": {"colour": "green"},
    }  # fmt: skip
    await upsert_items(
        pool, [tea, {"id": "gone", "updated_at": MONDAY, "title": "Gone"}, {"id": "bare", "updated_at": MONDAY}]
    )
    await remove_items(pool, ["gone"])
    words = await catalogue_words(pool)
    assert len(words.numbers) == 2
    assert np.diff(words.starts).tolist().count(0) == 1, "an item without a text"
    text = ItemText("Green tea", "From Assam", ("Drinks", "Tea"), "Leaf", {"colour": "green"})
    assert set(words.buckets.tolist()) == set(ItemWords.of({1: text}).buckets.tolist())


async def test_an_empty_catalogue_has_no_words(pool: Pool) -> None:
    words = await catalogue_words(pool)
    assert len(words.numbers) == len(words.buckets) == 0
    assert words.starts.tolist() == [0]
