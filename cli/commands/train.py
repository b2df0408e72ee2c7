"""`penchant train`: trains on the stored purchases, evaluates, writes a bundle, and promotes it or says why not.

Exit codes: 0 a bundle was written and judged, 1 there is nothing to learn from, the export differs or the training was
stopped (its job waits then), 2 the command is wrong, 3 a store cannot be reached.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.interface import AsJson, print_json
from cli.training_packages import require_training_packages
from core.settings import EventLake, Stores, Trainings

if TYPE_CHECKING:
    from engine.models.training import Cut, TrainingOutcome

BY = "penchant train"


def train(
    holdout: Annotated[
        Path | None,
        typer.Option(help="Orders after the cut to judge by (Parquet, CSV, JSON lines); by default the last weeks."),
    ] = None,
    bundles: Annotated[
        Path | None, typer.Option(help="The folder the bundle is written to; the setting by default.")
    ] = None,
    lake: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Read the days that are in this lake from it, the others from Postgres."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train on the stored purchases; the model serves if it beats the simple baselines, else the best of them does."""
    require_training_packages()
    outcome = asyncio.run(_train(Stores(), holdout, bundles, lake or _lake_of_settings()))
    if outcome.warning:
        typer.echo(f"warning: {outcome.warning}", err=True)
    if as_json:
        print_json(_document(outcome))
    else:
        _print(outcome)


def _lake_of_settings() -> str | None:
    """The lake of the settings, if they say that trainings read it."""
    settings = EventLake()
    return settings.lake_url if settings.lake_training else None


async def _train(stores: Stores, holdout: Path | None, bundles: Path | None, lake: str | None) -> "TrainingOutcome":
    from cli.progress import stage_progress
    from db.jobs import AFFINITY, LeaseLost, lease_job, request_once
    from db.lake.location import Lake
    from db.postgres import connect_pool
    from engine.models import leases
    from engine.models.bounds import Bounds
    from engine.models.leases import stopped_by_signals
    from engine.models.training import last_weeks
    from engine.models.training import train as carry_out
    from engine.registry.mirroring import mirror

    if lake is not None:
        Lake.at(lake)  # raises for a wrong address before a job is requested
    bounds = Bounds.of(Trainings())
    async with stopped_by_signals(), await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool:
        asked = await request_once(pool, AFFINITY, "asked for by a person", BY)
        job = await lease_job(pool, AFFINITY, leases.LEASE, id=asked.id)
        if job is None:
            raise LeaseLost("A trainer took the job as soon as it was requested: its log and `jobs` say how it goes.")
        with stage_progress() as report:
            cut = _cut_by(holdout) if holdout else last_weeks
            outcome = await carry_out(
                pool, stores, job, report, cut=cut, folder=bundles, decided_by=BY, lake=lake, bounds=bounds
            )
        if away := await mirror(pool, stores):
            typer.echo(f"warning: MLflow is away ({away}); the model is registered there later", err=True)
        return outcome


def _cut_by(holdout: Path) -> "Cut":
    from cli.holdout import with_holdout

    return lambda log: with_holdout(log, holdout)


def _document(outcome: "TrainingOutcome") -> dict[str, Any]:
    return {
        "bundle": outcome.path.name,
        "path": str(outcome.path),
        "promoted": outcome.verdict.promote,
        "reason": outcome.verdict.reason,
        "baseline": outcome.baseline and outcome.baseline.name,
        "warning": outcome.warning,
        "evaluation": outcome.evaluation.document(),
    }


def _print(outcome: "TrainingOutcome") -> None:
    from rich.console import Console
    from rich.table import Table

    evaluation, verdict = outcome.evaluation, outcome.verdict
    table = Table(title=f"{evaluation.people:,} people, {evaluation.items:,} items, all ranked; 95 % intervals")
    metrics = list(next(iter(evaluation.methods.values())))
    for heading in ("", *metrics):
        table.add_column(heading, justify="right" if heading else "left")
    for method, scores in evaluation.methods.items():
        cells = (
            f"{score.value:.4f}"
            if score.low == score.high
            else f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"
            for score in scores.values()
        )
        table.add_row(method.replace("_", " "), *cells)
    console = Console(width=None if Console().is_terminal else 160)
    console.print(table)
    console.print(
        f"{'Promoted' if verdict.promote else 'Refused'} {outcome.path.name}: {verdict.reason}", highlight=False
    )
    if outcome.baseline:
        best = evaluation.best_baseline.replace("_", " ")
        console.print(f"The best baseline serves instead: {best}, as {outcome.baseline.name}", highlight=False)
    elif not verdict.promote:
        console.print("The model that served before still serves.", highlight=False)
