"""Two common OAuth clients in Python sign a person in, refresh, introspect and revoke."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aio_pika.abc import AbstractChannel
from authlib.integrations import requests_client
from redis.asyncio import Redis
from requests_oauthlib import OAuth2Session

from api.oauth.clients.registration import register
from core.settings import Stores
from db.clients import create_client
from db.postgres import Pool
from tests.people import USER, Person, create_person
from tests.running import SECRET, Running, running_issuer

BACK = "https://shop.example/back"
SCOPE = "openid offline_access recommendations:read"
GRANTS = ["authorization_code", "refresh_token"]


@pytest.fixture
def issuer(stores: Stores, redis: Redis, channel: AbstractChannel, pool: Pool, tmp_path: Path) -> Iterator[Running]:
    """A gateway that authlib's and oauthlib's clients may use over http."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
        with running_issuer(stores, tmp_path / "gateway.log") as gateway:
            yield gateway


async def test_authlib_with_a_secret(issuer: Running, pool: Pool) -> None:
    await create_person(pool)
    assert await create_client(pool, register("web", SECRET, grants=GRANTS, scope=SCOPE, redirect_uris=[BACK]))

    def flow() -> None:
        with requests_client.OAuth2Session(
            "web", SECRET, scope=SCOPE, redirect_uri=BACK, code_challenge_method="S256"
        ) as session:
            verifier = "v" * 64
            address, state = session.create_authorization_url(
                f"{issuer.url}/oauth/authorize", code_verifier=verifier, nonce="n"
            )
            person = Person()
            back = person.visit(address)
            assert person.pages == ["/login", "/oauth/consent"]
            token_url = f"{issuer.url}/oauth/token"
            first = session.fetch_token(token_url, authorization_response=back, state=state, code_verifier=verifier)
            second = session.refresh_token(token_url, refresh_token=first["refresh_token"])
            assert second["refresh_token"] != first["refresh_token"]
            ask = {"url": f"{issuer.url}/oauth/introspect", "token": second["access_token"]}
            assert session.introspect_token(**ask).json()["sub"] == USER
            assert session.revoke_token(f"{issuer.url}/oauth/revoke", token=second["refresh_token"]).status_code == 200
            assert session.introspect_token(**ask).json() == {"active": False}

    await asyncio.to_thread(flow)


async def test_oauthlib_without_a_secret(issuer: Running, pool: Pool) -> None:
    await create_person(pool)
    assert await create_client(pool, register("app", grants=GRANTS, scope=SCOPE, redirect_uris=[BACK]))

    def flow() -> None:
        with OAuth2Session("app", redirect_uri=BACK, scope=SCOPE.split(), pkce="S256") as session:
            address, _ = session.authorization_url(f"{issuer.url}/oauth/authorize")
            back = Person().visit(address)
            token_url = f"{issuer.url}/oauth/token"
            first = dict(session.fetch_token(token_url, authorization_response=back, include_client_id=True))
            second = session.refresh_token(token_url, client_id="app")
            assert second["refresh_token"] != first["refresh_token"]
            answer = session.post(f"{issuer.url}/graphql", json={"query": "{ me { id } }"})
            assert answer.json() == {"data": {"me": {"id": USER}}}

    await asyncio.to_thread(flow)
