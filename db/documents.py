"""Trusted documents: GraphQL documents that were pushed for a client, which runs them by their ids.

The id of a document is the SHA-256 of its text, in hexadecimal digits. It may have other ids, its aliases. All ids are
the client's own: another client may have the same ones for other documents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from core.errors import InvalidInput
from db.postgres import Connection, transaction

MOST_DOCUMENTS: Final = 10_000  # of a client
MOST_BYTES: Final = 33_554_432  # of all texts of a client
MOST_ALIASES: Final = 20_000  # of a client
LONGEST_ALIAS: Final = 128  # characters

_DIGITS: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class TrustedDocument:
    """A document; `name` has the names of its operations, `kind` their kinds, with commas between.

    `size` is the bytes of its text, which lists leave out.
    """

    digest: bytes
    body: str
    name: str
    kind: str
    aliases: tuple[str, ...] = ()
    pushed_at: datetime | None = None
    size: int = field(default=0, compare=False)

    @property
    def id(self) -> str:
        """The SHA-256 of its text, in hexadecimal digits."""
        return self.digest.hex()


class DocumentSettings(NamedTuple):
    """Whether a client may send no texts, and a number that grows with each change of its documents.

    `since` is when the client was created: one that was deleted and created again has other documents.
    """

    required: bool
    version: int
    since: datetime | None = None


class DocumentUse(NamedTuple):
    """What a client has: documents, their bytes, and whether it may send no texts."""

    documents: int
    size: int
    required: bool


class Pushed(NamedTuple):
    """How many documents were new, and how many the client had already."""

    added: int
    known: int


def digest_of(text: str) -> bytes:
    """The SHA-256 of a document."""
    return sha256(text.encode()).digest()


def is_digest(id: str) -> bool:
    """Whether an id is a SHA-256 in hexadecimal digits, in lower case."""
    return len(id) == 64 and _DIGITS.issuperset(id)


async def push_documents(connection: Connection, client_id: str, documents: Sequence[TrustedDocument]) -> Pushed | None:
    """Store documents that the client may run, all or none; None when there is no such client.

    Raises InvalidInput for an alias that another document of the client has, and when the client would have too many
    documents or bytes.
    """
    async with transaction(connection) as held:
        if not await _change(held, client_id):
            return None
        before = (await _use(held, client_id)).documents
        await held.execute(
            """INSERT INTO documents (client_id, digest, body, name, kind)
               SELECT $1, * FROM unnest($2::bytea[], $3::text[], $4::text[], $5::text[]) ON CONFLICT DO NOTHING""",
            client_id,
            [one.digest for one in documents],
            [one.body for one in documents],
            [one.name for one in documents],
            [one.kind for one in documents],
        )
        await _add_aliases(held, client_id, [(alias, one.digest) for one in documents for alias in one.aliases])
        after = await _use(held, client_id)
        _check_bounds(after, await held.fetchval(_COUNT_ALIASES, client_id))
    added = after.documents - before
    return Pushed(added, len({one.digest for one in documents}) - added)


async def remove_documents(connection: Connection, client_id: str, ids: Sequence[str]) -> list[str]:
    """Forget documents by their ids or aliases; returns those of `ids` that name none. Nothing is removed then."""
    async with transaction(connection) as held:
        await _change(held, client_id)
        found = {id: await find_document(held, client_id, id) for id in ids}
        if unknown := [id for id, document in found.items() if document is None]:
            return unknown
        digests = [document.digest for document in found.values() if document is not None]
        await held.execute("DELETE FROM documents WHERE client_id = $1 AND digest = ANY($2)", client_id, digests)
    return []


async def find_document(connection: Connection, client_id: str, id: str) -> TrustedDocument | None:
    """The document of a client with this id or alias."""
    row = await connection.fetchrow(
        f"""SELECT {_COLUMNS}, body FROM documents AS d WHERE client_id = $1 AND digest = coalesce(
                $2, (SELECT digest FROM document_aliases AS a WHERE a.client_id = $1 AND alias = $3))""",
        client_id,
        bytes.fromhex(id) if is_digest(id) else None,
        id,
    )
    return _document(row) if row else None


async def list_documents(
    connection: Connection, client_id: str, limit: int = MOST_DOCUMENTS, after: bytes = b""
) -> list[TrustedDocument]:
    """The first `limit` documents of a client by digest after the digest `after`, without their texts."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS}, '' AS body FROM documents AS d WHERE client_id = $1 AND digest > $3
            ORDER BY digest LIMIT $2""",
        client_id,
        limit,
        after,
    )
    return [_document(row) for row in rows]


async def document_use(connection: Connection, client_id: str) -> DocumentUse | None:
    """What a client has; None when there is no such client."""
    required = await connection.fetchval("SELECT documents_required FROM oauth_clients WHERE id = $1", client_id)
    return None if required is None else (await _use(connection, client_id))._replace(required=required)


async def require_documents(connection: Connection, client_id: str, *, required: bool) -> bool:
    """Let a client send no texts, or let it again; False when there is no such client."""
    status: str = await connection.execute(
        "UPDATE oauth_clients SET documents_required = $2 WHERE id = $1", client_id, required
    )
    return status == "UPDATE 1"


async def list_document_settings(connection: Connection) -> dict[str, DocumentSettings]:
    """The settings of all clients that have, or had, trusted documents, or may send no texts."""
    rows = await connection.fetch(
        """SELECT id, documents_required, documents_version, created_at FROM oauth_clients
           WHERE documents_required OR documents_version > 0"""
    )
    return {row["id"]: DocumentSettings(*list(row.values())[1:]) for row in rows}


_COLUMNS: Final = """digest, name, kind, pushed_at, octet_length(d.body) AS size, ARRAY(
    SELECT alias FROM document_aliases AS a
    WHERE a.client_id = d.client_id AND a.digest = d.digest ORDER BY alias) AS aliases"""
_COUNT_ALIASES: Final = "SELECT count(*) FROM document_aliases WHERE client_id = $1"


async def _change(held: Connection, client_id: str) -> bool:
    """Let gateways read the client's documents again; nobody else changes them before the transaction ends."""
    status: str = await held.execute(
        "UPDATE oauth_clients SET documents_version = documents_version + 1 WHERE id = $1", client_id
    )
    return status == "UPDATE 1"


