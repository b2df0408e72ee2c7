"""Orders of CDNOW's customers in the second 39 weeks, from the first 39: BG/NBD beside simple rules."""

import lzma
import os
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure

MINUTES = 0.2
WEEKS = 39  # of each half
CUT = date(1997, 9, 30)  # the last day of the first half, as in the textbook
TEXTBOOK = (0.243, 4.414, 0.793, 2.426)  # r, alpha, a, b on a tenth of the customers (Fader, Hardie and Lee 2005)

Floats = NDArray[np.float64]


def run(seed: int) -> dict[str, Figure]:
    """Fit to the first half, then compare with the orders of the second half."""
    from ml.baselines.bg_nbd import BgNbd, fit_bg_nbd
    from ml.metrics import interval

    x, recency, age, later = _customers()
    model = fit_bg_nbd(x, recency, age)
    errors = {
        "mae_bgnbd": np.abs(model.expected(x, recency, age, WEEKS) - later),
        "mae_bgnbd_textbook": np.abs(BgNbd(*TEXTBOOK).expected(x, recency, age, WEEKS) - later),
        "mae_same_again": np.abs(x * WEEKS / age - later),
        "mae_none": later,
    }
    compared = {
        "mae_bgnbd": f"{len(x):,} customers; fitted here",
        "mae_bgnbd_textbook": "the same formula with the textbook's parameters",
        "mae_same_again": "as many orders a week as before",
        "mae_none": "nobody orders again",
    }
    figures = {
        name: Figure(float(error.mean()), "orders", *interval(error, seed, draws=500), compared[name])
        for name, error in errors.items()
    }
    expected = float(model.expected(x, recency, age, WEEKS).sum() / later.sum())
    fitted = {"r": model.r, "alpha": model.alpha, "a": model.a, "b": model.b}
    return figures | {
        "expected_over_observed": Figure(expected, "", reference="all orders of the second half; 1 is right"),
        **{
            name: Figure(value, "weeks" if name == "alpha" else "", reference=f"textbook, on a tenth: {known}")
            for (name, value), known in zip(fitted.items(), TEXTBOOK, strict=True)
        },
    }


def _customers() -> tuple[Floats, Floats, Floats, Floats]:
    """(customers,) each: orders after the first one and weeks, to the cut; and the orders in the 39 weeks after it.

    Orders of one day are one order.
    """
    folder = Path(os.environ.get("PENCHANT_DATA", "../shared/data"))
    with lzma.open(folder / "cdnow" / "CDNOW_master.txt.xz", "rt") as file:
        rows = np.array([line.split()[:2] for line in file if line.strip()[:1].isdigit()], np.int64)
    days = np.array([_day(value) for value in np.unique(rows[:, 1]).tolist()])[
        np.unique(rows[:, 1], return_inverse=True)[1]
    ]
    orders = np.unique(np.stack([rows[:, 0], days], axis=1), axis=0)
    cut = CUT.toordinal()
    past, after = orders[orders[:, 1] <= cut], orders[(orders[:, 1] > cut) & (orders[:, 1] <= cut + 7 * WEEKS)]
    customers, first, count = np.unique(past[:, 0], return_index=True, return_counts=True)
    began, last = past[first, 1], past[first + count - 1, 1]
    later = np.bincount(np.searchsorted(customers, after[:, 0]), minlength=len(customers))
    return count.astype(float) - 1, (last - began) / 7, (cut - began) / 7, later.astype(float)


def _day(value: int) -> int:
    return date(value // 10_000, value // 100 % 100, value % 100).toordinal()
