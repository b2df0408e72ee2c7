"""Why an item is in a person's list, or is not."""
