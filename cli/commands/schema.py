"""`penchant schema`: prints the GraphQL schema; writes or checks the committed schemas of GraphQL, HTTP and events."""

from typing import Annotated

import typer

from cli.schemas.committed import (
    GRAPHQL,
    OPENAPI,
    check_committed,
    check_events_unbroken,
    check_graphql_unbroken,
    committed_at,
    committed_files,
    events_committed_at,
    write_files,
)
from cli.schemas.event_schemas import event_schemas


def schema(
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Compare with schema.graphql, openapi.json and schemas/, and with the last commit's for what breaks.",
        ),
    ] = False,
    write: Annotated[bool, typer.Option("--write", help="Write schema.graphql, openapi.json and schemas/.")] = False,
    since: Annotated[str, typer.Option(help="The commit whose schemas may not break.")] = "HEAD",
) -> None:
    """Print the GraphQL schema's definition, or write or check the committed schemas."""
    from api.graphql.schema import SCHEMA
    from api.routes.openapi.document import document_text

    files = {
        GRAPHQL: SCHEMA.as_str().rstrip() + "\n",
        OPENAPI: document_text().decode(),
        **event_schemas(),
    }
    if write:
        write_files(files)
    elif check:
        check_committed(files, committed_files())
        check_graphql_unbroken(committed_at(since), files[GRAPHQL])
        check_events_unbroken(events_committed_at(since), files)
    else:
        typer.echo(files[GRAPHQL], nl=False)
