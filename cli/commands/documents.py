"""`penchant documents`: pushes, lists, shows and removes the trusted documents of a client."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import on_pool
from cli.document_files import FoundDocument, read_documents
from cli.errors import Refused, refusals
from cli.interface import AsJson, command_group, print_json
from db.documents import (
    TrustedDocument,
    digest_of,
    document_use,
    find_document,
    list_documents,
    push_documents,
    remove_documents,
)

if TYPE_CHECKING:
    from api.graphql.request.documents import Documents
    from db.postgres import Pool

MOST_FAULTS = 20  # that are shown

app = command_group("Let a client run GraphQL documents by their ids: its trusted documents.")

OfClient = Annotated[str, typer.Option("--client", metavar="ID", help="The client whose documents these are.")]
DocumentId = Annotated[str, typer.Argument(metavar="ID", help="The SHA-256 of the text, or the id of the build tool.")]


@app.command()
def push(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From Apollo, Relay or GraphQL Code Generator.")],
    client: OfClient,
    as_json: AsJson = False,
) -> None:
    """Store the documents of a file, all or none. Gateways know them within three seconds; earlier ones stay."""
    with refusals():
        documents = _validated(read_documents(file))
        pushed = on_pool(lambda pool: push_documents(pool, client, documents))
    if pushed is None:
        raise Refused(f"There is no client {client}.")
    if as_json:
        print_json({"added": pushed.added, "known": pushed.known, "documents": [one.id for one in documents]})
    else:
        typer.echo(f"new documents: {pushed.added}; there before: {pushed.known}")


@app.command("list")
def list_all(client: OfClient, as_json: AsJson = False) -> None:
    """List the documents of a client."""
    documents = on_pool(lambda pool: _of_client(pool, client))
    if as_json:
        print_json([_shown(document) for document in documents])
        return
    for document in documents:
        other = f"  also {' '.join(document.aliases)}" if document.aliases else ""
        typer.echo(f"{document.id}  {document.kind}  {document.name or '-'}  {document.size} bytes{other}")


@app.command()
def show(id: DocumentId, client: OfClient, as_json: AsJson = False) -> None:
    """Print a document."""
    document = on_pool(lambda pool: find_document(pool, client, id))
    if document is None:
        raise Refused(f"The client {client} has no document {id}.")
    if as_json:
        print_json(_shown(document) | {"body": document.body})
    else:
        typer.echo(document.body)


@app.command()
def remove(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of documents.")], client: OfClient
) -> None:
    """Forget documents, all or none. Gateways refuse their ids within three seconds."""
    if unknown := on_pool(lambda pool: remove_documents(pool, client, ids)):
        raise Refused(f"The client {client} has no document {unknown[0]}. Nothing was removed.")


async def _of_client(pool: "Pool", client: str) -> list[TrustedDocument]:
    if await document_use(pool, client) is None:
        raise Refused(f"There is no client {client}.")
    return await list_documents(pool, client)


def _validated(found: list[FoundDocument]) -> list[TrustedDocument]:
    """The documents as they are stored. Shows what is wrong with those that gateways would refuse; raises Refused."""
    from api.errors import RequestRefused
    from api.graphql.request.documents import Documents
    from api.graphql.schema import SCHEMA

    reader = Documents(SCHEMA._schema)
    valid: dict[bytes, TrustedDocument] = {}
    faults: list[str] = []
    for document in found:
        try:
            _add(valid, document, reader)
        except RequestRefused as refusal:
            named = " ".join(filter(None, (document.place, document.name)))
            faults += [f"{named}: {fault}" for fault in _faults(refusal)]
    for fault in faults[:MOST_FAULTS]:
        typer.echo(fault, err=True)
    if faults:
        more = f", the first {MOST_FAULTS} of them above" if len(faults) > MOST_FAULTS else ""
        noun = "fault" if len(faults) == 1 else "faults"
        raise Refused(f"The file has {len(faults)} {noun}{more}. Nothing was stored.")
    return list(valid.values())


def _add(valid: dict[bytes, TrustedDocument], found: FoundDocument, reader: "Documents") -> None:
    document = reader.prepare(found.body, hide_suggestions=False)
    digest, operations = digest_of(found.body), document.operations.values()
    before = valid[digest].aliases if digest in valid else ()
    aliases = (*before, found.alias) if found.alias is not None else before
    valid[digest] = TrustedDocument(
        digest,
        found.body,
        ",".join(operation.name for operation in operations if operation.name),
        ",".join(sorted({operation.node.operation.value for operation in operations})),
        tuple(dict.fromkeys(aliases)),
    )


def _faults(refusal: Any) -> Iterable[str]:
    from api.graphql.request.parsing import DocumentInvalid

    if not isinstance(refusal, DocumentInvalid):
        return [str(refusal)]
    return [
        " ".join(f"line {place.line} column {place.column}:" for place in (error.locations or ())[:1])
        + f" {error.message}"
        for error in refusal.errors
    ]


def _shown(document: TrustedDocument) -> dict[str, Any]:
    return {
        "id": document.id,
        "aliases": list(document.aliases),
        "name": document.name,
        "kind": document.kind,
        "bytes": document.size,
        "pushed_at": document.pushed_at and document.pushed_at.isoformat(timespec="seconds"),
    }
