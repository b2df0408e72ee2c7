"""`penchant migrate`: brings the database's schema up to this version."""

from typing import Annotated

import typer

from cli.database import postgres_url


def migrate(
    revision: Annotated[str, typer.Argument(help="The revision to go up to.")] = "head",
) -> None:
    """Bring the database's schema up to this version. Two migrations may run at once."""
    from db.migrate import upgrade

    upgrade(postgres_url(), revision)
    typer.echo(f"The database is at {revision}.")
