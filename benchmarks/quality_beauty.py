"""The next item in Amazon Beauty: the last one of each person, among all 12,101; the sequence net and its rules."""

import json
import lzma
import os
from pathlib import Path

import numpy as np

from benchmarks.figures import Figure

MINUTES = 9.0
PUBLISHED = "NDCG@10 / recall@10: SASRec+SS .0531 / .0921, eSASRec .0523 / .0928, HSTU .0439 / .0788; no attributes; "


def run(seed: int) -> dict[str, Figure]:
    """Learn from all but the last two items of each person, with categories and brands; foretell the last."""
    from benchmarks.quality_sequences import next_item_figures

    folder = Path(os.environ.get("PENCHANT_DATA", "../shared/data")) / "amazon-beauty"
    with lzma.open(folder / "Beauty.txt.xz", "rt") as file:
        histories = [np.array(line.split()[1:], np.int32) - 1 for line in file]
    with lzma.open(folder / "Beauty_item2attributes.json.xz", "rt") as file:
        known: dict[str, list[int]] = json.load(file)
    items = 1 + max(int(rows.max()) for rows in histories)
    attributes = np.full((items, max(map(len, known.values()))), -1, np.int32)
    for item, codes in known.items():
        attributes[int(item) - 1, : len(codes)] = np.array(codes) - 1
    everybody = np.ones(len(histories), np.bool_)
    return next_item_figures(
        histories, items=items, attributes=attributes, validated=everybody, published=PUBLISHED, seed=seed
    )
