"""A page of HTML: sections, tables, and how values are written."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from engine.reports.plots import Series, lines

METRICS = {"ndcg_at_10": "NDCG@10", "auc": "AUC"}  # the first metric of each kind of model, for people
FORECAST_METRICS = ("auc", "average_precision", "brier", "mae_orders")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;font-size:13px}td,th{padding:.25rem .6rem;text-align:left}"
    "td,th{border-bottom:1px solid #ddd}"
    "svg{max-width:100%;height:auto;font:12px system-ui,sans-serif}.wide{overflow-x:auto}"
)


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """The text of the file; each section is its heading and its HTML."""
    title = escape(title)
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    body = "".join(f"<section><h2>{escape(name)}</h2>{content}</section>" for name, content in sections)
    return f"{head}<style>{_STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts."""
    head = "".join(f"<th>{escape(name)}</th>" for name in headings)
    body = "".join("<tr>" + "".join(f"<td>{escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def calibration(series: Sequence[Series]) -> str:
    """A plot of foretold probabilities against the share that came true."""
    most = max(max(p, came) for _, points in series for p, came in points)
    perfect: Series = ("perfect", [(0.0, 0.0), (most, most)])
    return lines([*series, perfect], "foretold probability", "share that came true")


def lift(series: Sequence[tuple[str, Sequence[Sequence[float]]]]) -> str:
    """A plot of the share of those who came that are among the likeliest, beside choosing people by chance."""
    by_chance: Series = ("by chance", [(0.0, 0.0), (1.0, 1.0)])
    found: list[Series] = [(name, [(0.0, 0.0), *((each[0], each[1]) for each in points)]) for name, points in series]
    return lines([*found, by_chance], "share of people asked, the likeliest first", "share of those who came")


def words(method: str) -> str:
    """The name of a method or metric, for people."""
    return method if "-" in method else method.replace("_", " ")


def cell(score: Mapping[str, float] | None) -> str:
    """A value with its interval."""
    if score is None:
        return ""
    exact = score["low"] == score["high"]
    return f"{score['value']:.4f}" if exact else f"{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}]"


def bounds(score: Mapping[str, float]) -> tuple[float, float, float]:
    """The value, and the ends of its interval."""
    return score["value"], score["low"], score["high"]
