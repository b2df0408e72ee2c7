"""Celery: thin tasks that store events, train models, export events and do periodic work."""
