"""Every gateway follows a change of a placement by itself, and goes on with what it knows while Postgres is away."""

import asyncio

from core.settings import Gateway, Stores
from db.postgres import Pool, connect_pool
from engine.placements.changing import change_placement, replace_placement
from engine.placements.serving_placements import ServingPlacements
from engine.reasons.texts import ReasonTexts
from tests.faults import Relay, eventually

WITHIN = 5.0  # seconds that docs/placements.md promises


def test_the_usual_poll_leaves_time_to_read() -> None:
    assert 2 * Gateway.model_fields["serving_poll"].default < WITHIN


async def test_two_gateways_follow_within_five_seconds(pool: Pool) -> None:
    poll = Gateway.model_fields["serving_poll"].default
    gateways = [ServingPlacements(pool, ReasonTexts.own(), poll=poll) for _ in range(2)]
    following = [asyncio.create_task(each.run()) for each in gateways]
    try:
        await change_placement(pool, "home", {"first": 3}, "tests")
        await eventually(lambda: [one.find("home") is not None for one in gateways] == [True, True], WITHIN)
        assert [found.first for one in gateways if (found := one.find("home"))] == [3, 3]
        await replace_placement(pool, "home", None, "tests")
        await eventually(lambda: [one.find("home") for one in gateways] == [None, None], WITHIN)
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def test_the_last_settings_go_on_while_postgres_is_away_and_newer_ones_hold_when_it_is_back(
    pool: Pool, stores: Stores
) -> None:
    await change_placement(pool, "home", {"first": 3}, "tests")
    relay = Relay(stores.postgres_url.get_secret_value())
    async with await connect_pool(await relay.open(), size=1, timeout=1.0) as through:
        placements = ServingPlacements(through, ReasonTexts.own(), poll=0.01)
        await placements.refresh()
        known = placements.find("home")
        await relay.close()
        await placements.refresh_after_change()  # what is saved is not reported as failed
        following = asyncio.create_task(placements.run())
        try:
            await change_placement(pool, "home", {"first": 4}, "tests")
            for _ in range(20):
                await asyncio.sleep(0)
                assert placements.find("home") is known and known is not None and known.first == 3
            await relay.open()
            await eventually(lambda: (found := placements.find("home")) is not None and found.first == 4)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await relay.close()
