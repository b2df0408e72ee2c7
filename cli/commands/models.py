"""`penchant models`: lists the models, promotes one, rolls back to the one before."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import on_pool
from cli.errors import refusals
from cli.interface import AsJson, command_group, operator_of, print_json, print_json_line
from core.settings import Stores

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from db.postgres import Pool
    from db.serving import Serving

MOST = 100
OPERATOR = "penchant models"
app = command_group("List models, promote one, go back to the one before.")
Why = Annotated[str, typer.Option(help="Why, for the record of decisions.")]


@app.command("list")
def list_all(
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List the newest models; the one that serves is marked."""
    from db.serving import current_serving, list_models

    async def read(pool: "Pool") -> list[dict[str, Any]]:
        row = await current_serving(pool)
        serving = row and row.bundle
        return [
            {"id": model.id, "kind": model.kind, "created_at": model.created_at, "serving": model.id == serving}
            for model in await list_models(pool, first)
        ]

    models = on_pool(read)
    if as_json:
        print_json(models)
        return
    for model in models:
        typer.echo(f"{'*' if model['serving'] else ' '} {model['id']}  {model['kind']}  {model['created_at']:%F %R}")


@app.command()
def promote(
    model_id: Annotated[str, typer.Argument(metavar="ID")],
    reason: Why,
    override_gate: Annotated[
        bool, typer.Option("--override-gate", help="Promote it even if the gate refused it or never judged it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a model serve, in every gateway within 5 seconds."""
    from engine.models.promoting import promote_model

    stores, who = Stores(), operator_of(OPERATOR)

    async def change(pool: "Pool") -> "Serving":
        async with _redis(stores) as redis:
            return await promote_model(pool, redis, stores.bundles, model_id, reason, who, override_gate=override_gate)

    with refusals():
        _print(on_pool(change), as_json)


@app.command()
def rollback(reason: Why, as_json: AsJson = False) -> None:
    """Let the model serve that served before this one was promoted, in every gateway within 5 seconds."""
    from engine.models.promoting import roll_back_model

    stores, who = Stores(), operator_of(OPERATOR)

    async def change(pool: "Pool") -> "Serving":
        async with _redis(stores) as redis:
            return await roll_back_model(pool, redis, stores.bundles, reason, who)

    with refusals():
        _print(on_pool(change), as_json)


def _redis(stores: Stores) -> "Redis":
    from db.cache import connect_redis

    return connect_redis(stores.redis_url.get_secret_value(), stores.redis_timeout)


def _print(serving: "Serving", as_json: bool) -> None:
    if as_json:
        print_json_line({"serving": serving.bundle, "generation": serving.generation})
    else:
        typer.echo(f"{serving.bundle} serves now.")
