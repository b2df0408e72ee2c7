"""A page is made slot by slot: one that is late or changed in between leaves the others alone."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest

from api.gateway import Gateway
from core import clock
from core.contract import Event, Person, read_event
from core.turns import OneAtATime
from db.cache import add_recent
from db.items import remove_items, upsert_items
from engine.catalogue.filters import Filter
from engine.recommending import list_kinds, page_slots
from engine.recommending.page_slots import PageMaker
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, RecommendedList, Recommender
from ml.affinity import ranking
from ml.affinity.several_lists import score_together
from tests.fixtures.gateway import MakeBundle, Serve

ANNA = Person("user", "anna")
IDS = [f"i{number:02}" for number in range(20)]


@pytest.fixture
async def shop(gateway: Gateway, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """Twenty items in three categories, two of them variants; and a bundle that serves."""
    items: list[Any] = [
        {"id": id, "updated_at": clock.now(), "categories": [f"c{at % 3}"], "group_id": "g" if at in (0, 3) else None}
        for at, id in enumerate(IDS)
    ]
    await upsert_items(gateway.pool, items)
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    return gateway


class Stuck(OneAtATime):
    """Turns of which some never come."""

    def __init__(self, gateway: Gateway, never: Callable[[int], bool]) -> None:
        super().__init__(gateway.turns, "tests")
        self._number, self._never = 0, never

    async def __aenter__(self) -> None:
        self._number += 1
        if self._never(self._number):
            await asyncio.Event().wait()
        await super().__aenter__()


async def made_with(gateway: Gateway, turns: OneAtATime) -> list[Any]:
    maker = PageMaker(gateway.catalogue, gateway.models, PersonLoader(gateway.people), turns, gateway.models.current)
    return await maker.make(
        ANNA,
        [ListRequest(3), ListRequest(3), ListRequest(3)],
        lambda _, listed: len(listed.page.numbers),
        distinct=True,
    )


async def test_a_slot_that_is_late_is_an_error_and_the_others_come(
    shop: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_slots, "SLOT_TIME", 0.2)
    late = await made_with(shop, Stuck(shop, lambda turn: turn == 2))  # the second list is never prepared
    assert [late[0], type(late[1]).__name__, late[2]] == [3, "TookTooLong", 3]
    late = await made_with(shop, Stuck(shop, lambda turn: turn == 6))  # the second list is never cut
    assert [late[0], type(late[1]).__name__, late[2]] == [3, "TookTooLong", 3]
    assert [type(one).__name__ for one in await made_with(shop, Stuck(shop, lambda turn: True))] == ["TookTooLong"] * 3


async def test_an_equal_page_is_ranked_again_only_after_a_change(
    shop: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[int] = []

    def score_all(wanted: Any) -> Any:
        scored.append(len(wanted))
        return score_together(wanted)

    monkeypatch.setattr(page_slots, "score_together", score_all)

    async def made(*firsts: int, distinct: bool = True) -> list[Any]:
        turns = OneAtATime(shop.turns, "tests")
        maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)
        requests = [ListRequest(first) for first in firsts]
        return await maker.make(ANNA, requests, lambda _, listed: listed.page.numbers, distinct=distinct)

    for _ in range(2):  # the first request builds the person's base
        whole = await made(3, 4)
    before = len(scored)
    assert await made(3, 4) == whole
    assert len(scored) == before
    assert await made(4, 3) != whole
    assert await made(3, 4, distinct=False) != whole
    assert len(scored) == before + 2
    await remove_items(shop.pool, [item.id for number in whole[1] if (item := shop.catalogue.item(number))])
    await shop.catalogue.refresh()
    changed = await made(3, 4)
    assert changed[0] == whole[0]
    assert not set(changed[1]) & set(whole[1])
    await add_recent(shop.redis, [viewed(IDS[9])])
    await made(3, 4)
    assert len(scored) == before + 4


async def test_a_page_that_names_very_many_items_is_not_kept(shop: Gateway) -> None:
    turns = OneAtATime(shop.turns, "tests")

    async def keeps(count: int) -> bool:
        requests = [ListRequest(3, exclude=[f"{place}-{number:060}" for number in range(count)]) for place in range(12)]
        for _ in range(2):  # the first request builds the person's base
            maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)
            await maker.make(ANNA, requests, lambda _, listed: listed.page.numbers, distinct=False)
        return ANNA in shop.models.lists

    assert not await keeps(100), "its keys would be measured for long, and take the place of everybody's lists"
    assert await keeps(10)


def viewed(item: str) -> Event:
    now = clock.now()
    raw = {"id": "v", "type": "VIEW", "userId": ANNA.id, "itemId": item, "occurredAt": now.isoformat()}
    return read_event(raw, source="shop", received_at=now)


@pytest.fixture
async def scored(shop: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lists were scored each time. The person's base is built."""
    times: list[int] = []
    score = ranking.score

    def score_all(wanted: Any) -> Any:
        if wanted:
            times.append(len(wanted))
        return score_together(wanted)

    def score_one(*of: Any, **more: Any) -> Any:
        times.append(1)
        return score(*of, **more)

    monkeypatch.setattr(page_slots, "score_together", score_all)
    monkeypatch.setattr(list_kinds, "score", score_one)
    await shop.people.state(ANNA)
    return times


