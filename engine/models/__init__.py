"""Models: trained under a lease, registered, promoted, rolled back."""
