"""`penchant clients documents`: shows and sets whether a client may send GraphQL texts, or only ids."""

from typing import Annotated, Literal

import typer

from cli.database import on_pool
from cli.errors import Refused
from cli.interface import print_json
from db.documents import DocumentUse, document_use, require_documents
from db.postgres import Pool

Mode = Literal["require", "allow"]
Wanted = Annotated[
    Mode | None, typer.Argument(help="require: it may only run its trusted documents; allow: it may send texts too.")
]


def show_or_set(database: str, client_id: str, wanted: Mode | None, as_json: bool) -> None:
    """Set the mode if one is given, and print what the client has."""
    use = on_pool(lambda pool: _changed(pool, client_id, wanted), database)
    if use is None:
        raise Refused(f"There is no client {client_id}.")
    mode = "require" if use.required else "allow"
    if use.required and not use.documents:
        typer.echo(f"penchant: {client_id} has no trusted documents: all it sends to /graphql is refused.", err=True)
    if as_json:
        print_json({"client_id": client_id, "mode": mode, "documents": use.documents, "bytes": use.size})
    else:
        typer.echo(f"mode: {mode}\ndocuments: {use.documents}\nbytes: {use.size}")


async def _changed(pool: Pool, client_id: str, wanted: Mode | None) -> DocumentUse | None:
    if wanted is not None:
        await require_documents(pool, client_id, required=wanted == "require")
    return await document_use(pool, client_id)
