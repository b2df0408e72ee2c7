"""`penchant train`: learn from the stored purchases, judge, write one bundle, and let it serve or say why not.

Exit codes: 0 a bundle was written and judged, 1 there is nothing to learn from or the export differs, 2 the command is
wrong, 3 a store cannot be reached.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core import clock
from core.errors import InvalidInput, PenchantError, StoreUnavailable
from core.settings import Stores

if TYPE_CHECKING:
    import asyncpg

    from cli.progress import Stages
    from db.jobs import Job
    from ml.gate import Verdict
    from ml.training import Trained

KIND = "affinity"
BY = "penchant train"
HEARTBEAT = 30.0  # seconds
FAILED, WRONG, UNREACHABLE = 1, 2, 3


def train(
    holdout: Annotated[
        Path | None,
        typer.Option(help="Orders after the cut to judge by (Parquet, CSV, JSON lines); by default the last weeks."),
    ] = None,
    bundles: Annotated[Path | None, typer.Option(help="Where the bundle is written; the setting by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Train on the stored purchases and let the model serve if it beats the simple baselines."""
    try:
        result = asyncio.run(_train(Stores(), holdout, bundles, as_json=as_json))
    except (InvalidInput, StoreUnavailable) as error:
        typer.echo(f"penchant: {error}", err=True)
        raise typer.Exit(UNREACHABLE if isinstance(error, StoreUnavailable) else WRONG) from None
    if as_json:
        typer.echo(json.dumps(result, indent=2))


async def _train(stores: Stores, holdout: Path | None, bundles: Path | None, *, as_json: bool) -> dict[str, Any]:
    from cli.progress import stages
    from db.postgres import connect_pool

    folder = (bundles or stores.bundles).resolve()
    async with await connect_pool(stores.postgres_url.get_secret_value(), size=3) as pool, _job(pool) as finish:
        with stages() as report:
            trained = await _learn(pool, holdout, report)
        path = await asyncio.to_thread(trained.write, folder, clock.now())
        verdict = await _judge(pool, stores, path, trained)
        await finish(path.name)
    if not as_json:
        _say(path, trained, verdict)
    return {
        "bundle": path.name,
        "path": str(path),
        "promoted": verdict.promote,
        "reason": verdict.reason,
        "evaluation": trained.evaluation.document(),
    }


async def _learn(pool: "asyncpg.Pool", holdout: Path | None, report: "Stages") -> "Trained":
    """Read, then train in a thread, so that the job's lease is kept meanwhile."""
    from cli.holdout import as_log, with_holdout
    from db.purchases import purchase_log
    from ml.log import Log

    report("reading the purchases", 0, 1)
    log, cut = as_log(await purchase_log(pool, clock.now())), None
    if holdout is not None:
        log, cut = with_holdout(log, holdout)
    report("reading the purchases", 1, 1)

    def learn(log: Log, cut: int | None) -> "Trained":
        from ml.training import TrainingConfig
        from ml.training import train as train_on

        return train_on(log, cut, TrainingConfig(), report)

    return await asyncio.to_thread(learn, log, cut)


async def _judge(pool: "asyncpg.Pool", stores: Stores, path: Path, trained: "Trained") -> "Verdict":
    """Register the bundle as it lies on the disk, and promote or refuse it with the reason on record."""
    from db.serving import MAIN, Model, promote, refuse, register_model
    from ml.bundle import Bundle
    from ml.gate import verdict

    written = Bundle.open(path)
    registry = await asyncio.to_thread(_registry, stores)
    version = await asyncio.to_thread(registry.register, written.id, path, written.evaluation) if registry else None
    await register_model(pool, Model(written.id, KIND, written.created_at, written.digest, written.evaluation, version))
    judged = verdict(trained.evaluation)
    evidence = {"ahead": written.evaluation["ahead"], "parity": trained.parity}
    await (promote if judged.promote else refuse)(pool, MAIN, written.id, judged.reason, evidence, BY)
    if registry and version and judged.promote:
        await asyncio.to_thread(registry.crown, version)
    return judged


def _registry(stores: Stores) -> Any:
    if stores.mlflow_url is None:
        return None
    from cli.registry import Registry

    return Registry(stores.mlflow_url.get_secret_value())


@asynccontextmanager
async def _job(pool: "asyncpg.Pool") -> AsyncIterator[Any]:
    """A training job held while the block runs: whoever looks sees it running, finished or failed, and why."""
    from db.jobs import fail_job, finish_job, lease_job, request_job

    job = await lease_job(pool, KIND)
    if job is None:
        await request_job(pool, KIND, "asked for by a person", BY)
        job = await lease_job(pool, KIND)
    if job is None:
        raise InvalidInput("Another training took the job that was just asked for; try again.")
    beating = asyncio.create_task(_beat(pool, job))
    try:
        yield lambda bundle: finish_job(pool, job, bundle)
    except BaseException as error:
        with suppress(PenchantError, OSError):
            await fail_job(pool, job, str(error) if isinstance(error, PenchantError) else type(error).__name__)
        raise
    finally:
        beating.cancel()


async def _beat(pool: "asyncpg.Pool", job: "Job") -> None:
    from db.jobs import heartbeat

    while True:
        await asyncio.sleep(HEARTBEAT)
        await heartbeat(pool, job)


def _say(path: Path, trained: "Trained", verdict: "Verdict") -> None:
    from rich.console import Console
    from rich.table import Table

    evaluation = trained.evaluation
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
    console.print(f"{'Promoted' if verdict.promote else 'Refused'} {path.name}: {verdict.reason}", highlight=False)
