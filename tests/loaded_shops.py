"""Loads a small shop by `penchant load`: numbered items, and purchases given as lines."""

from collections.abc import Sequence
from pathlib import Path

from tests.commands import invoke

HEADER = "type,occurredAt,userId,itemId,orderId,quantity,unitPrice,currency"


def write_events(path: Path, rows: Sequence[str]) -> Path:
    """Write a CSV file of events with the columns of HEADER."""
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def load_shop(folder: Path, items: int, rows: Sequence[str]) -> None:
    """Load the items `i0` to `i<items - 1>` and the events of `rows`, by files in the folder."""
    (folder / "items.csv").write_text("id,title\n" + "".join(f"i{item},Item {item}\n" for item in range(items)))
    write_events(folder / "events.csv", rows)
    for kind in ("items", "events"):
        loaded = invoke("load", kind, folder / f"{kind}.csv")
        assert loaded.exit_code == 0, loaded.output
