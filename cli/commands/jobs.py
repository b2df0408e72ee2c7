"""`penchant jobs`: lists, shows and watches trainings and files of lists, and cancels one.

Exit codes of `watch ID`: 0 the job succeeded, 1 it failed or was cancelled.
"""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import on_pool
from cli.errors import REFUSED, Refused, refusals
from cli.interface import AsJson, command_group, operator_of, print_json, print_json_line
from core import clock

if TYPE_CHECKING:
    from db.jobs import Job
    from db.postgres import Pool

MOST = 100
LARGEST = 2**63 - 1  # Postgres's bigint
POLL = 1.0  # seconds
OPERATOR = "penchant jobs"
app = command_group("List, show and watch trainings and files of lists; cancel one.")
Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST)]


@app.command("list")
def list_all(
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List the newest jobs: their state, how far they are, and why one failed."""
    from db.jobs import list_jobs

    jobs = on_pool(lambda pool: list_jobs(pool, first))
    if as_json:
        print_json([document_of(job) for job in jobs])
        return
    for job in jobs:
        typer.echo(line_of(job))
    if not jobs:
        typer.echo("There are no jobs: `penchant train` makes one.")


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """Show one job: who requested it, when it ran, how far it is, what it made or why it made nothing."""
    found = on_pool(lambda pool: _job(pool, id))
    if as_json:
        print_json(document_of(found))
        return
    typer.echo(line_of(found))
    typer.echo(f"  requested by {found.requested_by}: {found.reason}")
    for name in ("started_at", "finished_at"):
        if moment := getattr(found, name):
            typer.echo(f"  {name.split('_')[0]} {moment:%F %T}")
    typer.echo(f"  attempts {found.fencing_token - found.stops}")


@app.command()
def watch(
    id: Annotated[
        int | None, typer.Argument(metavar="ID", min=1, max=LARGEST, help="The job; by default the oldest active.")
    ] = None,
) -> None:
    """Follow a job until it ends. Ctrl-C ends the watching, not the job."""
    ended = on_pool(lambda pool: _watch(pool, id))
    if ended is None:
        typer.echo("No job waits or runs.")
        return
    typer.echo(line_of(ended))
    if ended.state != "SUCCEEDED":
        raise typer.Exit(REFUSED)


@app.command()
def cancel(id: Id, as_json: AsJson = False) -> None:
    """Cancel a job that waits or runs: its trainer stops within seconds, and nothing of it is registered."""
    from engine.jobs.requesting import cancel_job

    who = operator_of(OPERATOR)
    with refusals():
        job = on_pool(lambda pool: cancel_job(pool, id, who))
    if as_json:
        print_json_line(document_of(job))
    else:
        typer.echo(line_of(job))


async def _job(pool: "Pool", id: int) -> "Job":
    from db.jobs import job_by_id

    if (job := await job_by_id(pool, id)) is None:
        raise Refused(f"There is no job {id}.")
    return job


async def _watch(pool: "Pool", id: int | None) -> "Job | None":
    """The job once it has ended; None when none was named and none is active."""
    from cli.progress import stage_progress
    from db.jobs import list_active_jobs

    if id is None:
        active = await list_active_jobs(pool, 1)
        if not active:
            return None
        id = active[0].id
    shown = None
    with stage_progress() as report:
        while (job := await _job(pool, id)).finished_at is None:
            at = (job.state, job.progress)
            if at != shown:
                shown = at
                if job.progress and job.state == "RUNNING":
                    report(job.progress["stage"], job.progress["done"], job.progress["of"])
                else:
                    report(job.state.lower(), 0, 1)
            await asyncio.sleep(POLL)
    return job


def document_of(job: "Job") -> dict[str, Any]:
    """A job as plain values, with its progress in per cent."""
    from db.jobs import percent_of

    values = asdict(job)
    attempts = values.pop("fencing_token") - values.pop("stops")
    progress = job.progress and {**job.progress, "percent": percent_of(job.progress)}
    return {**values, "attempts": attempts, "progress": progress}


def line_of(job: "Job") -> str:
    """One line about a job."""
    from db.jobs import percent_of

    words = [f"{job.id:>5}  {job.kind}  {job.state.lower()}", f"{job.requested_at:%F %R}"]
    if job.state == "RUNNING" and job.started_at:
        seconds = (clock.now() - job.started_at).total_seconds()
        words.append(f"for {max(0, round(seconds)):,} s")
    if job.progress and job.state != "SUCCEEDED":
        at = job.progress
        words.append(f"{at['stage']}: {at['done']:,} of {at['of']:,} ({percent_of(at)} %)")
    if job.list_progress:
        words.append(f"{job.list_progress.get('lists', 0):,} lists")
    if job.bundle:
        words.append(job.bundle)
    if job.error:
        words.append(job.error)
    return "  ".join(words)
