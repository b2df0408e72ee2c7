"""Periodic work: trainings and exports that are due, abandoned jobs, partitions made ahead."""
