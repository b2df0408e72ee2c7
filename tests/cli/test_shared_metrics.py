"""The processes of one gateway share their metrics: each shows the sum of all."""

from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from core.settings import Stores
from db.postgres import Pool
from tests.running import running_gateway, until


def count(url: str, operation: str) -> float:
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200, answer.text
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "penchant_request_seconds_count" and sample.labels["operation"] == operation
    )


def test_every_process_shows_the_sum_of_all(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    with running_gateway(stores, tmp_path / "gateway.log", "--processes", "2") as gateway:
        for _ in range(40):  # each on a connection of its own, so that both processes answer some
            assert httpx.get(f"{gateway.url}/healthz").status_code == 200
        until(lambda: count(gateway.url, "/healthz") == 40, "every request is counted once")
        assert [count(gateway.url, "/healthz") for _ in range(10)] == [40] * 10
        assert gateway.stop() == 0
