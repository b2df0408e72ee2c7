"""What a process keeps of people and lists never answers for another person, request, state, bundle or catalogue."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from api.gateway import Gateway
from core import clock
from core.bounded_cache import BoundedCache
from core.contract import Person, read_event
from core.turns import OneAtATime
from db.cache import add_recent, forget_people, person_keys
from db.events import insert_events
from db.items import remove_items, upsert_items
from db.serving import roll_back
from engine.catalogue.filters import Filter
from engine.recommending import kept_states, list_kinds
from engine.recommending.kept_lists import KEPT_FOR
from engine.recommending.page_slots import PageMaker
from engine.recommending.pages import Page
from engine.recommending.people import PersonLoader
from engine.recommending.recommendations import ListRequest, Recommender
from ml.affinity import ranking, sources
from ml.state import State
from tests.fixtures.gateway import MakeBundle, Serve

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANNA, BERT = Person("user", "anna"), Person("user", "bert")
IDS = [f"i{number:02}" for number in range(20)]
HOME = ListRequest(5, shelf="home")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Stops the clock; the function sets it forward."""
    moment = NOW
    monkeypatch.setattr(clock, "now", lambda: moment)

    def forward(by: timedelta) -> None:
        nonlocal moment
        moment += by

    return forward


@pytest.fixture
async def shop(gateway: Gateway, now: object, make_bundle: MakeBundle, serving: Serve) -> Gateway:
    """A bundle of twenty items that cost 1, every second one in category `even`; Anna and Bert bought something."""
    offers = [{"market": None, "price": Decimal(1), "list_price": None, "currency": "EUR", "available": True}]
    items: Any = [
        {"id": id, "updated_at": NOW, "categories": ["even"] if at % 2 == 0 else [], "offers": offers}
        for at, id in enumerate(IDS)
    ]
    await upsert_items(gateway.pool, items)
    await gateway.catalogue.refresh()
    await serving(gateway.pool, make_bundle(gateway.catalogue, IDS))
    await gateway.models.load()
    await insert_events(gateway.pool, [bought("a", "anna", "i03"), bought("b", "bert", "i07")])
    return gateway


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of allowed items each time candidates are scored."""
    calls: list[int] = []
    original = ranking.score

    def score(view: Any, allowed: Any, *others: Any, **more: Any) -> object:
        calls.append(int(allowed.sum()))
        return original(view, allowed, *others, **more)

    monkeypatch.setattr(list_kinds, "score", score)
    return calls


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of purchases each time evidence is gathered from nothing."""
    calls: list[int] = []

    def history(universe: Any, state: State, as_of: int, session: int) -> object:
        calls.append(state.lines)
        return sources.history(universe, state, as_of, session)

    monkeypatch.setattr("ml.affinity.candidates.history", history)
    return calls


def bought(id: str, user: str, item: str, *, type: str = "PURCHASE", days: float = 3) -> Any:
    raw = {
        "id": id,
        "type": type,
        "userId": user,
        "itemId": item,
        "occurredAt": (NOW - timedelta(days=days)).isoformat(),
    }
    return read_event(raw, source="shop", received_at=NOW)


def request(gateway: Gateway) -> Recommender:
    """The lists of one more request."""
    turns = OneAtATime(gateway.turns, "shop")
    people = PersonLoader(gateway.people)
    return Recommender(gateway.catalogue, gateway.models, gateway.signer, people, turns)


async def trending(gateway: Gateway, window: timedelta, wanted: ListRequest) -> Page:
    """A page of what is trending, for a request of its own."""
    return (await request(gateway).trending(window, wanted, gateway.shares.expensive.of("tests"))).page


async def home(gateway: Gateway, wanted: ListRequest = HOME, person: Person = ANNA) -> list[str]:
    """The ids in a list of one more request."""
    found = await request(gateway).for_person(person, wanted)
    items = map(gateway.catalogue.item, found.page.numbers)
    return [item.id for item in items if item is not None]


async def state_of(gateway: Gateway, person: Person = ANNA) -> State:
    state, degraded, _ = await gateway.people.state(person)
    assert degraded == []
    return state


async def built(gateway: Gateway, *people: Person) -> None:
    """Their bases are in Redis, and their states are kept."""
    for person in people:
        for _ in range(2):
            await state_of(gateway, person)


