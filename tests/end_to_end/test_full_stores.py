"""A store is full: it is said within 15 seconds, in words; nothing that was acknowledged is lost."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from cli.stack.stores import temporary_stack
from core import clock
from core.settings import Stores
from db.items import upsert_items
from db.migrate import upgrade
from db.postgres import connect_pool
from tests.commands import PROGRAM
from tests.conftest import EMPTY_EVERY_TABLE
from tests.full_stores import full_postgres, full_redis
from tests.running import Running, environment, register_client, running_gateway, running_worker, until

WITHIN = 15.0  # seconds
TRACK = "mutation ($events: [EventInput!]!) { trackEvents(events: $events) { accepted results { outcome code } } }"
LIST = 'query { user(id: "anna") { recommendations { degraded nodes { id } } history { nodes { item { id } } } } }'


@pytest.fixture(scope="module")
def own_stores(stores: Stores) -> Iterator[Stores]:
    """A Postgres and a Redis of this module's own, because the tests fill them."""
    with temporary_stack() as stack:
        urls = stack.start(["postgres", "valkey"])
        upgrade(urls["postgres"])
        own = {"postgres_url": SecretStr(urls["postgres"]), "redis_url": SecretStr(urls["valkey"])}
        yield stores.model_copy(update=own)


@pytest.fixture
async def shop(own_stores: Stores) -> None:
    """Empty tables, a client and two items."""
    async with await connect_pool(own_stores.postgres_url.get_secret_value(), size=1) as pool:
        await pool.execute(EMPTY_EVERY_TABLE)
        await register_client(pool)
        await upsert_items(pool, [{"id": id, "updated_at": clock.now()} for id in ("milk", "soap")])


