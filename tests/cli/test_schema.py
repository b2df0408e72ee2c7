"""`penchant schema`: the committed schemas are the real ones, and no query and no sender breaks unnoticed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.event_schemas import event_schemas
from cli.main import app
from cli.schema import (
    SchemaBroken,
    SchemaChanged,
    check_committed,
    check_events_unbroken,
    check_unbroken,
    committed_at,
    events_committed_at,
)

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


@pytest.mark.parametrize("wrong", ["schemas/v1/view.json", "schemas/v1/search.json", "schema.graphql"])
def test_each_committed_file_is_held_to_what_the_code_says(folder: Path, wrong: str) -> None:
    assert penchant("--write")[0] == 0
    (folder / wrong).write_text((folder / wrong).read_text() + "\n")
    assert penchant("--check")[0] == 1
    (folder / wrong).unlink()
    assert penchant("--check")[0] == 1
    assert penchant("--write")[0] == 0
    assert penchant("--check")[0] == 0


def test_a_schema_of_no_type_fails_the_check_and_goes_when_they_are_written(folder: Path) -> None:
    penchant("--write")
    (folder / "schemas/v1/gone.json").write_text("{}")
    assert penchant("--check")[0] == 1
    penchant("--write")
    assert penchant("--check")[0] == 0 and not (folder / "schemas/v1/gone.json").exists()


def test_a_difference_is_refused_by_the_name_of_the_file() -> None:
    path = Path("schema.graphql")
    check_committed({path: OLD}, {path: OLD})
    with pytest.raises(SchemaChanged, match=r"schema\.graphql"):
        check_committed({path: OLD}, {path: OLD + "\n"})


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


VIEW = Path("schemas/v1/view.json")


def changed(**fields: Any) -> dict[Path, str]:
    """The real schemas, with fields of VIEW changed; None takes one away."""
    files = event_schemas()
    schema = json.loads(files[VIEW])
    for name, field in fields.items():
        if field is None:
            del schema["properties"][name]
        else:
            schema["properties"][name] = field
    return {**files, VIEW: json.dumps(schema)}


def test_events_may_gain_optional_fields_and_versions_are_free() -> None:
    old = event_schemas()
    check_events_unbroken({}, old)
    check_events_unbroken(old, old)
    check_events_unbroken(old, changed(colour={"type": "string"}))
    check_events_unbroken(old, {**old, Path("schemas/v2/view.json"): '{"required": ["everything"]}'})


def test_an_event_that_was_taken_and_is_not_any_more_is_named_with_its_field() -> None:
    old = event_schemas()
    for new, named in (
        (changed(sessionId=None), r"view\.json: sessionId: is gone"),
        (
            changed(sessionId={"type": "string", "minLength": 1}),
            r"^[^\n]+\n  \S+view\.json: sessionId: its type is narrower$",
        ),
        ({path: text for path, text in old.items() if path != VIEW}, r"view\.json: the type is gone"),
    ):
        with pytest.raises(SchemaBroken, match=named):
            check_events_unbroken(old, new)


def test_the_last_event_schemas_come_from_the_last_commit_and_hold_the_next(folder: Path) -> None:
    assert events_committed_at("HEAD") == {}
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    penchant("--write")
    (folder / VIEW).write_text(changed(colour={"type": "string"})[VIEW])
    for command in (["init", "-q"], ["add", "schema.graphql", "schemas"], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], check=True)
    penchant("--write")
    assert set(events_committed_at("HEAD")) == set(event_schemas())
    status, said = penchant("--check")
    assert (status, "colour: is gone" in said) == (1, True)
