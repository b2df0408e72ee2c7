"""Mutations of what people choose for their own lists."""
