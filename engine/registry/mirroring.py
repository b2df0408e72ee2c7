"""Keeps MLflow equal to Postgres: the newest models with all that is known of them, and what serves, by aliases.

Each kind of model is a registered model of its own.

MLflow is read by people only. While it is away nothing else waits for it: what is missing is registered later.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import structlog

from core.errors import StoreUnavailable
from core.settings import Stores
from db.jobs import AFFINITY, FORECAST
from db.mlflow_mirror import MOST, note_behind, note_mirrored, note_version
from db.postgres import Pool, connect_pool
from db.serving import (
    Decision,
    Model,
    bundle_before,
    current_serving,
    list_models,
    models_by_ids,
    newest_decisions,
    slot_of,
)
from engine.registry.mlflow_client import Registry
from engine.reports.differences import flattened
from engine.reports.gates import Gate, gates_of
from engine.reports.models import report_of_model

log = structlog.get_logger()

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
PARAMETERS: Final = ("seed", "settings", "data", "validation")  # parts of `training.json` that are no tags
_DATES: Final = ("from", "until", "cut")


class _Known(NamedTuple):
    """What Postgres says of one kind."""

    name: str  # of the registered model
    models: list[Model]  # newest first
    decisions: Mapping[str, Decision]
    gates: Mapping[str, Gate]
    aliases: Mapping[str, str | None]  # the bundle of each
    generation: int | None


async def mirror_waiting(stores: Stores) -> None:
    """Mirror, with connections of its own, and log when MLflow is away."""
    async with await connect_pool(stores.postgres_url.get_secret_value(), size=1) as pool:
        if away := await mirror(pool, stores):
            log.warning("mlflow_unavailable", error=away)


async def mirror(pool: Pool, stores: Stores) -> str | None:
    """Register what MLflow lacks and set its aliases; the kind of the error while it or another store is away.

    Without MLflow nothing happens.
    """
    if stores.mlflow_url is None:
        return None
    try:
        return await _mirror_all(pool, stores, stores.mlflow_url.get_secret_value())
    except StoreUnavailable as error:
        return type(error).__name__


async def _mirror_all(pool: Pool, stores: Stores, url: str) -> str | None:
    known = {kind: await _known(pool, kind) for kind in (AFFINITY, FORECAST)}
    try:
        versions = await asyncio.to_thread(
            _mirror, url, stores.mlflow_artifacts, list(known.values()), stores.bundles.resolve()
        )
    except Exception as error:  # of MLflow, its database driver, the storage or the network
        await note_behind(pool)
        return type(error).__name__
    for model in (model for each in known.values() for model in each.models):
        if model.registry_version != versions[model.id]:
            await note_version(pool, model.id, versions[model.id])
    await note_mirrored(pool, known[AFFINITY].generation, known[FORECAST].generation)
    return None


def name_of(kind: str) -> str:
    """The name of a kind's registered model and of its experiment."""
    return f"penchant-{kind}"


async def _known(pool: Pool, kind: str) -> _Known:
    row, before = await current_serving(pool, slot_of(kind)), await bundle_before(pool, slot_of(kind))
    models = await list_models(pool, MOST, kind=kind)
    decisions = await newest_decisions(pool, [model.id for model in models])
    champion = row.bundle if row else None
    newer = (model.id for model in models if model.id != champion and _challenges(decisions.get(model.id)))
    aliases = {CHAMPION: champion, CHALLENGER: _newest_before(models, champion, newer), PREVIOUS: before}
    older = await models_by_ids(pool, [id for id in aliases.values() if id and id not in {m.id for m in models}])
    models += older.values()
    gates = await gates_of(pool, models)
    return _Known(name_of(kind), models, decisions, gates, aliases, row.generation if row else None)


def _challenges(decision: Decision | None) -> bool:
    return decision is None or decision.action == "REFUSED"


def _newest_before(models: list[Model], champion: str | None, ids: Any) -> str | None:
    """The newest of some models that is newer than the champion."""
    order = [model.id for model in models]
    newest = next(ids, None)
    if newest is None or (champion in order and order.index(champion) < order.index(newest)):
        return None
    return str(newest)


def _mirror(url: str, artifacts: str | None, kinds: Sequence[_Known], bundles: Path) -> dict[str, str]:
    """The version of each model."""
    registry, found = Registry(url, artifacts), dict[str, str]()
    for known in kinds:
        versions = registry.versions(known.name)
        for model in reversed(known.models):  # the oldest gets the lowest version
            if model.id not in versions:
                versions[model.id] = _register(registry, model, known, bundles)
        if known.models:
            aliases = {alias: versions[id] if id else None for alias, id in known.aliases.items()}
            registry.set_aliases(known.name, aliases)
        found |= versions
    return found


def _register(registry: Registry, model: Model, known: _Known, bundles: Path) -> str:
    decision, gate = known.decisions.get(model.id), known.gates.get(model.id)
    made = dict(model.training)
    return registry.register(
        known.name,
        model.id,
        parameters=_dated({name: made[name] for name in PARAMETERS if name in made}),
        metrics=metrics_of(model.evaluation),
        tags={
            **dict(flattened({name: value for name, value in made.items() if name not in PARAMETERS})),
            "kind": model.kind,
            "baseline": model.baseline or "none",
            "bundle.sha256": model.digest,
            "bundle.path": bundles / model.id,
            "decision": decision.action if decision else "none",
        },
        description=gate.summary if gate else decision.reason if decision else "The gate has not judged this model.",
        files={
            "report.html": report_of_model(model, gate),
            "evaluation.json": orjson.dumps(model.evaluation, option=orjson.OPT_INDENT_2).decode(),
            "training.json": orjson.dumps(model.training, option=orjson.OPT_INDENT_2).decode(),
        },
    )


def _dated(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The values by name; seconds that bound a span become dates."""
    return {
        name: datetime.fromtimestamp(value, UTC).isoformat()
        if name.rpartition(".")[2] in _DATES and isinstance(value, int)
        else value
        for name, value in flattened(parts)
    }


def metrics_of(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Each metric of each method, with the ends of its interval as `.low` and `.high`."""
    found: dict[str, float] = {}
    for method, scores in evaluation.get("methods", {}).items():
        for metric, score in scores.items():
            found[f"{method}.{metric}"] = score["value"]
            if score["low"] != score["high"]:
                found |= {f"{method}.{metric}.{end}": score[end] for end in ("low", "high")}
    return found
