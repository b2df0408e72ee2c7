"""`penchant documents` and `penchant clients documents`: files of three build tools, faults with their places."""

import json
from hashlib import md5, sha1, sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from db.postgres import Pool
from tests.commands import invoke

PAGE = "query Page($n: Int!) { trending(first: $n) { nodes { id } } }"
TEXTS = [PAGE, "mutation Gone { removeItems(ids: []) { accepted } }"]


@pytest.fixture(autouse=True)
def web(pool: Pool, database: str) -> None:
    client = ("--grant", "client_credentials", "--scope", "catalog:read")
    assert invoke("clients", "create", "web", *client).exit_code == 0


def hexed(kind: Any, text: str) -> str:
    return str(kind(text.encode()).hexdigest())


def manifest(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"format": "apollo-persisted-query-manifest", "version": 1, "operations": list(operations)}


def operation(text: str, id: str | None = None) -> dict[str, Any]:
    return {"id": id or hexed(sha256, text), "name": "Named", "type": "query", "body": text}


FILES = {
    "apollo": manifest(*(operation(text) for text in TEXTS)),
    "apollo, own ids": manifest(operation(TEXTS[0], "page-1"), operation(TEXTS[1], "x-web:gone")),
    "relay": {hexed(md5, text): text for text in TEXTS},
    "codegen, sha1": {hexed(sha1, text): text for text in TEXTS},
    "codegen, sha256": {hexed(sha256, text): text for text in TEXTS},
    "prefixed": {f"sha256:{hexed(sha256, text)}": text for text in TEXTS},
}


def push(folder: Path, content: Any, *options: str) -> Result:
    file = folder / "documents.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return invoke("documents", "push", file, "--client", "web", *options)


def listed() -> list[dict[str, Any]]:
    return list(json.loads(invoke("documents", "list", "--client", "web", "--json").stdout))


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_each_build_tool_is_pushed_and_rehashed(folder: Path, kind: str) -> None:
    assert push(folder, FILES[kind]).stdout == "new documents: 2; there before: 0\n"
    assert push(folder, FILES[kind]).stdout == "new documents: 0; there before: 2\n"
    stored = {one["id"]: one for one in listed()}
    assert set(stored) == {hexed(sha256, text) for text in TEXTS}
    page = stored[hexed(sha256, TEXTS[0])]
    assert (page["name"], page["kind"], page["bytes"]) == ("Page", "query", len(TEXTS[0]))
    content = FILES[kind]
    given = [one["id"] for one in content["operations"]] if "operations" in content else list(content)
    other = given[0] if len(given[0].removeprefix("sha256:")) != 64 else None
    assert page["aliases"] == ([other] if other else [])
    for id in filter(None, (page["id"], other)):
        assert invoke("documents", "show", id, "--client", "web").stdout == TEXTS[0] + "\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "line 1 column"),
        ("[]", "Apollo's manifest"),
        ("{}", "no documents"),
        (json.dumps({"a": 1}), "a must be a text"),
        (json.dumps({"a": ""}), "a must be a text"),
        (json.dumps({"": "{ __typename }"}), "id must be a text"),
        (json.dumps({"a" * 129: "{ __typename }"}), "1 to 128 characters"),
        (json.dumps({"a\u0000": "{ __typename }"}), "1 to 128 characters"),
        (json.dumps({"0" * 64: "{ __typename }"}), "looks like a SHA-256"),
        (json.dumps({"operations": []}), "format must be"),
        (json.dumps(manifest()), "no documents"),
        (json.dumps(manifest({"id": "a"})), "operations[0].body must be a text"),
        (json.dumps(manifest(operation(TEXTS[0], "a"), operation(TEXTS[1], "a"))), "there twice"),
        (json.dumps({"a": TEXTS[0], "b": "{ trending {\n nothing } }"}), "b: line 2 column 2: "),
        (json.dumps({"a": TEXTS[0], "b": "{ "}), "b: line 1 column 3: "),
        (json.dumps({"a": TEXTS[0], "b": "{ " + "__typename " * 21 + "}"}), "b: "),
        (json.dumps({"a": TEXTS[0], "b": "# " + "x" * 65_536}), "65536 bytes"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_nothing_is_stored(folder: Path, content: str, said: str) -> None:
    refused = push(folder, content)
    assert refused.exit_code == 1
    assert said in refused.stderr
    assert listed() == []


def test_all_wrong_documents_are_named(folder: Path) -> None:
    refused = push(folder, manifest(*(operation(f"{{ wrong{number} }}") for number in range(30))))
    assert "operations[19] Named: line 1 column 3:" in refused.stderr
    assert "operations[20]" not in refused.stderr
    assert "30 faults" in refused.stderr


def test_an_id_that_means_another_document_is_refused(folder: Path) -> None:
    assert push(folder, {"page": TEXTS[0]}).exit_code == 0
    refused = push(folder, {"page": TEXTS[1]})
    assert (refused.exit_code, "page" in refused.stderr) == (1, True)
    assert [one["name"] for one in listed()] == ["Page"]


def test_documents_are_removed(folder: Path) -> None:
    push(folder, {"page": TEXTS[0], "gone": TEXTS[1]})
    unknown = invoke("documents", "remove", "page", "nothing", "--client", "web")
    assert (unknown.exit_code, "nothing" in unknown.stderr, len(listed())) == (1, True, 2)
    assert invoke("documents", "remove", "page", "--client", "web").exit_code == 0
    assert [one["name"] for one in listed()] == ["Gone"]
    assert invoke("documents", "show", "page", "--client", "web").exit_code == 1


def test_an_unknown_client_and_a_file_that_is_not_there_are_named(folder: Path) -> None:
    (folder / "one.json").write_text(json.dumps({"page": TEXTS[0]}))
    unknown = invoke("documents", "push", folder / "one.json", "--client", "nobody")
    assert (unknown.exit_code, "nobody" in unknown.stderr) == (1, True)
    assert invoke("documents", "list", "--client", "nobody").exit_code == 1
    assert invoke("documents", "push", folder / "none.json", "--client", "web").exit_code == 2


def test_a_client_is_told_to_send_ids_only(folder: Path) -> None:
    assert invoke("clients", "documents", "web").stdout == "mode: allow\ndocuments: 0\nbytes: 0\n"
    alone = invoke("clients", "documents", "web", "require", "--json")
    assert json.loads(alone.stdout) == {"client_id": "web", "mode": "require", "documents": 0, "bytes": 0}
    assert "has no trusted documents" in alone.stderr
    push(folder, {"page": TEXTS[0]})
    assert invoke("clients", "documents", "web").stdout == f"mode: require\ndocuments: 1\nbytes: {len(TEXTS[0])}\n"
    assert invoke("clients", "documents", "web", "allow").stdout.startswith("mode: allow\n")
    assert invoke("clients", "documents", "web", "perhaps").exit_code == 2
    assert invoke("clients", "documents", "nobody", "allow").exit_code == 1
