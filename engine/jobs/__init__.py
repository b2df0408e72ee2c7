"""Jobs that a trainer carries out: requests, leases, bounds, progress."""
