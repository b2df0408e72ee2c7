"""Celery: ingest events, retrain models, watch. Thin tasks over async functions."""
