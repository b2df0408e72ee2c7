"""Signing keys, a client's secret and scopes change while callers ask two gateways: no request fails."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel
from joserfc import jws, jwt
from joserfc.jwk import KeySet

from api.oauth.clients.secrets import hash_secret
from api.oauth.tokens.signing_keys import SIGNS_AFTER, SIGNS_SOON, Sealer, SigningKeys
from core.settings import Stores
from db.postgres import Pool
from engine.clients import changing
from tests.running import CLIENT, SECRET, Running, register_client, running_gateway, until

NEW_SECRET = "another-secret-of-the-client"
KEPT_FOR = 300.0  # seconds that a program keeps the set of keys, as its Cache-Control allows
QUERY = {"query": "{ items(first: 1) { totalCount } }"}
WITHIN = 3.0  # seconds until a change counts in every process


@dataclass
class Callers:
    """Threads that take a token from one gateway and use it at both, and check it with the keys that they keep."""

    gateways: list[Running]
    secrets: list[str] = field(default_factory=lambda: [SECRET])
    failed: list[str] = field(default_factory=list)
    kids: list[str] = field(default_factory=list)
    answered: int = 0
    shift: float = 0.0  # seconds by which the test has moved the keys' times into the past
    looks_up: bool = False  # whether a kid that is not in the kept set makes them read it again
    _kept: tuple[float, KeySet] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask until the block ends."""
        threads = [threading.Thread(target=self._repeat, args=[number]) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def some_more(self) -> None:
        """Wait until the callers had some more answers."""
        before = self.answered
        until(lambda: self.failed or self.answered > before + 20, "answers")

    def token(self, client: httpx.Client, turn: int) -> str:
        """A token of the gateway whose turn it is."""
        url, secret = self.gateways[turn % 2].url, self.secrets[turn % len(self.secrets)]
        answer = client.post(f"{url}/oauth/token", data={"grant_type": "client_credentials"}, auth=(CLIENT, secret))
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def _repeat(self, turn: int) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stop.wait(0.05) and len(self.failed) < 10:
                turn += 1
                try:
                    self._ask(client, turn)
                except Exception as error:
                    self.failed.append(repr(error))
                self.answered += 1

    def _ask(self, client: httpx.Client, turn: int) -> None:
        token = self.token(client, turn)
        for gateway in self.gateways:
            answer = client.post(f"{gateway.url}/graphql", json=QUERY, headers={"authorization": f"Bearer {token}"})
            if answer.status_code != 200 or "errors" in answer.json():
                self.failed.append(answer.text)
        kept = self._keys(client, turn)
        if self.looks_up and jws.extract_compact(token.encode()).headers()["kid"] not in {key.kid for key in kept.keys}:
            self._kept = None
            kept = self._keys(client, turn)
        read = jwt.decode(token, kept, algorithms=["RS256"])
        self.kids.append(str(read.header["kid"]))

    def _keys(self, client: httpx.Client, turn: int) -> KeySet:
        now = time.monotonic() + self.shift
        if self._kept is None or now - self._kept[0] >= KEPT_FOR:
            found = client.get(f"{self.gateways[turn % 2].url}/.well-known/jwks.json")
            assert "max-age=300" in found.headers["cache-control"]
            self._kept = now, KeySet.import_key_set(found.json())
        return self._kept[1]


async def pass_time(pool: Pool, callers: Callers, seconds: float) -> None:
    """Move the keys' times into the past, as if so much time had passed."""
    await pool.execute(
        "UPDATE oauth_keys SET created_at = created_at - $1::interval, signs_from = signs_from - $1,"
        " retired_at = retired_at - $1",
        timedelta(seconds=seconds),
    )
    callers.shift += seconds


@pytest.mark.usefixtures("redis")
async def test_no_request_fails_while_keys_secret_and_scopes_change(
    stores: Stores, pool: Pool, channel: AbstractChannel, tmp_path: Path
) -> None:
    await register_client(pool)
    keys = SigningKeys(Sealer("s" * 32))
    with ExitStack() as stack:
        started = [
            stack.enter_context(running_gateway(stores, tmp_path / f"gateway-{number}.log")) for number in range(2)
        ]
        callers = Callers(started)
        with callers.asking():
            callers.some_more()
            first = callers.kids[-1]
            second = str(await keys.rotate(pool, SIGNS_AFTER))
            for _ in range(7):  # minutes: the callers keep the old set for five of them
                callers.some_more()
                await pass_time(pool, callers, 60.0)
            until(lambda: callers.failed or callers.kids[-1] == second, "the second key signs")
            await changing.give_new_secret(pool, CLIENT, hash_secret(NEW_SECRET), 3600, "test")
            callers.secrets = [SECRET, NEW_SECRET]
            callers.some_more()
            await changing.set_scopes(pool, CLIENT, ["catalog:read", "events:write"], "test", lambda *_: None)
            callers.some_more()
            callers.looks_up = True  # ten seconds are shorter than the set is kept
            third = str(await keys.rotate(pool, SIGNS_SOON))
            until(lambda: callers.failed or callers.kids[-1] == third, "the third key signs")
            callers.some_more()
    assert callers.failed == []
    assert set(callers.kids) == {first, second, third}


@pytest.mark.usefixtures("redis")
async def test_a_stolen_key_and_a_lost_scope_count_in_every_gateway_within_three_seconds(
    stores: Stores, pool: Pool, channel: AbstractChannel, tmp_path: Path
) -> None:
    await register_client(pool)
    keys = SigningKeys(Sealer("s" * 32))
    with ExitStack() as stack, httpx.Client(timeout=30) as client:
        started = [
            stack.enter_context(running_gateway(stores, tmp_path / f"gateway-{number}.log")) for number in range(2)
        ]
        token = started[0].token()
        headers = {"authorization": f"Bearer {token}"}

        def answers() -> list[Any]:
            found = [client.post(f"{gateway.url}/graphql", json=QUERY, headers=headers) for gateway in started]
            return [(answer.status_code, "FORBIDDEN" in answer.text) for answer in found]

        def within(expected: Any) -> None:
            began = time.monotonic()
            until(lambda: answers() == [expected, expected], str(expected))
            assert time.monotonic() - began < WITHIN + 1.0, "and a second for the requests themselves"

        within((200, False))
        await changing.set_scopes(pool, CLIENT, ["events:write"], "test", lambda *_: None)
        within((200, True))
        await keys.start(pool)
        await keys.revoke(pool, str(keys.signing.kid))
        within((401, False))
        fresh = started[1].token(("events:write",))
        headers["authorization"] = f"Bearer {fresh}"
        within((200, True))
