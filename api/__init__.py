"""The gateway: authenticates, reads, queues. Never trains, never blocks."""
