"""Every secret that callers depend on is changed while they ask two gateways: no request fails."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aio_pika.abc import AbstractChannel

from api.oauth.clients.secrets import hash_secret
from core import clock
from core.settings import Stores
from db.clients import rotate_secret
from db.items import upsert_items
from db.postgres import Pool
from tests.running import CLIENT, SECRET, Running, register_client, running_gateway, until

OLD, NEW, NEW_SECRET = "o" * 32, "n" * 32, "another-secret-of-the-client"
QUERY = "query ($after: String) { items(first: 2, after: $after) { pageInfo { endCursor } } }"
FIRST, SECOND, LAST = (
    {"PENCHANT_SECRET": OLD, "PENCHANT_SECRET_PREVIOUS": NEW},
    {"PENCHANT_SECRET": NEW, "PENCHANT_SECRET_PREVIOUS": OLD},
    {"PENCHANT_SECRET": NEW},
)


class Site:
    """Two gateways, as a balancer sees them: one that is replaced gets no requests meanwhile."""

    def __init__(self, stores: Stores, folder: Path, stack: ExitStack) -> None:
        self._stores, self._folder, self._stack = stores, folder, stack
        self._gateways: dict[int, Running] = {}
        self._asking: dict[int, int] = {0: 0, 1: 0}
        self._lock = threading.Lock()
        self._turn = 0

    def replace(self, wait: Callable[[], None] = lambda: None, **settings: str) -> None:
        """Replace the gateways one after the other by ones with these settings; `wait` in between."""
        for place in (0, 1):
            with self._lock:
                old = self._gateways.pop(place, None)
            if old is not None:
                until(partial(self._is_idle, place), "the requests of the gateway have ended")
                old.stop()
            log = self._folder / f"gateway-{place}.log"
            started = self._stack.enter_context(running_gateway(self._stores, log, **settings))
            with self._lock:
                self._gateways[place] = started
            wait()

    def _is_idle(self, place: int) -> bool:
        return self._asking[place] == 0

    def token(self) -> str:
        """A token that lives longer than the test."""
        return self._gateways[0].token()

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """The address of the gateway whose turn it is, which is not stopped inside the block."""
        with self._lock:
            self._turn += 1
            place = sorted(self._gateways)[self._turn % len(self._gateways)]
            self._asking[place] += 1
            url = self._gateways[place].url
        try:
            yield url
        finally:
            with self._lock:
                self._asking[place] -= 1


class Callers:
    """Threads that ask one request after the other; `failed` has every answer that was not the expected one."""

    def __init__(self, site: Site, token: str) -> None:
        self._site, self._headers = site, {"Authorization": f"Bearer {token}"}
        self.secrets = [SECRET]
        self.cursors: deque[str | None] = deque([None], maxlen=10)
        self.failed: list[str] = []
        self.answered = 0
        self._stop = threading.Event()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask until the block ends."""
        threads = [threading.Thread(target=self._repeat, args=[ask]) for ask in (self._page, self._page, self._token)]
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
        until(lambda: self.failed or self.answered > before + 60, "answers")

    def _repeat(self, ask: Callable[[httpx.Client, str, int], None]) -> None:
        with httpx.Client(timeout=30) as client:
            turn = 0
            while not self._stop.wait(0.02) and len(self.failed) < 20:
                turn += 1
                with self._site.gateway() as url:
                    try:
                        ask(client, url, turn)
                    except (httpx.HTTPError, KeyError, TypeError) as error:
                        self.failed.append(repr(error))
                    self.answered += 1

    def _page(self, client: httpx.Client, url: str, turn: int) -> None:
        after = self.cursors[turn % len(self.cursors)]
        body = {"query": QUERY, "variables": {"after": after}}
        answer = client.post(f"{url}/graphql", json=body, headers=self._headers)
        found: dict[str, Any] = answer.json()
        if answer.status_code != 200 or "errors" in found:
            self.failed.append(answer.text)
        else:
            self.cursors.append(found["data"]["items"]["pageInfo"]["endCursor"])  # None after the last page

    def _token(self, client: httpx.Client, url: str, turn: int) -> None:
        secret = self.secrets[turn % len(self.secrets)]
        answer = client.post(f"{url}/oauth/token", data={"grant_type": "client_credentials"}, auth=(CLIENT, secret))
        if answer.status_code != 200:
            self.failed.append(answer.text)


@pytest.mark.usefixtures("redis")
async def test_no_request_fails_while_every_secret_is_changed(
    stores: Stores, pool: Pool, channel: AbstractChannel, tmp_path: Path
) -> None:
    await register_client(pool)
    await upsert_items(pool, [{"id": f"i{number}", "updated_at": clock.now()} for number in range(20)])
    with ExitStack() as stack:
        site = Site(stores, tmp_path, stack)
        site.replace(PENCHANT_SECRET=OLD)
        callers = Callers(site, site.token())
        with callers.asking():
            callers.some_more()
            assert len(callers.cursors) > 1, callers.failed
            assert await rotate_secret(pool, CLIENT, hash_secret(NEW_SECRET), timedelta(hours=1))
            callers.secrets = [SECRET, NEW_SECRET]
            site.replace(callers.some_more, **FIRST)
            site.replace(callers.some_more, **SECOND)
            callers.cursors = deque([None], maxlen=10)  # the documented pause: nobody has a cursor of the old secret
            callers.some_more()
            callers.secrets = [NEW_SECRET]
            assert await rotate_secret(pool, CLIENT, hash_secret("a-third-one-of-the-client"), timedelta(hours=1))
            site.replace(callers.some_more, **LAST)
    assert callers.failed == []
    assert await pool.fetchval("SELECT count(*) FROM oauth_keys") == 1, "the key was kept, and sealed anew"
