"""What can be learned from the stored events now, which data is missing, and what serves meanwhile."""
