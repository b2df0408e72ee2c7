"""Events that name no item of the catalogue: the ids of both sides and the likely cause are said."""

from datetime import UTC, datetime

import pytest

from core.contract import EventType, read_event
from db.events import insert_events
from db.items import upsert_items
from db.named_items import events_by_type, sample_of_named
from db.postgres import Pool
from db.purchases import purchase_log
from engine.catalogue.naming import unknown_items
from engine.models.learnable import check_learnable
from ml.log import NothingToLearn

NOW = datetime(2026, 10, 1, tzinfo=UTC)


async def catalogue(pool: Pool, *ids: str) -> None:
    await upsert_items(pool, [{"id": id, "updated_at": NOW} for id in ids])


async def bought(pool: Pool, *items: str, type: EventType = EventType.PURCHASE) -> None:
    sent = [{"id": f"{type}-{item}", "type": type, "userId": "u", "itemId": item} for item in items]
    events = [read_event({**raw, "occurredAt": NOW}, source="shop", received_at=None) for raw in sent]
    await insert_events(pool, events)


@pytest.mark.parametrize(
    ("item", "named", "cause"),
    [
        ("100", "100.0", "end in `.0`"),
        ("100.0", "100", "end in `.0`"),
        ("000123", "123", "padded with zeros"),
        ("123", "000123", "padded with zeros"),
        ("ABC-1", "abc-1", "in another letter case"),
        ("SKU-100", "100", "start with `SKU-`"),
        ("100", "shop/100", "start with `shop/`"),
        ("AB", "A B", "have blanks"),
        ("cafe\u0301", "caf\u00e9", "accented letters"),
        ("100", "teapot", None),
    ],
)
async def test_the_likely_cause_is_named(pool: Pool, item: str, named: str, cause: str | None) -> None:
    await catalogue(pool, item)
    words = await unknown_items(pool, [named])
    assert f"The events name `{named}`; the catalogue has `{item}`." in words
    assert (cause or "Likely cause") in words if cause else "Likely cause" not in words


async def test_an_empty_catalogue_is_said(pool: Pool) -> None:
    assert await unknown_items(pool, ["100"]) == "The catalogue is empty: load its items too."


async def test_a_log_of_views_alone_is_not_called_empty(pool: Pool) -> None:
    await catalogue(pool, "100")
    with pytest.raises(NothingToLearn, match=r"^The purchase log is empty\.$"):
        await check_learnable(pool, await purchase_log(pool, NOW))
    await bought(pool, "100", type=EventType.VIEW)
    with pytest.raises(NothingToLearn, match=r"There is no PURCHASE .* There are: 1 VIEW\. To learn from"):
        await check_learnable(pool, await purchase_log(pool, NOW))
    assert await events_by_type(pool) == {"VIEW": 1}


async def test_purchases_that_name_few_known_items_are_a_warning_and_none_an_error(pool: Pool) -> None:
    later = NOW.replace(month=11)
    await catalogue(pool, "100", "101", "102", "103")
    await bought(pool, "100.0", "101.0", "102.0", "103.0")
    assert await sample_of_named(pool) == (0, 4, ["100.0", "101.0", "102.0"])
    with pytest.raises(NothingToLearn, match=r"^0 of 4 purchases name an item .*`100.0`, .* `100`, .*end in `\.0`"):
        await check_learnable(pool, await purchase_log(pool, later))
    await bought(pool, "100")
    warning = await check_learnable(pool, await purchase_log(pool, later))
    assert warning is not None
    assert warning.startswith("1 of 5 purchases name an item of the catalogue. The events name `100.0`")
    await bought(pool, "101", "102", "103")
    assert await check_learnable(pool, await purchase_log(pool, later)) is None
