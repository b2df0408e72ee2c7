"""`penchant doctor` finds what is wrong on real stores, says what to do, and never prints a secret."""

# mypy: allow-untyped-calls

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from kombu.connection import Connection

from bus.rabbitmq import topology
from cli.stack.folder import free_ports
from core import clock
from core.settings import Stores
from db.dead_events import DeadReason, insert_dead_events
from db.erasures import begin_erasure
from db.jobs import fail_job, lease_job, request_job
from db.outbox import keep_envelope
from db.postgres import Pool
from db.purges import add_purges
from db.serving import Model, promote, refuse, register_model
from engine.dead_events.records import of_message
from ml.affinity.model import AffinityModel, write
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.rfm import FALLBACK_EDGES
from ml.universe import COLUMNS, Universe
from tests.cli.conftest import OnDatabase
from tests.commands import invoke
from tests.conftest import EMPTY_EVERY_TABLE

SECRET = "correct-horse-battery-staple-0123456789"


@pytest.fixture(autouse=True)
def settings(stores: Stores, on_database: OnDatabase, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """Every setting in the environment; tables and queues empty."""
    topology.declare(stores.broker_url.get_secret_value())
    purge(stores)
    on_database(lambda pool: pool.execute(EMPTY_EVERY_TABLE))
    for name in ("postgres_url", "redis_url", "broker_url"):
        monkeypatch.setenv(f"PENCHANT_{name.upper()}", getattr(stores, name).get_secret_value())
    monkeypatch.setenv("PENCHANT_BUNDLES", str(folder))
    monkeypatch.setenv("PENCHANT_SECRET", SECRET)
    monkeypatch.setenv("PENCHANT_PORT", str(free_ports(1)[0]))
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    yield
    purge(stores)


def purge(stores: Stores) -> None:
    with Connection(stores.broker_url.get_secret_value()) as connection, connection.channel() as channel:
        for queue in topology.QUEUES:
            queue(channel).purge()


def examine() -> tuple[int, dict[str, tuple[str, str, str]]]:
    """The exit code, and the verdict, text and advice of each finding, by the part it is about."""
    done = invoke("doctor", "--json")
    assert SECRET not in done.output
    report = json.loads(done.stdout)
    assert report["ok"] is (done.exit_code == 0)
    found = {each["about"]: (each["verdict"], each["says"], each["advice"]) for each in report["findings"]}
    assert all((verdict == "OK") is (advice == "") for verdict, _, advice in found.values()), found
    return done.exit_code, found


def test_working_stores_are_ok() -> None:
    code, found = examine()
    assert code == 0
    well = {about for about, (verdict, _, _) in found.items() if verdict == "OK"}
    stores = {
        "postgres",
        "connections",
        "clock",
        "schema",
        "partitions",
        "outbox",
        "purges",
        "redis",
        "redis memory",
        "broker",
    }
    assert well >= {"penchant", "traces", "secret", "dead letters", "disk", *stores}
    assert {about: verdict for about, (verdict, _, _) in found.items() if about not in well} == {
        "queue penchant.events": "WARN",  # no worker runs
        "bundle": "WARN",  # no model was trained
        "gateway": "WARN",  # no gateway runs
    }


def test_every_wrong_setting_and_every_unknown_name_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_LINGER", "soon")
    monkeypatch.setenv("PENCHANT_LOG_LEVEL", "LOUD")
    monkeypatch.setenv("PENCHANT_SECRETT", "x")
    findings = json.loads(invoke("doctor", "--json").stdout)["findings"]
    found = {each["says"].partition(":")[0]: each["verdict"] for each in findings if each["about"] == "settings"}
    assert found == {
        "PENCHANT_LINGER": "FAIL",
        "PENCHANT_LOG_LEVEL": "FAIL",
        "PENCHANT_SECRETT is not a setting; did you mean PENCHANT_SECRET?": "WARN",
    }


def test_people_get_a_line_for_each_finding_and_advice() -> None:
    done = invoke("doctor")
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert any(line.startswith("OK    postgres ") and "version 18" in line for line in lines)
    warned = next(at for at, line in enumerate(lines) if line.startswith("WARN  queue penchant.events"))
    assert lines[warned + 1].strip().startswith("Start `penchant worker`")


def test_settings_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENCHANT_REDIS_URL")
    monkeypatch.setenv("PENCHANT_SECRET", "short")
    monkeypatch.setenv("PENCHANT_LAKE_AT", "25:00")
    monkeypatch.setenv("PENCHANT_RETRAIN_AT", "26:00")
    done = invoke("doctor")
    assert done.exit_code == 1
    assert "FAIL  settings  PENCHANT_REDIS_URL: Field required" in done.stdout
    assert all(f"{name}: " in done.stdout for name in ("PENCHANT_SECRET", "PENCHANT_LAKE_AT", "PENCHANT_RETRAIN_AT"))
    assert "short" not in done.stdout.replace("should have at least", "")


@pytest.mark.parametrize(
    ("name", "url", "about"),
    [
        ("POSTGRES", "postgresql://penchant:pass-w0rd@127.0.0.1:1/penchant", "postgres"),
        ("REDIS", "redis://:pass-w0rd@127.0.0.1:1/0", "redis"),
        ("BROKER", "amqp://penchant:pass-w0rd@127.0.0.1:1/shop", "broker"),
    ],
)
def test_an_unreachable_store_is_a_failure_that_hides_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, about: str
) -> None:
    monkeypatch.setenv(f"PENCHANT_{name}_URL", url)
    done = invoke("doctor")
    assert done.exit_code == 1
    assert f"FAIL  {about}" in done.stdout
    assert "127.0.0.1:1" in done.stdout
    assert f"PENCHANT_{name}_URL" in done.stdout
    assert "pass-w0rd" not in done.output


