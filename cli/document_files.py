"""Reads files of persisted documents, as build tools write them: Apollo's manifests, and maps from ids to texts.

Apollo: `generate-persisted-query-manifest`, Apollo Kotlin and Apollo iOS. Maps: Relay's compiler (MD5 of the text) and
the client preset of GraphQL Code Generator (SHA-1, SHA-256 or an own function).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from cli.errors import WrongCommand
from core.errors import InvalidInput
from db.documents import LONGEST_ALIAS, MOST_DOCUMENTS, digest_of, is_digest

APOLLO: Final = "apollo-persisted-query-manifest"
LARGEST_FILE: Final = 67_108_864  # bytes


class FoundDocument(NamedTuple):
    """A document of a file: where it is there, the id that its tool gave it, its text, and its name if that is said."""

    place: str
    id: str
    body: str
    name: str | None = None

    @property
    def alias(self) -> str | None:
        """The id, unless it is the SHA-256 of the text, which is an id of every document."""
        plain = self.id.removeprefix("sha256:").lower()
        return None if plain == digest_of(self.body).hex() else self.id


def read_documents(file: Path) -> list[FoundDocument]:
    """The documents of a file. Raises InvalidInput, which names the place, and WrongCommand for no readable file."""
    content = _content(file)
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{file.name} is not JSON: line {error.lineno} column {error.colno}", "FILE") from None
    found = list(_in_manifest(parsed) if _is_manifest(parsed) else _in_map(parsed))
    if not found:
        raise InvalidInput(f"{file.name} has no documents", "FILE")
    if len(found) > MOST_DOCUMENTS:
        raise InvalidInput(f"{file.name} has more than {MOST_DOCUMENTS:,} documents", "FILE")
    _check_ids(found)
    return found


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise WrongCommand(f"{file} cannot be read: {error.strerror}.") from None
    if len(content) > LARGEST_FILE:
        raise InvalidInput(f"{file.name} has more than {LARGEST_FILE:,} bytes", "FILE")
    return content


def _is_manifest(parsed: Any) -> bool:
    return isinstance(parsed, dict) and isinstance(parsed.get("operations"), list)


def _in_manifest(manifest: Mapping[str, Any]) -> Iterator[FoundDocument]:
    if manifest.get("format") != APOLLO or manifest.get("version") != 1:
        raise InvalidInput(f"format must be {APOLLO} and version 1", "format")
    for index, operation in enumerate(manifest["operations"]):
        place = f"operations[{index}]"
        if not isinstance(operation, dict):
            raise InvalidInput(f"{place} must be an object", place)
        name = operation.get("name")
        id, body = _text(operation.get("id"), f"{place}.id"), _text(operation.get("body"), f"{place}.body")
        yield FoundDocument(place, id, body, name if isinstance(name, str) else None)


def _in_map(parsed: Any) -> Iterator[FoundDocument]:
    if not isinstance(parsed, dict):
        raise InvalidInput("The file must be Apollo's manifest, or an object with a text for each id", "FILE")
    for id, body in parsed.items():
        yield FoundDocument(id[:LONGEST_ALIAS], _text(id, "id"), _text(body, id[:LONGEST_ALIAS]))


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{place} must be a text", place)
    return value


def _check_ids(found: list[FoundDocument]) -> None:
    bodies: dict[str, str] = {}
    for document in found:
        alias = document.alias
        if alias is None:
            continue
        if is_digest(alias.removeprefix("sha256:").lower()):
            raise InvalidInput(
                f"{document.place}: the id {alias} looks like a SHA-256, and is not that of its text", document.place
            )
        if len(alias) > LONGEST_ALIAS or not alias.isprintable():
            raise InvalidInput(f"{document.place}: an id has 1 to {LONGEST_ALIAS} characters", document.place)
        if bodies.setdefault(alias, document.body) != document.body:
            raise InvalidInput(f"{document.place}: the id {alias} is there twice, with two texts", document.place)
