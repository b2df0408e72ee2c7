"""Guests joined to users; everything stored about a person exported or erased on request."""
