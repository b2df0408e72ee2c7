"""Features, models, evaluation, ranking. Arrays in, results out; no network, no SQL."""
