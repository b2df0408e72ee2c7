"""House rules that no linter checks."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from cli.main import COMMANDS
from core import settings
from tests.commands import invoke

ROOT = Path(__file__).parents[2]
CONCERNS = [
    kind
    for kind in vars(settings).values()
    if isinstance(kind, type) and issubclass(kind, BaseSettings) and kind.model_fields
]
FIELDS = [(kind, name) for kind in CONCERNS for name in kind.model_fields]
VAGUE = {"utils", "common", "helpers", "manager", "service", "base", "misc"}
LARGEST_FILE = 500_000  # bytes
GROUPED = {("api",), ("engine",)}
MOST_FILES = 14  # Python files in one folder of api/ or engine/
PATH = re.compile(r"`((?:api|benchmarks|bus|cli|core|db|deploy|docs|engine|ml|schemas|tests|workers)/[\w./-]*)`")
BINARY_FILES = {
    "docs/images/answer.png",  # the README's picture of a real answer
}
LARGE_FILES: set[str] = set()  # name a file here with its reason, or keep it out of the repository


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


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


def test_the_makefile_has_every_documented_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "demo", "test", "test-all", "coverage", "check", "bench", "lock", "clean"} <= targets


def test_the_ci_script_runs_the_checks_and_all_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make check" in script
    assert "make test-all" in script
    assert "PYTHON" in script  # the oldest and the newest that are supported


def test_every_folder_has_one_docstring_and_nothing_else_in_its_init() -> None:
    found = [file for file in tracked() if file.name == "__init__.py"]
    assert found
    for file in found:
        assert re.fullmatch(r'""".+"""', file.read_text().strip(), re.DOTALL), file


def test_no_binary_file_is_tracked_but_the_listed_ones() -> None:
    binary = {str(file.relative_to(ROOT)) for file in tracked() if not is_text(file.read_bytes())}
    assert binary == BINARY_FILES


def test_no_file_over_500_kb_is_tracked_but_the_listed_ones() -> None:
    large = {str(file.relative_to(ROOT)) for file in tracked() if file.stat().st_size > LARGEST_FILE}
    assert large == LARGE_FILES


def test_python_files_are_short_and_have_no_vague_name() -> None:
    for file in tracked():
        if file.suffix == ".py":
            assert file.stem not in VAGUE, file
            assert len(file.read_text().splitlines()) <= 400, file


def test_no_folder_of_the_edge_or_the_engine_is_crowded() -> None:
    folders = Counter(file.parent for file in tracked() if file.suffix == ".py")
    ours = {folder: count for folder, count in folders.items() if folder.relative_to(ROOT).parts[:1] in GROUPED}
    assert len(ours) > 10
    assert {folder: count for folder, count in ours.items() if count > MOST_FILES} == {}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_every_path_that_a_page_names_exists(page: str) -> None:
    named = set(PATH.findall((ROOT / page).read_text())) - {"db/migrations/versions/NNNN_name.sql"}
    assert named
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_locks_have_hashes_and_no_addresses() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text, lock
        if lock.name != "overrides.txt":
            assert text.count("==") <= text.count("--hash="), lock


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_text(name: str) -> None:
    shown = invoke(name, "--help")
    assert shown.exit_code == 0, shown.exception
    assert len(shown.output.split()) > 10


def test_an_unknown_command_is_a_usage_error() -> None:
    assert invoke("no-such-command").exit_code == 2
