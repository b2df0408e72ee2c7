"""The rules of this repository that no linter checks."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from cli.main import COMMANDS
from core import settings
from tests.commands import invoke

ROOT = Path(__file__).parents[2]
FOLDERS = ("api", "cli", "core", "db", "ml", "workers")
CONCERNS = [
    kind
    for kind in vars(settings).values()
    if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind.model_fields
]
FIELDS = [(kind, name) for kind in CONCERNS for name in kind.model_fields]
VAGUE = {"utils", "common", "helpers", "manager", "service", "base", "misc"}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_setting_is_explained(kind: type[BaseSettings], name: str) -> None:
    description = kind.model_fields[name].description or ""
    assert len(description) >= 15
    assert description.endswith(".")


def test_no_secret_has_a_default() -> None:
    for kind, name in FIELDS:
        field = kind.model_fields[name]
        if "SecretStr" in str(field.annotation):
            assert field.is_required() or field.default is None, name


def test_no_setting_is_read_by_two_concerns() -> None:
    names = [name for _, name in FIELDS]
    assert len(names) == len(set(names))


def test_make_has_every_documented_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "demo", "test", "test-all", "check", "bench", "lock", "clean"} <= targets


def test_the_ci_script_runs_the_checks_and_all_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make check" in script
    assert "make test-all" in script


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_one_docstring_and_nothing_else_in_its_init(folder: str) -> None:
    text = (ROOT / folder / "__init__.py").read_text().strip()
    assert re.fullmatch(r'""".+"""', text, re.DOTALL)


def test_files_are_short_and_named_after_what_is_in_them() -> None:
    for file in tracked():
        if file.suffix == ".py":
            assert file.stem not in VAGUE, file
            assert len(file.read_text().splitlines()) <= 400, file


def test_locks_carry_hashes_and_no_address() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text, lock
        if lock.name != "overrides.txt":
            assert text.count("==") <= text.count("--hash="), lock


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    shown = invoke(name, "--help")
    assert shown.exit_code == 0, shown.exception
    assert len(shown.output.split()) > 10


def test_an_unknown_command_is_a_usage_error() -> None:
    assert invoke("no-such-command").exit_code == 2
