"""docker-compose.yml: checked against the compose specification, by a linter, and for what it names."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from cli.main import COMMANDS
from core import settings
from core.purge_settings import Purges
from core.settings import Settings, Tokens, Trainings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith(("penchant-gateway", "penchant-tr"))]
BIN = Path(sys.executable).parent
FIELDS = {
    f"PENCHANT_{name.upper()}": "SecretStr" in str(field.annotation)
    for kind in vars(settings).values()
    if isinstance(kind, type) and issubclass(kind, BaseSettings)
    for name, field in kind.model_fields.items()
}


def environment(service: dict[str, Any]) -> dict[str, str]:
    """The environment that compose gives the service when the host sets no variables: one without a value is unset."""
    values = {name: str(value) for name, value in service.get("environment", {}).items() if value is not None}
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in values.items()}


def secrets_of(service: dict[str, Any]) -> list[str]:
    return [one if isinstance(one, str) else one["source"] for one in service.get("secrets", [])]


@pytest.fixture(scope="module")
def secrets_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that deploy/make-secrets writes."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    subprocess.run([ROOT / "deploy" / "make-secrets", folder], check=True)
    return folder


def test_the_file_follows_the_compose_specification() -> None:
    words = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_finds_no_error(tmp_path: Path) -> None:
    copy = tmp_path / FILE.name  # the linter objects to secrets under the folder /root, where a checkout may be
    copy.write_text(FILE.read_text())
    done = subprocess.run([BIN / "compose-lint", "check", copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_services_are_the_documented_ones() -> None:
    assert set(OURS) == {"gateway", "worker", "trainer", "beat", "migrate"}
    assert set(SERVICES) - set(OURS) == {"postgres", "valkey", "rabbitmq", "mlflow"}


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_our_commands(name: str) -> None:
    (command,) = SERVICES[name]["command"]
    assert command in COMMANDS


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting_and_every_secret_comes_from_a_file(name: str) -> None:
    for variable, value in environment(SERVICES[name]).items():
        if FIELDS.get(variable.removesuffix("_FILE")):
            assert variable.endswith("_FILE"), variable
            assert Path(value).parent == Path("/run/secrets")
            assert Path(value).name in secrets_of(SERVICES[name]), variable
        else:
            assert variable in FIELDS, variable


def test_variables_of_the_host_that_are_passed_on_are_settings() -> None:
    passed = {
        name: {key for key, value in SERVICES[name].get("environment", {}).items() if value is None} for name in OURS
    }
    lists = {"PENCHANT_DISLIKES_HOLD", "PENCHANT_POPULAR_WINDOW"}
    events = {"PENCHANT_PERSON_EVENTS_BACK", "PENCHANT_EVENTS_KEEP"}
    bundles = {"PENCHANT_BUNDLES_KEEP", "PENCHANT_BUNDLES_KEEP_SERVED"}
    rates = {f"PENCHANT_RATE_{whose}" for whose in ("CLIENT", "PERSON", "ADDRESS")}
    files = {"PENCHANT_LISTS_URL"}
    daily, kept = {"PENCHANT_LISTS_DAILY", "PENCHANT_LISTS_AT"}, {"PENCHANT_LISTS_KEEP"}
    own = {"PENCHANT_PROBE_PORT", "PENCHANT_SECRET_PREVIOUS", "PENCHANT_ISSUERS_PROXY"}
    sizes = {"PENCHANT_MAX_BODY", "PENCHANT_REQUEST_TIMEOUT", "PENCHANT_POSTGRES_POOL"}
    lifetimes = {f"PENCHANT_{name.upper()}" for name in (*Tokens.model_fields, "session_idle", "session_lifetime")}
    every = {"PENCHANT_LOG_LEVEL"}
    purges = {f"PENCHANT_{name.upper()}" for name in Purges.model_fields}
    events_of_worker = {"PENCHANT_EVENTS_KEEP", "PENCHANT_LOADS_URL"}
    assert passed["gateway"] == {*every, *own, *sizes, *lifetimes, *lists, *events, *rates, *files}
    assert passed["worker"] == {*every, *events_of_worker, *bundles, *files, *daily, *kept, *purges}
    trainings = {f"PENCHANT_{name.upper()}" for name in Trainings.model_fields}
    assert passed["trainer"] == {*every, "PENCHANT_EVENTS_KEEP", *bundles, *lists, *files, *kept, *trainings}
    assert passed["beat"] == {*every, "PENCHANT_PURGE_URL", "PENCHANT_PURGE_SECRET"}
    assert set.union(*passed.values()) <= FIELDS.keys()


def test_every_setting_is_passed_on_or_documented_as_not_passed_on() -> None:
    passed = {name.removesuffix("_FILE") for service in OURS for name in SERVICES[service].get("environment", {})}
    page = (ROOT / "docs" / "deploying.md").read_text()
    paragraph = page[page.index("`docker-compose.yml` passes on") : page.index("Set these in")]
    assert set(re.findall(r"PENCHANT_[A-Z_]+", paragraph)) - passed == FIELDS.keys() - passed


@pytest.mark.parametrize(("port", "asked"), [(None, "8000"), ("9200", "9200")])
def test_the_gateways_health_check_asks_the_probe_port(port: str | None, asked: str) -> None:
    *_, program = SERVICES["gateway"]["healthcheck"]["test"]
    stub = f"import urllib.request; urllib.request.urlopen = lambda url, timeout: print(url); {program}"
    environ = {"PENCHANT_PROBE_PORT": port} if port else {}
    done = subprocess.run([sys.executable, "-c", stub], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"http://127.0.0.1:{asked}/readyz"


@pytest.mark.parametrize("name", OURS)
def test_our_services_accept_their_settings(name: str, secrets_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("PENCHANT_")]:
        monkeypatch.delenv(variable)
    for variable, value in environment(SERVICES[name]).items():
        monkeypatch.setenv(variable, value.replace("/run/secrets", str(secrets_folder)))
    read = Settings()
    needed = ["gateway", "ingest", "tokens"] if name == "gateway" else []
    for concern in [*needed, *(["schedule", "watching"] if name == "worker" else []), "logging"]:
        assert getattr(read, concern)
    if name != "migrate":
        for setting, store in (("postgres_url", "postgres"), ("redis_url", "valkey"), ("broker_url", "rabbitmq")):
            url: SecretStr = getattr(read.stores, setting)
            assert urlsplit(url.get_secret_value()).hostname == store


def test_every_secret_is_generated_once_and_kept(secrets_folder: Path) -> None:
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    before = {file.name: file.read_text() for file in secrets_folder.iterdir()}
    assert named <= before.keys()
    subprocess.run([ROOT / "deploy" / "make-secrets", secrets_folder], check=True)
    assert {file.name: file.read_text() for file in secrets_folder.iterdir()} == before
    assert secrets_folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in secrets_folder.iterdir()} == {
        0o444
    }  # containers run as another user


def test_addresses_and_stores_have_the_same_passwords(secrets_folder: Path) -> None:
    def password(name: str) -> str | None:
        return urlsplit((secrets_folder / name).read_text().strip()).password

    def secret(name: str) -> str:
        return (secrets_folder / name).read_text().strip()

    assert password("postgres_url") == password("mlflow_url") == secret("postgres_password")
    assert secret("valkey.conf") == f"requirepass {password('redis_url')}"
    assert f"default_pass = {password('broker_url')}" in secret("rabbitmq.conf")
    generated = ("postgres_password", "valkey_password", "rabbitmq_password", "gateway_secret", "metrics_token")
    passwords = [secret(name) for name in generated]
    assert len(set(passwords)) == 5 and min(map(len, passwords)) >= 32


def test_no_secret_is_in_the_file_or_in_a_default() -> None:
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|TOKEN|_URL$", variable)
            passed_on = value is None  # as on the host: nothing is in this file
            assert not secret or passed_on or variable.endswith("_FILE") or variable == "PENCHANT_PUBLIC_URL", variable
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()


def test_ports_are_published_on_loopback_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"gateway", "mlflow"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["inside"]["internal"] is True


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_a_restart_policy_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    for other, wait in service.get("depends_on", {}).items():
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], other
        else:
            assert (other, wait["condition"]) == ("migrate", "service_completed_successfully")


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ("trainer", "beat", "migrate")])
def test_every_service_that_answers_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL") and {"interval", "timeout", "retries"} <= check.keys()


def test_every_volume_is_declared_and_every_mounted_file_exists() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            named.add(source) if not source.startswith(".") else None
            assert not source.startswith(".") or (ROOT / source).is_file(), source
    assert named == COMPOSE["volumes"].keys() == {"bundles", "postgres", "rabbitmq", "reports"}


def test_gateways_read_the_bundles_that_the_trainer_writes() -> None:
    assert {"type": "volume", "source": "bundles", "target": "/var/lib/penchant/bundles", "read_only": True} in (
        SERVICES["gateway"]["volumes"]
    )
    assert "bundles:/var/lib/penchant/bundles" in SERVICES["trainer"]["volumes"]


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_every_build_target_is_in_the_dockerfile(name: str) -> None:
    build = SERVICES[name]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / build["dockerfile"]).read_text(), re.MULTILINE)
    assert build["target"] in stages


def test_the_image_version_is_the_version_of_the_project() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    tags = {service["image"].partition(":")[2] for service in SERVICES.values() if "build" in service}
    assert tags == {f"${{PENCHANT_VERSION:-{version[1]}}}"}


def test_mlflow_runs_without_its_job_processes() -> None:
    assert SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