class Caller:
    """A client of a gateway."""

    def __init__(self, gateway: Running) -> None:
        self._url, self._headers = gateway.url, {"Authorization": f"Bearer {gateway.token()}"}
        self.sent = 0

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self._url}/graphql", json=body, headers=self._headers, timeout=20).json()
        assert "errors" not in answer, answer
        return dict(answer["data"])

    def view(self) -> dict[str, Any]:
        """Send one view of Anna's; its result."""
        self.sent += 1
        event = {"type": "VIEW", "userId": "anna", "itemId": "milk", "id": f"e{self.sent}"}
        event |= {"occurredAt": clock.now().isoformat()}
        return dict(self.ask(TRACK, events=[event])["trackEvents"]["results"][0])

    def degraded(self) -> list[str]:
        """Why Anna's list is degraded."""
        return list(self.ask(LIST)["user"]["recommendations"]["degraded"])

    def ready(self) -> dict[str, Any]:
        """What /readyz says, with the status 200."""
        answer = httpx.get(f"{self._url}/readyz", timeout=10)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def findings(stores: Stores, folder: Path) -> dict[str, tuple[str, str]]:
    """What `penchant doctor` finds: verdict and text by part."""
    done = subprocess.run(
        [*PROGRAM, "doctor", "--json"],
        cwd=folder,
        env=environment(stores),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return {each["about"]: (each["verdict"], each["says"]) for each in json.loads(done.stdout)["findings"]}


def stored(stores: Stores) -> int:
    """How many events Postgres has."""
    with psycopg.connect(stores.postgres_url.get_secret_value()) as connection:
        (count,) = connection.execute("SELECT count(*) FROM events").fetchone() or (0,)
        return int(count)


@pytest.mark.usefixtures("shop", "channel")
def test_a_full_postgres_is_reported_and_its_events_wait(own_stores: Stores, tmp_path: Path) -> None:
    log = tmp_path / "log"
    postgres, month = own_stores.postgres_url.get_secret_value(), f"events_{clock.now():%Y_%m}"
    with running_gateway(own_stores, log) as gateway, running_worker(own_stores, log):
        caller = Caller(gateway)
        assert caller.ready()["problems"] == []
        with full_postgres(postgres, month) as full:

            def is_reported() -> bool:
                full.fill_temporary_files()
                assert caller.view()["outcome"] == "ACCEPTED"
                return caller.ready()["postgres"] == "full" and "STORE_FULL" in caller.degraded()

            def is_found() -> bool:
                full.fill_temporary_files()
                return findings(own_stores, tmp_path)["postgres disk"][0] == "FAIL"

            until(is_reported, "the gateway says that Postgres is full", WITHIN)
            assert caller.ready()["problems"] == ["Postgres takes no new data: its disk is full."]
            until(is_found, "`penchant doctor` says that Postgres is full")
            until(lambda: "batch_sent_again" in log.read_text(), "the worker has given a batch back to the broker")
            assert stored(own_stores) == 0
        until(lambda: stored(own_stores) == caller.sent, "every acknowledged event is stored")
        until(lambda: caller.ready()["problems"] == [] and caller.degraded() == ["NO_MODEL"], "all is well")
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM dead_events").fetchone() == (0,)
    assert "Traceback" not in log.read_text()
    assert "Postgres takes no new data: its disk is full." in log.read_text()


@pytest.mark.usefixtures("shop", "channel")
def test_a_redis_that_refuses_writes_is_reported_and_nothing_is_missing_afterwards(
    own_stores: Stores, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with running_gateway(own_stores, log) as gateway, running_worker(own_stores, log):
        caller = Caller(gateway)
        assert caller.view()["outcome"] == "ACCEPTED"
        with full_redis(own_stores.redis_url.get_secret_value()):

            def is_reported() -> bool:
                assert caller.view()["outcome"] == "ACCEPTED"
                return caller.ready()["redis"] == "full" and "NO_CACHE" in caller.degraded()

            until(is_reported, "the gateway says that Redis is full", WITHIN)
            (problem,) = caller.ready()["problems"]
            assert problem.startswith("Redis takes no new data: its memory is full")
            assert findings(own_stores, tmp_path)["redis writes"] == ("FAIL", problem)
            until(lambda: stored(own_stores) == caller.sent, "events are stored meanwhile")
            assert len(caller.ask(LIST)["user"]["history"]["nodes"]) == min(caller.sent, 20)
        until(lambda: caller.ready()["problems"] == [] and caller.degraded() == ["NO_MODEL"], "all is well")
    assert "Traceback" not in log.read_text()


@pytest.mark.usefixtures("shop")
def test_without_broker_and_with_a_full_outbox_the_sender_must_send_again(own_stores: Stores, tmp_path: Path) -> None:
    without_broker = own_stores.model_copy(update={"broker_url": SecretStr("amqp://nobody@127.0.0.1:1/none")})
    log, postgres = tmp_path / "log", own_stores.postgres_url.get_secret_value()
    with running_gateway(without_broker, log) as gateway:
        caller = Caller(gateway)
        with full_postgres(postgres, "outbox"):
            assert caller.view() == {"outcome": "RETRY", "code": "SERVICE_UNAVAILABLE"}
        assert caller.view()["outcome"] == "ACCEPTED"
    assert "Traceback" not in log.read_text()


@pytest.mark.usefixtures("shop")
def test_a_load_into_a_full_postgres_ends_with_one_sentence_and_can_be_repeated(
    own_stores: Stores, tmp_path: Path
) -> None:
    now, lines = clock.now(), tmp_path / "views.csv"
    lines.write_text("type,userId,itemId,occurredAt\n" + f"VIEW,anna,milk,{now.isoformat()}\n" * 3)
    with full_postgres(own_stores.postgres_url.get_secret_value(), f"events_{now:%Y_%m}"):
        refused = load(own_stores, lines)
    assert refused.returncode == 3
    assert_one_sentence(refused.stderr, "Postgres takes no new data: its disk is full.")
    again = load(own_stores, lines)
    assert again.returncode == 0, again.stderr
    assert stored(own_stores) == json.loads(again.stdout)["stored"] > 0


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("limit", "command", "code", "ending"),
    [
        (0, "load events lines.csv --json", 1, "No temporary file can be written"),
        (1, "load events lines.csv --json", 3, "the same command resumes)"),
        (0, "export events --to file:///$PWD/lake", 3, "File too large"),
        (0, "erasures save erased.jsonl", 1, "erased.jsonl cannot be written: File too large."),
    ],
)
def test_a_command_that_cannot_write_its_file_ends_with_one_sentence(
    own_stores: Stores, tmp_path: Path, limit: int, command: str, code: int, ending: str
) -> None:
    with psycopg.connect(own_stores.postgres_url.get_secret_value()) as connection:
        connection.execute("INSERT INTO erasure_keys (inner_pad, outer_pad) VALUES ('a', 'b')")
    good = "VIEW,anna,milk,2026-01-05T12:00:00Z\n"
    (tmp_path / "good.csv").write_text("type,userId,itemId,occurredAt\n" + good)
    (tmp_path / "lines.csv").write_text("type,userId,itemId,occurredAt\n" + good + 50 * "VIEW,anna,milk,no-time\n")
    assert load(own_stores, tmp_path / "good.csv").returncode == 0
    penchant = f"{PROGRAM[0]} -c '{PROGRAM[2]}'"
    words = ["sh", "-c", f"ulimit -f {limit}; exec {penchant} {command}"]  # blocks of 512 bytes
    settings = environment(own_stores) | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert_one_sentence(done.stderr, ending)


def assert_one_sentence(stderr: str, ending: str) -> None:
    """After lines of progress, one line says what is wrong."""
    *progress, last = stderr.splitlines()
    assert last.startswith("penchant: "), stderr
    assert ending in last
    assert not [line for line in progress if "Error" in line or "Traceback" in line], stderr


def load(stores: Stores, file: Path) -> subprocess.CompletedProcess[str]:
    """Load events."""
    words = [*PROGRAM, "load", "events", str(file), "--json"]
    return subprocess.run(
        words,
        cwd=file.parent,
        env=environment(stores),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