def of_category(name: str, first: int = 3) -> ListRequest:
    return ListRequest(first, filter=Filter(categories=(name,)))


async def page_of(
    shop: Gateway, *wanted: ListRequest, distinct: bool = True
) -> list[tuple[list[int], list[int], bool]]:
    turns = OneAtATime(shop.turns, "tests")
    maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)

    def show(_: int, listed: RecommendedList) -> tuple[list[int], list[int], bool]:
        return listed.page.numbers, listed.page.reasons, listed.page.more

    made: Any = await maker.make(ANNA, wanted, show, distinct=distinct)
    return made  # type: ignore[no-any-return]


async def alone(shop: Gateway, wanted: ListRequest) -> tuple[list[int], list[int], bool]:
    people, turns = PersonLoader(shop.people), OneAtATime(shop.turns, "tests")
    recommender = Recommender(shop.catalogue, shop.models, shop.signer, people, turns)
    page = (await recommender.for_person(ANNA, wanted._replace(shelf="home"))).page
    return page.numbers, page.reasons, page.more


async def test_a_page_takes_the_lists_that_were_made_alone_a_moment_ago(shop: Gateway, scored: list[int]) -> None:
    wanted = [of_category(f"c{number}") for number in range(3)]
    singles = [await alone(shop, one) for one in wanted]
    scored.clear()
    assert await page_of(shop, *wanted) == singles
    assert scored == []
    page = await page_of(shop, *wanted, ListRequest(3))
    assert page[:3] == singles and not set(page[3][0]) & {number for numbers, _, _ in singles for number in numbers}
    assert scored == [1], "the list that nobody asked for alone"
    shop.models.lists.clear()
    assert await page_of(shop, *wanted, ListRequest(3)) == page


async def test_a_list_of_a_page_that_would_be_the_same_alone_is_kept_as_that(shop: Gateway, scored: list[int]) -> None:
    wanted = [of_category("c0"), of_category("c1"), ListRequest(4), of_category("c0", 4)]
    page = await page_of(shop, *wanted)
    assert scored == [4] or scored == [3]
    scored.clear()
    assert [await alone(shop, one) for one in wanted[:2]] == page[:2]
    assert scored == []
    assert await alone(shop, wanted[2]) != page[2], "it may have what the page showed before"
    assert (await alone(shop, wanted[3]))[0][:3] == page[0][0]
    assert scored == [1, 1]


async def test_a_page_is_the_same_whatever_is_kept(shop: Gateway, scored: list[int]) -> None:
    random = Random(5)  # noqa: S311 - no secret
    some: Sequence[ListRequest] = [
        *(of_category(f"c{number}", first) for number in range(3) for first in (2, 4)),
        *(ListRequest(first, personalize=personal) for first in (2, 5) for personal in (True, False)),
    ]
    taken = 0
    for _ in range(150):
        wanted, distinct = random.choices(some, k=random.randint(1, 5)), random.random() < 0.8
        shop.models.lists.clear()
        expected = await page_of(shop, *wanted, distinct=distinct)
        shop.models.lists.clear()
        for one in random.sample(some, k=random.choice((0, 4, 10))):
            await alone(shop, one)
        await page_of(shop, *random.choices(some, k=2))
        scored.clear()
        assert await page_of(shop, *wanted, distinct=distinct) == expected
        taken += not scored
        scored.clear()
        assert await page_of(shop, *wanted, distinct=distinct) == expected
        assert scored == []
    assert taken > 20


async def test_an_item_removed_while_a_page_is_made_is_in_no_later_slot(shop: Gateway) -> None:
    def show(_: int, listed: RecommendedList) -> list[str]:
        return [item.id for number in listed.page.numbers if (item := shop.catalogue.item(number))]

    async def made(turns: OneAtATime, *requests: ListRequest) -> list[list[str] | Exception]:
        maker = PageMaker(shop.catalogue, shop.models, PersonLoader(shop.people), turns, shop.models.current)
        return await maker.make(ANNA, requests, show, distinct=True)

    (found,) = await made(OneAtATime(shop.turns, "tests"), ListRequest(20))
    assert isinstance(found, list)
    whole = found

    class Removing(OneAtATime):
        """Removes items before the last slot is cut: three slots are prepared, scored together and cut."""

        turn = 0

        async def __aenter__(self) -> None:
            Removing.turn += 1
            if Removing.turn == 7:
                await remove_items(shop.pool, whole[6:8])
                await shop.catalogue.refresh()
            await super().__aenter__()

    slots = await made(Removing(shop.turns, "tests"), *[ListRequest(3)] * 3)
    assert slots == [whole[:3], whole[3:6], whole[8:11]]
