"""`penchant schema`: the committed schema is the real one, and no query breaks unnoticed."""

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.schema import SchemaBroken, SchemaChanged, check_committed, check_unbroken, committed_at

OLD = "type Query { me(first: Int = 20): String you: String }"


def penchant(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["schema", *arguments])
    return result.exit_code, result.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_committed_schema_is_the_schema() -> None:
    committed = Path(__file__).parents[2] / "schema.graphql"
    assert penchant() == (0, committed.read_text())


def test_what_was_written_passes_the_check(folder: Path) -> None:
    assert penchant("--write")[0] == 0
    assert penchant("--check")[0] == 0


def test_a_committed_schema_that_differs_or_is_missing_fails_the_check(folder: Path) -> None:
    assert penchant("--check")[0] == 1
    (folder / "schema.graphql").write_text(OLD)
    assert penchant("--check")[0] == 1


def test_a_difference_is_refused() -> None:
    check_committed(OLD, OLD)
    with pytest.raises(SchemaChanged):
        check_committed(OLD, OLD + "\n")


@pytest.mark.parametrize(
    "new",
    [
        "type Query { me(first: Int = 20): String }",
        "type Query { me(first: Int! = 20, now: Int!): String you: String }",
        "type Query { me(first: Int = 20): String you: Int }",
    ],
)
def test_a_change_that_breaks_queries_is_refused_by_name(new: str) -> None:
    with pytest.raises(SchemaBroken, match=r"Query\.(me|you)"):
        check_unbroken(OLD, new)


@pytest.mark.parametrize("new", [OLD, OLD.replace("you: String", "you: String! they: String"), f'"New words" {OLD}'])
def test_additions_are_taken(new: str) -> None:
    check_unbroken(OLD, new)
    check_unbroken(None, new)


def test_the_last_schema_comes_from_the_last_commit(folder: Path) -> None:
    assert committed_at("HEAD") is None
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    (folder / "schema.graphql").write_text(OLD)
    for command in (["init", "-q"], ["add", "schema.graphql"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], check=True)
    (folder / "schema.graphql").write_text("type Query { other: String }")
    assert committed_at("HEAD") == OLD
