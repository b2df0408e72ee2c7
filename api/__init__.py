"""The gateway: authenticates, reads and queues. It never trains and never blocks."""
