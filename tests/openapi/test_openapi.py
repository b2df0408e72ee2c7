"""The OpenAPI document names every route, and a gateway does what it says, whatever is sent."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from api.app import create_app
from api.routes.openapi.document import document
from core import clock
from core.settings import Settings, Stores
from db.items import upsert_items
from db.postgres import Pool
from tests.commands import ROOT
from tests.running import Running, register_client, running_issuer

FOLDER = Path(__file__).parent
FOR_PEOPLE = {"/login", "/oauth/consent"}  # forms of pages, not for programs


@pytest.fixture
async def issuer(stores: Stores, redis: Any, channel: Any, pool: Pool, tmp_path: Path) -> AsyncIterator[Running]:
    """A gateway with a metrics token, a client and two items."""
    await register_client(pool)
    await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap")])
    with running_issuer(stores, tmp_path / "gateway.log", PENCHANT_METRICS_TOKEN="m" * 16) as gateway:
        yield gateway


def test_every_route_for_programs_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_SECRET", "s" * 32)
    routes = {route.path for route in create_app(Settings()).routes if isinstance(route, Route)}
    assert document()["paths"].keys() == routes - FOR_PEOPLE


def test_every_operation_has_an_id_of_its_own_and_a_summary() -> None:
    operations = [each for path in document()["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"] and each["tags"] for each in operations)


def test_every_operation_may_refuse_a_head_that_is_too_large() -> None:
    operations = [each for path in document()["paths"].values() for each in path.values()]
    assert all("431" in each["responses"] for each in operations)


@pytest.mark.timeout(600)
def test_a_gateway_does_what_the_document_says(issuer: Running) -> None:
    """Schemathesis sends valid and wrong requests to every operation, and compares the answers with the document."""
    answer = httpx.get(f"{issuer.url}/openapi.json", timeout=30)
    assert answer.content == (ROOT / "openapi.json").read_bytes()
    assert answer.headers["cache-control"] == "public, max-age=300"
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={FOLDER / 'schemathesis.toml'}",
            "run",
            f"{issuer.url}/openapi.json",
            f"--header=Authorization: Bearer {issuer.token()}",
            "--continue-on-failure",
        ],
        cwd=issuer.log.parent,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.openapi.hooks", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
