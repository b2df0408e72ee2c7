"""What every command has in common: the version, and what it says about settings."""

import json
import re

import pytest

from tests.commands import invoke, run_penchant
from tests.running import without_settings

SERVICES = ("gateway", "worker", "trainer", "beat")


def test_the_version_is_shown() -> None:
    shown = invoke("--version")
    assert shown.exit_code == 0
    assert re.fullmatch(r"penchant \d+\.\d+\.\d+\n", shown.output)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_names_all_settings_that_are_wrong(name: str) -> None:
    wrong = {"PENCHANT_POSTGRES_POOL": "many", "PENCHANT_LOG_LEVEL": "LOUD"}
    ended = run_penchant(name, environment={**without_settings(), **wrong})
    assert ended.returncode == 2
    missing = ("PENCHANT_POSTGRES_URL", "PENCHANT_REDIS_URL", "PENCHANT_BROKER_URL")
    assert all(f"  {each}: " in ended.stderr for each in (*missing, *wrong)), ended.stderr


def test_up_refuses_wrong_settings_before_it_starts_anything(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("up") / "stack"
    wrong = {"PENCHANT_LINGER": "soon", "PENCHANT_RETRAIN_AT": "noon"}
    ended = run_penchant("up", "--folder", folder, environment={**without_settings(), **wrong})
    assert ended.returncode == 2
    assert all(f"  {each}: " in ended.stderr for each in wrong), ended.stderr
    assert not folder.exists()


def test_a_command_warns_of_an_unknown_setting_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENCHANT_POSTGRES_URI", "postgresql://nobody@127.0.0.1:1/none")
    said = invoke("schema")
    assert said.exit_code == 0
    assert "PENCHANT_POSTGRES_URI is not a setting; did you mean PENCHANT_POSTGRES_URL?" in said.stderr


def test_a_service_logs_an_unknown_setting() -> None:
    unreachable = {
        "PENCHANT_POSTGRES_URL": "postgresql://nobody@127.0.0.1:1/none",
        "PENCHANT_REDIS_URL": "redis://127.0.0.1:1/0",
        "PENCHANT_BROKER_URL": "amqp://127.0.0.1:1/none",
        "PENCHANT_SECRET": "s" * 32,
        "PENCHANT_PORT": "0",
        "PENCHANT_LOG_JSON": "true",
        "PENCHANT_LOG_LEVL": "DEBUG",
    }
    ended = run_penchant("gateway", "--processes", "2", environment={**without_settings(), **unreachable})
    warned = [json.loads(line) for line in ended.stderr.splitlines() if "setting_unknown" in line]
    assert [(line["name"], line["nearest"]) for line in warned] == [("PENCHANT_LOG_LEVL", "PENCHANT_LOG_LEVEL")]
