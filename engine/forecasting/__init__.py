"""Forecasts of when a person orders next, from the forecast that serves."""
