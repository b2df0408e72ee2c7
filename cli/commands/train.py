"""`penchant train`: trains on the stored purchases, evaluates, writes bundles, and promotes them or says why not.

It trains the model of the lists, then the forecast of who orders again. Neither needs the other: without a forecast, a
warning says why. Exit codes: 0 the bundle of the lists was written and judged, 1 there is nothing to learn from, the
export differs or the training was stopped (its job waits then), 2 the command is wrong, 3 a store cannot be reached.
"""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.interface import AsJson, print_json
from cli.training_packages import require_training_packages
from core.errors import InvalidInput, PenchantError, StoreUnavailable
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
    """Train the model of the lists and the forecast of who orders again; each serves only if it passes its gate.

    Where a model is refused, what served before stays; where no trained model served, the best baseline does.
    """
    require_training_packages()
    outcome, forecast = asyncio.run(_train_all(Stores(), holdout, bundles, lake or _lake_of_settings()))
    if isinstance(forecast, PenchantError) and str(forecast) != str(outcome):
        typer.echo(f"warning: no forecast of who orders again: {forecast}", err=True)
    if isinstance(outcome, PenchantError):
        raise outcome
    if outcome.warning:
        typer.echo(f"warning: {outcome.warning}", err=True)
    judged = None if isinstance(forecast, PenchantError) else forecast
    if as_json:
        print_json({**_document(outcome), "forecast": judged and _document(judged)})
    else:
        _print(outcome)
        if judged:
            _print(judged)


def _lake_of_settings() -> str | None:
    """The lake of the settings, if they say that trainings read it."""
    settings = EventLake()
    return settings.lake_url if settings.lake_training else None


async def _train_all(
    stores: Stores, holdout: Path | None, bundles: Path | None, lake: str | None
) -> "tuple[TrainingOutcome | PenchantError, TrainingOutcome | PenchantError]":
    """The trainings of the lists' model and of the forecast, or why there is none. Raises what ends both."""
    from db.jobs import AFFINITY, FORECAST
    from engine.jobs.leases import TrainingStopped

    async def outcome(kind: str) -> "TrainingOutcome | PenchantError":
        try:
            return await _train(kind, stores, holdout, bundles, lake)
        except (StoreUnavailable, InvalidInput, TrainingStopped):
            raise
        except PenchantError as error:
            return error

    return await outcome(AFFINITY), await outcome(FORECAST)


async def _train(
    kind: str, stores: Stores, holdout: Path | None, bundles: Path | None, lake: str | None
) -> "TrainingOutcome":
    from cli.progress import stage_progress
    from db.jobs import REFRESH, LeaseLost, lease_job, request_once
    from db.lake.location import Lake
    from db.postgres import connect_pool
    from engine.jobs import leases
    from engine.jobs.bounds import Bounds
    from engine.jobs.leases import stopped_by_signals
    from engine.models.refreshing import refresh_tables
    from engine.models.training import assumed_by, last_weeks
    from engine.models.training import train as carry_out
    from engine.registry.mirroring import mirror

    if lake is not None:
        Lake.at(lake)  # raises for a wrong address before a job is requested
    bounds, assumed = Bounds.of(Trainings()), assumed_by(Trainings())
    async with stopped_by_signals(), await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool:
        asked = await request_once(pool, kind, "asked for by a person", BY)
        job = await lease_job(pool, kind, leases.LEASE, id=asked.id)
        if job is None:
            raise LeaseLost("A trainer took the job as soon as it was requested: its log and `jobs` say how it goes.")
        with stage_progress() as report:
            cut = _cut_by(holdout) if holdout else last_weeks
            outcome = await carry_out(
                pool,
                stores,
                job,
                report,
                cut=cut,
                folder=bundles,
                decided_by=BY,
                lake=lake,
                bounds=bounds,
                assumed=assumed,
            )
        refresh = await lease_job(pool, REFRESH, leases.LEASE) if outcome.serves else None
        if refresh is not None:  # else nothing new serves, or a trainer took it
            made = await refresh_tables(
                pool, stores, refresh, folder=bundles, lake=lake, decided_by=BY, assumed=assumed
            )
            outcome = replace(outcome, refreshed=made)
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
        "refreshed": outcome.refreshed,
        "warning": outcome.warning,
        "evaluation": outcome.evaluation.document(),
    }


def _print(outcome: "TrainingOutcome") -> None:
    from rich.console import Console
    from rich.table import Table

    from engine.models.kinds import KINDS

    evaluation, verdict = outcome.evaluation, outcome.verdict
    table = Table(title=f"{KINDS[outcome.kind].people(evaluation.document())}; 95 % intervals")
    metrics = list(dict.fromkeys(metric for scores in evaluation.methods.values() for metric in scores))
    for heading in ("", *metrics):
        table.add_column(heading, justify="right" if heading else "left")
    for method, scores in evaluation.methods.items():
        cells = (
            ""
            if score is None
            else f"{score.value:.4f}"
            if score.low == score.high
            else f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"
            for score in map(scores.get, metrics)
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
        still = "The model that served before still serves" if outcome.serving else "Nothing serves in its place"
        console.print(f"{still}.", highlight=False)
    if outcome.refreshed:
        console.print(f"It serves with tables as of now, as {outcome.refreshed}", highlight=False)
