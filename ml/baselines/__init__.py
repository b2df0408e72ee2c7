"""Simple methods that a model must beat before it may serve."""