async def test_a_state_is_folded_once_while_nothing_happens(shop: Gateway) -> None:
    await built(shop, ANNA, BERT)
    anna, bert = await state_of(shop), await state_of(shop, BERT)
    assert await state_of(shop) is anna
    assert await state_of(shop, BERT) is bert
    assert (anna.bought["item"].tolist(), bert.bought["item"].tolist()) == (
        shop.catalogue.numbers_of(["i03"]).tolist(),
        shop.catalogue.numbers_of(["i07"]).tolist(),
    )


async def test_a_guest_and_a_user_of_one_id_have_states_of_their_own(shop: Gateway) -> None:
    guest = Person("guest", "anna")
    await built(shop, ANNA, guest)
    assert (await state_of(shop)).lines == 1
    assert (await state_of(shop, guest)).lines == 0


async def test_an_event_is_known_at_once(shop: Gateway, redis: Redis) -> None:
    await built(shop, ANNA)
    for number in range(1, 6):
        before, listed = await state_of(shop), await home(shop)
        await add_recent(redis, [bought(f"e{number}", "anna", listed[0], days=0)])
        after = await state_of(shop)
        assert (before.lines, after.lines) == (number, number + 1)
        assert listed[0] not in await home(shop)


async def test_another_base_is_unpacked(shop: Gateway, redis: Redis) -> None:
    await built(shop, ANNA)
    await redis.set(person_keys(ANNA).base, (await state_of(shop, BERT)).pack())
    assert (await state_of(shop)).bought["item"].tolist() == shop.catalogue.numbers_of(["i07"]).tolist()


async def test_an_event_counts_for_its_item_as_soon_as_the_catalogue_has_it(shop: Gateway, redis: Redis) -> None:
    await built(shop, ANNA)
    await add_recent(redis, [bought("e1", "anna", "late", days=1)])
    assert len((await state_of(shop)).bought) == 1
    await upsert_items(shop.pool, [{"id": "late", "updated_at": NOW}])
    await shop.catalogue.refresh()
    state = await state_of(shop)
    assert shop.catalogue.number_of("late") in state.bought["item"].tolist()
    await upsert_items(shop.pool, [{"id": "i00", "updated_at": NOW, "title": "another title"}])
    await shop.catalogue.refresh()
    assert await state_of(shop) is state, "a change of another item leaves the state as it is"


async def test_an_old_dislike_leaves_a_kept_state(
    shop: Gateway, redis: Redis, now: Callable[[timedelta], None]
) -> None:
    await built(shop, ANNA)
    await add_recent(redis, [bought("e1", "anna", "i05", type="DISLIKE", days=0)])
    assert len((await state_of(shop)).disliked) == 1
    now(timedelta(days=366))
    state = await state_of(shop)
    assert len(state.disliked) == 0
    assert await state_of(shop) is state


