"""What is done again and again: trainings and exports that are due, jobs given up, partitions made ahead."""
