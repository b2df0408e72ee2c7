"""`penchant models`: lists, shows and compares the models, promotes one, rolls back to the one before."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.database import on_pool
from cli.errors import Refused, refusals
from cli.evaluations.differences import print_differences
from cli.interface import AsJson, command_group, operator_of, print_json, print_json_line, write_file
from core.contract import check_id
from core.counts import people_in_words
from core.settings import Stores

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from db.postgres import Pool
    from db.serving import Decision, Model, Serving
    from engine.reports.gates import Gate

MOST = 100
OPERATOR = "penchant models"
BASELINES = (  # of an evaluation that compares with none
    "popularity", "personal_frequency", "decayed_frequency", "sequential_rules", "item_knn", "ease",
)  # fmt: skip
app = command_group("List, show and compare models, promote one, go back to the one before.")
Why = Annotated[str, typer.Option(help="Why, for the record of decisions.")]


@app.command("list")
def list_all(
    first: Annotated[int, typer.Option(min=1, max=MOST, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """List the newest models: NDCG@10 or AUC, the best baseline, what was decided; those that serve are marked."""
    from db.serving import list_models, newest_decisions, serving_rows

    async def read(pool: "Pool") -> list[dict[str, Any]]:
        models = await list_models(pool, first)
        ids = [model.id for model in models]
        decisions, serving = await newest_decisions(pool, ids), await serving_rows(pool, ids)
        return [summary_of(model, decisions.get(model.id), serving.get(model.id)) for model in models]

    models = on_pool(read)
    if as_json:
        print_json(models)
        return
    for model in models:
        typer.echo(_line(model))
    if not models:
        typer.echo("There are no models: load data and run `penchant train`.")


@app.command()
def show(
    model_id: Annotated[str, typer.Argument(metavar="ID")],
    gate: Annotated[bool, typer.Option("--gate", help="Show what the gate checked instead.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report with plots to FILE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one model: why it was promoted or refused, its metrics, and the data, code and settings that made it."""
    from db.serving import newest_decisions, serving_rows
    from engine.reports.gates import gates_of
    from engine.reports.models import report_of_model

    async def read(pool: "Pool") -> "tuple[dict[str, Any], Gate | None, str]":
        model = await _model(pool, model_id)
        decision = (await newest_decisions(pool, [model.id])).get(model.id)
        said = (await gates_of(pool, [model])).get(model.id)
        summary = summary_of(model, decision, (await serving_rows(pool, [model.id])).get(model.id))
        return (
            {**summary, "evaluation": model.evaluation, "training": model.training},
            said,
            report_of_model(model, said),
        )

    found, said, report = on_pool(read)
    if html is not None:
        write_file(html, report.encode())
    if gate:
        print_json(said and asdict(said)) if as_json else _show_gate(found["id"], found["baseline"], said)
    elif as_json:
        print_json(found)
    else:
        _show(found)


@app.command()
def diff(
    first: Annotated[str, typer.Argument(metavar="A")],
    second: Annotated[str, typer.Argument(metavar="B")],
    as_json: AsJson = False,
) -> None:
    """Compare two models: the settings, data and code that made them, and their metrics side by side."""
    from engine.reports.differences import differences

    async def read(pool: "Pool") -> dict[str, Any]:
        return differences(await _model(pool, first), await _model(pool, second))

    found = on_pool(read)
    if as_json:
        print_json(found)
    else:
        print_differences(found)


async def _model(pool: "Pool", id: str) -> "Model":
    from db.serving import model_by_id

    model = await model_by_id(pool, check_id(id, "id"))
    if model is None:
        raise Refused(f"There is no model {id!r}.")
    return model


def _without_checks(baseline: str | None) -> str:
    if baseline:
        return "Nothing was checked: a baseline serves where the trained model was refused; that model has the checks."
    return "Its checks were not kept: it was trained by an earlier version."


