"""What `penchant up` says about the versions of servers and schema before it starts anything of ours."""

from datetime import timedelta

from cli.checkup import broker, postgres, redis
from cli.checkup.versions import check_versions
from core.settings import Stores


async def test_servers_and_schema_of_the_tests_are_new_enough(stores: Stores) -> None:
    urls = (stores.postgres_url, stores.redis_url, stores.broker_url)
    found = await check_versions(*(url.get_secret_value() for url in urls))
    assert [(each.about, each.verdict) for each in found] == [
        ("postgres", "OK"),
        ("schema", "OK"),
        ("redis", "OK"),
        ("broker", "OK"),
    ]


async def test_a_redis_and_a_broker_that_do_not_answer_have_no_finding(stores: Stores) -> None:
    away = ("redis://:secret@127.0.0.1:1/0", "amqp://penchant:secret@127.0.0.1:1/penchant")
    found = await check_versions(stores.postgres_url.get_secret_value(), *away)
    assert [each.about for each in found] == ["postgres", "schema"]


def test_old_servers_are_refused() -> None:
    took = timedelta(milliseconds=1)
    assert postgres.check_version("here", 140_009, took).verdict == "FAIL"
    assert postgres.check_version("here", 150_000, took).verdict == "OK"
    assert redis.check_version("here", {"redis_version": "6.2.7"}, 0.001).verdict == "FAIL"
    assert redis.check_version("here", {"valkey_version": "9.0.1", "redis_version": "7.2.4"}, 0.001).verdict == "OK"
    assert broker.check_version("here", {"product": "RabbitMQ", "version": "3.9.13"}).verdict == "FAIL"
    assert broker.check_version("here", {"product": "RabbitMQ", "version": "4.0.5"}).verdict == "OK"
