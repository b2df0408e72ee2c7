"""`penchant train`: learn from the stored purchases, judge, write one bundle, and let it serve or say why not.

Exit codes: 0 a bundle was written and judged, 1 there is nothing to learn from or the export differs, 2 the command is
wrong, 3 a store cannot be reached.
"""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InvalidInput, StoreUnavailable
from core.settings import EventLake, Stores

if TYPE_CHECKING:
    from engine.models.training import Cut, TrainingOutcome

BY = "penchant train"
WRONG, UNREACHABLE = 2, 3


def train(
    holdout: Annotated[
        Path | None,
        typer.Option(help="Orders after the cut to judge by (Parquet, CSV, JSON lines); by default the last weeks."),
    ] = None,
    bundles: Annotated[Path | None, typer.Option(help="Where the bundle is written; the setting by default.")] = None,
    lake: Annotated[
        str | None, typer.Option(metavar="URL", help="Read the days that are in this lake from there, others as ever.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train on the stored purchases and let the model serve if it beats the simple baselines."""
    try:
        result = asyncio.run(_train(Stores(), holdout, bundles, lake or _trained_on(), as_json=as_json))
    except (InvalidInput, StoreUnavailable) as error:
        typer.echo(f"penchant: {error}", err=True)
        raise typer.Exit(UNREACHABLE if isinstance(error, StoreUnavailable) else WRONG) from None
    if as_json:
        typer.echo(json.dumps(result, indent=2))


def _trained_on() -> str | None:
    """The lake of the settings, if they have trainings read it."""
    settings = EventLake()
    return settings.lake_url if settings.lake_training else None


async def _train(
    stores: Stores, holdout: Path | None, bundles: Path | None, lake: str | None, *, as_json: bool
) -> dict[str, Any]:
    from cli.progress import stages
    from db.jobs import AFFINITY, LeaseLost, lease_job, request_once
    from db.lake.place import Lake
    from db.postgres import connect_pool
    from engine.models import leases
    from engine.models.training import last_weeks
    from engine.models.training import train as carry_out

    if lake is not None:
        Lake.at(lake)  # a wrong address is said before anything is asked for
    async with await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool:
        asked = await request_once(pool, AFFINITY, "asked for by a person", BY)
        job = await lease_job(pool, AFFINITY, leases.LEASE, id=asked.id)
        if job is None:
            raise LeaseLost("A trainer took the job as soon as it was asked for: its log and `jobs` say how it goes.")
        with stages() as report:
            cut = _cut_by(holdout) if holdout else last_weeks
            outcome = await carry_out(pool, stores, job, report, cut=cut, folder=bundles, decided_by=BY, lake=lake)
    if not as_json:
        _say(outcome)
    return {
        "bundle": outcome.path.name,
        "path": str(outcome.path),
        "promoted": outcome.verdict.promote,
        "reason": outcome.verdict.reason,
        "evaluation": outcome.evaluation.document(),
    }


def _cut_by(holdout: Path) -> "Cut":
    from cli.holdout import with_holdout

    return lambda log: with_holdout(log, holdout)


def _say(outcome: "TrainingOutcome") -> None:
    from rich.console import Console
    from rich.table import Table

    evaluation, verdict = outcome.evaluation, outcome.verdict
    table = Table(title=f"{evaluation.people:,} people, {evaluation.items:,} items, all ranked; 95 % intervals")
    metrics = list(next(iter(evaluation.methods.values())))
    for heading in ("", *metrics):
        table.add_column(heading, justify="right" if heading else "left")
    for method, scores in evaluation.methods.items():
        told = (
            f"{score.value:.4f}"
            if score.low == score.high
            else f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"
            for score in scores.values()
        )
        table.add_row(method.replace("_", " "), *told)
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    console.print(
        f"{'Promoted' if verdict.promote else 'Refused'} {outcome.path.name}: {verdict.reason}", highlight=False
    )