def _show_gate(id: str, baseline: str | None, gate: "Gate | None") -> None:
    if gate is None:
        typer.echo(f"The gate has not judged {id}.")
        return
    typer.echo(f"{id}  {gate.verdict.lower()}: {gate.summary}")
    for check in gate.checks:
        typer.echo(f"  {'passed' if check.passed else 'FAILED'}  {check.name.replace('_', ' ')}: {check.words}")
    if not gate.checks:
        typer.echo(f"  {_without_checks(baseline)}")


def summary_of(model: "Model", decision: "Decision | None", serving: "Serving | None") -> dict[str, Any]:
    """A model in a few words: what it is, its NDCG@10 and that of the best baseline, and what was decided."""
    evaluation = model.evaluation
    methods = evaluation.get("methods", {})
    compared = evaluation.get("ahead") or BASELINES
    baselines = {  # in the order of the gate, which takes the first of equals; Postgres keeps no order
        name: methods[name]["ndcg_at_10"]["value"]
        for name in sorted(compared, key=lambda name: BASELINES.index(name) if name in BASELINES else len(BASELINES))
        if "ndcg_at_10" in methods.get(name, ())
    }
    best = max(baselines, key=baselines.__getitem__, default=None)
    return {
        "id": model.id,
        "kind": model.kind,
        "created_at": model.created_at,
        "serving": serving is not None,
        "baseline": model.baseline,
        "decision": decision and decision.action,
        "reason": decision and decision.reason,
        "decided_by": decision and decision.decided_by,
        "people": evaluation.get("people"),
        "ndcg_at_10": methods.get(evaluation.get("candidate"), {}).get("ndcg_at_10"),
        "auc": methods.get(evaluation.get("candidate"), {}).get("auc"),
        "best_baseline": best and {"name": best, "ndcg_at_10": baselines[best]},
        "deleted_at": model.pruned_at,
    }


def _line(model: dict[str, Any]) -> str:
    """One line about a model."""
    words = [f"{'*' if model['serving'] else ' '} {model['id']}  {model['created_at']:%F %R}"]
    verdict = (model["decision"] or "not judged").replace("_", " ").lower()
    words.append(f"{verdict}{' (' + model['baseline'].replace('_', ' ') + ')' if model['baseline'] else ''}")
    if score := model["ndcg_at_10"]:
        on = people_in_words(model["people"])
        measured = f"NDCG@10 {score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}] on {on}"
        best = model["best_baseline"]
        if model["baseline"]:  # its own figure below is that of all items, those bought just now among them
            measured = f"{measured} as it serves"
        words.append(f"{measured}; {best['name'].replace('_', ' ')} {best['ndcg_at_10']:.4f}" if best else measured)
    if score := model["auc"]:
        on = people_in_words(model["people"])
        words.append(f"AUC {score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}] on {on}")
    if model["deleted_at"]:
        words.append("files deleted")
    return "  ".join(words)


def _show(model: dict[str, Any]) -> None:
    typer.echo(_line(model))
    typer.echo(f"  {model['reason'] or 'The gate has not judged this model.'}")
    if model["decided_by"]:
        typer.echo(f"  Decided by {model['decided_by']}.")
    for method, scores in model["evaluation"].get("methods", {}).items():
        figures = ", ".join(f"{name.replace('_', ' ')} {score['value']:.4f}" for name, score in scores.items())
        typer.echo(f"  {method.replace('_', ' ')}: {figures}")
    for part, values in model["training"].items():
        text = ", ".join(f"{name} {value}" for name, value in values.items()) if isinstance(values, dict) else values
        typer.echo(f"  {part}: {text}")


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
def rollback(
    reason: Why,
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="affinity: the model of the lists. forecast: who orders again.")
    ] = "affinity",
    as_json: AsJson = False,
) -> None:
    """Let the model serve that served before this one was promoted, in every gateway within 5 seconds."""
    from engine.models.promoting import roll_back_model

    stores, who = Stores(), operator_of(OPERATOR)

    async def change(pool: "Pool") -> "Serving":
        async with _redis(stores) as redis:
            return await roll_back_model(pool, redis, stores.bundles, reason, who, kind)

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
