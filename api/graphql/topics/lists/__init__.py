"""What lists of recommended items consist of."""
