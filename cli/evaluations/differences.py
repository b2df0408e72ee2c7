"""Two models side by side, on standard output."""

from typing import Any

from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 160  # where standard output is no terminal


def print_differences(document: dict[str, Any]) -> None:
    """What made them, as far as it differs, and the metrics of the methods that both were evaluated with."""
    from engine.reports.pages import cell, words

    console = Console(width=None if Console().is_terminal else PLAIN_WIDTH)
    first, second = document["models"]
    made = Table("", first, second, title="What made them, where it differs", title_justify="left")
    for part, rows in document["parts"].items():
        for row in rows:
            if not row["same"]:
                name = f"{part}.{row['name']}" if row["name"] else part
                made.add_row(name, *("" if value is None else str(value) for value in row["values"]))
    if made.row_count:
        console.print(made)
    else:
        console.print("Settings, data and code are the same.", highlight=False)
    metrics = Table("", "", first, second, "difference", "intervals", title="Metrics", title_justify="left")
    for row in document["metrics"]:
        values = [cell(value) for value in row["values"]]
        overlap = "overlap" if row["overlap"] else "apart"
        metrics.add_row(words(row["method"]), words(row["metric"]), *values, f"{row['difference']:+.4f}", overlap)
    if metrics.row_count:
        console.print(metrics)
    if document["note"]:
        console.print(document["note"], highlight=False)
