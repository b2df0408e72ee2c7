"""`penchant schema`: the committed schemas are those of the code, and a change that breaks a client is refused."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.schemas.committed import (
    SchemaBroken,
    SchemaChanged,
    check_committed,
    check_events_unbroken,
    check_graphql_unbroken,
    committed_at,
    events_committed_at,
)
from cli.schemas.event_schemas import event_schemas
from tests.commands import invoke

OLD = "type Query { me(first: Int = 20): String you: String }"


def penchant(*arguments: str) -> tuple[int, str]:
    result = invoke("schema", *arguments)
    return result.exit_code, result.output


def commit(*paths: str) -> None:
    """Commit these files of the working folder, in a repository of its own."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
    for command in (["init", "-q"], ["add", *paths], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *command], check=True)


def test_the_committed_graphql_schema_is_that_of_the_code() -> None:
    committed = Path(__file__).parents[2] / "schema.graphql"
    assert penchant() == (0, committed.read_text())


def test_written_schemas_pass_the_check(folder: Path) -> None:
    assert penchant("--write")[0] == 0
    assert penchant("--check")[0] == 0


def test_a_committed_schema_that_differs_or_is_missing_fails_the_check(folder: Path) -> None:
    assert penchant("--check")[0] == 1
    (folder / "schema.graphql").write_text(OLD)
    assert penchant("--check")[0] == 1


@pytest.mark.parametrize("wrong", ["schemas/v1/view.json", "schemas/v1/search.json", "schema.graphql", "openapi.json"])
def test_each_committed_file_is_compared_with_the_code(folder: Path, wrong: str) -> None:
    assert penchant("--write")[0] == 0
    (folder / wrong).write_text((folder / wrong).read_text() + "\n")
    assert penchant("--check")[0] == 1
    (folder / wrong).unlink()
    assert penchant("--check")[0] == 1
    assert penchant("--write")[0] == 0
    assert penchant("--check")[0] == 0


def test_a_schema_of_an_unknown_type_fails_the_check_and_is_removed_by_a_write(folder: Path) -> None:
    penchant("--write")
    (folder / "schemas/v1/gone.json").write_text("{}")
    assert penchant("--check")[0] == 1
    penchant("--write")
    assert penchant("--check")[0] == 0 and not (folder / "schemas/v1/gone.json").exists()


def test_a_difference_is_refused_with_the_name_of_the_file() -> None:
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
def test_a_change_that_breaks_queries_is_refused_with_its_name(new: str) -> None:
    with pytest.raises(SchemaBroken, match=r"Query\.(me|you)"):
        check_graphql_unbroken(OLD, new)


@pytest.mark.parametrize("new", [OLD, OLD.replace("you: String", "you: String! they: String"), f'"New words" {OLD}'])
def test_additions_are_accepted(new: str) -> None:
    check_graphql_unbroken(OLD, new)
    check_graphql_unbroken(None, new)


def test_a_directive_that_no_query_can_have_may_go_and_any_other_may_not() -> None:
    check_graphql_unbroken(f"directive @rule(of: Int!) on FIELD_DEFINITION | OBJECT {OLD}", OLD)
    with pytest.raises(SchemaBroken, match="@twice"):
        check_graphql_unbroken(f"directive @twice on FIELD_DEFINITION | FIELD {OLD}", OLD)


def test_the_last_schema_comes_from_the_last_commit(folder: Path) -> None:
    assert committed_at("HEAD") is None
    (folder / "schema.graphql").write_text(OLD)
    commit("schema.graphql")
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


def test_events_may_gain_optional_fields_and_new_versions_may_change() -> None:
    old = event_schemas()
    check_events_unbroken({}, old)
    check_events_unbroken(old, old)
    check_events_unbroken(old, changed(colour={"type": "string"}))
    check_events_unbroken(old, {**old, Path("schemas/v2/view.json"): '{"required": ["everything"]}'})


def test_a_change_that_refuses_events_is_named_with_its_field() -> None:
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


def test_the_check_compares_event_schemas_with_the_last_commit(folder: Path) -> None:
    assert events_committed_at("HEAD") == {}
    penchant("--write")
    (folder / VIEW).write_text(changed(colour={"type": "string"})[VIEW])
    commit("schema.graphql", "schemas")
    penchant("--write")
    assert set(events_committed_at("HEAD")) == set(event_schemas())
    status, said = penchant("--check")
    assert (status, "colour: is gone" in said) == (1, True)
