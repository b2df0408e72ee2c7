"""The report of a comparison: one HTML file with tables and plots, which loads nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.counts import people_in_words
from engine.reports.pages import FORECAST_METRICS, bounds, calibration, cell, lift, page, table, words
from engine.reports.plots import Series, bars, lines


def report_of(document: Mapping[str, Any]) -> str:
    """The file's text."""
    title = f"Comparison on {document['days']} days from {document['cut_at'][:10]}"
    return page(
        title,
        [*_versions(document["versions"]), *_lists(document["lists"]), *_forecasts(document["forecasts"])],
    )


def _versions(versions: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    if versions:
        rows = [[v["id"], v["created_at"], v["cut_at"] or "", words(v["baseline"] or "trained")] for v in versions]
        yield "Versions", table(["version", "made at", "learned from before", "kind"], rows)
    for version in versions:
        if (known := version["probability"]) and known.get("bins"):
            yield (
                f"Calibration of {version['id']} in its own evaluation",
                calibration([(version["id"], [(p, came) for p, came, *_ in known["bins"]])]),
            )


def _lists(lists: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not lists:
        return
    methods = lists["methods"]
    metrics = list(next(iter(methods.values())))
    rows = [[words(name), *(cell(scores[metric]) for metric in metrics)] for name, scores in methods.items()]
    people = people_in_words(lists["people"])
    about = f"<p>The first order after the cut of {people}; {lists['items']:,} items, all ranked.</p>"
    yield "What people buy next", about + table(["", *map(words, metrics)], rows)
    values = [(words(name), *bounds(scores["ndcg_at_10"])) for name, scores in methods.items()]
    yield "NDCG@10 with 95 % intervals", bars(values)
    for version, others in lists["ahead"].items():
        yield f"NDCG@10 of {version} above", table(["", "ahead"], [[words(n), cell(a)] for n, a in others.items()])
    for kind, title in (("activity", "Learning: NDCG@10 by orders before"), ("novelty", "NDCG@10 by item")):
        parts = [part for part in lists["slices"] if part["kind"] == kind and part["people"]]
        if parts:
            yield title, _slices(list(methods), parts)


def _slices(methods: Sequence[str], parts: Sequence[Mapping[str, Any]]) -> str:
    names = [str(part["slice"]) for part in parts]
    series: list[Series] = [
        (words(name), [(float(at), part["ndcg_at_10"][name]["value"]) for at, part in enumerate(parts)])
        for name in methods
    ]
    rows = [[words(name), *(cell(part["ndcg_at_10"][name]) for part in parts)] for name in methods]
    headings = ["", *(f"{part['slice']}: {people_in_words(part['people'])}" for part in parts)]
    return lines(series, "", "NDCG@10", names) + table(headings, rows)


def _forecasts(forecasts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not forecasts:
        return
    methods = forecasts["methods"]
    rows = [
        [words(name), *(cell(scores.get(metric)) for metric in FORECAST_METRICS)] for name, scores in methods.items()
    ]
    people = people_in_words(forecasts["people"])
    about = f"<p>{forecasts['share']:.1%} of {people} ordered in {forecasts['days']} days.</p>"
    yield "Who orders again", about + table(["", *map(words, FORECAST_METRICS)], rows)
    points = [(words(name), [(p, came) for p, came, _ in scores["calibration"]]) for name, scores in methods.items()]
    yield "Calibration", calibration(points)
    yield "Lift", lift([(words(name), scores["gains"]) for name, scores in methods.items()])
