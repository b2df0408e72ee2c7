"""What was loaded from files: a row and a manifest for each load, and how events of a load are deleted again."""
