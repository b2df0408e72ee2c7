"""Answers an HTTP request: reads the operation, checks it against the limits, and runs it."""
