"""Secrets from files: which one is used, and the error when it cannot be decided."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from cli.main import app
from core.settings import Gateway, Stores

URLS = ("PENCHANT_POSTGRES_URL", "PENCHANT_REDIS_URL", "PENCHANT_BROKER_URL")


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that PENCHANT_SECRET_FILE names; nothing else is given."""
    file = tmp_path / "secret"
    monkeypatch.delenv("PENCHANT_SECRET", raising=False)
    monkeypatch.setenv("PENCHANT_SECRET_FILE", str(file))
    return file


def test_a_secret_is_read_from_its_file_without_the_line_end(secret_file: Path) -> None:
    secret_file.write_text(" " + "s" * 32 + "\r\n")
    assert Gateway().secret.get_secret_value() == " " + "s" * 32


def test_every_secret_can_be_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*URLS, "PENCHANT_MLFLOW_URL"):
        (tmp_path / name).write_text(f"x://{name}\n")
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    stores = Stores()
    assert stores.postgres_url.get_secret_value() == "x://PENCHANT_POSTGRES_URL"
    assert stores.mlflow_url is not None and stores.mlflow_url.get_secret_value() == "x://PENCHANT_MLFLOW_URL"


def test_a_secret_given_twice_is_refused_and_not_shown(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret_file.write_text("from the file")
    monkeypatch.setenv("PENCHANT_SECRET", "from the environment")
    with pytest.raises(ValidationError, match="PENCHANT_SECRET_FILE: PENCHANT_SECRET is set too") as refusal:
        Gateway()
    assert "from the" not in str(refusal.value)


def test_a_file_that_is_missing_or_empty_is_named(secret_file: Path) -> None:
    with pytest.raises(ValidationError, match=f"PENCHANT_SECRET_FILE: {secret_file} cannot be read"):
        Gateway()
    secret_file.write_text("\n")
    with pytest.raises(ValidationError, match=f"{secret_file} is empty"):
        Gateway()


def test_a_secret_from_a_file_is_validated_like_any_other(secret_file: Path) -> None:
    secret_file.write_text("too short")
    with pytest.raises(ValueError, match="at least 32"):
        Gateway()


def test_a_setting_that_is_not_a_secret_is_not_read_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "host").write_text("10.0.0.1")
    monkeypatch.setenv("PENCHANT_HOST_FILE", str(tmp_path / "host"))
    monkeypatch.setenv("PENCHANT_SECRET", "s" * 32)
    assert Gateway().host == "127.0.0.1"


def test_commands_read_their_database_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "url").write_text("postgresql://nobody@127.0.0.1:1/none\n")
    for name in URLS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PENCHANT_POSTGRES_URL_FILE", str(tmp_path / "url"))
    for words in (["migrate"], ["clients", "list"]):
        said = CliRunner().invoke(app, words)
        assert said.exit_code != 0 and "Postgres did not answer" in said.output
