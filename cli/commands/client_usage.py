"""`penchant clients usage`: shows which deprecated parts of the schema clients still use."""

from typing import Annotated

import typer

from cli.database import on_pool
from cli.interface import print_json
from db.deprecated_uses import DAYS_KEPT, DeprecatedUse, list_deprecated_uses

Days = Annotated[int, typer.Option(min=1, max=DAYS_KEPT, help="Of how many days, today included.")]


def show(database: str, client_id: str | None, days: int, as_json: bool) -> None:
    """Print the uses of the last days, of one client or of all."""
    uses = on_pool(lambda pool: list_deprecated_uses(pool, days, client_id), database)
    if as_json:
        print_json([_shown(use) for use in uses])
    elif not uses:
        typer.echo(f"No client used anything deprecated in the last {days} days.")
    for use in uses if not as_json else ():
        last = use.last_used_at.isoformat(timespec="seconds")
        typer.echo(f"{use.part}  {use.client_id}  {use.operations} operations  last {last}")


def _shown(use: DeprecatedUse) -> dict[str, object]:
    return use._asdict() | {"since": use.since.isoformat(), "last_used_at": use.last_used_at.isoformat()}
