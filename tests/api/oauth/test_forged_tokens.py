"""Forged tokens over HTTP, at the entrances that take one: 401, quickly, and nothing of them in the log."""

import asyncio
import http.client
import time
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from api.oauth.clients.registration import register
from api.oauth.tokens.signing_keys import Sealer, SigningKeys
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from tests.forgeries import FORGERIES, Forger
from tests.people import Person, create_person, tokens_of
from tests.running import CLIENT, SECRET, register_client, running_issuer

QUICK = 0.05  # seconds
TRIES = 20  # the machine may be busy: one quick answer shows that the work is small
QUERY = '{"query": "{ items(first: 1) { nodes { id } } }"}'
BACK, SCOPE = "https://app.example/back", "openid offline_access recommendations:read"
CHALLENGE = 'Bearer realm="penchant", error="invalid_token"'


class Entrance:
    """One path of a gateway, asked over one kept-alive connection."""

    def __init__(self, url: str, path: str, body: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._path, self._body = path, body

    def ask(self, token: str) -> tuple[int, str | None, bytes, float]:
        """Status, challenge, body, and seconds of the answer."""
        headers = {"Content-Type": "application/json", "Authorization": b"Bearer " + token.encode("utf-8")}
        began = time.perf_counter()
        self._connection.request("POST", self._path, self._body, headers)  # type: ignore[arg-type]  # bytes are allowed
        answer = self._connection.getresponse()
        body = answer.read()
        return answer.status, answer.getheader("WWW-Authenticate"), body, time.perf_counter() - began

    def close(self) -> None:
        self._connection.close()

    def wrong(self, token: str) -> str | None:
        """What is wrong with the answer to a forged token."""
        status, challenge, body, seconds = self.ask(token)
        if (status, challenge) != (401, CHALLENGE) or b"UNAUTHENTICATED" not in body or b'"data"' in body:
            return f"{status} {challenge} {body[:200]!r}"
        tries = 1
        while seconds > QUICK and tries < TRIES:
            seconds, tries = self.ask(token)[3], tries + 1
        return None if seconds <= QUICK else f"{seconds:.3f} s"


@pytest.mark.timeout(600)  # hundreds of requests: seconds, unless the machine is busy
@pytest.mark.usefixtures("redis", "channel")
async def test_every_forged_token_is_refused_at_once(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    await register_client(pool)
    await create_person(pool)
    app = register("app", grants=["authorization_code", "refresh_token"], scope=SCOPE, redirect_uris=[BACK])
    assert await create_client(pool, app)
    log = tmp_path / "gateway.log"
    with ExitStack() as stack:
        gateway = await asyncio.to_thread(stack.enter_context, running_issuer(stores, log, PENCHANT_RATE_ADDRESS="off"))
        keys = SigningKeys(Sealer("s" * 32))  # the secret of the gateways that tests run
        await keys.refresh(pool)
        forger = Forger(gateway.url, keys.signing)
        graphql = stack.enter_context(closing(Entrance(gateway.url, "/graphql", QUERY)))
        events = stack.enter_context(closing(Entrance(gateway.url, "/events", "[]")))
        assert graphql.ask(forger.token())[0] == 200, "a token of this forger is refused for what is forged in it only"
        forgeries = {name: token for table in FORGERIES for name, token in table(forger)}
        theirs = await asyncio.to_thread(tokens_of, Person(), gateway.url, "app", BACK, SCOPE)
        forgeries["our ID token"], forgeries["our refresh token"] = theirs["id_token"], theirs["refresh_token"]
        assert len(forgeries) > 200
        for entrance, every in ((graphql, 1), (events, 5)):
            asked = list(forgeries.items())[::every]
            assert {name: wrong for name, token in asked if (wrong := entrance.wrong(token))} == {}
        assert graphql.ask(forger.token())[0] == graphql.ask(theirs["access_token"])[0] == 200
        async with httpx.AsyncClient(base_url=gateway.url, auth=(CLIENT, SECRET), timeout=30) as shop:
            for name, token in forgeries.items():
                answer = await shop.post("/oauth/introspect", data={"token": token or "x"})
                assert (answer.status_code, answer.text) == (200, '{"active":false}'), name
            assert (await shop.post("/oauth/introspect", data={"token": forger.token()})).json()["active"]
    lines = log.read_text()
    assert lines
    for name, token in forgeries.items():
        assert not any(len(part) > 40 and part in lines for part in token.split(".")), name
