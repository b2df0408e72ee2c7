"""The tables of a comparison, on standard output."""

from typing import Any

from rich.console import Console
from rich.table import Table

from core.counts import people_in_words
from engine.reports.pages import FORECAST_METRICS, cell, words

PLAIN_WIDTH = 160  # where standard output is no terminal


def print_tables(document: dict[str, Any]) -> None:
    """The lists, their slices and the forecasts."""
    console = Console(width=None if Console().is_terminal else PLAIN_WIDTH)
    lists, forecasts = document["lists"], document["forecasts"]
    span = f"{document['days']} days from {document['cut_at'][:10]}"
    if lists:
        title = f"The next order of {people_in_words(lists['people'])}, {lists['items']:,} items, all ranked; {span}"
        console.print(_table(title, lists["methods"], tuple(next(iter(lists["methods"].values())))))
        console.print(_slices(lists))
    if forecasts:
        title = f"Who of {people_in_words(forecasts['people'])} orders again ({forecasts['share']:.0%} did); {span}"
        console.print(_table(title, forecasts["methods"], FORECAST_METRICS))
    for version, others in lists.get("ahead", {}).items():
        behind = [words(name) for name, ahead in others.items() if not ahead["low"] > 0]
        verdict = f"not beyond chance ahead of {', '.join(behind)}" if behind else "ahead of every baseline here"
        console.print(f"{version}: {verdict}.", highlight=False)


def _table(title: str, methods: dict[str, dict[str, Any]], metrics: tuple[str, ...]) -> Table:
    table = Table("", *map(words, metrics), title=title, title_justify="left")
    for name, scores in methods.items():
        table.add_row(words(name), *(cell(scores.get(metric)) for metric in metrics))
    return table


def _slices(lists: dict[str, Any]) -> Table:
    parts = [part for part in lists["slices"] if part["people"]]
    headings = (f"{part['slice']}\n{people_in_words(part['people'])}" for part in parts)
    table = Table("", *headings, title="NDCG@10 by orders before, and by item", title_justify="left")
    for name in lists["methods"]:
        table.add_row(words(name), *(cell(part["ndcg_at_10"][name]) for part in parts))
    return table
