"""The settings that hold the addresses of the stores."""

from collections.abc import Mapping

GIVEN = {"postgres": "PENCHANT_POSTGRES_URL", "valkey": "PENCHANT_REDIS_URL", "rabbitmq": "PENCHANT_BROKER_URL"}


def environment(urls: Mapping[str, str]) -> dict[str, str]:
    """The addresses as settings, by environment variable."""
    return {GIVEN[name]: url for name, url in urls.items()}
