"""Next basket in the Online Retail II log, cut 2011-09-10, as of the visit: the ranker against counting baselines."""

from benchmarks.figures import Figure

MINUTES = 5.0


def run(seed: int) -> dict[str, Figure]:
    """Train on the invoices before the cut, then foretell each customer's first one after it."""
    from benchmarks.quality import trained_figures
    from benchmarks.retail_log import CUT, retail_log

    return trained_figures(retail_log(), CUT, seed, seconds_idle=300)
