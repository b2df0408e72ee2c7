"""Guests joined to users, users merged; everything stored about a person exported or erased on request."""
