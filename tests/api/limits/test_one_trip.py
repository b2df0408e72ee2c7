"""A query asks Redis for its units together with its data; a mutation begins when it has them."""

import asyncio
import struct

import pytest
from redis.asyncio import Redis

from api.errors import RequestRefused
from api.limits.limiter import Asked
from api.limits.meters import Meter
from core.contract import Person
from db import cache, rate_limits
from db.rate_limits import Charge, Taken
from db.redis_link import Answers
from engine.intake.ingest import EventIntake
from engine.recommending import people
from tests.api.limits.conftest import Gateway
from tests.api.limits.test_answers import TRACK, ask
from tests.faults import eventually

LIST = '{ user(id: "anna") { recommendations(first: 2) { edges { rank } } } }'


class Order:
    """What happened, in order. Units are granted or refused once a person is being read."""

    def __init__(self, *, allowed: bool) -> None:
        self.happened: list[str] = []
        self._allowed = allowed
        self._units: list[tuple[list[bytes], Answers]] = []

    def begin(self, _: Redis, charges: list[Charge]) -> Answers:
        self.happened.append("units asked for")
        used = [0.0 if self._allowed else charge.most for charge in charges]
        self._units.append(([struct.pack(f">{2 + len(used)}d", self._allowed, 0.0, *used)], asyncio.Future()))
        return self._units[-1][1]

    async def reading_was_cancelled(self) -> bool:
        return self.happened[-1] == "reading cancelled"

    async def read_person(self, redis: Redis, person: Person) -> tuple[bytes | None, list[bytes]]:
        self.happened.append("person asked for")
        for answer, units in self._units:
            units.set_result(answer)
        try:
            if not self._allowed:
                await asyncio.Event().wait()
            return await cache.read_person(redis, person)
        finally:
            self.happened.append("person read" if self._allowed else "reading cancelled")


async def test_a_query_does_not_wait_for_its_units_before_it_asks_for_the_person(
    limited: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(rate_client="1000/day") as http:
        order = Order(allowed=True)
        monkeypatch.setattr(rate_limits, "begin", order.begin)
        monkeypatch.setattr(people, "read_person", order.read_person)
        answer = await ask(http, LIST)
        assert answer.status_code == 200
        assert set(order.happened[:2]) == {"units asked for", "person asked for"}
        assert "ratelimit" in answer.headers


async def test_a_refusal_ends_a_query_before_it_has_read_anything(
    limited: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(rate_client="1000/day") as http:
        order = Order(allowed=False)
        monkeypatch.setattr(rate_limits, "begin", order.begin)
        monkeypatch.setattr(people, "read_person", order.read_person)
        answer = await ask(http, LIST)
        assert answer.status_code == 429
        await eventually(order.reading_was_cancelled)
        assert "data" not in answer.json()


class Refused(Meter):
    """A meter that refuses after some rounds of the event loop."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._rounds = rounds

    def begin(self, units: int) -> Asked:
        answers: Answers = asyncio.Future()

        def answer(rounds: int) -> None:
            if rounds:
                asyncio.get_running_loop().call_soon(answer, rounds - 1)
            elif not answers.done():
                answers.set_result([struct.pack(">dd", 0, 0)])

        answer(self._rounds)
        return Asked([], answers)

    async def finish(self, units: int, asked: Asked) -> None:
        await asked.answers
        raise RequestRefused("RATE_LIMITED", "Too many requests.", 429)


@pytest.mark.parametrize("block", range(5))
@pytest.mark.parametrize("taking", range(5))
async def test_a_refusal_cancels_nothing_that_follows_the_query(taking: int, block: int) -> None:
    async def query() -> None:
        async with Refused(taking).taking(1):
            for _ in range(block):
                await asyncio.sleep(0)

    with pytest.raises(RequestRefused):
        await query()
    await asyncio.sleep(0)


async def test_a_mutation_does_nothing_before_it_has_its_units(
    limited: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with limited(rate_client="1000/day") as http:
        happened: list[str] = []
        real_take, real_track = rate_limits.take, EventIntake.track

        async def take(redis: Redis, charges: list[Charge]) -> Taken:
            taken = await real_take(redis, charges)
            happened.append("units taken")
            return taken

        async def track(self: EventIntake, *call: object) -> object:
            happened.append("events judged")
            return await real_track(self, *call)  # type: ignore[arg-type]

        monkeypatch.setattr(rate_limits, "take", take)
        monkeypatch.setattr(EventIntake, "track", track)
        event = {"type": "VIEW", "userId": "u1", "itemId": "i1"}
        assert (await ask(http, TRACK, e=[event])).json()["data"]["trackEvents"]["accepted"] == 1
        assert happened == ["units taken", "events judged"]
        happened.clear()
        await http.post("/events", json=[event])
        assert happened == ["units taken", "events judged"]
