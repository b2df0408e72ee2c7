"""Trusted documents in Postgres, bounded per client; automatic ones in Redis, for a day."""

import pytest
from redis.asyncio import Redis

from core.errors import InvalidInput
from db import documents
from db.automatic_documents import LONGEST, keep_automatic, read_automatic
from db.cache import DOCUMENT_TTL, document_keys
from db.clients import Client, create_client
from db.documents import (
    DocumentSettings,
    DocumentUse,
    Pushed,
    TrustedDocument,
    digest_of,
    document_use,
    find_document,
    list_document_settings,
    list_documents,
    push_documents,
    remove_documents,
    require_documents,
)
from db.postgres import Pool


@pytest.fixture(autouse=True)
async def clients(pool: Pool) -> None:
    for client_id in ("web", "app"):
        await create_client(pool, Client(client_id, None, (), ()))


def document(text: str, *aliases: str) -> TrustedDocument:
    return TrustedDocument(digest_of(text), text, "Page", "query", aliases)


async def found(pool: Pool, client_id: str, id: str) -> str | None:
    stored = await find_document(pool, client_id, id)
    return stored.body if stored else None


async def test_a_document_is_found_by_its_digest_and_its_other_id_by_its_own_client_only(pool: Pool) -> None:
    one, other = document("{ a }", "p1"), document("{ b }", "p1")
    assert await push_documents(pool, "web", [one]) == Pushed(1, 0)
    assert await push_documents(pool, "app", [other]) == Pushed(1, 0)
    assert await found(pool, "web", one.id) == await found(pool, "web", "p1") == "{ a }"
    assert await found(pool, "app", "p1") == "{ b }"
    assert await found(pool, "app", one.id) is None
    assert await push_documents(pool, "nobody", [one]) is None


async def test_the_same_again_changes_nothing_but_the_version(pool: Pool) -> None:
    one = document("{ a }", "p1")
    await push_documents(pool, "web", [one])
    assert await push_documents(pool, "web", [one, document("{ b }")]) == Pushed(1, 1)
    found = await list_document_settings(pool)
    assert found == {"web": DocumentSettings(required=False, version=2, since=found["web"].since)}
    listed = await list_documents(pool, "web")
    assert sorted(one.size for one in listed) == [5, 5]
    assert [one.aliases for one in listed if one.aliases] == [("p1",)]


async def test_an_id_of_another_document_is_refused_and_nothing_is_stored(pool: Pool) -> None:
    await push_documents(pool, "web", [document("{ a }", "p1")])
    with pytest.raises(InvalidInput, match="p1"):
        await push_documents(pool, "web", [document("{ c }"), document("{ b }", "p1")])
    assert await document_use(pool, "web") == DocumentUse(1, 5, required=False)
    with pytest.raises(InvalidInput, match="p2"):
        await push_documents(pool, "web", [document("{ c }", "p2"), document("{ b }", "p2")])
    assert await document_use(pool, "web") == DocumentUse(1, 5, required=False)


@pytest.mark.parametrize("bound", ["MOST_DOCUMENTS", "MOST_BYTES", "MOST_ALIASES"])
async def test_what_is_beyond_a_bound_is_refused_and_nothing_is_stored(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(documents, bound, 10 if bound == "MOST_BYTES" else 2)
    await push_documents(pool, "web", [document("{ a }", "p1"), document("{ b }", "p2")])
    with pytest.raises(InvalidInput, match="at most"):
        await push_documents(pool, "web", [document("{ c }", "p3")])
    assert await document_use(pool, "web") == DocumentUse(2, 10, required=False)
    assert await push_documents(pool, "app", [document("{ c }", "p3")]) == Pushed(1, 0), "each client has its own"


async def test_documents_are_removed_by_any_id_all_or_none(pool: Pool) -> None:
    one, two = document("{ a }", "p1"), document("{ b }", "p2")
    await push_documents(pool, "web", [one, two])
    assert await remove_documents(pool, "web", [one.id, "p3"]) == ["p3"]
    assert await document_use(pool, "web") == DocumentUse(2, 10, required=False)
    assert await remove_documents(pool, "web", [one.id, "p2"]) == []
    assert await document_use(pool, "web") == DocumentUse(0, 0, required=False)
    assert await found(pool, "web", "p1") is None


async def test_a_client_that_may_send_no_texts_is_listed(pool: Pool) -> None:
    assert await require_documents(pool, "app", required=True)
    assert not await require_documents(pool, "nobody", required=True)
    found = await list_document_settings(pool)
    assert found == {"app": DocumentSettings(required=True, version=0, since=found["app"].since)}


async def test_an_automatic_document_is_kept_for_a_day_and_for_its_client(redis: Redis) -> None:
    digest = digest_of("{ ä }").hex()
    await keep_automatic(redis, "web", digest, "{ ä }")
    assert await read_automatic(redis, "web", digest) == "{ ä }"
    assert await read_automatic(redis, "app", digest) is None
    index, document = document_keys("web")
    for key in (index, document + digest):
        assert DOCUMENT_TTL - 5 < await redis.ttl(key) <= DOCUMENT_TTL


async def test_the_oldest_automatic_documents_of_a_client_are_dropped(redis: Redis) -> None:
    await keep_automatic(redis, "app", "0", "{ app }")
    index, _ = document_keys("web")
    now, _ = await redis.time()
    for number in range(6):
        await keep_automatic(redis, "web", str(number), f"{{ a{number} }}", most=3)
        await redis.zadd(index, {str(number): now - 100 + number})  # as if they were stored a second apart
    left = [number for number in range(6) if await read_automatic(redis, "web", str(number)) is not None]
    assert left == [3, 4, 5]
    assert await redis.zcard(index) == 3
    assert await read_automatic(redis, "app", "0") == "{ app }"


async def test_the_index_forgets_documents_that_have_expired(redis: Redis) -> None:
    index, _ = document_keys("web")
    await redis.zadd(index, {"old": 1_000})
    await keep_automatic(redis, "web", "new", "{ a }")
    assert await redis.zrange(index, 0, -1) == [b"new"]


async def test_a_long_text_is_not_kept(redis: Redis) -> None:
    for size, kept in ((LONGEST, True), (LONGEST + 1, False)):
        await keep_automatic(redis, "web", str(size), "x" * size)
        assert (await read_automatic(redis, "web", str(size)) is not None) == kept
