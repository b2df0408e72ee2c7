"""The words of the catalogue, for a training and for a refresh of the tables."""

import asyncio

from db.items import StoredText, stream_texts
from db.postgres import Pool
from ml.words import ItemText, ItemWords, features_of


async def catalogue_words(pool: Pool) -> ItemWords:
    """The hashed words of all live items, a page at a time, in a thread: a lease is renewed meanwhile."""
    numbers: list[list[int]] = []
    features: list[list[dict[int, float]]] = []
    async for page in stream_texts(pool):
        numbers.append([text.number for text in page])
        features.append(await asyncio.to_thread(_features, page))
    return await asyncio.to_thread(ItemWords.joined, numbers, features)


def _features(page: list[StoredText]) -> list[dict[int, float]]:
    return [
        features_of(ItemText(text.title, text.description, text.categories, text.brand, text.attributes))
        for text in page
    ]
