"""Next basket in Online Retail II, cut 2011-09-10, as of the visit: the ranker, counting baselines and LightGBM."""

from benchmarks.figures import Figure

MINUTES = 8.0
SEEDS = 3


def run(seed: int) -> dict[str, Figure]:
    """Train on the invoices before the cut, then foretell each customer's first one after it."""
    from benchmarks.quality import trained_figures
    from benchmarks.quality_boosted import boosted_figures
    from benchmarks.retail_log import CUT, retail_log

    log = retail_log()
    seeds = range(seed, seed + SEEDS)
    return trained_figures(log, CUT, seeds, 90, compare=lambda trained: boosted_figures(log, CUT, seed, trained))