async def _use(connection: Connection, client_id: str) -> DocumentUse:
    row = await connection.fetchrow(
        "SELECT count(*) AS documents, coalesce(sum(octet_length(body)), 0)::bigint AS size FROM documents"
        " WHERE client_id = $1",
        client_id,
    )
    return DocumentUse(row["documents"], row["size"], required=False)


async def _add_aliases(held: Connection, client_id: str, aliases: Sequence[tuple[str, bytes]]) -> None:
    names, digests = [alias for alias, _ in aliases], [digest for _, digest in aliases]
    await held.execute(
        """INSERT INTO document_aliases (client_id, alias, digest)
           SELECT $1, * FROM unnest($2::text[], $3::bytea[]) ON CONFLICT DO NOTHING""",
        client_id,
        names,
        digests,
    )
    taken = await held.fetchval(
        """SELECT alias FROM document_aliases AS old JOIN unnest($2::text[], $3::bytea[]) AS new (alias, digest)
           USING (alias) WHERE client_id = $1 AND old.digest <> new.digest LIMIT 1""",
        client_id,
        names,
        digests,
    )
    if taken is not None:
        raise InvalidInput(f"The id {taken} is already that of another document of this client.", "id")


def _check_bounds(use: DocumentUse, aliases: int) -> None:
    if use.documents > MOST_DOCUMENTS:
        raise InvalidInput(f"A client may have at most {MOST_DOCUMENTS:,} documents: remove some.", "documents")
    if use.size > MOST_BYTES:
        raise InvalidInput(
            f"The documents of a client may have at most {MOST_BYTES:,} bytes: remove some.", "documents"
        )
    if aliases > MOST_ALIASES:
        raise InvalidInput(f"A client may have at most {MOST_ALIASES:,} other ids: remove documents.", "documents")


def _document(row: Mapping[str, Any]) -> TrustedDocument:
    return TrustedDocument(
        row["digest"], row["body"], row["name"], row["kind"], tuple(row["aliases"]), row["pushed_at"], row["size"]
    )
