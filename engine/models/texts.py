"""The words of the catalogue, for a training and for a refresh of the tables."""

import asyncio

from db.items import StoredText, stream_texts
from db.postgres import Pool
from ml.words import ItemText, ItemWords


async def catalogue_words(pool: Pool) -> ItemWords:
    """The hashed words of all live items, a page at a time, in a thread: a lease is renewed meanwhile."""
    pages = [await asyncio.to_thread(_words, page) async for page in stream_texts(pool)]
    return await asyncio.to_thread(ItemWords.joined, pages)


def _words(page: list[StoredText]) -> ItemWords:
    return ItemWords.of(
        {
            text.number: ItemText(text.title, text.description, text.categories, text.brand, text.attributes)
            for text in page
        }
    )
