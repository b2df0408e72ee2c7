"""What people choose for their own lists: items and categories that they hide, a pause, and why they see an item."""
