"""`penchant models`: what was trained, what serves, and the two decisions people make about it."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import typer

from core.errors import InvalidInput, StoreUnavailable
from core.settings import Stores

if TYPE_CHECKING:
    import asyncpg
    from redis.asyncio import Redis

    from db.serving import Serving

T = TypeVar("T")

REFUSED, UNREACHABLE = 1, 3
MOST = 100
app = typer.Typer(
    help="List models, promote one, go back to the one before.", no_args_is_help=True, add_completion=False
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Why = Annotated[str, typer.Option(help="Why, for the record of decisions.")]


@app.command("list")
def list_all(
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List the newest models; the one that serves is marked."""
    from db.serving import MAIN, list_models, serving_in

    async def read(pool: "asyncpg.Pool") -> list[dict[str, Any]]:
        row = await serving_in(pool, MAIN)
        serving = row and row.bundle
        return [
            {"id": model.id, "kind": model.kind, "created_at": model.created_at, "serving": model.id == serving}
            for model in await list_models(pool, first)
        ]

    models = _with_pool(read)
    if as_json:
        typer.echo(orjson.dumps(models, option=orjson.OPT_INDENT_2).decode())
    for model in () if as_json else models:
        typer.echo(f"{'*' if model['serving'] else ' '} {model['id']}  {model['kind']}  {model['created_at']:%F %R}")


@app.command()
def promote(
    model_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Why,
    override_gate: Annotated[
        bool, typer.Option("--override-gate", help="Also when the gate refused it, or never judged it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a model serve, in every gateway within 5 seconds."""
    from engine.models.promoting import promote_model

    stores = Stores()

    async def change(pool: "asyncpg.Pool") -> "Serving":
        async with _redis(stores) as redis:
            return await promote_model(
                pool, redis, stores.bundles, model_id, reason, _who(), override_gate=override_gate
            )

    _say(_with_pool(change), as_json)


@app.command()
def rollback(reason: Why, as_json: AsJson = False) -> None:
    """Let the model serve that did before this one was promoted, in every gateway within 5 seconds."""
    from engine.models.promoting import roll_back_model

    stores = Stores()

    async def change(pool: "asyncpg.Pool") -> "Serving":
        async with _redis(stores) as redis:
            return await roll_back_model(pool, redis, stores.bundles, reason, _who())

    _say(_with_pool(change), as_json)


def _redis(stores: Stores) -> "Redis":
    from db.cache import connect_redis

    return connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout)


def _say(serving: "Serving", as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps({"serving": serving.bundle, "generation": serving.generation}).decode())
    else:
        typer.echo(f"{serving.bundle} serves now.")


def _who() -> str:
    """Who sits at this machine, as far as it knows."""
    try:
        return f"penchant models by {getpass.getuser()}"
    except (KeyError, OSError):
        return "penchant models"


def _with_pool(work: "Callable[[asyncpg.Pool], Awaitable[T]]") -> T:
    from cli.migrate import postgres_url
    from db.postgres import connect_pool

    async def run() -> T:
        async with await connect_pool(postgres_url(), size=1) as pool:
            return await work(pool)

    try:
        return asyncio.run(run())
    except (InvalidInput, StoreUnavailable) as error:
        typer.echo(f"penchant: {error}", err=True)
        raise typer.Exit(UNREACHABLE if isinstance(error, StoreUnavailable) else REFUSED) from None
