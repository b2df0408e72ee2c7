"""Next basket in the Complete Journey log, cut 2017-11-01, as of the visit: the ranker against counting baselines."""

from benchmarks.figures import Figure

MINUTES = 8.0


def run(seed: int) -> dict[str, Figure]:
    """Train on the orders before the cut, then foretell each household's first order after it."""
    from benchmarks.journey_log import CUT, journey_log
    from benchmarks.quality import trained_figures

    return trained_figures(journey_log(), CUT, [seed], seconds_idle=480)