def test_an_empty_database_must_be_migrated(
    on_database: OnDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_database(lambda pool: pool.execute("DROP DATABASE IF EXISTS nothing_in_it"))
    on_database(lambda pool: pool.execute("CREATE DATABASE nothing_in_it"))
    base, _, options = postgres_url.partition("?")
    monkeypatch.setenv(
        "PENCHANT_POSTGRES_URL", base.rpartition("/")[0] + "/nothing_in_it" + ("?" + options) * bool(options)
    )
    code, found = examine()
    assert (code, found["schema"]) == (1, ("FAIL", "the database is empty", "Run `penchant migrate`."))


@pytest.mark.parametrize(("revision", "verdict"), [("0001", "FAIL"), ("9999", "WARN")])
def test_a_schema_of_another_version_is_named(on_database: OnDatabase, revision: str, verdict: str) -> None:
    held = on_database(lambda pool: pool.fetchval("SELECT version_num FROM penchant_version"))
    on_database(lambda pool: pool.execute("UPDATE penchant_version SET version_num = $1", revision))
    try:
        _, found = examine()
    finally:
        on_database(lambda pool: pool.execute("UPDATE penchant_version SET version_num = $1", held))
    assert found["schema"][0] == ("OK" if revision == held else verdict)
    assert revision in found["schema"][1]


def test_a_month_without_a_partition_is_named(on_database: OnDatabase) -> None:
    name = f"{clock.now():%Y_%m}"
    on_database(lambda pool: pool.execute(f"DROP TABLE events_{name}"))
    try:
        _, found = examine()
    finally:
        on_database(lambda pool: pool.fetchval("SELECT ensure_event_partitions(now(), now())"))
    assert found["partitions"][:2] == ("WARN", f"none for {name}")


@pytest.mark.parametrize(("seconds", "verdict"), [(-10, "WARN"), (3600, "FAIL")])
def test_a_wrong_clock_is_found(monkeypatch: pytest.MonkeyPatch, seconds: int, verdict: str) -> None:
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    _, found = examine()
    assert found["clock"][0] == verdict


def test_an_envelope_that_waits_too_long_in_the_outbox_is_found(on_database: OnDatabase) -> None:
    on_database(lambda pool: keep_envelope(pool, uuid4(), b"x", b"x"))
    assert examine()[1]["outbox"][0] == "OK"
    on_database(lambda pool: pool.execute("UPDATE outbox SET created_at = now() - interval '2 minutes'"))
    verdict, says, _ = examine()[1]["outbox"]
    assert (verdict, says) == ("WARN", "1 messages wait, the oldest for 120 s")


def test_purges_that_wait_too_long_or_died_are_found(on_database: OnDatabase) -> None:
    on_database(lambda pool: add_purges(pool, [(uuid4(), ["catalogue"])], timedelta(0)))
    assert examine()[1]["purges"][0] == "OK"
    on_database(lambda pool: pool.execute("UPDATE purges SET made_at = now() - interval '2 minutes'"))
    assert examine()[1]["purges"][:2] == (
        "WARN",
        "1 purges wait, the oldest for 120 s; 0 are dead. No attempt failed.",
    )
    on_database(lambda pool: pool.execute("UPDATE purges SET dead_at = now(), error = 'The answer is 400.'"))
    assert examine()[1]["purges"][:2] == (
        "WARN",
        "0 purges wait, the oldest for 0 s; 1 are dead. The last error: The answer is 400.",
    )


def test_a_lease_that_ran_out_and_a_failed_training_are_found(on_database: OnDatabase) -> None:
    on_database(lambda pool: request_job(pool, "main", "a test", "ada"))
    on_database(lambda pool: lease_job(pool, "main", timedelta(seconds=-1)))
    verdict, says, _ = examine()[1]["training main"]
    assert verdict == "WARN"
    assert "lease that ran out" in says
    done = "UPDATE training_jobs SET state = 'FAILED', finished_at = now(), error = E'Traceback\\nMemoryError'"
    on_database(lambda pool: pool.execute(done))
    verdict, says, _ = examine()[1]["training main"]
    assert (verdict, says) == ("WARN", "job 1 failed: MemoryError")


def test_dead_letters_are_counted(stores: Stores) -> None:
    with Connection(stores.broker_url.get_secret_value()) as connection:
        producer = connection.Producer(serializer="json")
        for _ in range(2):
            producer.publish({}, exchange=topology.DEAD.name, routing_key="events")
        queue = topology.DEAD_LETTERS(connection.default_channel)
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while queue.queue_declare(passive=True).message_count < 2:
            assert datetime.now(UTC) < deadline
    assert examine()[1]["dead letters"][:2] == ("WARN", "2 messages wait to become dead events")


def test_dead_events_are_counted_by_reason(on_database: OnDatabase) -> None:
    messages = [of_message(bytes([n]), None, DeadReason.UNREADABLE, "a test says so") for n in range(2)]
    on_database(lambda pool: insert_dead_events(pool, messages))
    verdict, says, advice = examine()[1]["dead events"]
    assert (verdict, says) == ("WARN", "2 could not be stored: 2 UNREADABLE")
    assert "penchant events dead list" in advice


def test_an_erasure_that_is_not_done_after_days_is_found(on_database: OnDatabase) -> None:
    on_database(lambda pool: begin_erasure(pool, "anna", "shop", clock.now() - timedelta(days=1)))
    assert examine()[1]["erasures"][0] == "OK"
    on_database(lambda pool: begin_erasure(pool, "bert", "shop", clock.now() - timedelta(days=3)))
    assert examine()[1]["erasures"][:2] == ("WARN", "1 person not erased everywhere after 2 days")


def test_a_bundle_is_checked_file_by_file(on_database: OnDatabase, tmp_path: Path) -> None:
    path = make_bundle(tmp_path)
    opened = AffinityModel.open(path)
    model = Model(opened.id, "main", opened.created_at, opened.digest, {}, None)
    on_database(lambda pool: register_model(pool, model))
    on_database(lambda pool: promote(pool, opened.id, "a test says so", {}, "test"))
    assert examine()[1]["bundle"][0] == "OK"
    damaged = path / "popular.npy"
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\xff")
    code, found = examine()
    assert (code, found["bundle"][0]) == (1, "FAIL")
    assert "popular.npy" in found["bundle"][1]


def test_a_full_disk_and_a_missing_folder_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import cli.checkup.configuration as configuration

    monkeypatch.setattr(configuration, "LEAST_SPACE", 2**60)
    assert examine()[1]["disk"][0] == "FAIL"
    monkeypatch.setenv("PENCHANT_BUNDLES", str(tmp_path / "nowhere"))
    assert examine()[1]["disk"][0] == "WARN"


def test_unsafe_secrets_and_addresses_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_SECRET", "abc" * 12)
    monkeypatch.setenv("PENCHANT_PUBLIC_URL", "http://shop.example")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    _, found = examine()
    assert {about: found[about][0] for about in ("secret", "public url", "traces")} == {
        "secret": "WARN",
        "public url": "WARN",
        "traces": "WARN",
    }


def make_bundle(folder: Path) -> Path:
    """A bundle of one item."""
    none = np.zeros((2, 1), np.int32)
    universe = Universe(
        numbers=np.array([1], np.uint32),
        columns=np.zeros((2, len(COLUMNS)), np.float32),
        rest=np.full(2, 3600, np.float32),
        near=none + 1,
        near_score=np.zeros((2, 1), np.float32),
        next=none + 1,
        next_score=np.zeros((2, 1), np.float32),
        popular=np.zeros(1, np.int32),
    )
    network = Network(kernels=(np.zeros((len(FEATURES), 1), np.float32),), biases=(np.zeros(1, np.float32),))
    return write(
        folder, universe, network, item_ids=["i1"], rfm_edges=FALLBACK_EDGES, evaluation={}, created_at=clock.now()
    )


def test_why_no_trained_model_serves_is_said(on_database: OnDatabase, folder: Path) -> None:
    async def fail(pool: Pool) -> None:
        await request_job(pool, "affinity", "new data", "ada")
        job = await lease_job(pool, "affinity")
        assert job
        await fail_job(pool, job, "The purchase log is empty.")

    async def refused(pool: Pool) -> None:
        await register_model(pool, Model("affinity-1", "affinity", clock.now(), "d", {}, None))
        await refuse(pool, "affinity-1", "too few people: 2", {}, "trainer")

    assert "no training has ended" in examine()[1]["bundle"][1]
    on_database(fail)
    assert "the last training failed. The purchase log is empty." in examine()[1]["bundle"][1]
    on_database(refused)
    verdict, says, advice = examine()[1]["bundle"]
    assert verdict == "WARN"
    assert "affinity-1 was refused, too few people: 2" in says
    assert "penchant models list" in advice
