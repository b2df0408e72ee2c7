"""`penchant migrate`: bring the database's schema up to this version."""

from typing import Annotated

import typer

from core.errors import PenchantError
from core.secret_files import read_secret


class NoDatabase(PenchantError):
    """Set PENCHANT_POSTGRES_URL, or run this inside a checkout whose stack is up."""


def migrate(
    revision: Annotated[str, typer.Argument(help="The revision to go up to.")] = "head",
) -> None:
    """Bring the database's schema up to this version; two at once do no harm."""
    from db.migrate import upgrade

    upgrade(postgres_url(), revision)
    typer.echo(f"The database is at {revision}.")


def postgres_url() -> str:
    """The database of the settings. Raises NoDatabase."""
    url = read_secret("PENCHANT_POSTGRES_URL")
    if not url:
        raise NoDatabase
    return url
