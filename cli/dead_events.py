"""`penchant events dead`: what could not be stored, why, and what is to become of it."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
import typer

from core.errors import InvalidInput, StoreUnavailable
from core.settings import Stores
from db.dead_events import DeadReason, DeadState

if TYPE_CHECKING:
    import asyncpg

    from bus.rabbitmq.publisher import RabbitPublisher
    from db.dead_events import DeadEvent
    from engine.intake.judging import Result

T = TypeVar("T")

REFUSED, USAGE, UNREACHABLE = 1, 2, 3  # how the program ends
MOST = 500  # of a call
LARGEST_ID = 2**63 - 1
CONFIRM = 5.0  # seconds the broker may take to confirm a message
app = typer.Typer(
    help="List, show, replay and discard events that could not be stored.", no_args_is_help=True, add_completion=False
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their numbers, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that wait for a decision, or all of one --reason.")]
Reason = Annotated[DeadReason | None, typer.Option(help="Only those that died of this.", case_sensitive=False)]


@app.command("list")
def list_all(
    reason: Reason = None,
    state: Annotated[
        DeadState, typer.Option(help="Those about which this was decided.", case_sensitive=False)
    ] = DeadState.DEAD,
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20,
    before: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, help="Only those with lower numbers: the next page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what could not be stored, without anybody's data."""
    from db.dead_events import list_dead

    found = _with_pool(lambda pool: list_dead(pool, first, before, reason=reason, state=state))
    if as_json:
        typer.echo(_json([_shown(dead) for dead in found]))
    elif not found:
        typer.echo("None.")
    for dead in () if as_json else found:
        typer.echo(f"{dead.id}  {dead.died_at:%F %R}  {dead.reason}  {dead.event_type or dead.kind}  {dead.detail}")


@app.command()
def show(id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)], as_json: AsJson = False) -> None:
    """Show one with everything that came: it may be personal."""
    from db.dead_events import dead_bodies, dead_event_by_id

    async def read(pool: "asyncpg.Pool") -> dict[str, Any] | None:
        dead, bodies = await dead_event_by_id(pool, id), await dead_bodies(pool, [id])
        if dead is None:
            return None
        body = bodies[id].decode(errors="backslashreplace") if id in bodies else None
        return {**_shown(dead), "user_id": dead.user_id, "anonymous_id": dead.anonymous_id, "body": body}

    found = _with_pool(read)
    if found is None:
        raise _failed(f"There is no dead event {id}.", REFUSED)
    typer.echo(
        _json(found) if as_json else "\n".join(f"{name}: {value}" for name, value in found.items() if value is not None)
    )


@app.command()
def replay(ids: Ids = None, every: All = False, reason: Reason = None, as_json: AsJson = False) -> None:
    """Send dead events through the queue once more, each as the same event; twice does no harm."""
    from engine.dead_events.deciding import replay

    broker_url = Stores().broker_url.get_secret_value()

    async def send(pool: "asyncpg.Pool", some: Sequence[str]) -> "list[Result]":
        async with _broker(broker_url) as broker:
            return await replay(pool, broker, some, _who())

    _decide("replayed", send, ids, reason, as_json, every=every)


@app.command()
def discard(
    why: Annotated[str, typer.Option(help="Why, for the record.")],
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Delete for good what came of dead events; that they died, who discarded them and why is kept."""
    from engine.dead_events.deciding import discard

    _decide("discarded", lambda pool, some: discard(pool, some, why, _who()), ids, reason, as_json, every=every)


def _decide(
    done: str,
    decide: "Callable[[asyncpg.Pool, Sequence[str]], Awaitable[list[Result]]]",
    ids: Sequence[str] | None,
    reason: DeadReason | None,
    as_json: bool,
    *,
    every: bool,
) -> None:
    """Decide about those that were named, or about all; ends with 1 when one of them was refused."""
    from core.logs import configure_logs

    if every == bool(ids) or (reason and not every):
        raise _failed("Name the numbers, or say --all, and with it the --reason if only one is meant.", USAGE)

    configure_logs("ERROR")  # what went wrong is in the answers

    async def run(pool: "asyncpg.Pool") -> "list[Result]":
        told: list[Result] = []
        async for some in _named(ids) if ids else _undecided(pool, reason):
            told += await decide(pool, some)
        return told

    told = _with_pool(run)
    accepted = sum(result.outcome == "ACCEPTED" for result in told)
    refused = [result for result in told if result.outcome not in ("ACCEPTED", "DUPLICATE")]
    if as_json:
        typer.echo(_json([asdict(result) for result in told]))
    else:
        typer.echo(f"{accepted} {done}, {len(refused)} refused.")
    for result in () if as_json else refused:
        typer.echo(f"{result.id}: {result.message}", err=True)
    if refused:
        raise typer.Exit(UNREACHABLE if any(result.outcome == "RETRY" for result in refused) else REFUSED)


async def _named(ids: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    """As they were typed; bytes that are no text, which no answer can repeat, escaped."""
    shown = [id.encode(errors="backslashreplace").decode() for id in ids]
    for start in range(0, len(shown), MOST):
        yield shown[start : start + MOST]


async def _undecided(pool: "asyncpg.Pool", reason: DeadReason | None) -> AsyncIterator[Sequence[str]]:
    """Those that waited when it began: what dies again meanwhile has an older number."""
    from db.dead_events import undecided_ids

    after = 0
    while found := await undecided_ids(pool, MOST, after, reason=reason):
        yield [str(id) for id in found]
        after = found[-1]


@asynccontextmanager
async def _broker(url: str) -> "AsyncIterator[RabbitPublisher]":
    from bus.rabbitmq.publisher import RabbitPublisher

    broker = RabbitPublisher(url, CONFIRM)
    try:
        yield broker
    finally:
        await broker.close()


def _shown(dead: "DeadEvent") -> dict[str, Any]:
    """Without whose it is."""
    return {name: value for name, value in asdict(dead).items() if name not in ("user_id", "anonymous_id")}


def _who() -> str:
    """Who sits at this machine, as far as it knows."""
    try:
        return f"penchant events by {getpass.getuser()}"
    except (KeyError, OSError):
        return "penchant events"


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(f"penchant: {message}", err=True)
    return typer.Exit(code)


def _with_pool(work: "Callable[[asyncpg.Pool], Awaitable[T]]") -> T:
    from cli.migrate import postgres_url
    from db.postgres import connect_pool

    async def run() -> T:
        async with await connect_pool(postgres_url(), size=1) as pool:
            return await work(pool)

    try:
        return asyncio.run(run())
    except (InvalidInput, StoreUnavailable) as error:
        raise _failed(str(error), UNREACHABLE if isinstance(error, StoreUnavailable) else REFUSED) from None
