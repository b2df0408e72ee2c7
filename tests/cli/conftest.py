"""Fixtures of the commands' tests: their folder, their database, a stub of the gateway, and the demo's shop."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cli.demo.household_log import LogCounts, ShopFiles, make_shop_files
from core import clock
from db.postgres import Pool, connect_pool
from tests.commands import run_penchant
from tests.running import without_settings

OnDatabase = Callable[[Callable[[Pool], Coroutine[Any, Any, Any]]], Any]
RunApart = Callable[..., subprocess.CompletedProcess[str]]
ServeStack = Callable[[type[BaseHTTPRequestHandler], str], str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, outside of any checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def database(folder: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A working folder, and the tests' database as the only store in the settings; its address."""
    monkeypatch.setenv("PENCHANT_POSTGRES_URL", postgres_url)
    monkeypatch.delenv("PENCHANT_REDIS_URL", raising=False)
    return postgres_url


@pytest.fixture
def on_database(postgres_url: str) -> OnDatabase:
    """Works on the database in an event loop of its own: commands have one too, so these tests have none."""

    async def with_pool(work: Callable[[Pool], Coroutine[Any, Any, Any]]) -> Any:
        async with await connect_pool(postgres_url, size=1) as pool:
            return await work(pool)

    return lambda work: asyncio.run(with_pool(work))


@pytest.fixture
def run_apart(pool: Pool, postgres_url: str, tmp_path: Path) -> RunApart:
    """Runs a command in a process of its own, as people do: on an empty Postgres, with bundles in the test's folder."""
    environment = {
        **without_settings(),
        "PENCHANT_POSTGRES_URL": postgres_url,
        "PENCHANT_REDIS_URL": "redis://127.0.0.1:1",  # not used
        "PENCHANT_BROKER_URL": "amqp://127.0.0.1:1",
        "PENCHANT_BUNDLES": str(tmp_path / "bundles"),
    }

    def run(*words: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
        return run_penchant(*words, environment=environment | settings)

    return run


@pytest.fixture
def serve_stack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServeStack]:
    """Serves a stub of the gateway, whose address and credentials are in the working folder; its base URL."""
    for name in ("PENCHANT_PUBLIC_URL", "PENCHANT_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    with ExitStack() as servers:

        def start(handler: type[BaseHTTPRequestHandler], secret: str) -> str:
            url = servers.enter_context(_served(handler))
            (folder / ".penchant").mkdir()
            credentials = {"base_url": url, "client_id": "demo", "client_secret": secret}
            (folder / ".penchant" / "demo.json").write_text(json.dumps(credentials))
            return url

        yield start


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def made_at() -> datetime:
    """The time that the demo's shop takes for now."""
    return clock.now()


@pytest.fixture(scope="session")
def household_shop(tmp_path_factory: pytest.TempPathFactory, made_at: datetime) -> tuple[LogCounts, ShopFiles]:
    """The files of the demo's shop, made once from the real log."""
    folder: Path = tmp_path_factory.mktemp("shop")
    return make_shop_files(folder, made_at), ShopFiles.under(folder)
