"""The stored source of an event: the namespace of its sender, then the source that the sender names.

    client   <client id> U+001F <source>
    person   <client id> U+001F <kind> U+001F <person id> U+001F <source>
    loader   <source>, without a namespace; so are events that were stored before there were namespaces

No id has control characters, so no sender's namespace is another's. Only the server sets it.
"""

from typing import Annotated, Final

from pydantic import StringConstraints

from core.texts import LONGEST_ID

SEPARATOR: Final = "\x1f"
LONGEST_SOURCE: Final = 3 * LONGEST_ID + len(SEPARATOR.join(("", "guest", "", "")))

StoredSource = Annotated[
    str, StringConstraints(min_length=1, max_length=LONGEST_SOURCE, pattern=r"^[^\x00-\x1e\x7f-\x9f]+$")
]


def namespace_of(client_id: str, person: tuple[str, str] | None) -> str:
    """How every source of a client begins, or of a person (kind, id) whose token the client has."""
    return "".join(f"{part}{SEPARATOR}" for part in (client_id, *(person or ())))


def client_source(client_id: str) -> str:
    """The source of events that a client sends without naming one."""
    return namespace_of(client_id, None) + client_id


def named_source(source: str) -> str:
    """The source as its sender names it, without the namespace: what readers see."""
    return source.rpartition(SEPARATOR)[2]


def sources_of_other_release(source: str, person: tuple[str, str]) -> list[str]:
    """Under which sources the release before namespaces, or this one, stores the same event of a person.

    A plain source tells the client only when the sender named none: then it is the client's id.
    """
    if SEPARATOR in source:
        return [named_source(source)]
    return [client_source(source), namespace_of(source, person) + source]
