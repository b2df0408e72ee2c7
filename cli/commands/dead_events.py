"""`penchant events dead`: lists the events that could not be stored, shows one, replays or discards them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import on_pool
from cli.errors import REFUSED, UNREACHABLE, Refused, WrongCommand, refusals
from cli.interface import AsJson, command_group, operator_of, print_json
from core.settings import Stores
from db.dead_events import DeadReason, DeadState

if TYPE_CHECKING:
    from bus.rabbitmq.publisher import RabbitPublisher
    from db.dead_events import DeadEvent
    from db.postgres import Pool
    from engine.outcomes import Result

    Decide = Callable[[Pool, Sequence[str]], Awaitable[list[Result]]]

MOST = 500  # of a call
LARGEST_ID = 2**63 - 1
CONFIRM_TIMEOUT = 5.0  # seconds
OPERATOR = "penchant events"
PERSONAL = frozenset({"user_id", "anonymous_id"})
app = command_group("List, show, replay and discard events that could not be stored.")
Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Their ids, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All that wait for a decision, or all of one --reason.")]
Reason = Annotated[
    DeadReason | None, typer.Option(help="Only those that were set aside for this reason.", case_sensitive=False)
]


@app.command("list")
def list_all(
    reason: Reason = None,
    state: Annotated[DeadState, typer.Option(help="Only those in this state.", case_sensitive=False)] = DeadState.DEAD,
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20,
    before: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_ID, help="Only those with lower ids: the next page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List events that could not be stored, without personal data."""
    from db.dead_events import list_dead_events

    found = on_pool(lambda pool: list_dead_events(pool, first, before, reason=reason, state=state))
    if as_json:
        print_json([_shown(dead) for dead in found])
        return
    if not found:
        typer.echo("None.")
    for dead in found:
        typer.echo(f"{dead.id}  {dead.died_at:%F %R}  {dead.reason}  {dead.event_type or dead.kind}  {dead.detail}")


@app.command()
def show(id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)], as_json: AsJson = False) -> None:
    """Show one dead event with everything that was received, which may be personal."""
    from db.dead_events import bodies_of_dead_events, dead_event_by_id

    async def read(pool: "Pool") -> dict[str, Any] | None:
        dead, bodies = await dead_event_by_id(pool, id), await bodies_of_dead_events(pool, [id])
        if dead is None:
            return None
        body = bodies[id].decode(errors="backslashreplace") if id in bodies else None
        return {**_shown(dead), "user_id": dead.user_id, "anonymous_id": dead.anonymous_id, "body": body}

    found = on_pool(read)
    if found is None:
        raise Refused(f"There is no dead event {id}.")
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in found.items() if value is not None))


@app.command()
def replay(ids: Ids = None, every: All = False, reason: Reason = None, as_json: AsJson = False) -> None:
    """Send dead events through the queue again, each as the same event; a second replay does no harm."""
    from engine.dead_events.deciding import replay

    broker_url = Stores().broker_url.get_secret_value()

    async def send(pool: "Pool", some: Sequence[str]) -> "list[Result]":
        async with _broker(broker_url) as broker:
            return await replay(pool, broker, some, operator_of(OPERATOR))

    _decide("replayed", send, ids, reason, as_json, every=every)


@app.command()
def discard(
    why: Annotated[str, typer.Option(help="Why, for the record.")],
    ids: Ids = None,
    every: All = False,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Delete the bodies of dead events for good; their reason, who discarded them and why are kept."""
    from engine.dead_events.deciding import discard

    async def delete(pool: "Pool", some: Sequence[str]) -> "list[Result]":
        return await discard(pool, some, why, operator_of(OPERATOR))

    _decide("discarded", delete, ids, reason, as_json, every=every)


def _decide(
    done: str, decide: "Decide", ids: Sequence[str] | None, reason: DeadReason | None, as_json: bool, *, every: bool
) -> None:
    """Decide about the named dead events, or about all; ends with 1 when one of them was refused, 3 to try again."""
    from core.logs import configure_logs

    if every == bool(ids) or (reason and not every):
        raise WrongCommand("Name the ids, or say --all, and with it the --reason if only one is meant.")

    configure_logs("ERROR")  # the results say what went wrong

    async def run(pool: "Pool") -> "list[Result]":
        results: list[Result] = []
        async for some in _named(ids) if ids else _undecided(pool, reason):
            results += await decide(pool, some)
        return results

    with refusals():
        results = on_pool(run)
    refused = [result for result in results if result.outcome not in ("ACCEPTED", "DUPLICATE")]
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        _print(done, results, refused)
    if refused:
        raise typer.Exit(UNREACHABLE if any(result.outcome == "RETRY" for result in refused) else REFUSED)


def _print(done: str, results: "list[Result]", refused: "list[Result]") -> None:
    accepted = sum(result.outcome == "ACCEPTED" for result in results)
    typer.echo(f"{accepted} {done}, {len(refused)} refused.")
    for result in refused:
        typer.echo(f"{result.id}: {result.message}", err=True)


async def _named(ids: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    """The ids as they were typed; bytes that are not text, which JSON cannot repeat, are escaped."""
    shown = [id.encode(errors="backslashreplace").decode() for id in ids]
    for start in range(0, len(shown), MOST):
        yield shown[start : start + MOST]


async def _undecided(pool: "Pool", reason: DeadReason | None) -> AsyncIterator[Sequence[str]]:
    """The dead events without a decision, each once: one that fails again meanwhile keeps its older id."""
    from db.dead_events import undecided_ids

    after = 0
    while found := await undecided_ids(pool, MOST, after, reason=reason):
        yield [str(id) for id in found]
        after = found[-1]


@asynccontextmanager
async def _broker(url: str) -> "AsyncIterator[RabbitPublisher]":
    from bus.rabbitmq.publisher import RabbitPublisher

    broker = RabbitPublisher(url, CONFIRM_TIMEOUT)
    try:
        yield broker
    finally:
        await broker.close()


def _shown(dead: "DeadEvent") -> dict[str, Any]:
    """Its fields, without the person's ids."""
    return {name: value for name, value in asdict(dead).items() if name not in PERSONAL}
