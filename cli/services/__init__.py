"""What the long-running commands share: gateway, worker, trainer and beat."""
