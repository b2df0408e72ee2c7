"""`penchant users merge`: lets two user ids be one person."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.database import on_pool
from cli.errors import refusals
from cli.interface import AsJson, command_group, operator_of, print_json_line
from core.settings import Stores

if TYPE_CHECKING:
    from core.contract import Person
    from db.postgres import Pool

OPERATOR = "penchant users"
app = command_group("Merge users who are one person.")


@app.callback()
def users() -> None:
    """Merge users who are one person."""


@app.command()
def merge(
    from_id: Annotated[str, typer.Argument(metavar="FROM", help="The old id of the user.")],
    into_id: Annotated[str, typer.Argument(metavar="INTO", help="The id of the user that stays.")],
    as_json: AsJson = False,
) -> None:
    """Let everything about user FROM count for user INTO. This cannot be undone; doing it again is harmless."""
    from core.logs import configure_logs
    from db.cache import connect_redis
    from engine.privacy.merging import merge_users

    configure_logs("WARNING")
    stores = Stores()

    async def join(pool: "Pool") -> "Person":
        async with connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout) as redis:
            return await merge_users(pool, redis, from_id, into_id, operator_of(OPERATOR))

    with refusals():
        user = on_pool(join)
    if as_json:
        print_json_line({"user": user.id})
    else:
        typer.echo(f"{from_id} and {into_id} are the user {user.id} now.")