async def test_the_states_kept_are_bounded_in_bytes(
    shop: Gateway, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = BoundedCache[Any, Any](500_000, 60)
    monkeypatch.setattr(shop.people._kept, "_states", kept)
    people = [Person("guest", f"g{number}") for number in range(300)]
    await built(shop, *people)
    assert 100 < len(kept) < 300
    assert kept.bytes <= 500_000
    assert kept_states.MOST_BYTES <= 64 * 2**20


async def test_an_erased_person_is_in_no_cache(shop: Gateway, redis: Redis) -> None:
    await built(shop, ANNA, BERT)
    await home(shop)
    await home(shop, person=BERT)
    assert ANNA in shop.people._kept
    assert ANNA in shop.models.lists
    assert ANNA in shop.models.evidence
    await shop.pool.execute("DELETE FROM events WHERE user_id = 'anna'")
    await forget_people(redis, [ANNA])
    assert (await state_of(shop)).lines == 0, "also where nobody said so"
    shop.forget([ANNA])
    assert ANNA not in shop.people._kept
    assert ANNA not in shop.models.lists
    assert ANNA not in shop.models.evidence
    assert BERT in shop.models.evidence
    assert BERT in shop.people._kept
    assert BERT in shop.models.lists


async def test_evidence_is_gathered_again_after_a_purchase_and_by_another_bundle(
    shop: Gateway, redis: Redis, gathered: list[int], make_bundle: MakeBundle, serving: Serve
) -> None:
    await built(shop, ANNA)
    await home(shop)
    await add_recent(redis, [bought("e1", "anna", "i05", type="VIEW", days=0)])
    await home(shop)
    assert len(gathered) == 1
    await add_recent(redis, [bought("e2", "anna", "i06", days=0)])
    await home(shop)
    assert len(gathered) == 2
    await serving(shop.pool, make_bundle(shop.catalogue, IDS[1:]))
    await shop.models.load()
    assert ANNA not in shop.models.evidence, "it would hold the bundle before in memory"
    await home(shop)
    assert len(gathered) == 3


async def test_a_page_and_a_list_read_the_same_evidence(shop: Gateway, gathered: list[int]) -> None:
    await built(shop, ANNA)
    await home(shop)
    people = PersonLoader(shop.people)
    pages = PageMaker(shop.catalogue, shop.models, people, OneAtATime(shop.turns, "shop"), shop.models.current)
    one = ListRequest(4, shelf="other", exclude=["i05"])
    (listed,) = await pages.make(ANNA, [one], lambda _, listed: listed, distinct=True)
    assert not isinstance(listed, Exception)
    assert (len(listed.page.numbers), len(gathered)) == (4, 1)


async def test_an_equal_request_gets_the_list_of_the_moment_before(
    shop: Gateway, scored: list[int], now: Callable[[timedelta], None]
) -> None:
    await built(shop, ANNA)
    first = await request(shop).for_person(ANNA, HOME)
    now(timedelta(seconds=KEPT_FOR - 1))
    again = await request(shop).for_person(ANNA, HOME)
    assert again.page is first.page
    assert again.page.pin.as_of == int(NOW.timestamp()), "the time at which it was made"
    assert len(scored) == 1
    now(timedelta(seconds=1))
    later = await request(shop).for_person(ANNA, HOME)
    assert later.page.pin.as_of == int(NOW.timestamp() + KEPT_FOR)
    assert len(scored) == 2


@pytest.mark.parametrize(
    "other",
    [
        ListRequest(6, shelf="home"),
        ListRequest(5, shelf="home", filter=Filter(categories=("even",))),
        ListRequest(5, shelf="home", filter=Filter(low=0.5)),
        ListRequest(5, shelf="home", market="AT"),
        ListRequest(5, shelf="home", category="even"),
        ListRequest(5, shelf="home", context_items=["i05"]),
        ListRequest(5, shelf="home", viewed_items=["i05"]),
        ListRequest(5, shelf="home", exclude=["i05"]),
        ListRequest(5, shelf="home", personalize=False),
        ListRequest(5, shelf="home", session=7),
    ],
)
async def test_another_request_gets_a_list_of_its_own(shop: Gateway, scored: list[int], other: ListRequest) -> None:
    await built(shop, ANNA, BERT)
    kept = [await home(shop), await home(shop, other), await home(shop, person=BERT)]
    assert len(scored) == 3
    assert kept == [await home(shop), await home(shop, other), await home(shop, person=BERT)]
    assert len(scored) == 3
    shop.models.lists.clear()
    assert kept == [await home(shop), await home(shop, other), await home(shop, person=BERT)]
    assert len(scored) == 6


async def test_a_list_depends_on_what_the_page_shows_elsewhere(shop: Gateway, scored: list[int]) -> None:
    await built(shop, ANNA)
    below, pages = ListRequest(5, shelf="below"), []
    for _ in range(2):
        of_one_request = request(shop)
        pages.append([await of_one_request.for_person(ANNA, wanted) for wanted in (HOME, below)])
    one, other = ([listed.page.numbers for listed in page] for page in pages)
    assert one == other
    assert not set(pages[1][0].page.numbers) & set(pages[1][1].page.numbers)
    assert await home(shop, below) == await home(shop), "alone, it has the best items"


async def test_the_second_page_of_a_kept_list_repeats_nothing(shop: Gateway) -> None:
    await built(shop, ANNA)
    await home(shop)
    first = (await request(shop).for_person(ANNA, HOME)).page
    after = first.cursor(shop.signer, len(first.numbers) - 1)
    second = (await request(shop).for_person(ANNA, ListRequest(5, after, shelf="home"))).page
    everything = (await request(shop).for_person(ANNA, ListRequest(10, shelf="home"))).page
    assert first.numbers + second.numbers == everything.numbers


async def _promote(gateway: Gateway, make_bundle: MakeBundle, serve: Serve) -> None:
    await serve(gateway.pool, make_bundle(gateway.catalogue, IDS, seed=1))
    await gateway.models.load()


async def _roll_back(gateway: Gateway, make_bundle: MakeBundle, serve: Serve) -> None:
    await roll_back(gateway.pool, "a test says so", "test")
    await gateway.models.load()


async def test_after_a_promotion_and_a_rollback_the_next_list_is_of_the_bundle_that_serves(
    shop: Gateway, make_bundle: MakeBundle, serving: Serve, scored: list[int]
) -> None:
    await built(shop, ANNA)
    makers, steps = list[str | None](), list[Callable[..., Awaitable[None]]]([_promote, _roll_back])
    for step in [None, *steps]:
        if step is not None:
            await step(shop, make_bundle, serving)
        for _ in range(2):
            found = await request(shop).for_person(ANNA, HOME)
            assert found.bundle is shop.models.current
            makers.append(found.page.pin.bundle)
    assert makers[0] == makers[1] == makers[4] == makers[5] != makers[2] == makers[3]
    assert len(scored) == 3


async def test_a_list_of_a_bundle_that_no_longer_serves_is_not_kept(
    shop: Gateway, make_bundle: MakeBundle, serving: Serve
) -> None:
    await built(shop, ANNA)
    begun = request(shop)
    await _promote(shop, make_bundle, serving)
    old = await begun.for_person(ANNA, HOME)
    new = await request(shop).for_person(ANNA, HOME)
    assert old.page.pin.bundle != new.page.pin.bundle == (shop.models.current and shop.models.current.id)


async def test_a_change_of_the_catalogue_counts_in_the_next_list(shop: Gateway) -> None:
    await built(shop, ANNA)
    cheap, similar = ListRequest(20, shelf="home", filter=Filter(high=1.0)), ListRequest(20)
    before = await home(shop, cheap)
    item = shop.catalogue.item(int(shop.catalogue.numbers_of(before[2:])[0]))
    assert item is not None
    await request(shop).like_item(item, similar)
    dearer: Any = [{"market": None, "price": Decimal(2), "list_price": None, "currency": "EUR", "available": True}]
    await upsert_items(shop.pool, [{"id": before[0], "updated_at": NOW, "offers": dearer}])
    await shop.catalogue.refresh()
    assert await home(shop, cheap) == before[1:]
    await remove_items(shop.pool, [before[1]])
    await shop.catalogue.refresh()
    assert await home(shop, cheap) == before[2:]
    assert len((await request(shop).like_item(item, similar)).page.numbers) == 18


async def test_similar_and_trending_lists_are_kept_for_everybody(
    shop: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = shop.catalogue.item(int(shop.catalogue.numbers_of(["i00"])[0]))
    assert item is not None
    week, plain, even = timedelta(days=7), ListRequest(5), ListRequest(5, filter=Filter(categories=("even",)))
    found = [
        [
            (await request(shop).like_item(item, plain)).page,
            (await request(shop).like_item(item, even)).page,
            await trending(shop, week, plain),
            await trending(shop, week, even),
            await trending(shop, 2 * week, plain),
        ]
        for _ in range(2)
    ]
    assert all(one is other for one, other in zip(*found, strict=True))
    assert len({id(page) for page in found[0]}) == 5
    assert sorted(found[0][2].numbers) == sorted(shop.catalogue.numbers_of(["i03", "i07"]).tolist())


async def test_a_new_count_of_what_is_trending_counts_in_the_next_list(shop: Gateway) -> None:
    week, wanted = timedelta(days=7), ListRequest(5)
    before = (await trending(shop, week, wanted)).numbers
    await insert_events(shop.pool, [bought(f"c{n}", f"c{n}", "i09") for n in range(3)])
    del shop.models.trends._kept[week]
    after = (await trending(shop, week, wanted)).numbers
    assert after == [*shop.catalogue.numbers_of(["i09"]).tolist(), *before]
