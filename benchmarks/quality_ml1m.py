"""The next film in MovieLens-1M: the last one of each user, among all 3,416; the sequence net and its rules."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.figures import Figure

MINUTES = 18.0
PUBLISHED = "NDCG@10 / recall@10: HSTU-large .1893 / .3294, HSTU TF .1944 / .3419 with times, SASRec+ .1821 / .3152; "


def run(seed: int) -> dict[str, Figure]:
    """Learn from all but the last film, of the 512 validation users all but the last two; foretell the last."""
    from benchmarks.quality_sequences import next_item_figures

    folder = Path(os.environ.get("PENCHANT_DATA", "../shared/data")) / "ml-1m"
    lines = pq.read_table(folder / "sequences.parquet")
    user, place, item = (lines[name].to_numpy().astype(np.int64) for name in ("user", "pos", "item"))
    by = np.lexsort((place, user))
    user, item = user[by], item[by].astype(np.int32) - 1
    histories = np.split(item, np.flatnonzero(np.diff(user)) + 1)
    validated = np.isin(np.unique(user), pq.read_table(folder / "val_users.parquet")["user"].to_numpy())
    return next_item_figures(
        histories,
        items=int(item.max()) + 1,
        attributes=np.full((int(item.max()) + 1, 1), -1, np.int32),
        validated=validated,
        published=PUBLISHED,
        seed=seed,
    )
