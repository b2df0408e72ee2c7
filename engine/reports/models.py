"""The report of one model: what the gate said, how good it was beside the baselines, and what made it."""

from collections.abc import Iterator
from html import escape

from db.serving import Model
from engine.models.kinds import KINDS
from engine.reports.gates import Gate
from engine.reports.pages import METRICS, bounds, calibration, cell, lift, page, table, words
from engine.reports.plots import bars
from ml.gate import Check


def report_of_model(model: Model, gate: Gate | None) -> str:
    """The text of an HTML file."""
    return page(f"Model {model.id}", [*_gate(gate), *_metrics(model), *_curves(model), *_made(model)])


def _gate(gate: Gate | None) -> Iterator[tuple[str, str]]:
    if gate is None:
        return
    rows = [_row(check) for check in gate.checks]
    checks = table(["check", "", "value", "limit", ""], rows) if rows else ""
    yield f"Gate: {gate.verdict.lower()}", f"<p>{escape(gate.summary)}</p>{checks}"


def _row(check: Check) -> list[str]:
    passed = "passed" if check.passed else "failed"
    return [words(check.name), passed, _figure(check.value), _figure(check.limit), check.words]


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _metrics(model: Model) -> Iterator[tuple[str, str]]:
    evaluation, kind = model.evaluation, KINDS[model.kind]
    methods = evaluation.get("methods")
    if not methods:
        return
    metrics = list(dict.fromkeys(metric for scores in methods.values() for metric in scores))
    rows = [[words(name), *(cell(scores.get(metric)) for metric in metrics)] for name, scores in methods.items()]
    about = f"<p>{escape(str(evaluation.get('protocol', '')))}</p>"
    if "people" in evaluation:
        about += f"<p>{kind.people(evaluation)}.</p>"
    yield kind.title, about + table(["", *map(words, metrics)], rows)
    found = [(words(name), *bounds(scores[kind.metric])) for name, scores in methods.items() if kind.metric in scores]
    if found:
        yield f"{METRICS[kind.metric]} with 95 % intervals", bars(found)
    for key, title in (("ahead", "NDCG@10 above each baseline"), ("rivals", "NDCG@10 above versions that served")):
        if others := evaluation.get(key):
            yield title, table(["", "ahead"], [[words(name), cell(ahead)] for name, ahead in others.items()])


def _curves(model: Model) -> Iterator[tuple[str, str]]:
    curves = model.evaluation.get("curves") or {}
    bins = (model.evaluation.get("probability") or {}).get("bins") or curves.get("calibration")
    if bins:
        yield "Calibration", calibration([(model.id, [(p, came) for p, came, *_ in bins])])
    if gained := curves.get("gains"):
        yield "Lift", lift([(model.id, gained)])


def _made(model: Model) -> Iterator[tuple[str, str]]:
    for part, values in model.training.items():
        pairs = values.items() if isinstance(values, dict) else [(part, values)]
        yield words(part).capitalize(), table(["", ""], [[str(name), str(value)] for name, value in pairs])
